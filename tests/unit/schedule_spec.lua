-- schedule_spec.lua - perigee.schedule: what cron and every name, against a count minute by minute; summer time in
-- four zones, catching up, jitter, and how a wrong table is refused.
local cron = require "perigee.schedule_cron"
local helper = require "tests.helper"
local schedule = require "perigee.schedule"
local time = require "perigee.time"
local zones = require "perigee.time_zone"

local function parse(t)
  t.name = t.name or "x"
  return schedule.parse(t)
end

local function ms(text, zone)
  return time.parse(text, zone) * 1000
end

-- The next n runs after the text's time, as the zone's clock shows them.
local function runs(t, from, n)
  local shown = {}
  for i, at in ipairs(parse(t):runs(ms(from, t.tz), n)) do shown[i] = time.format(at / 1000, t.tz):gsub(":00([+-])", "%1") end
  return shown
end

local function refusal(t)
  local err = helper.error_of(parse, t)
  assert.equal("invalid", err.kind)
  return err.message
end

describe("a schedule by cron", function()
  it("runs at the minutes its fields name", function()
    for text, expected in pairs {
      ["30 2 * * *"] = "2024-01-30T02:30Z 2024-01-31T02:30Z 2024-02-01T02:30Z",
      ["*/20 5 * * *"] = "2024-01-30T05:00Z 2024-01-30T05:20Z 2024-01-30T05:40Z",
      ["5-15/5 0 * * *"] = "2024-01-30T00:05Z 2024-01-30T00:10Z 2024-01-30T00:15Z",
      ["0 0 31 * *"] = "2024-01-31T00:00Z 2024-03-31T00:00Z 2024-05-31T00:00Z",
      ["0 0 29 2 *"] = "2024-02-29T00:00Z 2028-02-29T00:00Z 2032-02-29T00:00Z",
      ["0 12 * * mon-fri"] = "2024-01-30T12:00Z 2024-01-31T12:00Z 2024-02-01T12:00Z",
      ["0 12 * * Sat,0"] = "2024-02-03T12:00Z 2024-02-04T12:00Z 2024-02-10T12:00Z",
      ["0 12 * * fri-sun"] = "2024-02-02T12:00Z 2024-02-03T12:00Z 2024-02-04T12:00Z",
      ["0 12 * * 7"] = "2024-02-04T12:00Z 2024-02-11T12:00Z 2024-02-18T12:00Z",
      ["0 0 1 jan,JUL *"] = "2024-07-01T00:00Z 2025-01-01T00:00Z 2025-07-01T00:00Z",
      ["@hourly"] = "2024-01-30T01:00Z 2024-01-30T02:00Z 2024-01-30T03:00Z",
      ["@weekly"] = "2024-02-04T00:00Z 2024-02-11T00:00Z 2024-02-18T00:00Z",
      ["@monthly"] = "2024-02-01T00:00Z 2024-03-01T00:00Z 2024-04-01T00:00Z",
      ["@Yearly"] = "2025-01-01T00:00Z 2026-01-01T00:00Z 2027-01-01T00:00Z",
    } do
      local shown = {}
      for i, at in ipairs(parse({ cron = text }):runs(ms "2024-01-30T00:00:00Z", 3)) do
        shown[i] = time.format(at / 1000):gsub(":00Z", "Z")
      end
      assert.equal(expected, table.concat(shown, " "), text)
    end
  end)

  it("runs on the day of the month or of the week when both are given, as Vixie's cron does", function()
    assert.same({ "2024-02-01T00:00+00:00", "2024-02-02T00:00+00:00", "2024-02-09T00:00+00:00" },
      runs({ cron = "0 0 1,15 * fri", tz = "+00:00" }, "2024-01-30", 3))
  end)

  it("asks for both when one of them begins with a star", function()
    assert.same({ "2024-02-05T00:00+00:00", "2024-02-19T00:00+00:00" },
      runs({ cron = "0 0 */2 * mon", tz = "+00:00" }, "2024-01-30", 2))
  end)

  it("knows that 2100 is no leap year", function()
    assert.equal("2104-02-29", time.format(parse({ cron = "0 0 29 2 *" }):next(ms "2096-03-01") / 1000, "UTC", "%Y-%m-%d"))
  end)

  it("never names the moment it was asked about, and takes fractions of a second", function()
    local s = parse { cron = "30 2 * * *" }
    assert.equal(ms "2024-01-31T02:30:00Z", s:next(ms "2024-01-30T02:30:00Z"))
    assert.equal(ms "2024-01-30T02:30:00Z", s:next(ms "2024-01-30T02:30:00Z" - 1))
    assert.equal(ms "2024-01-31T02:30:00Z", s:next(ms "2024-01-30T02:30:00Z" + 0.5))
  end)
end)

describe("summer time", function()
  it("runs what the clock skips at the first moment after the gap, once", function()
    assert.same({ "2024-03-30T02:30+01:00", "2024-03-31T03:00+02:00", "2024-04-01T02:30+02:00" },
      runs({ cron = "30 2 * * *", tz = "Europe/Berlin" }, "2024-03-29T12:00:00", 3))
    assert.same({ "2024-03-10T03:00-04:00", "2024-03-11T02:00-04:00" },
      runs({ cron = "0,15,59 2 * * *", tz = "America/New_York" }, "2024-03-10T01:00:00", 2))
    assert.same({ "2024-10-06T02:30+11:00", "2024-10-07T02:10+11:00" },
      runs({ cron = "10 2 * * *", tz = "Australia/Lord_Howe" }, "2024-10-06T00:00:00", 2))
  end)

  it("runs what the clock shows twice the first time only", function()
    assert.same({ "2024-10-27T02:30+02:00", "2024-10-28T02:30+01:00" },
      runs({ cron = "30 2 * * *", tz = "Europe/Berlin" }, "2024-10-27T00:00:00", 2))
    assert.same({ "2024-04-07T01:45+11:00", "2024-04-08T01:45+10:30" },
      runs({ cron = "45 1 * * *", tz = "Australia/Lord_Howe" }, "2024-04-07T00:00:00", 2))
  end)

  it("does not begin again when it is asked inside the hour that is shown again", function()
    local s = parse { cron = "30 2 * * *", tz = "Europe/Berlin" }
    local again = ms "2024-10-27T02:10:00+01:00"
    assert.equal(ms "2024-10-28T02:30:00+01:00", s:next(again))
  end)

  it("runs through a repeated hour when it runs in every hour", function()
    local shown = runs({ cron = "*/30 * * * *", tz = "America/New_York" }, "2024-11-03T00:30:00", 6)
    assert.same({ "2024-11-03T01:00-04:00", "2024-11-03T01:30-04:00", "2024-11-03T01:00-05:00", "2024-11-03T01:30-05:00",
      "2024-11-03T02:00-05:00", "2024-11-03T02:30-05:00" }, shown)
  end)

  it("runs once for a day that a zone left out", function()
    assert.same({ "2011-12-29T09:00-10:00", "2011-12-31T00:00+14:00", "2011-12-31T09:00+14:00" },
      runs({ cron = "0 9 * * *", tz = "Pacific/Apia" }, "2011-12-29T00:00:00", 3))
  end)

  it("leaves a zone without it alone", function()
    assert.same({ "2024-03-31T02:30+08:00", "2024-04-01T02:30+08:00" },
      runs({ cron = "30 2 * * *", tz = "Asia/Shanghai" }, "2024-03-31T00:00:00", 2))
  end)
end)

-- ---- against a count of every minute ------------------------------------------------------------------------------

-- Every moment of [from, to] at which the fields say a run is due, found by looking at each minute.
local function count(s, from, to)
  local at, seen, found = s.zone.at, {}, {}
  local last = at(from - 60)
  for shown = from - 26 * 3600 + last, from - 60 + last, 60 do seen[shown] = true end
  for t = from, to, 60 do
    local offset = at(t)
    local due = false
    for shown = t + last, t + offset - 60, 60 do -- what the clock skipped right before t
      due = due or cron.matches(s.cron, shown)
      seen[shown] = true
    end
    local shown = t + offset
    if cron.matches(s.cron, shown) and (#s.cron.hours.list == 24 or not seen[shown]) then due = true end
    seen[shown], last = true, offset
    if due then found[#found + 1] = t * 1000 end
  end
  return found
end

local ZONES <const> = { "Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe", "UTC", "America/Sao_Paulo",
  "Asia/Beirut", "Antarctica/Troll" }

-- Moments around which a zone's clock changes, in the two years after `from`.
local function changes(zone, from)
  local list = { from }
  for t = from, from + 2 * 366 * 86400, 86400 do
    if zone.at(t) ~= zone.at(t + 86400) then list[#list + 1] = t + 43200 end
  end
  return list
end

local function random_field(least, most, stars)
  if math.random() < stars then return math.random() < 0.3 and "*/" .. math.random(1, 7) or "*" end
  local parts = {}
  for i = 1, math.random(1, 3) do
    local from = math.random(least, most)
    parts[i] = math.random() < 0.4 and ("%d-%d"):format(from, math.random(from, most)) or tostring(from)
  end
  return table.concat(parts, ",")
end

local function random_cron()
  local text
  repeat
    text = table.concat({ random_field(0, 59, 0.3), random_field(0, 5, 0.4), random_field(1, 31, 0.6), random_field(1, 12, 0.8),
      random_field(0, 6, 0.6) }, " ")
  until pcall(cron.parse, text)
  return text
end

describe("next", function()
  it("agrees with a look at every minute, around every change of the clock", function()
    local checked = 0
    for _, name in ipairs(ZONES) do
      for _, around in ipairs(changes(zones.get(name), time.parse "2017-06-01")) do
        for _ = 1, 4 do
          local text = random_cron()
          local s = parse { cron = text, tz = name }
          local from = around // 60 * 60 - 40 * 3600
          local expected = count(s, from, from + 80 * 3600)
          local at = from * 1000 - 1
          for _, want in ipairs(expected) do
            local got = s:next(at)
            assert.equal(want, got, ("%s in %s after %s"):format(text, name, time.format(at / 1000, name)))
            at, checked = got, checked + 1
          end
          assert.is_true(s:next(at) > (from + 80 * 3600) * 1000)
        end
      end
    end
    assert.is_true(checked > 500)
  end)

  it("goes strictly forward and names only minutes that match, for years", function()
    for _ = 1, 60 do
      local text = random_cron()
      local name = ZONES[math.random(#ZONES)]
      local s, at = parse { cron = text, tz = name }, ms "2016-01-01"
      for _ = 1, 50 do
        local later = s:next(at)
        assert.is_true(later > at, text)
        local t = later // 1000
        local offset, before = s.zone.at(t), s.zone.at(t - 1)
        assert.is_true(cron.matches(s.cron, t + offset) or offset > before, text)
        at = later
      end
    end
  end)
end)

describe("a schedule by every", function()
  it("counts real time from 1970, shifted by its offset", function()
    local s = parse { every = "90m", offset = "5m" }
    assert.equal(ms "2024-01-30T00:05:00Z", s:next(ms "2024-01-30T00:00:00Z"))
    assert.equal(ms "2024-01-30T01:35:00Z", s:next(ms "2024-01-30T00:05:00Z"))
    local day = parse { every = "1d", tz = "Europe/Berlin" }
    assert.same({ ms "2024-03-31T00:00:00Z", ms "2024-04-01T00:00:00Z" }, day:runs(ms "2024-03-30T12:00:00Z", 2))
  end)

  it("takes seconds and fractions of them above one", function()
    assert.equal(1500, parse({ every = 1.5 }):next(0))
    assert.equal(30000, parse({ every = "30s" }):next(0))
  end)
end)

describe("missed", function()
  it("names the runs inside the window of catchup, and says whether some are older", function()
    local s = parse { every = "1h", catchup = "150m" }
    local now = ms "2024-01-30T12:20:00Z"
    local all, dropped = s:missed(ms "2024-01-30T11:00:00Z", now)
    assert.same({ ms "2024-01-30T12:00:00Z" }, all)
    assert.is_false(dropped)
    all, dropped = s:missed(ms "2024-01-29T11:00:00Z", now)
    assert.same({ ms "2024-01-30T10:00:00Z", ms "2024-01-30T11:00:00Z", ms "2024-01-30T12:00:00Z" }, all)
    assert.is_true(dropped)
  end)

  it("counts a run at the very end of the window and one that is due now", function()
    local s = parse { cron = "0 * * * *", catchup = "1h" }
    assert.same({ ms "2024-01-30T11:00:00Z", ms "2024-01-30T12:00:00Z" },
      (s:missed(ms "2024-01-29T11:00:00Z", ms "2024-01-30T12:00:00Z")))
    assert.same({}, (s:missed(ms "2024-01-30T12:00:00Z", ms "2024-01-30T12:00:00Z")))
  end)

  it("never names more than the newest thousand", function()
    for _, t in ipairs { { every = "1s", catchup = "31d" }, { cron = "* * * * *", catchup = "2d" } } do
      local all, dropped = parse(t):missed(0, ms "2024-01-30T12:00:00Z")
      assert.equal(1000, #all)
      assert.equal(ms "2024-01-30T12:00:00Z", all[1000])
      assert.is_true(dropped)
    end
  end)

  it("makes up for ten minutes unless told otherwise", function()
    local s = parse { every = "1m" }
    assert.equal(11, #s:missed(0, ms "2024-01-30T12:00:00Z"))
  end)
end)

describe("jitter", function()
  it("is the same for the same name and moment, and below its window", function()
    local s, other = parse { cron = "@daily", jitter = "10m" }, parse { cron = "@daily", jitter = "10m", name = "y" }
    local differ, most, least = 0, 0, 1e9
    for _, at in ipairs(s:runs(ms "2024-01-01", 300)) do
      local delay = s:jitter(at)
      assert.equal(delay, s:jitter(at))
      assert.is_true(delay >= 0 and delay < 600000)
      if delay ~= other:jitter(at) then differ = differ + 1 end
      most, least = math.max(most, delay), math.min(least, delay)
    end
    assert.is_true(differ > 290)
    assert.is_true(most > 540000 and least < 60000)
  end)

  it("never reaches the next run, and is nothing when none is asked for", function()
    local s = parse { every = "10s", jitter = "1h" }
    for at = 0, 1000000, 10000 do assert.is_true(s:jitter(at) < 10000) end
    assert.equal(0, parse({ every = "10s" }):jitter(10000))
  end)
end)

describe("a schedule in words", function()
  for text, words in pairs {
    ["30 2 * * *"] = "every day at 02:30 (UTC)",
    ["0 9,17 * * mon-fri"] = "at 09:00 and 17:00 on Monday to Friday (UTC)",
    ["*/15 * * * *"] = "every 15 minutes (UTC)",
    ["* * * * *"] = "every minute (UTC)",
    ["5 * * * *"] = "at minute 5 of every hour (UTC)",
    ["0 */2 * jan-mar *"] = "at minute 0 of every 2 hours in January to March (UTC)",
    ["0 0 1,15 * fri"] = "at 00:00 on day 1 and 15 of the month, and on Friday (UTC)",
  } do
    it("is read easily: " .. text, function() assert.equal(words, parse({ cron = text }):words()) end)
  end

  it("says how every is shifted", function()
    assert.equal("every 1h30m, shifted by 5m", parse({ every = "90m", offset = "5m" }):words())
  end)
end)

describe("a wrong schedule", function()
  for _, case in ipairs {
    { { cron = "0 0 31 2 *" }, "impossible" },
    { { cron = "0 0 30 2 */2" }, "impossible" },
    { { cron = "0 0 31 4,6,9,11 *" }, "impossible" },
    { { cron = "0 25 * * *" }, 'hour "25": 25 is outside 0 to 23' },
    { { cron = "60 * * * *" }, "outside 0 to 59" },
    { { cron = "0 0 0 * *" }, "outside 1 to 31" },
    { { cron = "0 0 * * mom" }, "did you mean mon?" },
    { { cron = "0 0 * jna *" }, "did you mean jan?" },
    { { cron = "* * * *" }, "five fields are needed" },
    { { cron = "0 0 0 * * *" }, 'for seconds write every = "30s"' },
    { { cron = "5/15 * * * *" }, "write 5-59/15 or */15" },
    { { cron = "0 22-2 * * *" }, "write 22-23,0-2" },
    { { cron = "*/0 * * * *" }, "no whole number above 0" },
    { { cron = "1,,2 * * * *" }, "an element of the list is empty" },
    { { cron = "1-2-3 * * * *" }, "is no number" },
    { { cron = "" }, "five fields" },
    { { cron = 5 }, "expected text" },
    { { cron = "@dayly" }, "did you mean @daily?" },
    { { cron = "@reboot" }, "@reboot is no time" },
    { { crom = "@daily" }, 'did you mean "cron"?' },
    { {}, "says not when it runs" },
    { { cron = "@daily", every = "5m" }, "both cron and every" },
    { { cron = "@daily", offset = "5m" }, "offset belongs to every" },
    { { every = "5x" }, "every is a time such as" },
    { { every = "0.5s" }, "every is at least 1s" },
    { { every = "5m", offset = "5m" }, "offset is not below every" },
    { { every = "5m", overlap = "buffer-one" }, 'did you mean "buffer_one"?' },
    { { every = "5m", overlap = "skp" }, 'did you mean "skip"?' },
    { { every = "5m", tz = "Europe/Berln" }, 'did you mean "Europe/Berlin"?' },
    { { every = "5m", catchup = "1s" }, "catchup is 10s to 31d" },
    { { every = "5m", jitter = -1 }, "jitter is a time such as" },
    { { every = "5m", timeout = "0s" }, "timeout is at least 1s" },
    { { every = "5m", name = "two words" }, "name is text of letters" },
  } do
    it("is refused, and the message says how it is written: " .. case[2], function()
      assert.matches(case[2], refusal(case[1]), 1, true)
    end)
  end

  it("is refused in words whatever the text is, and what is taken runs", function()
    local letters = "0123456789*/,- @abcdfijmnorstuwy"
    local taken = 0
    for _ = 1, 3000 do
      local parts = {}
      for i = 1, math.random() < 0.9 and 5 or math.random(4, 6) do
        local word = math.random() < 0.6 and "*" or tostring(math.random(0, 31))
        while math.random() < 0.15 do
          local at = math.random(#letters)
          word = word .. letters:sub(at, at)
        end
        parts[i] = word
      end
      local ok, s = pcall(parse, { cron = table.concat(parts, " ") })
      if ok then
        taken = taken + 1
        assert.is_true(s:next(ms "2024-01-30") > ms "2024-01-30")
        assert.is_true(#s:words() > 5)
      else
        assert.equal("invalid", s.kind, tostring(s))
      end
    end
    assert.is_true(taken > 300 and taken < 2900, tostring(taken))
  end)

  it("is named as its policy calls it", function()
    local err = helper.error_of(schedule.parse, { name = "a", cron = "x" }, "schedules[2]")
    assert.matches("schedules[2].cron: five fields", err.message, 1, true)
    assert.matches("must be a table", helper.error_of(schedule.parse, "daily").message, 1, true)
  end)
end)
