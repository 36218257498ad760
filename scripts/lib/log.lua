-- perigee.log: structured log lines on standard error, above any progress bar.
-- A line has a level, an event word and fields.  Owns nothing: level and format belong to the program
-- (--log-level, --log-format); secrets are blanked on the way out.

local core = require "perigee.core.log"

local log = {}

-- What C can print as it is; everything else is shown the way tostring shows it.
local plain = { string = true, number = true, boolean = true }

--- The fields as a flat list, keys in order: one run logs the same bytes as the next.
local function flatten(fields)
  local keys = {}
  for key in pairs(fields) do
    keys[#keys + 1] = tostring(key)
  end
  table.sort(keys)
  local list = {}
  for _, key in ipairs(keys) do
    local value = fields[key]
    if value == nil then value = fields[math.tointeger(key)] end
    list[#list + 1] = key:gsub("[^%w_.-]", "_")
    list[#list + 1] = plain[type(value)] and value or tostring(value)
  end
  return list
end

local function write(level, event, fields)
  if not core.enabled(level) then return end
  event = tostring(event)
  local list = flatten(fields or {})
  if not event:find("^%w[%w_.-]*$") then
    -- A sentence instead of a word: still a line that a machine can read.
    table.insert(list, 1, event)
    table.insert(list, 1, "message")
    event = "note"
  end
  core.write(level, event, list)
end

--- Writes a line of that level. `event` is a short word ("upload.done"); a sentence becomes the field
--- `message` of the event "note". `fields` is a table of plain values.
function log.debug(event, fields) write("debug", event, fields) end
function log.info(event, fields) write("info", event, fields) end
function log.warn(event, fields) write("warn", event, fields) end
function log.error(event, fields) write("error", event, fields) end

--- True if a line of the level ("debug" … "error") would be written.
function log.enabled(level) return core.enabled(level) end

return log
