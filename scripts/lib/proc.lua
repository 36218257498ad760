-- perigee.proc: running another program without stopping the other tasks.
-- A child is done only when it has exited and both its outputs have ended, so nothing it said is lost; it is
-- killed when the task that waits for it is cancelled.  No shell is involved.

local core = require "perigee.core.proc"
local errors = require "perigee.error"
local check_options = require "perigee.options".check

local proc = {}

local LONGEST <const> = "1h" -- every wait on the outside world ends by itself, unless told
local FIELDS <const> = { "args", "env", "stdin", "timeout", "cwd", "output_cap" }

--- {NAME = value | false} over the present environment, as a list.
local function environment(changes)
  local all = core.environ()
  for name, value in pairs(changes) do
    all[name] = value or nil
  end
  local list = {}
  for name, value in pairs(all) do
    list[#list + 1] = name .. "=" .. tostring(value)
  end
  table.sort(list)
  return list
end

--- proc.run{args={program, …}, env=, stdin=, timeout=, cwd=, output_cap=} -> {status, signal, stdout, stderr,
--- timed_out, over_cap}
function proc.run(options)
  if type(options) ~= "table" then errors.invalid 'proc.run takes a table, such as { args = { "ls", "-l" } }' end
  check_options("proc.run", options, FIELDS)
  local given = {}
  for _, field in ipairs(FIELDS) do
    given[field] = options[field]
  end
  given.timeout = given.timeout or LONGEST
  if given.env then given.env = environment(given.env) end
  return core.run(given)
end

return proc
