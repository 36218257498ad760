-- internal: schedule_cron.lua - the five fields of cron: reading them, the next minute they name, and their words.
--
-- Knows dates and clocks, not zones: a minute is a count of seconds since 1970 as if its clock were UTC's
-- (scripts/lib/schedule.lua maps it to a moment).  The rules are those of Vixie's cron: when both day of the
-- month and day of the week are given, either is enough; a field that begins with * gives nothing.

local errors = require "perigee.error"
local zones = require "perigee.time_zone"

local cron = {}

local DAY <const> = 86400

local MONTHS <const> = { "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec" }
local WEEKDAYS <const> = { "sun", "mon", "tue", "wed", "thu", "fri", "sat" }
local LONGEST_MONTH <const> = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local FIELDS <const> = {
  { name = "minute", least = 0, most = 59 },
  { name = "hour", least = 0, most = 23 },
  { name = "day of the month", least = 1, most = 31 },
  { name = "month", least = 1, most = 12, names = MONTHS, first = 1 },
  { name = "day of the week", least = 0, most = 7, names = WEEKDAYS, first = 0 },
}

local SHORT <const> = {
  ["@yearly"] = "0 0 1 1 *",
  ["@annually"] = "0 0 1 1 *",
  ["@monthly"] = "0 0 1 * *",
  ["@weekly"] = "0 0 * * 0",
  ["@daily"] = "0 0 * * *",
  ["@midnight"] = "0 0 * * *",
  ["@hourly"] = "0 * * * *",
}

-- ---- reading ------------------------------------------------------------------------------------------------

local function bad(field, text, why, ...)
  errors.invalid(('%s "%s": %s'):format(field.name, text, why:format(...)))
end

-- One number or name of a field.
local function read_value(field, text, word)
  local number = word:find "^%d+$" and #word <= 4 and tonumber(word)
  if number then
    if number < field.least or number > field.most then
      bad(field, text, "%s is outside %d to %d", word, field.least, field.most)
    end
    return number
  end
  for i, name in ipairs(field.names or {}) do
    if word:lower() == name then return i - 1 + field.first end
  end
  if not field.names then bad(field, text, "%q is no number", word) end
  local near = errors.nearest(word:lower():sub(1, 3), field.names)
  return bad(field, text, "%q is no number and no name%s", word,
    near and ("; did you mean %s?"):format(near) or (" (names are %s to %s)"):format(field.names[1], field.names[#field.names]))
end

local function read_range(field, text, from, to)
  local first, last = read_value(field, text, from), read_value(field, text, to)
  if field.least == 0 and field.most == 7 and last == 0 and first > 0 then last = 7 end -- fri-sun
  if first > last then
    local top = field.most == 7 and 6 or field.most
    bad(field, text, "the range runs backwards; write %s-%d,%d-%s", from, top, field.least, to)
  end
  return first, last
end

-- One element of a field's list: *, 5, 1-5, */10, 0-30/10.
local function read_element(field, text, element, set)
  local range, step = element:match "^(.-)/(.*)$"
  range = range or element
  local first, last = field.least, field.most == 7 and 6 or field.most
  if range ~= "*" then
    local from, to = range:match "^([^-]+)%-([^-]+)$"
    if from then
      first, last = read_range(field, text, from, to)
    else
      first = read_value(field, text, range)
      if step then bad(field, text, "a step needs a range; write %s-%d/%s or */%s", range, last, step, step) end
      last = first
    end
  end
  local by = 1
  if step then
    by = step:find "^%d+$" and #step <= 4 and tonumber(step) or 0
    if by < 1 then bad(field, text, "the step %q is no whole number above 0", step) end
  end
  for value = first, last, by do set[field.most == 7 and value % 7 or value] = true end
end

local function read_field(field, text)
  local set, list = {}, {}
  if text:find "^," or text:find ",$" or text:find(",,", 1, true) then bad(field, text, "an element of the list is empty") end
  for element in text:gmatch "[^,]+" do read_element(field, text, element, set) end
  for value in pairs(set) do list[#list + 1] = value end
  table.sort(list)
  return { list = list, set = set, star = text:sub(1, 1) == "*", text = text }
end

-- A day of the month that none of the months has, and no day of the week beside it.
local function is_impossible(c)
  if not c.weekdays.star and not c.days.star then return false end
  for _, month in ipairs(c.months.list) do
    if c.days.list[1] <= LONGEST_MONTH[month] then return false end
  end
  return true
end

local function split(text)
  local words = {}
  for word in text:gmatch "%S+" do words[#words + 1] = word end
  return words
end

local function short_form(text)
  local known = {}
  for name in pairs(SHORT) do known[#known + 1] = name end
  table.sort(known)
  if text == "@reboot" then errors.invalid '@reboot is no time: a schedule runs at times only' end
  local near = errors.nearest(text:lower(), known)
  errors.invalid(("there is no %s%s"):format(text,
    near and ("; did you mean %s?"):format(near) or ": known are " .. table.concat(known, " ")))
end

--- The five fields of the text.  Raises `invalid`, naming the field.
function cron.parse(text)
  if type(text) ~= "string" then errors.invalid('expected text such as "30 2 * * mon-fri", got ' .. type(text)) end
  local words = split(text)
  if #words == 1 and words[1]:sub(1, 1) == "@" then words = split(SHORT[words[1]:lower()] or short_form(words[1])) end
  if #words ~= 5 then
    errors.invalid(("five fields are needed, minute hour day month weekday, and \"%s\" has %d%s"):format(text, #words,
      #words == 6 and '; for seconds write every = "30s"' or ""))
  end
  local read = {}
  for i, field in ipairs(FIELDS) do read[i] = read_field(field, words[i]) end
  local c = { minutes = read[1], hours = read[2], days = read[3], months = read[4], weekdays = read[5] }
  if is_impossible(c) then
    errors.invalid(('impossible: no month of "%s" has a day %s, so "%s" never runs'):format(words[4], words[3], text))
  end
  c.every_hour = #c.hours.list == 24
  return c
end

-- ---- the next minute ------------------------------------------------------------------------------------------

local function day_matches(c, day, weekday)
  local by_day, by_weekday = c.days.set[day], c.weekdays.set[weekday]
  if c.days.star or c.weekdays.star then return by_day and by_weekday end
  return by_day or by_weekday
end

-- The first value of the sorted list at or after `least`.
local function at_least(list, least)
  for _, value in ipairs(list) do
    if value >= least then return value end
  end
end

-- The first minute of a day, counted from midnight, that is `least` or later.
local function minute_of_day(c, least)
  local hour = at_least(c.hours.list, least // 60)
  if hour == least // 60 then
    local minute = at_least(c.minutes.list, least % 60)
    if minute then return hour * 60 + minute end
    hour = at_least(c.hours.list, hour + 1)
  end
  return hour and hour * 60 + c.minutes.list[1]
end

-- The first day at or after `day` (days since 1970) that matches.
local function matching_day(c, day)
  local year, month, number = zones.date(day)
  local last_year = year + 400 -- after which the calendar repeats
  while year <= last_year do
    if c.months.set[month] then
      local first, after = zones.days(year, month, 1), zones.days(year, month + 1, 1)
      for d = first + number - 1, after - 1 do
        if day_matches(c, d - first + 1, (d + 4) % 7) then return d end
      end
    end
    month, number = month + 1, 1
    if month > 12 then year, month = year + 1, 1 end
  end
end

--- The first minute at or after `shown` (a whole minute) that the fields name.
function cron.first(c, shown)
  local day, minute = shown // DAY, nil
  local found = matching_day(c, day)
  if found == day then
    minute = minute_of_day(c, shown % DAY // 60)
    if not minute then found = matching_day(c, day + 1) end
  end
  return found * DAY + (minute or minute_of_day(c, 0)) * 60
end

--- Whether the fields name this minute.
function cron.matches(c, shown)
  local _, month, day = zones.date(shown // DAY)
  local minute = shown % DAY // 60
  return (c.months.set[month] and day_matches(c, day, (shown // DAY + 4) % 7) and c.hours.set[minute // 60]
    and c.minutes.set[minute % 60]) and true or false
end

-- ---- words ----------------------------------------------------------------------------------------------------

local MONTH_NAMES <const> = { "January", "February", "March", "April", "May", "June", "July", "August", "September",
  "October", "November", "December" }
local WEEKDAY_NAMES <const> = { [0] = "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday" }

local function join(parts)
  if #parts < 2 then return parts[1] or "" end
  return table.concat(parts, ", ", 1, #parts - 1) .. " and " .. parts[#parts]
end

-- 1 2 3 7 -> "1 to 3 and 7"
local function in_words(list, name)
  local parts, i = {}, 1
  while i <= #list do
    local j = i
    while list[j + 1] == list[j] + 1 do j = j + 1 end
    if j - i >= 2 then
      parts[#parts + 1] = name(list[i]) .. " to " .. name(list[j])
    else
      for k = i, j do parts[#parts + 1] = name(list[k]) end
    end
    i = j + 1
  end
  return join(parts)
end

-- The step of a list that goes through the whole range evenly, or nil.
local function even_step(list, range)
  local step = list[2] and list[2] - list[1]
  if not step or list[1] >= step or range % step ~= 0 or #list ~= range // step then return nil end
  return step
end

local function clock_words(c)
  local minutes, hours = c.minutes.list, c.hours.list
  if #hours <= 4 and #hours * #minutes <= 6 then
    local times = {}
    for _, hour in ipairs(hours) do
      for _, minute in ipairs(minutes) do times[#times + 1] = ("%02d:%02d"):format(hour, minute) end
    end
    return "at " .. join(times)
  end
  local text
  local step = even_step(minutes, 60)
  if #minutes == 60 then
    text = "every minute"
  elseif step then
    text = ("every %d minutes"):format(step) .. (minutes[1] > 0 and (" from minute %d"):format(minutes[1]) or "")
  else
    text = (#minutes == 1 and "at minute " or "at minutes ") .. in_words(minutes, tostring)
  end
  if c.every_hour then return #minutes < 60 and not step and text .. " of every hour" or text end
  local hour_step = even_step(hours, 24)
  if hour_step and hours[1] == 0 then return ("%s of every %d hours"):format(text, hour_step) end
  return ("%s of the hours %s"):format(text, in_words(hours, tostring))
end

local function day_words(c)
  local days = "day " .. in_words(c.days.list, tostring) .. " of the month"
  local weekdays = in_words(c.weekdays.list, function(day) return WEEKDAY_NAMES[day] end)
  local all_days, all_weekdays = #c.days.list == 31, #c.weekdays.list == 7
  if c.days.star or c.weekdays.star then
    if all_days and all_weekdays then return nil end
    if all_days then return "on " .. weekdays end
    if all_weekdays then return "on " .. days end
    return ("on %s if it is %s"):format(days, weekdays)
  end
  return ("on %s, and on %s"):format(days, weekdays)
end

--- What the fields say, as a sentence without its full stop: "at 02:30 on Monday to Friday".
function cron.words(c)
  local parts = { clock_words(c) }
  local days = day_words(c)
  if days then
    parts[#parts + 1] = days
  elseif parts[1]:find "^at %d%d:" then
    parts[1] = "every day " .. parts[1]
  end
  if #c.months.list < 12 then
    parts[#parts + 1] = "in " .. in_words(c.months.list, function(month) return MONTH_NAMES[month] end)
  end
  return table.concat(parts, " ")
end

return cron
