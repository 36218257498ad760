-- internal: schedule.lua - when a policy's schedules run: cron or every, zones, summer time, catching up, jitter.
--
-- The words are Temporal's.  A schedule is read once and holds no state: who runs it keeps the last moment and
-- asks for what comes after it.  Moments are milliseconds since 1970, as in the journal.
--
-- Summer time, for cron: local times that the clock skips run once, at the first moment after the gap; local
-- times that it shows twice run the first time only.  A schedule that runs in every hour of the day runs through
-- repeated hours as well: it would pause for an hour otherwise.  every counts real time and knows no clock.

local check_options = require "perigee.options"
local core = require "perigee.core.time"
local cron = require "perigee.schedule_cron"
local errors = require "perigee.error"
local time = require "perigee.time"
local zones = require "perigee.time_zone"

local schedule = {}

local DAY <const> = 86400
local SHORTEST_CATCHUP <const>, LONGEST_CATCHUP <const> = 10, 31 * DAY
local MOST_MISSED <const> = 1000

--- Fields of a schedule; what runs is the policy's.
schedule.FIELDS = { "name", "cron", "every", "offset", "tz", "overlap", "catchup", "jitter", "timeout", "run" }

--- What happens to a run whose time comes while the one before it still works.
schedule.OVERLAPS = { "skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all" }

schedule.DEFAULTS = { tz = "UTC", overlap = "skip", catchup = "10m", jitter = "0s", timeout = "1h" }

local methods = {}
methods.__index = methods

-- ---- reading --------------------------------------------------------------------------------------------------

-- Calls f and puts the name of the field before the message of what it refuses.
local function named(where, f, ...)
  local ok, result = pcall(f, ...)
  if ok then return result end
  if not errors.is(result, "invalid") then error(result, 0) end
  return errors.invalid(where .. ": " .. result.message)
end

local function read_duration(where, value, least, most)
  local ok, seconds = pcall(core.seconds, value)
  if not ok then errors.invalid(('%s is a time such as "30s", "10m" or "1d", not %s'):format(where, tostring(value))) end
  if seconds < least or most and seconds > most then
    errors.invalid(("%s is %s%s, not %s"):format(where, most and time.words(least) .. " to " .. time.words(most) or "at least ",
      most and "" or time.words(least), tostring(value)))
  end
  return math.floor(seconds * 1000 + 0.5)
end

local function read_overlap(where, value)
  for _, name in ipairs(schedule.OVERLAPS) do
    if value == name then return name end
  end
  local word = type(value) == "string" and value:lower():gsub("[-%s]", "_") or ""
  local near = errors.nearest(word, schedule.OVERLAPS)
  return errors.invalid(('%s: there is no "%s"%s'):format(where, tostring(value),
    near and ('; did you mean "%s"?'):format(near) or ": known are " .. table.concat(schedule.OVERLAPS, " ")))
end

local function read_times(s, where, t)
  if t.cron ~= nil and t.every ~= nil then errors.invalid(where .. " has both cron and every: one schedule for each") end
  if t.cron == nil and t.every == nil then
    errors.invalid(where .. ' says not when it runs: cron = "30 2 * * *" or every = "15m"')
  end
  if t.cron ~= nil then
    if t.offset ~= nil then errors.invalid(where .. ".offset belongs to every; cron names its minutes itself") end
    s.cron = named(where .. ".cron", cron.parse, t.cron)
  else
    s.every = read_duration(where .. ".every", t.every, 1)
    s.offset = read_duration(where .. ".offset", t.offset or 0, 0)
    if s.offset >= s.every then errors.invalid(where .. ".offset is not below every") end
  end
end

--- A schedule from a policy's table.  Raises `invalid`, naming the field and the nearest right word.
--- where: what the messages call the table.
function schedule.parse(t, where)
  if type(t) ~= "table" then errors.invalid((where or "schedule") .. " must be a table, not a " .. type(t)) end
  where = where or type(t.name) == "string" and ("schedule %q"):format(t.name) or "schedule"
  check_options.check(where, t, schedule.FIELDS)
  if type(t.name) ~= "string" or not t.name:find "^[%w][%w_.-]*$" or #t.name > 64 then
    errors.invalid(where .. '.name is text of letters, digits, "_", "-" and ".", such as "nightly"')
  end
  local function given(field)
    if t[field] == nil then return schedule.DEFAULTS[field] end
    return t[field]
  end
  local s = setmetatable({ name = t.name }, methods)
  read_times(s, where, t)
  s.zone = named(where .. ".tz", zones.get, given "tz")
  s.tz = s.zone.name
  s.overlap = read_overlap(where .. ".overlap", given "overlap")
  s.catchup = read_duration(where .. ".catchup", given "catchup", SHORTEST_CATCHUP, LONGEST_CATCHUP)
  s.jitter_window = read_duration(where .. ".jitter", given "jitter", 0)
  s.timeout = read_duration(where .. ".timeout", given "timeout", 1)
  return s
end

-- ---- the next moment --------------------------------------------------------------------------------------------

-- The first second in (from, to] at which the zone's offset is not the one of `from`.
local function change(zone, from, to)
  local offset = zone.at(from)
  while to - from > 1 do
    local middle = (from + to) // 2
    if zone.at(middle) == offset then from = middle else to = middle end
  end
  return to
end

local function whole_minute(shown)
  return (shown + 59) // 60 * 60
end

-- The least local minute that has not been shown yet when the clock stands at t.
local function not_shown_yet(s, t, offset)
  local least = (t + offset) // 60 * 60 + 60
  if s.cron.every_hour then return least end
  local before = s.zone.at(t - DAY)
  if before <= offset then return least end
  return math.max(least, whole_minute(change(s.zone, t - DAY, t) + before))
end

-- Walks from one change of the clock to the next; between two of them a local minute is one moment.
local function next_by_cron(s, t)
  local zone = s.zone
  local offset = zone.at(t)
  local least = not_shown_yet(s, t, offset)
  while true do
    local shown = cron.first(s.cron, least)
    local at = shown - offset
    local near = math.min(at, t + DAY)
    local changed = zone.at(near) ~= offset and near or zone.at(at) ~= offset and at
    if not changed then return at end
    local border = change(zone, t, changed)
    local new = zone.at(border)
    if new > offset and shown >= border + offset and shown < border + new then return border end
    if new > offset then
      least = whole_minute(border + new)
    else
      least = whole_minute(border + (s.cron.every_hour and new or offset))
    end
    t, offset = border, new
  end
end

--- The first moment after this one.
function methods:next(after_ms)
  after_ms = math.floor(after_ms)
  if self.every then return ((after_ms - self.offset) // self.every + 1) * self.every + self.offset end
  return next_by_cron(self, after_ms // 1000) * 1000
end

--- The next n moments after this one.
function methods:runs(from_ms, n)
  local runs = {}
  for i = 1, n do
    from_ms = self:next(from_ms)
    runs[i] = from_ms
  end
  return runs
end

--- The moments after `last_ms`, up to now, that are not longer ago than `catchup`, oldest first (the newest 1000 at
--- most); and whether some are older and will not be made up for.
function methods:missed(last_ms, now_ms)
  local from = math.max(last_ms, now_ms - self.catchup - 1)
  local dropped = from > last_ms and self:next(last_ms) <= from
  if self.every and from < now_ms - MOST_MISSED * self.every then
    local later = now_ms - MOST_MISSED * self.every
    dropped, from = dropped or self:next(from) <= later, later
  end
  local all, at = {}, self:next(from)
  while at <= now_ms do
    all[#all + 1] = at
    at = self:next(at)
  end
  if #all <= MOST_MISSED then return all, dropped end
  return table.move(all, #all - MOST_MISSED + 1, #all, 1, {}), true
end

-- FNV-1a of the text, then a round that spreads its last bytes over all bits.
local function spread(text)
  local hash = 0xcbf29ce484222325
  for i = 1, #text do hash = (hash ~ text:byte(i)) * 0x100000001b3 end
  hash = (hash ~ (hash >> 33)) * 0xff51afd7ed558ccd
  hash = (hash ~ (hash >> 33)) * 0xc4ceb9fe1a85ec53
  return (hash ~ (hash >> 33)) >> 11
end

--- How many milliseconds after its moment this run starts: less than `jitter` and less than the time to the next
--- run.  The same name and moment always give the same.
function methods:jitter(at_ms)
  local window = math.min(self.jitter_window, self:next(at_ms) - at_ms)
  if window <= 0 then return 0 end
  return spread(self.name .. "\0" .. at_ms) % window
end

--- When it runs, in words: "at 02:30 on Monday to Friday (Europe/Berlin)".
function methods:words()
  if self.cron then return ("%s (%s)"):format(cron.words(self.cron), self.tz) end
  local text = "every " .. time.words(self.every / 1000)
  return self.offset > 0 and ("%s, shifted by %s"):format(text, time.words(self.offset / 1000)) or text
end

return schedule
