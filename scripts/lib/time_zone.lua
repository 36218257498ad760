-- internal: time_zone.lua - offsets from UTC, read from the system's time zone database.
--
-- A zone is { name =, at = function(t) -> seconds east of UTC, abbreviation, is_dst }.  Files are TZif (RFC
-- 9636); after their last transition the POSIX rule in their footer goes on.  The C library's own localtime
-- knows one zone for the whole process, so it is of no use here.

local errors = require "perigee.error"

local zones = {}

local DAY <const> = 86400
local LARGEST_FILE <const> = 1 << 20

--- Days since 1970-01-01 of a date of the Gregorian calendar; month and day may be out of their range.
function zones.days(year, month, day)
  year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
  local y = month > 2 and year or year - 1
  local era, m = y // 400, (month + 9) % 12
  local year_of_era = y - era * 400
  local day_of_year = (153 * m + 2) // 5 + day - 1
  return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468
end

--- Year, month and day of a count of days since 1970-01-01.
function zones.date(days)
  days = days + 719468
  local era = days // 146097
  local day_of_era = days - era * 146097
  local year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
  local day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
  local m = (5 * day_of_year + 2) // 153
  local month = m < 10 and m + 3 or m - 9
  return year_of_era + era * 400 + (month <= 2 and 1 or 0), month, day_of_year - (153 * m + 2) // 5 + 1
end

-- ---- POSIX rules: CET-1CEST,M3.5.0,M10.5.0/3 ----------------------------------------------------------------

-- Seconds of [+-]hh[:mm[:ss]] at the start of text, and the rest.
local function take_time(text)
  local sign, hours, rest = text:match "^([+-]?)(%d+)(.*)$"
  if not hours then return nil, text end
  local minutes, after = rest:match "^:(%d+)(.*)$"
  local seconds, last
  if minutes then
    seconds, last = after:match "^:(%d+)(.*)$"
  end
  local total = hours * 3600 + (minutes or 0) * 60 + (seconds or 0)
  return sign == "-" and -total or total, last or after or rest
end

local function take_name(text)
  local name, rest = text:match "^<([%w+-]+)>(.*)$"
  if name then return name, rest end
  return text:match "^(%a+)(.*)$"
end

-- One day of the year and a time: function(year) -> seconds since 1970 as if that day were in UTC.
local function take_change(text)
  local month, week, weekday, rest = text:match "^,M(%d+)%.(%d)%.(%d)(.*)$"
  local julian, zero_based
  if not month then
    julian, rest = text:match "^,J(%d+)(.*)$"
  end
  if not month and not julian then
    zero_based, rest = text:match "^,(%d+)(.*)$"
    if not zero_based then return nil end
  end
  local time = 7200
  if rest:sub(1, 1) == "/" then
    time, rest = take_time(rest:sub(2))
    if not time then return nil end
  end
  return function(year)
    if month then
      local first = zones.days(year, month // 1, 1)
      local day = first + (weekday - (first + 4) % 7) % 7 + (week - 1) * 7
      if day >= zones.days(year, month + 1, 1) then day = day - 7 end
      return (day // 1) * DAY + time
    end
    local start = zones.days(year, 1, 1)
    if zero_based then return (start + zero_based // 1) * DAY + time end
    local leap = zones.days(year, 3, 1) - start == 60
    return (start + julian - 1 + (leap and julian // 1 >= 60 and 1 or 0)) // 1 * DAY + time
  end, rest
end

--- A function like a zone's `at`, or nil if the text is no POSIX rule.
function zones.posix(text)
  local standard, rest = take_name(text)
  if not standard then return nil end
  local west
  west, rest = take_time(rest)
  if not west then return nil end
  local summer
  summer, rest = take_name(rest)
  if not summer then
    return function() return -west, standard, false end
  end
  local summer_west
  summer_west, rest = take_time(rest)
  summer_west = summer_west or west - 3600
  local from, to
  from, rest = take_change(rest)
  if from then
    to = take_change(rest)
  end
  if not to then return nil end
  return function(t)
    local year = zones.date((t - west) // DAY)
    local first, last = from(year) + west, to(year) + summer_west
    local is_summer
    if first < last then
      is_summer = t >= first and t < last
    else
      is_summer = t >= first or t < last
    end
    if is_summer then return -summer_west, summer, true end
    return -west, standard, false
  end
end

-- ---- TZif files ---------------------------------------------------------------------------------------------

-- The counts in the header at `at`, and the size of the block that follows it.
local function read_header(data, at, time_size)
  local version = data:sub(at + 4, at + 4)
  local utc_flags, std_flags, leaps, times, types, chars = string.unpack(">I4I4I4I4I4I4", data, at + 20)
  local size = times * (time_size + 1) + types * 6 + chars + leaps * (time_size + 4) + std_flags + utc_flags
  return { version = version, times = times, types = types, chars = chars, size = size }
end

local function read_types(data, at, header)
  local types, names = {}, at + header.types * 6
  for i = 1, header.types do
    local offset, dst, index = string.unpack(">i4BB", data, at + (i - 1) * 6)
    types[i] = { offset = offset, dst = dst ~= 0, name = string.unpack("z", data, names + index) }
  end
  return types
end

local function read_transitions(data, at, header, time_format, time_size)
  local times, kinds = {}, {}
  for i = 1, header.times do
    times[i] = string.unpack(time_format, data, at + (i - 1) * time_size)
    kinds[i] = data:byte(at + header.times * time_size + i - 1) + 1
  end
  return times, kinds
end

-- The last transition at or before t; 0 if there is none.
local function find(times, t)
  local low, high = 0, #times
  while low < high do
    local middle = (low + high + 1) // 2
    if times[middle] <= t then low = middle else high = middle - 1 end
  end
  return low
end

local function first_standard(types)
  for _, kind in ipairs(types) do
    if not kind.dst then return kind end
  end
  return types[1]
end

--- A zone's `at` from the bytes of a TZif file; raises a plain error if they are none.
function zones.tzif(data)
  assert(data:sub(1, 4) == "TZif", "not a time zone file")
  local at, time_format, time_size = 1, ">i4", 4
  local header = read_header(data, at, 4)
  if header.version >= "2" then
    at, time_format, time_size = at + 44 + header.size, ">i8", 8
    header = read_header(data, at, 8)
  end
  local times, kinds = read_transitions(data, at + 44, header, time_format, time_size)
  local types = read_types(data, at + 44 + header.times * (time_size + 1), header)
  local footer = time_size == 8 and data:sub(at + 44 + header.size):match "^\n([^\n]*)\n"
  local rule = footer and zones.posix(footer)
  local before = first_standard(types)
  return function(t)
    local i = find(times, t)
    if i == #times and rule then return rule(t) end
    local kind = types[kinds[i]] or before
    return kind.offset, kind.name, kind.dst
  end
end

-- ---- names --------------------------------------------------------------------------------------------------

local function read_file(path)
  local file = io.open(path, "rb")
  local data = file and file:read(LARGEST_FILE)
  if file then file:close() end
  return data
end

local function folder()
  local dir = os.getenv "TZDIR"
  return dir and dir ~= "" and dir or "/usr/share/zoneinfo"
end

-- Names of the database's own table, for a hint.
local function known_names()
  local names = {}
  for line in (read_file(folder() .. "/zone1970.tab") or ""):gmatch "[^\n]+" do
    names[#names + 1] = line:match "^%u[%u,]*\t%S+\t(%S+)"
  end
  return names
end

local function unknown(name)
  local names = known_names()
  if #names == 0 then
    error(errors.new {
      kind = "unavailable",
      code = "tzdata",
      message = ("time zone %s: the time zone database is not installed (package tzdata)"):format(name),
    }, 0)
  end
  local near = errors.nearest(name, names)
  errors.invalid(('no time zone "%s"%s'):format(name, near and ('; did you mean "' .. near .. '"?') or ""))
end

local function named(name)
  if name:find "^[%w][%w_+/-]*$" and not name:find("//", 1, true) then
    local data = read_file(folder() .. "/" .. name)
    local ok, at = pcall(zones.tzif, data or "")
    if ok then return at end
  end
end

-- The zone of the machine: TZ as the C library reads it, then /etc/localtime, then UTC.
local function machine_zone()
  local tz = os.getenv "TZ"
  if tz and tz ~= "" then
    tz = tz:gsub("^:", "")
    local at = named(tz) or zones.posix(tz)
    if at then return at end
  end
  local ok, at = pcall(zones.tzif, read_file "/etc/localtime" or "")
  return ok and at or function() return 0, "UTC", false end
end

local function fixed(name)
  local sign, hours, minutes = name:match "^([+-])(%d%d):?(%d%d)$"
  if not sign then
    sign, hours = name:match "^([+-])(%d%d)$"
  end
  if not sign or hours // 1 > 23 or (minutes or 0) // 1 > 59 then return nil end
  local offset = (hours * 60 + (minutes or 0)) * (sign == "-" and -60 or 60) // 1
  return function() return offset, name, false end
end

local cache = {}

--- The zone of that name: "UTC", "+08:00", "local", or a name of the database. Raises for any other.
function zones.get(name)
  if name == nil or name == "Z" then name = "UTC" end
  if type(name) ~= "string" then errors.invalid("a time zone is text such as \"Asia/Shanghai\", not " .. type(name)) end
  local zone = cache[name]
  if not zone then
    local at
    if name == "UTC" then
      at = function() return 0, "UTC", false end
    elseif name == "local" then
      at = machine_zone()
    else
      at = fixed(name) or named(name) or unknown(name)
    end
    zone = { name = name, at = at }
    cache[name] = zone
  end
  return zone
end

return zones
