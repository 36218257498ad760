---@meta perigee.time

---Dates, zones and durations; a time is seconds since 1970-01-01 UTC. See docs/time.md.
---@class perigee.time.module
local time = {}

---@alias perigee.zone "UTC"|"local"|string a name such as "Asia/Shanghai", or an offset such as "+08:00"
---@alias perigee.duration number|string seconds, or "500ms", "5m", "2h5m"

---@class perigee.time.fields
---@field year integer
---@field month integer
---@field day integer
---@field hour? integer
---@field min? integer
---@field sec? number

---@class perigee.time.date: perigee.time.fields
---@field wday integer 1 is Sunday
---@field yday integer
---@field isdst boolean
---@field offset integer seconds east of UTC
---@field abbreviation string
---@field zone string

---@return number seconds since 1970, in whole milliseconds
function time.now() end

---Seconds that never go back; only differences mean something.
---@return number
function time.monotonic() end

---@param duration perigee.duration
---@return number seconds
function time.seconds(duration) end

---"2h5m", "45s", "1.5s", "120ms".
---@param seconds perigee.duration
---@return string
function time.words(seconds) end

---@param t number
---@param zone? perigee.zone
---@return perigee.time.date
function time.date(t, zone) end

---@param fields perigee.time.fields
---@param zone? perigee.zone
---@return number
function time.at(fields, zone) end

---ISO 8601, or the form of an os.date pattern.
---@param t number
---@param zone? perigee.zone
---@param pattern? string "%Y-%m-%d"
---@return string
function time.format(t, zone, pattern) end

---@param text string "2024-01-30T12:05:45Z"
---@param zone? perigee.zone for text without an offset
---@return number
function time.parse(text, zone) end

return time
