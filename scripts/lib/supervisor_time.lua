-- supervisor_time.lua - what a service writes for a time, as seconds since 1970.  -- internal

local time = require "perigee.time"

--- Seconds since 1970 of a number or a text; nil for what cannot be read.
return function(value)
  if type(value) == "number" then return value end
  if type(value) ~= "string" then return nil end
  if value:find "^%d+$" then return tonumber(value) end
  local ok, seconds = pcall(time.parse, value)
  return ok and seconds or nil
end
