-- perigee.log: structured log lines on standard error, above any progress bar.
-- A line has a level, an event word and fields.  Owns nothing: level and format belong to the program
-- (--log-level, --log-format, --log-file); secrets are blanked on the way out.

local core = require "perigee.core.log"
local errors = require "perigee.error"
local tasks = require "perigee.core.task"

local log = {}

local CONTEXT <const> = "perigee.log" -- task-local: fields of every line

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

-- The fields, and those that the task has been given with log.with; its own win.
local function with_context(fields)
  local in_task, locals = pcall(tasks.locals)
  local context = in_task and locals and locals[CONTEXT]
  if not context then return fields end
  local all = {}
  for key, value in pairs(context) do all[key] = value end
  for key, value in pairs(fields) do all[key] = value end
  return all
end

local function write(level, event, fields)
  if not core.enabled(level) then return end
  event = tostring(event)
  local list = flatten(with_context(fields or {}))
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

local function set_context(context)
  local locals = {}
  for key, value in pairs(tasks.locals() or locals) do locals[key] = value end
  locals[CONTEXT] = context
  tasks.set_locals(locals)
end

--- Puts the fields into every line of this task and of those it starts: from now on, or while f(…) runs, whose
--- results it then gives.  Fields of an outer call stay; those of the line itself win.
function log.with(fields, f, ...)
  if type(fields) ~= "table" then errors.invalid "log.with: the fields must be a table" end
  if f ~= nil and type(f) ~= "function" then errors.invalid "log.with: what is to run must be a function" end
  local outer = (tasks.locals() or {})[CONTEXT]
  local context = {}
  for key, value in pairs(outer or {}) do context[key] = value end
  for key, value in pairs(fields) do context[key] = value end
  set_context(context)
  if not f then return end
  local back <close> = setmetatable({}, { __close = function() set_context(outer) end }) -- luacheck: ignore 211
  return f(...)
end

--- True if a line of the level ("debug" … "error") would be written.
function log.enabled(level) return core.enabled(level) end

return log
