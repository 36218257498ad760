-- options.lua - how the modules check the option tables they are given: one order, one wording.  -- internal
--
-- Says what host/luax.c says of options that are read in C.

local core = require "perigee.core.time"
local errors = require "perigee.error"

local options = {}

--- Raises `invalid` for a name that is not among the known ones, with the nearest of them.  what: "option".
function options.refuse(where, what, name, known)
  local near = errors.nearest(name, known)
  errors.invalid(('%s: unknown %s "%s"%s'):format(where, what, name, near and ('; did you mean "%s"?'):format(near) or ""))
end

--- The table, or an empty one for nil.  Raises `invalid` for another type, and for the first name in byte order
--- that is not in the list.
function options.check(where, given, known)
  if given == nil then return {} end
  if type(given) ~= "table" then errors.invalid(("%s: options must be a table, not a %s"):format(where, type(given))) end
  local is_known, unknown = {}, {}
  for _, name in ipairs(known) do is_known[name] = true end
  for name in pairs(given) do
    if not is_known[name] then unknown[#unknown + 1] = tostring(name) end
  end
  if #unknown == 0 then return given end
  table.sort(unknown)
  return options.refuse(where, "option", unknown[1], known)
end

--- Seconds of a duration (300, "5m"), or the default for nil.  where: "retry.new: cap".
function options.seconds(where, value, default)
  if value == nil then return default end
  local ok, seconds = pcall(core.seconds, value)
  if not ok then
    errors.invalid(('%s must be seconds as a number, or a time like "500ms", "5s", "10m", "2h", "1d", not %s'):format(where,
      tostring(value)))
  end
  return seconds
end

return options
