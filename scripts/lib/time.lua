-- perigee.time - dates, zones and durations.
--
-- A point in time is a number: seconds since 1970-01-01 UTC, as os.time gives it.  The time comes from the
-- host's clock, so that a rehearsal on a virtual clock sees its own.  Zones are read from the system's
-- database (scripts/lib/time_zone.lua).

local core = require "perigee.core.time"
local errors = require "perigee.error"
local zones = require "perigee.time_zone"

local time = { now = core.now, monotonic = core.monotonic, seconds = core.seconds }

local DAY <const> = 86400

local function check_number(where, t)
  if type(t) ~= "number" then errors.invalid(where .. ": a time is seconds since 1970, a number, not " .. type(t)) end
  -- the years 0000 to 9999
  if not (t >= -62167219200 and t < 253402300800) then errors.invalid(where .. ": the time is outside the years 0 to 9999") end
end

--- The fields of a time in a zone (default UTC): year month day hour min sec wday yday, and zone, abbreviation,
--- offset in seconds east of UTC, isdst. sec keeps a fraction.
function time.date(t, zone)
  check_number("time.date", t)
  zone = zones.get(zone)
  local whole = math.floor(t)
  local offset, abbreviation, is_dst = zone.at(whole)
  local shown = whole + offset
  local days, rest = shown // DAY, shown % DAY
  local year, month, day = zones.date(days)
  local fraction = t - whole
  return {
    year = year,
    month = month,
    day = day,
    hour = rest // 3600,
    min = rest // 60 % 60,
    sec = fraction > 0 and rest % 60 + fraction or rest % 60,
    wday = (days + 4) % 7 + 1,
    yday = days - zones.days(year, 1, 1) + 1,
    isdst = is_dst,
    offset = offset,
    abbreviation = abbreviation,
    zone = zone.name,
  }
end

-- The time whose clock in the zone shows `shown` (seconds as if in UTC).  Of two such times the first; where
-- the clock skips it, the time as far behind the gap as `shown` is inside it.
local function from_shown(shown, zone)
  local before, after = zone.at(shown - DAY), zone.at(shown + DAY)
  for _, offset in ipairs { math.max(before, after), math.min(before, after) } do
    if zone.at(shown - offset) == offset then return shown - offset end
  end
  return shown - before
end

local LIMITS <const> = { { "month", 1, 12 }, { "day", 1, 31 }, { "hour", 0, 23 }, { "min", 0, 59 }, { "sec", 0, 60 } }

local function check_fields(where, f)
  for _, limit in ipairs(LIMITS) do
    local name, least, most = table.unpack(limit)
    if f[name] < least or f[name] >= most + 1 then errors.invalid(("%s: %s is %d to %d"):format(where, name, least, most)) end
  end
  if f.day > zones.days(f.year, f.month + 1, 1) - zones.days(f.year, f.month, 1) then
    errors.invalid(("%s: there is no day %d in %04d-%02d"):format(where, f.day, f.year, f.month))
  end
end

--- The time of a date: year, month and day are needed, hour, min and sec are 0 unless given.
function time.at(fields, zone)
  if type(fields) ~= "table" then errors.invalid("time.at: expected a table with year, month and day, got " .. type(fields)) end
  local f = { year = 0, month = 0, day = 0, hour = 0, min = 0, sec = 0 }
  for _, name in ipairs { "year", "month", "day", "hour", "min", "sec" } do
    local value = fields[name]
    local given = value ~= nil or f[name] == 0 and name ~= "year" and name ~= "month" and name ~= "day"
    local number = name == "sec" and value or math.tointeger(value)
    if not given or value ~= nil and type(number) ~= "number" then
      errors.invalid(("time.at: %s must be a whole number"):format(name))
    end
    f[name] = number or 0
  end
  if f.year < 0 or f.year > 9999 then errors.invalid "time.at: year is 0 to 9999" end
  check_fields("time.at", f)
  local whole = math.floor(f.sec)
  local shown = zones.days(f.year, f.month, f.day) * DAY + f.hour * 3600 + f.min * 60 + whole
  local t = from_shown(shown, zones.get(zone))
  return f.sec > whole and t + (f.sec - whole) or t
end

-- ---- text -------------------------------------------------------------------------------------------------

local function offset_text(zone, offset)
  if zone.name == "UTC" then return "Z" end
  local size = math.abs(offset)
  local text = ("%s%02d:%02d"):format(offset < 0 and "-" or "+", size // 3600, size // 60 % 60)
  return size % 60 > 0 and ("%s:%02d"):format(text, size % 60) or text
end

--- ISO 8601 text of a time in a zone (default UTC): "2024-01-30T12:05:45Z". A pattern of os.date ("%Y-%m-%d")
--- gives another form.
function time.format(t, zone, pattern)
  check_number("time.format", t)
  zone = zones.get(zone)
  local ms = math.floor(t * 1000 + 0.5)
  local whole = ms // 1000
  local offset, abbreviation = zone.at(whole)
  if pattern then
    pattern = pattern:gsub("%%([%%zZ])", function(letter)
      if letter == "z" then return (offset_text(zone, offset):gsub(":", ""):gsub("Z", "+0000")) end
      return letter == "Z" and abbreviation or "%%"
    end)
    return os.date("!" .. pattern, whole + offset)
  end
  local shown = whole + offset
  local year, month, day = zones.date(shown // DAY)
  local rest = shown % DAY
  local fraction = ms % 1000 > 0 and (".%03d"):format(ms % 1000) or ""
  return ("%04d-%02d-%02dT%02d:%02d:%02d%s%s"):format(year, month, day, rest // 3600, rest // 60 % 60, rest % 60, fraction,
    offset_text(zone, offset))
end

local function bad(text)
  local shown = #text > 60 and text:sub(1, 60) .. "…" or text
  return error(errors.new {
    kind = "parse",
    message = ('"%s" is not a time: write for example "2024-01-30", "2024-01-30T12:05:45Z" or "2024-01-30T20:05:45+08:00"'):format(shown),
  }, 0)
end

-- Zone of the text's end: its own offset, or nil.
local function take_offset(text)
  if text == "" then return nil, true end
  if text:find "^[Zz]$" then return "UTC", true end
  if text:find "^[+-]%d%d:?%d%d$" or text:find "^[+-]%d%d$" then return text, true end
  return nil, false
end

--- The time that ISO 8601 text states; text without an offset is read in the zone (default UTC).
function time.parse(text, zone)
  if type(text) ~= "string" then errors.invalid("time.parse: expected text, got " .. type(text)) end
  local year, month, day, rest = text:match "^(%d%d%d%d)-(%d%d)-(%d%d)(.*)$"
  if not year then return bad(text) end
  local hour, min, sec, fraction = 0, 0, 0, nil
  if rest ~= "" then
    hour, min, rest = rest:match "^[Tt ](%d%d):(%d%d)(.*)$"
    if not hour then return bad(text) end
    local seconds, after = rest:match "^:(%d%d)(.*)$"
    if seconds then
      sec, rest = seconds, after
      fraction, after = rest:match "^[.,](%d+)(.*)$"
      rest = after or rest
    end
  end
  local offset, known = take_offset(rest)
  if not known then return bad(text) end
  local fields = {
    year = tonumber(year),
    month = tonumber(month),
    day = tonumber(day),
    hour = tonumber(hour),
    min = tonumber(min),
    sec = fraction and tonumber(sec .. "." .. fraction) or tonumber(sec),
  }
  local ok, t = pcall(time.at, fields, offset or zone)
  if ok then return t end
  zones.get(offset or zone) -- if it is the zone that is wrong, this says so
  return bad(text)
end

local UNITS <const> = { { "d", 86400 }, { "h", 3600 }, { "m", 60 } }

--- A duration as people read it, in its two largest units: "2h5m", "45s", "1.5s", "120ms".
function time.words(seconds)
  seconds = core.seconds(seconds)
  if seconds == 0 then return "0s" end
  if seconds < 1 then
    return ("%dms"):format(math.floor(seconds * 1000 + 0.5))
  elseif seconds < 10 and seconds % 1 > 0 then
    return (("%.1f"):format(seconds):gsub("%.0$", "")) .. "s"
  end
  local left = math.floor(seconds + 0.5)
  local parts = {}
  for _, unit in ipairs(UNITS) do
    local name, size = unit[1], unit[2]
    if left >= size and #parts < 2 or #parts == 1 then
      parts[#parts + 1] = left >= size and ("%d%s"):format(left // size, name) or ""
      left = left % size
    end
  end
  if left > 0 and #parts < 2 or #parts == 0 then
    parts[#parts + 1] = ("%ds"):format(left)
  end
  return table.concat(parts)
end

return time
