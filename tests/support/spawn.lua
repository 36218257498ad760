-- spawn.lua - runs the program under test as a child: black box, with an environment of its own.
local proc = require "perigee.core.proc"

local spawn = {}

spawn.program = assert(os.getenv "PERIGEE", "PERIGEE names the program under test")

-- What the environment of the person who runs the tests must not change.
local function is_setting(name)
  return name:find "^DEAI_" or name:find "^SXWL_" or name:find "^PERIGEE_" or name == "NO_COLOR" or name == "COLUMNS"
    or name:find "^LC_" or name == "LANG"
end

--- The list "NAME=value" of a child: without settings of the person, with the changes (false takes one away).
function spawn.environment(changes)
  local list = { "TERM=xterm" }
  for name, value in pairs(proc.environ()) do
    if not is_setting(name) and name ~= "TERM" and (changes or {})[name] == nil then
      list[#list + 1] = name .. "=" .. value
    end
  end
  for name, value in pairs(changes or {}) do
    if value and name == "TERM" then list[1] = "TERM=" .. value
    elseif value then list[#list + 1] = name .. "=" .. value end
  end
  return list
end

local function options_of(args, options)
  local all = { args = { spawn.program, table.unpack(args) }, timeout = 30 }
  for name, value in pairs(options or {}) do
    all[name] = value
  end
  all.env = spawn.environment(all.env)
  return all
end

--- Runs the program to its end: {status=, signal=, stdout=, stderr=}. options.env: variables to add, false
--- takes one away; the others are perigee.core.proc's.
function spawn.run(args, options)
  return proc.run(options_of(args, options))
end

--- Starts it: a child with :read_until(text) :kill(signal) :wait().
function spawn.start(args, options)
  return proc.spawn(options_of(args, options))
end

--- Runs a script given as text.
function spawn.script(code, options)
  return spawn.run({ "run", "-e", code }, options)
end

return spawn
