-- time_spec.lua - perigee.time: zones against the C library's own answers, dates back and forth, durations.
local time = require "perigee.time"
local zones = require "perigee.time_zone"
local helper = require "tests.helper"

local function refusal(kind, f, ...)
  local err = helper.error_of(f, ...)
  assert.equal(kind, err.kind)
  return err.message
end

describe("time.format and time.parse", function()
  it("write and read ISO 8601", function()
    for text, t in pairs {
      ["1970-01-01T00:00:00Z"] = 0,
      ["2024-01-30T12:05:45Z"] = 1706616345,
      ["2024-02-29T23:59:59.250Z"] = 1709251199.25,
      ["1969-12-31T23:59:59Z"] = -1,
      ["0000-01-01T00:00:00Z"] = -62167219200,
      ["9999-12-31T23:59:59Z"] = 253402300799,
    } do
      assert.equal(text, time.format(t))
      assert.equal(t, time.parse(text))
    end
    assert.equal("integer", math.type(time.parse "2024-01-30T12:05:45Z"))
  end)

  it("read dates alone, blanks, offsets and zones", function()
    assert.equal(1706572800, time.parse "2024-01-30")
    assert.equal(1706616300, time.parse "2024-01-30 12:05")
    assert.equal(1706616345, time.parse "2024-01-30T20:05:45+08:00")
    assert.equal(1706616345, time.parse "2024-01-30T20:05:45+0800")
    assert.equal(1706616345, time.parse("2024-01-30T20:05:45", "Asia/Shanghai"))
    assert.equal(1706616345, time.parse("2024-01-30T12:05:45Z", "Asia/Shanghai"))
  end)

  it("show other zones with their offset", function()
    assert.equal("2024-01-30T20:05:45+08:00", time.format(1706616345, "Asia/Shanghai"))
    assert.equal("2024-01-30T07:05:45-05:00", time.format(1706616345, "America/New_York"))
    assert.equal("2024-07-30T08:05:45-04:00", time.format(1722341145, "America/New_York"))
    assert.equal("2024-01-30T17:50:45+05:45", time.format(1706616345, "+05:45"))
  end)

  it("write any pattern of os.date", function()
    assert.equal("30.01.2024 20:05 Tue +0800 CST 100%",
      time.format(1706616345, "Asia/Shanghai", "%d.%m.%Y %H:%M %a %z %Z 100%%"))
  end)

  it("refuse what is no time, saying how one is written", function()
    for _, text in ipairs { "", "yesterday", "2024-13-01", "2024-02-30", "2023-02-29", "2024-01-30T25:00", "2024-1-3",
      "2024-01-30T12:05:45X", "2024-01-30T12", "1706616345", "2024-01-30T12:60" } do
      assert.matches("write for example", refusal("parse", time.parse, text), 1, true)
    end
    refusal("invalid", time.parse, 5)
    refusal("invalid", time.format, "2024-01-30")
    refusal("invalid", time.format, 1e15)
    refusal("invalid", time.format, 0 / 0)
  end)
end)

describe("zones", function()
  it("agree with the database's own rules on each side of a change of the clock", function()
    -- Berlin: 2024-03-31 01:00 UTC and 2024-10-27 01:00 UTC; far beyond the table too, where the rule goes on
    assert.equal("2024-03-31T01:59:59+01:00", time.format(1711846799, "Europe/Berlin"))
    assert.equal("2024-03-31T03:00:00+02:00", time.format(1711846800, "Europe/Berlin"))
    assert.equal("2024-10-27T02:59:59+02:00", time.format(1729990799, "Europe/Berlin"))
    assert.equal("2024-10-27T02:00:00+01:00", time.format(1729990800, "Europe/Berlin"))
    assert.equal("2100-07-20T02:00:00+02:00", time.format(4119724800, "Europe/Berlin"))
    assert.equal("2100-01-20T01:00:00+01:00", time.format(4104086400, "Europe/Berlin"))
    assert.equal("1850-01-01T00:53:28+00:53:28", time.format(-3786825600, "Europe/Berlin"))
  end)

  it("take the first of two equal clock times, and step over a gap", function()
    assert.equal("2024-10-27T02:30:00+02:00", time.format(time.parse("2024-10-27T02:30", "Europe/Berlin"), "Europe/Berlin"))
    assert.equal("2024-03-31T03:30:00+02:00", time.format(time.parse("2024-03-31T02:30", "Europe/Berlin"), "Europe/Berlin"))
  end)

  it("read POSIX rules in all their forms", function()
    local sydney = zones.posix "AEST-10AEDT,M10.1.0,M4.1.0/3"
    assert.same({ 39600, "AEDT", true }, { sydney(1704067200) }) -- January
    assert.same({ 36000, "AEST", false }, { sydney(1719792000) }) -- July
    assert.same({ 28800, "CST", false }, { zones.posix "CST-8" (0) })
    assert.same({ 20700, "+0545", false }, { zones.posix "<+0545>-5:45" (0) })
    local julian = zones.posix "X3Y,J60/0,300/0" -- 1 March, leap year or not
    assert.same({ -10800, "X", false }, { julian(1709175600 + 3600) }) -- 2024-02-29 04:00 UTC
    assert.same({ -7200, "Y", true }, { julian(1709262000 + 3600) }) -- 2024-03-01 04:00 UTC
    for _, text in ipairs { "", "X", "1X", "X3Y,J60", "X3Y,M1.2.3", "<+05" } do
      assert.is_nil(zones.posix(text))
    end
  end)

  it("refuse unknown names, and names that leave the database", function()
    assert.matches('did you mean "Asia/Shanghai"', refusal("invalid", time.format, 0, "Asia/Shangai"), 1, true)
    for _, name in ipairs { "../../etc/passwd", "/etc/localtime", "+25:00", "Nowhere/Land", "" } do
      refusal("invalid", time.format, 0, name)
    end
  end)
end)

describe("time.date and time.at", function()
  it("are each other's inverse, in any zone", function()
    local t = -5000000000
    while t < 8000000000 do
      for _, zone in ipairs { "UTC", "Asia/Shanghai", "America/New_York", "Australia/Lord_Howe", "-03:30" } do
        local back = time.at(time.date(t, zone), zone)
        -- an hour that the clock shows twice comes back as its first
        assert(back == t or t - back <= 3600 and time.format(back, zone):sub(1, 19) == time.format(t, zone):sub(1, 19),
          zone .. " " .. t)
      end
      t = t + 86400 * 37 + 12345
    end
  end)

  it("agree with the C library on days and weekdays", function()
    for t = -4000000000, 8000000000, 86400 * 101 + 777 do
      local mine, theirs = time.date(t), os.date("!*t", t)
      for _, field in ipairs { "year", "month", "day", "hour", "min", "sec", "wday", "yday" } do
        assert.equal(theirs[field], mine[field])
      end
    end
  end)

  it("name the field that is wrong", function()
    assert.matches("month is 1 to 12", refusal("invalid", time.at, { year = 2024, month = 13, day = 1 }), 1, true)
    assert.matches("no day 30 in 2024-02", refusal("invalid", time.at, { year = 2024, month = 2, day = 30 }), 1, true)
    assert.matches("day must be", refusal("invalid", time.at, { year = 2024, month = 2 }), 1, true)
    assert.equal(1706572800, time.at { year = 2024, month = 1, day = 30 })
  end)
end)

describe("the clock", function()
  it("is the one of os.time, and monotonic time does not go back", function()
    assert.is_true(math.abs(time.now() - os.time()) < 2)
    local first = time.monotonic()
    assert.is_true(time.monotonic() >= first)
  end)
end)

describe("durations", function()
  it("are read from text and numbers", function()
    assert.equal(7500, time.seconds "2h5m")
    assert.equal(0.5, time.seconds "500ms")
    assert.equal(90, time.seconds(90))
    assert.matches("like", refusal("invalid", time.seconds, "soon"), 1, true)
    refusal("invalid", time.seconds, -1)
  end)

  it("are written in their two largest units", function()
    for words, seconds in pairs {
      ["0s"] = 0, ["120ms"] = 0.12, ["1s"] = 1, ["1.5s"] = 1.5, ["10s"] = 9.97, ["45s"] = 45, ["1m"] = 59.7, ["1m30s"] = 90,
      ["1h"] = 3600, ["2h5m"] = 7505, ["1d"] = 86400, ["3d4h"] = 86400 * 3 + 4 * 3600 + 59, ["1d1s"] = nil,
    } do
      assert.equal(words, time.words(seconds))
    end
    assert.equal("1d", time.words(86401))
  end)
end)
