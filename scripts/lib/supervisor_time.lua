-- supervisor_time.lua - what a service writes for a time, as seconds since 1970.  -- internal

local time = require "perigee.time"

local EARLIEST <const> = 1577836800 -- 2020: what is before it stands for no time at all, such as 0 or the year 1
local MILLISECONDS <const> = 1e11 -- what is beyond it are no seconds

local function seconds_of(value)
  if type(value) == "number" then return value end
  if type(value) ~= "string" then return nil end
  if value:find "^%d+$" then return tonumber(value) end
  local ok, seconds = pcall(time.parse, value)
  if not ok then ok, seconds = pcall(time.parse, (value:gsub("^(%d+%-%d+%-%d+) (%d+:%d+:%d+)", "%1T%2"))) end
  return ok and seconds or nil
end

--- Seconds since 1970 of a number or a text; nil for what cannot be read, and for what stands for no time.
return function(value)
  local seconds = seconds_of(value)
  if seconds and seconds >= MILLISECONDS then seconds = seconds / 1000 end
  return seconds and seconds >= EARLIEST and seconds or nil
end
