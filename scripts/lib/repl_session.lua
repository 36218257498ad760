-- perigee.repl_session: what the inputs of a prompt share: names, locals, results, tasks; it runs one at a time.  -- internal
-- Knows neither terminal nor socket: the REPL and the consoles of a daemon each put their loop around one.

local core = require "perigee.core.task"
local errors = require "perigee.error"
local locals = require "perigee.repl_locals"
local source = require "perigee.repl_source"
local task = require "perigee.task"

local traceback = debug.traceback -- scripts may change that table

local repl_session = {}
local Session = { __name = "perigee.repl_session" }
Session.__index = Session

-- ---- names -----------------------------------------------------------------------------------------------

-- The names of the services that this task works on, which stay those of its input (perigee.repl_emulator).
local function names_here(session)
  local here = session.rehearsal and core.locals()
  if not here or here["perigee.session"] ~= session then return session.names end
  local world = here["perigee.world"]
  return world and world.names or session.real_names
end

-- The environment of all inputs: the user's names over the session's over Lua's. The locals and globals of a script that
-- has opened the prompt come first, and are assigned where they are.
local function new_env(session, globals)
  local script = session.script
  return setmetatable({}, {
    __metatable = "the names of the session",
    __index = function(_, name)
      if script and script.has(name) then return script.get(name) end
      local value = script and script.globals and script.globals[name]
      if value == nil then value = names_here(session)[name] end
      if value == nil then value = globals[name] end
      return value
    end,
    __newindex = script and function(self, name, value)
      if script.has(name) then return script.set(name, value) end
      if not script.globals then return rawset(self, name, value) end
      script.globals[name] = value
    end or nil,
  })
end

-- What loads code gives it the session's names, as the inputs have them.
local function add_loaders(env, globals)
  env._G = env
  if globals.load then
    local load, loadfile = globals.load, globals.loadfile
    function env.load(chunk, name, mode, ...)
      if select("#", ...) > 0 then return load(chunk, name, mode, ...) end
      return load(chunk, name, mode, env)
    end
    if loadfile then
      function env.loadfile(path, mode, ...)
        if select("#", ...) > 0 then return loadfile(path, mode, ...) end
        return loadfile(path, mode, env)
      end
      function env.dofile(path)
        local f, problem = loadfile(path, "t", env)
        if not f then error((problem:gsub("^perigee/scripts/[^:]+:%d+: ", "")), 2) end
        return f()
      end
    end
  end
end

--- The value of a name as an input would see it, and whether it is a local of the session.
function Session:value(name)
  local variable = self.locals[name]
  if variable then return variable.get(), true end
  return self.env[name], false
end

-- All that an input sees, for tools: to be indexed and walked. Nothing is made by walking it.
local function new_view(session, globals)
  return setmetatable({}, {
    __index = function(_, name) return (session:value(name)) end,
    __pairs = function()
      local all = {}
      for _, from in ipairs { globals, session.names, session.env } do
        for name, value in next, from do all[name] = value end
      end
      for name, variable in pairs(session.locals) do all[name] = variable.get() end
      return next, all
    end,
  })
end

-- ---- making one ------------------------------------------------------------------------------------------

local function no_say() end

--- options: names (what is ready), locals (has, get, set, names: those of a script), commands (as perigee.repl_commands),
--- ask(question) -> "yes" | "no" | "all", say(text), columns() -> cells, color, yes.
function repl_session.new(options)
  local session = setmetatable({
    names = options.names or {},
    script = options.locals,
    commands = options.commands,
    ask = options.ask,
    say = options.say or no_say,
    columns = options.columns or function() return 80 end,
    color = options.color or false,
    yes = options.yes or false,
    require = require,
    entries = {}, -- { text=, kind=, ok=, at=, error=, … }: all inputs
    tasks = {}, -- { number=, task=, text=, started= }: what goes on
    locals = {}, -- name = { get=, attribute=, … }: see perigee.repl_locals
    results = { n = 0 },
    counter = 0,
    task_counter = 0,
  }, Session)
  local globals = _G
  session.globals = globals
  session.env = new_env(session, globals)
  add_loaders(session.env, globals)
  session.view = new_view(session, globals)
  return session
end

--- Tells whether more has to follow before the text can be run.
function Session:incomplete(text) -- luacheck: ignore 212
  return source.incomplete(text)
end

--- What could stand at that byte of the text.
function Session:complete(text, point)
  return require("perigee.repl_complete").at(self, text, point)
end

-- ---- running Lua -----------------------------------------------------------------------------------------

local function look(session, more)
  local options = { columns = session.columns(), color = session.color }
  for name, value in pairs(more or {}) do options[name] = value end
  return options
end

local function show_error(session, err, more)
  return require("perigee.repl_show").error(err, look(session, more))
end

local function is_own_cancel(err)
  return errors.is(err, "cancelled") and core.cancelled() ~= nil
end

local function failed(session, kind, err, more)
  return { kind = kind, ok = false, error = err, traceback = more and more.traceback, text = show_error(session, err, more) }
end

-- `_` is the last value of the last echo, `_1`, `_2`, … are all of them.
local function remember(session, values)
  if values.n == 0 then return end
  for i = values.n + 1, session.results.n do rawset(session.env, "_" .. i, nil) end
  for i = 1, values.n do rawset(session.env, "_" .. i, values[i]) end
  rawset(session.env, "_", values[values.n])
  session.results = values
end

local function closed_note(closed)
  if not closed or #closed == 0 then return "" end
  local verb = #closed == 1 and "is a <close> variable: it was" or "are <close> variables: they were"
  return ("%s %s closed at the end of the input\n"):format(table.concat(closed, ", "), verb)
end

local function as_function(session, text, chunkname)
  return locals.compile(text, chunkname, session.env, session.locals, true)
end

-- The frames of the input and what it has called; its own is the main chunk, whatever it was compiled in.
local function input_frames(trace, chunkname)
  local lines, last = {}, nil
  local name = chunkname:sub(2)
  for line in trace:gmatch "[^\n]+" do
    lines[#lines + 1] = line
    local where, what = line:match "^\t(.-): in (.*)$"
    if where and where:sub(1, #name + 1) == name .. ":" and (what == "main chunk" or what == ("function <%s:1>"):format(name)) then
      last = #lines
    end
  end
  if not last then return trace end
  lines[last] = lines[last]:gsub(": in .*$", ": in main chunk")
  return table.concat(lines, "\n", 1, last)
end

-- quiet: what it returns is not echoed.
local function run_function(session, f, study, text, quiet, ...)
  local trace
  local results = table.pack(xpcall(f, function(err)
    trace = input_frames(traceback("", 2):gsub("^\n", ""), study.chunkname)
    locals.rescue(session.locals, study, f)
    return err
  end, ...))
  if not results[1] then
    if is_own_cancel(results[2]) then error(results[2], 0) end
    return failed(session, "lua", results[2], { traceback = trace, text = text })
  end
  local values = quiet and { n = 0 } or table.pack(table.unpack(results, 2, results.n))
  remember(session, values)
  local shown = values.n > 0 and require("perigee.repl_show").values(values, look(session)) or ""
  return { kind = "lua", ok = true, values = values, text = shown .. closed_note(study.closed) }
end

local function syntax_error(session, message, text)
  local err = errors.new { kind = "invalid", code = "syntax", outcome = "none", retryable = false, message = message }
  return failed(session, "lua", err, { text = text })
end

local function run_lua(session, text, chunkname)
  local f, study = as_function(session, text, chunkname)
  if not f then return syntax_error(session, study, text) end
  return run_function(session, f, study, text, false)
end

--- Runs a whole script in the session; its top-level names stay. -> outcome
function Session:run_script(text, chunkname, ...)
  self.script_text = text -- for :save
  task.set_local("perigee.session", self)
  local f, study = locals.compile((text:gsub("^#", "--#", 1)), chunkname, self.env, self.locals)
  if not f then return syntax_error(self, study) end
  return run_function(self, f, study, nil, true, ...)
end

-- ---- tasks -----------------------------------------------------------------------------------------------

--- Lists a task that goes on after its input. -> its entry of session.tasks
function Session:adopt(handle, text)
  self.task_counter = self.task_counter + 1
  local entry = { number = self.task_counter, task = handle, text = text, started = core.now() }
  self.tasks[#self.tasks + 1] = entry
  return entry
end

--- It has ended.
function Session:forget(entry)
  for i, one in ipairs(self.tasks) do
    if one == entry then return table.remove(self.tasks, i) end
  end
end

-- What a background task has to say at its end.
local function tell_end(session, one, outcome, err)
  local first_line = one.text:match "^%s*([^\n]*)"
  if outcome and outcome.ok and not err then
    session.say(("[%d] done: %s\n%s"):format(one.number, first_line, outcome.text))
  elseif errors.is(err, "cancelled") and not (outcome and not outcome.ok) then
    session.say(("[%d] cancelled: %s\n"):format(one.number, first_line))
  else
    local text = outcome and not outcome.ok and outcome.text or show_error(session, err)
    session.say(("[%d] failed: %s\n%s"):format(one.number, first_line, text))
  end
end

--- Waits for the end of a listed task and tells of it; outcome() gives what its input has come to. For a task of its own.
function Session:accompany(one, entry, outcome)
  core.set_locals {} -- it only watches, and is no task of the input's
  local ok, err = pcall(one.task.wait, one.task)
  if ok then err = nil end
  if is_own_cancel(err) then error(err, 0) end
  local result = outcome()
  if entry then
    entry.ended, entry.seconds = core.now(), core.now() - entry.began
    entry.ok, entry.error = err == nil and result ~= nil and result.ok, result and result.error or err
    entry.cancelled = errors.is(err, "cancelled") or nil
    entry.values = result and result.values and result.values.n
  end
  local failure = result and result.error or err
  if failure and not errors.is(err, "cancelled") then self.failed = { error = failure } end
  self:forget(one)
  if entry or err then tell_end(self, one, result, err) end
end

-- A line that ends in `&`.
local function start_task(session, text, shown, entry, chunkname)
  local f, study = as_function(session, text, chunkname)
  if not f then return syntax_error(session, study, text) end
  local outcome
  local handle = core.detach(function()
    core.sleep(0) -- that it was started is told before its end
    outcome = run_function(session, f, study, text, false)
  end)
  local one = session:adopt(handle, shown)
  entry.task = one.number
  core.detach(session.accompany, session, one, entry, function() return outcome end)
  return { kind = "task", ok = true, task = one, text = ("[%d] started\n"):format(one.number) }
end

-- ---- inputs ----------------------------------------------------------------------------------------------

local function run_command(session, text)
  local word, argument = text:match "^%s*:([%w_%-]+)%s*(.-)%s*$"
  if not word then word, argument = "help", text:match "^%s*%?%s*(.-)%s*$" end
  local commands = session.commands or require "perigee.repl_commands"
  local command, near = commands.find(word)
  if not command then
    errors.invalid(("there is no command :%s%s"):format(word, near and ("; did you mean :%s?"):format(near) or "; :help lists them"))
  end
  return command.run(session, argument) or ""
end

local function run_input(session, entry, text)
  local chunkname = "=input:" .. session.counter
  if entry.kind == "lua" then return run_lua(session, text, chunkname) end
  if entry.kind == "task" then return start_task(session, source.background(text), text, entry, chunkname) end
  return { kind = entry.kind, ok = true, text = run_command(session, text) }
end

local function kind_of(text)
  if not text:find "%S" then return "empty" end
  if source.is_command(text) then return text:find "^%s*%?" and "help" or "command" end
  local background = source.background(text)
  return background and background:find "%S" and not source.incomplete(background) and "task" or "lua"
end

local function new_entry(session, text, kind)
  session.counter = session.counter + 1
  local entry = { text = text, kind = kind, ok = false, at = os.time(), began = core.now(), number = session.counter,
    world = session.world }
  session.entries[#session.entries + 1] = entry
  task.set_local("perigee.session", session)
  task.set_local("perigee.entry", entry)
  task.set_local("perigee.world", session.world)
  return entry
end

--- Runs one input in the calling task. Never raises, but that a cancel of that task passes. `note.entry` is set to the
--- input's entry. -> { kind = "lua" | "task" | "command" | "help" | "empty", ok=, text= ("" or with a line end), error=, values= }
function Session:eval(text, note)
  local kind = kind_of(text)
  if kind == "empty" then return { kind = "empty", ok = true, text = "" } end
  local entry = new_entry(self, text, kind)
  if note then note.entry = entry end
  local ok, outcome = pcall(run_input, self, entry, text)
  if kind ~= "task" then entry.ended, entry.seconds = core.now(), core.now() - entry.began end
  if not ok and is_own_cancel(outcome) then
    entry.cancelled, entry.error = true, outcome
    error(outcome, 0)
  end
  if not ok then outcome = failed(self, kind, outcome) end
  entry.ok, entry.error = outcome.ok, outcome.error
  entry.values = outcome.values and outcome.values.n
  return outcome
end

return repl_session
