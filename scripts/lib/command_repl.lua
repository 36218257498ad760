-- perigee.command_repl: `perigee repl`: what stands around the prompt: script, history, end.  -- internal

local core = require "perigee.core.task"
local repl = require "perigee.repl"
local term = require "perigee.core.term"

local command = {}

local BANNER <const> = "perigee: :help lists the commands, ?name explains a name, Ctrl-D leaves\n"

-- ---- history -------------------------------------------------------------------------------------------------

-- The file that lines are kept in; nil keeps them for this session alone.
local function history_path(options)
  if options.no_history or options.emulator and not require("perigee.config").option "state" then return nil end
  local ok, directory = pcall(require("perigee.state").directory)
  return ok and directory ~= ":memory:" and directory .. "/repl_history" or nil
end

local function open_history(options)
  return function() return require("perigee.repl_history").open(history_path(options)) end
end

-- ---- the script ----------------------------------------------------------------------------------------------

--- Runs the script of the command line in the session. -> exit code if it failed
local function run_script(session, path)
  local file, problem = io.open(path == "-" and "/dev/stdin" or path, "rb")
  local text = file and file:read "a"
  if file then file:close() end
  if not text then require("perigee.error").invalid("repl: cannot read the script: " .. tostring(problem)) end
  session.env.arg = arg
  local outcome
  local running = core.spawn(function() outcome = session:run_script(text, "@" .. path, table.unpack(arg)) end)
  running:wait()
  if outcome.ok then return nil end
  term.write("err", outcome.text)
  return require("perigee.report").exit_code(outcome.error)
end

-- ---- the command ---------------------------------------------------------------------------------------------

local function settle()
  local jobs = package.loaded["perigee.jobs"]
  if jobs then jobs._settle() end
end

-- All that this VM pays for is the session's.
local function on_open(session)
  require("perigee.permit").guard(session)
  require("perigee.repl_commands").keep_log()
end

-- What belongs to a session in this process; a console has what its daemon has.
local OWN <const> = { "emulator", "budget", "require_budget", "on_interrupt", "listen", "public_url", "max_memory", "max_step" }

local function check(options)
  local usage = require("perigee.control_command").usage
  if not options.attach then return options.write and usage "repl: --write is for --attach" end
  for _, name in ipairs(OWN) do
    if options[name] then usage("repl: --attach and --%s do not go together: the daemon has its own settings", (name:gsub("_", "-"))) end
  end
  if options.args[1] then usage "repl: --attach takes no FILE: its lines run in the daemon" end
end

--- Returns the exit code.
function command.start(host)
  local options = host.options
  if options.attach or options.write then check(options) end
  local backend = not options.attach and require("perigee.repl_local").new {
    name = options.emulator and "emulator" or "perigee", yes = options.yes, on_open = on_open,
  }
  local around = {
    host = host,
    at_terminal = term.is_tty "stdin" and term.is_tty "out",
    banner = not term.is_quiet() and BANNER or nil,
    at_once = not options.args[1] and not term.is_quiet(), -- behind the banner
    history = open_history(options),
  }
  if options.attach then return require("perigee.repl_attached").start(around) end
  local code
  if options.args[1] then code = run_script(backend.session, require("perigee.run").enter_script()) end
  if around.at_terminal then
    repl.prompt(backend, around)
    code = 0
  elseif not code then
    code = repl.pipe(backend, host.read_input)
  end
  settle()
  require("perigee.repl_local").note_unfinished()
  return code
end

return command
