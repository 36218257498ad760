-- perigee.run: what the program does around a script, and how it finds the code of its other commands.  -- internal
-- start() is the first task of the script's VM, emulate() of the emulator's, finish() the last of the
-- script's; host/run.c starts them and hands each the table `host`.  Only what a run needs is required.
-- The command `x` is perigee.command_x (scripts/lib/command_x.lua): start(host) does the work and returns the exit
-- code; host.options holds options and args.

local term = require "perigee.core.term"

local run = {}

-- finish() must know what start() was told and has found out
local host
local summary_file
local command_code -- what a command other than run has returned

local function say(text)
  if not term.is_quiet() then term.write("err", text, true) end
end

-- ---- settings --------------------------------------------------------------------------------------------

local function open_log(path)
  if not path then return end
  local ok, err = pcall(require("perigee.core.log").open_file, path)
  if ok then return end
  err.kind, err.code = "invalid", "config"
  error(err, 0)
end

local function apply_settings(config)
  local log = require "perigee.core.log"
  local level, format = config.option "log_level", config.option "log_format"
  if config.option "quiet" then
    term.set_quiet(true)
    level = level or "error"
  end
  if config.option "no_progress" then term.set_progress(false) end
  if level then log.set_level(level) end
  if format then log.set_format(format) end
  if format == "json" then log.set_run(require("perigee.core.server").secret():sub(1, 8)) end
  open_log(config.option "log_file")
end

-- What a journal calls the process that a command is; who can do without one.
local KINDS <const> = { run = "run", repl = "repl", daemon = "daemon" }
local RUNS_SCRIPTS <const> = { run = true, repl = true }
local NEEDS_NO_STATE <const> = { run = true, check = true, emulator = true, repl = true }

--- Says where the journal is; nothing is opened or made before it is used.  With an emulator, and on virtual time,
--- nothing is to be kept unless a place was named.
local function place_journal(config)
  local rehearsal = host.options.emulator or os.getenv "PERIGEE_VIRTUAL_TIME"
  local place = ":memory:"
  if config.option "state" or not rehearsal then
    local ok, found = pcall(require("perigee.state").directory)
    if not ok and not NEEDS_NO_STATE[host.options.command] then error(found, 0) end
    place = ok and found or place -- no home, no state: a script runs all the same
  end
  require("perigee.core.journal").place { state = place, kind = KINDS[host.options.command] or "command" }
end

--- text: "5 CCD, 20 CNY"; source: where it was set.
local function use_budget(text, source)
  if not text then return end
  local limits = {}
  for limit in text:gmatch "[^,]+" do
    limits[#limits + 1] = limit:match "^%s*(.-)%s*$"
  end
  local ok, budget = pcall(require("perigee.budget").own, { name = "the run", total = limits })
  if not ok then
    local errors = require "perigee.error"
    local flag = source == "the command line"
    error(errors.new {
      kind = "invalid",
      code = flag and "usage" or "config",
      message = ("%s: budget: %s"):format(source, errors.is(budget) and budget.message or tostring(budget)),
    }, 0)
  end
  require("perigee.core.spend").add_default_budget(budget)
end

-- For the jobs of a daemon or another command as well as for a run's own calls.
local function apply_unknown_after(config)
  local seconds, source = config.option "unknown_after"
  if not seconds then return end
  if seconds < 60 then
    local errors = require "perigee.error"
    error(errors.new {
      kind = "invalid",
      code = source == "the command line" and "usage" or "config",
      message = ("%s: unknown_after takes a minute or more, such as 24h: what is unknown may still be found"):format(source),
    }, 0)
  end
  require("perigee.core.spend").set_unknown_after(seconds)
end

local function apply_limits(config)
  local cap, timeout = config.option "max_memory", config.option "timeout"
  if cap then host.set_memory_cap(cap) end
  if timeout then host.set_timeout(timeout) end
  local step = config.option "max_step"
  if step then host.set_step_limit(step) end
  if config.option "require_budget" then require("perigee.core.spend").require_budget() end
  use_budget(config.option "budget")
  if #config.budgets() > 0 then require("perigee.budgets").install() end
end

--- Points both clients at the emulator.
local function use_services(config, services)
  for _, name in ipairs { "deai.base_url", "deai.email", "deai.password", "sxwl.base_url", "sxwl.token" } do
    config.fix(name, services[name])
  end
end

-- ---- the script ------------------------------------------------------------------------------------------

local function set_arg(name, first)
  local words = { [0] = name }
  for i = 0, #host.argv do
    local at = i - first
    if at ~= 0 then words[at] = host.argv[i] end
  end
  arg = words -- luacheck: ignore 121
end

--- The script as a function. Its folder comes first for require.
local function load_script(options)
  local path = options.args[1]
  if options.execute then
    set_arg("-e", host.first_arg - 1)
    return load(options.execute, "=(-e)", "t")
  elseif path == "-" then
    set_arg("-", host.first_arg)
    return load(io.read "a" or "", "=stdin", "t")
  end
  return loadfile(run.enter_script(), "t")
end

--- What a prompt that a script opens needs of the program; nil in a VM that is not the script's.
function run.prompt_host()
  return host and host.options.command ~= "emulator" and host or nil
end

--- Makes ready for the script of the command line: `arg`, and its folder first for require. -> its path
function run.enter_script()
  local path = host.options.args[1]
  set_arg(path, host.first_arg)
  local folder = path:match "^(.*)/[^/]*$" or "."
  package.path = folder .. "/?.lua;" .. folder .. "/?/init.lua;" .. package.path
  return path
end

-- A policy file returns its table; run by hand, its `run` does the work.
local function is_policy(result)
  return type(result) == "table" and type(rawget(result, "name")) == "string"
    and type(rawget(result, "run")) == "function"
end

--- Runs the script. services: addresses and credentials of an emulator, or nil.
function run.start(given, services)
  host = given
  local config = require "perigee.config"
  config.start(host.options, host.option_names, host.read_option)
  local ok, err = pcall(apply_settings, config)
  if not ok and host.options.command ~= "check" then error(err, 0) end -- check tells it as what it has found
  if ok then
    place_journal(config)
    apply_unknown_after(config)
  end
  summary_file = ok and config.option "summary"
  if host.options.command == "emulator" then return require("perigee.run_emulator").show(host.options) end
  if services then use_services(config, services) end
  if RUNS_SCRIPTS[host.options.command] then apply_limits(config) end
  if host.options.command ~= "run" then
    command_code = require("perigee.command_" .. host.options.command:gsub("-", "_")).start(host)
    return
  end
  local script, problem = load_script(host.options)
  if not script then error(problem, 0) end
  local result = script(table.unpack(arg))
  if is_policy(result) then result.run(arg) end
  local jobs = package.loaded["perigee.jobs"]
  if jobs then jobs._settle() end
end

--- --emulator of run and daemon: serves on a free port, then lets the script start.
function run.emulate(given)
  host = given
  require("perigee.run_emulator").beside(host)
end

-- ---- the end ---------------------------------------------------------------------------------------------

local reasons = {
  INT = "interrupted by Ctrl-C (SIGINT)",
  TERM = "ended by SIGTERM",
  HUP = "ended by SIGHUP",
  timeout = "the time given by --timeout is up",
}

-- Commands that print a document for machines print one of what went wrong, too.
local function show_command_error(err)
  local report = require "perigee.report"
  local redact = require("perigee.config").redact
  if host.options.json and err.code ~= "usage" then
    local failure = { kind = err.kind, code = err.code, message = err.message, hint = err.hint }
    print(redact(require("perigee.json").encode { schema_version = 1, error = failure }))
  end
  term.write("err", redact(report.render_command(err)))
  return report.command_exit_code(err)
end

local function show_error(err, traceback, origin)
  local report = require "perigee.report"
  if host and host.options.command ~= "run" and require("perigee.error").is(err) then return show_command_error(err) end
  local all = require("perigee.summary").collect()
  local text = report.render(err, { traceback = traceback, origin = origin, sums = all.money, unpriced = all.unpriced,
    command = host and host.options.command ~= "run" })
  term.write("err", require("perigee.config").redact(text))
  return report.exit_code(err)
end

local function is_cancelled(err)
  return type(err) == "table" and require("perigee.error").is(err) and err.kind == "cancelled"
end

--- Reports, sums up, and returns the exit code.
function run.finish(ok, err, traceback, origin)
  local why, forced = host and host.why(), host and host.forced_exit()
  local codes = {}
  if reasons[why] then
    say("perigee: " .. reasons[why] .. "\n")
  end
  if not ok and not (is_cancelled(err) and (why or forced)) then codes[show_error(err, traceback, origin)] = true end
  -- A run that called no service has nothing to sum up, and loads nothing for it.
  local sums_up = host and RUNS_SCRIPTS[host.options.command]
  local wanted = sums_up and (summary_file or package.loaded["perigee.core.ops"] or package.loaded["perigee.summary"])
  local summary = wanted and require "perigee.summary"
  if summary and summary.has_unknown() then codes[5] = true end
  if summary and summary.is_partly_done() then codes[6] = true end
  local code = next(codes) and require("perigee.report").weightiest(codes) or command_code or 0
  if summary then
    local closed = summary.close { exit_code = forced or code, elapsed = host.elapsed(), file = summary_file }
    if not forced then code = closed end
  end
  return code
end

return run
