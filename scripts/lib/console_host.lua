-- perigee.console_host: the first task of a console's VM; the words of whoever is attached run here.  -- internal
-- Read-only, the VM is closed (host/vm.h): it has no C module that reaches outside, and everything it knows of the daemon
-- comes over the link, where only reading is served. So what a script finds or breaks in here it finds or breaks for
-- itself. With --write the VM is that of a policy, and the daemon's budgets govern what it pays for.

local errors = require "perigee.error"
local link = require "perigee.link"
local task = require "perigee.task"

local host = {}

local LONGEST_TEXT <const> = 256 * 1024 -- of one result
local LONGEST_OUTPUT <const> = 64 * 1024 -- of one print
local MOST_TASKS <const> = 500 -- that lines may have at once

local upstream -- the link to the daemon

local function call(verb, args)
  return upstream:call(verb, args)
end

local function output(text)
  if #text > LONGEST_OUTPUT then text = ("%s\n… and %d bytes more\n"):format(text:sub(1, LONGEST_OUTPUT), #text - LONGEST_OUTPUT) end
  upstream:tell("output", text)
end

-- print and io.write belong to whoever is attached, not to the daemon's standard output.
local function print_to_reader(...)
  local words = table.pack(...)
  for i = 1, words.n do words[i] = tostring(words[i]) end
  output(table.concat(words, "\t") .. "\n")
end

-- ---- a console that may only look --------------------------------------------------------------------------------

-- In place of C modules that write: what remains of them.
local function stub_modules(args)
  local text = require "perigee.core.text"
  local function nothing() end
  local function no() return false end
  local function absent(name)
    return function() error(errors.new { kind = "denied", code = "read_only", message = name .. ": this console may only look" }, 0) end
  end
  local stubs = {
    ["perigee.core.term"] = {
      escape = text.escape, width = text.width, cut = text.cut, is_tty = no, is_quiet = no, set_quiet = nothing, set_progress = nothing,
      has_color = function() return host.color end,
      columns = function() return host.columns end,
      print = print_to_reader,
      write = function(_, words)
        output(words)
        return true
      end,
      bar = absent "progress",
    },
    ["perigee.core.log"] = { enabled = no, write = nothing },
    ["perigee.core.secret"] = { is = no, of = absent "secret.of" },
  }
  for name, stub in pairs(stubs) do package.preload[name] = function() return stub end end
  host.columns, host.color = args.columns or 80, args.color
end

local function with_money(view)
  local amount = require "perigee.amount"
  for _, name in ipairs { "price", "cost", "spent" } do
    if type(view[name]) == "string" then view[name] = amount(view[name]) end
  end
  return view
end

local function read_only_jobs()
  local jobs = {}

  --- Jobs, newest first; filter as of jobs.list.
  function jobs.list(filter)
    local list = call("jobs.list", filter or {})
    for _, view in ipairs(list) do with_money(view) end
    return list
  end

  --- The job of that name (and key), or of that id or its beginning; nil if there is none.
  function jobs.get(name, key)
    if type(name) == "table" then name, key = name.id, nil end
    if type(name) ~= "string" then errors.invalid "jobs.get: expected a name or an id" end
    local ok, view = pcall(call, "jobs.get", { name = name, key = key or "" })
    if (not ok or not view) and key == nil and name:find "^%x+$" then ok, view = pcall(call, "jobs.get", { id = name }) end
    if ok then return view and with_money(view) end
    if errors.is(view) and view.code == "not_found" then return nil end
    error(view, 0)
  end

  --- The story of a job, as text.
  function jobs.why(job)
    return call("report.why", { job = type(job) == "table" and job.id or job })
  end

  return jobs
end

-- Modules that a line may require.
local REQUIRABLE <const> = { ["perigee.amount"] = true, ["perigee.inspect"] = true, ["perigee.json"] = true, ["perigee.task"] = true,
  ["perigee.time"] = true }

-- Lines get libraries of their own: what they break there, what shows their values does not use.
local LIBRARIES <const> = { "coroutine", "math", "os", "string", "table", "utf8" }

local function copy_of(library)
  local copy = {}
  for name, value in pairs(library) do copy[name] = value end
  return setmetatable(copy, getmetatable(library))
end

local function refuse(what)
  error(errors.new { kind = "denied", code = "read_only", outcome = "none", retryable = false,
    message = ("%s is not there for a console that may only look"):format(what),
    hint = "`perigee repl --attach --write` has it; the daemon's budgets govern what is paid for there.",
  }, 0)
end

-- Names that a line has at other prompts.
local WRITERS <const> = {}
for _, name in ipairs { "budget", "callback", "deai", "env", "fan_out", "fs", "http", "io", "log", "notify", "policy", "proc", "progress",
  "retry", "secret", "store", "sxwl" } do
  WRITERS[name] = true
end

-- The VM's own limit (perigee.console) leaves none for the next input: lines meet this one before.
local function bounded_tasks()
  local core, copy = require "perigee.core.task", copy_of(task)
  for _, name in ipairs { "spawn", "detach", "scope", "map", "race" } do
    local start = copy[name]
    copy[name] = function(...)
      if core.counts().tasks < MOST_TASKS then return start(...) end
      local message = ("task.%s: %d tasks run already in this console"):format(name, MOST_TASKS)
      error(errors.new { kind = "limit", code = "tasks", message = message }, 0)
    end
  end
  return copy
end

local function read_only_names()
  local raw_require = require
  local tasks = bounded_tasks()
  local names = {
    amount = copy_of(require "perigee.amount"), inspect = copy_of(require "perigee.inspect"), json = copy_of(require "perigee.json"),
    task = tasks, time = copy_of(require "perigee.time"), jobs = read_only_jobs(), print = print_to_reader, package = {},
    debug = { traceback = debug.traceback },
    spend = function(asked) return call("spend", type(asked) == "string" and { by = asked } or asked or {}) end,
    policies = function() return call("policies").policies end,
    status = function() return call("status") end,
    require = function(name)
      if name == "perigee.task" then return tasks end
      if REQUIRABLE[name] then return copy_of(raw_require(name)) end
      return refuse("require \"" .. tostring(name) .. "\"")
    end,
  }
  for _, name in ipairs(LIBRARIES) do names[name] = copy_of(_G[name]) end
  return setmetatable(names, { __index = function(_, name) if WRITERS[name] then refuse(name) end end })
end

-- What shows, completes and helps may look into functions; lines may not. So it is loaded before that goes.
local function close_debug()
  for _, name in ipairs { "repl_show", "repl_show_error", "repl_complete", "repl_help", "repl_commands", "inspect", "report" } do
    pcall(require, "perigee." .. name)
  end
  local traceback = debug.traceback
  for name in pairs(debug) do debug[name] = nil end
  debug.traceback = traceback
end

-- ---- a console that may write ---------------------------------------------------------------------------------------

local function open_settings(args)
  local config = require "perigee.config"
  local given = args.surroundings
  config.start(given.options or {}, given.option_names or {}, function(_, text) return text end)
  for name, value in pairs(given.fixed or {}) do config.fix(name, value) end
  link.upstream = upstream -- perigee.jobs asks the daemon
end

-- Nobody reads or types at the daemon's own terminal for a console.
local function own_terminal(args)
  local term = require "perigee.core.term"
  host.columns, host.color = args.columns or 80, args.color
  function term.columns() return host.columns end
  function term.has_color() return host.color end
  function term.is_tty() return false end
  function term.write(_, words)
    output(words)
    return true
  end
  term.print = print_to_reader
  local files = getmetatable(io.stdout).__index
  local read, lines = files.read, files.lines
  local function no_input() error("there is no standard input in a console", 2) end
  function files.read(file, ...) return (file == io.stdin and no_input or read)(file, ...) end
  function files.lines(file, ...) return (file == io.stdin and no_input or lines)(file, ...) end
  io.read = no_input
end

-- ---- the session ----------------------------------------------------------------------------------------------------

-- Texts for the commands, worded by the daemon.
local function reports()
  return {
    jobs = function(word)
      local state = word ~= "" and word ~= "all" and word or nil
      return call("report.jobs", { all = word == "all", state = state, columns = host.columns })
    end,
    job = function(word) return call("report.job", { job = word }) end,
    why = function(word) return call("report.why", { job = word }) end,
    spend = function(asked) return call("report.spend", asked or {}) end,
  }
end

local function new_session(args, names)
  local session = require("perigee.repl_session").new {
    names = names,
    commands = require("perigee.repl_commands").for_console(),
    yes = args.yes,
    color = args.color,
    columns = function() return host.columns end,
    say = output,
    ask = args.mode == "write" and function(question) return call("ask", question) or "nobody" end or nil,
  }
  if args.mode == "write" then require("perigee.permit").guard(session) end
  session.reports = reports()
  session.list_jobs = function() return call("jobs.list", { limit = 200 }) end
  return session
end

-- The fields of an error that are plain.
local function plain_error(err)
  if not errors.is(err) then return { message = tostring(err) } end
  local fields = {}
  for name, value in pairs(err) do
    local kind = type(value)
    if kind == "string" or kind == "number" or kind == "boolean" then fields[name] = value end
    if kind == "userdata" then fields[name] = tostring(value) end
  end
  return fields
end

local function cut(text)
  if #text <= LONGEST_TEXT then return text end
  return ("%s\n… and %d bytes more\n"):format(text:sub(1, LONGEST_TEXT), #text - LONGEST_TEXT)
end

local running = {} -- the tasks of inputs that were not answered yet, by their id

-- The input as a task of its own: what it has started goes on when it is done. -> outcome
local function run(session, id, input)
  local done, ended = task.queue(2), nil
  local worker = task.detach(function() done:put { outcome = session:eval(input) } end)
  running[id] = worker
  task.detach(function() -- one that was cancelled, or ended by force, is answered for as well
    local ok, err = pcall(worker.wait, worker)
    if not ok then done:put { err = err } end
  end)
  local left <close> = setmetatable({}, { -- luacheck: ignore 211
    __close = function()
      running[id] = nil
      if not ended then worker:cancel "cancelled at the console" end
    end,
  })
  local _
  _, ended = done:get()
  if ended.outcome then return ended.outcome end
  error(ended.err, 0)
end

-- The inputs that still run. One that is not among them, and was not answered, is lost: what should have answered for it
-- had no memory left to do so.
local ENDED <const> = { done = true, failed = true, cancelled = true }

local function still_running()
  local ids = {}
  for id, worker in pairs(running) do ids[id] = not ENDED[worker:status()] end
  return ids
end

local function eval(session, args)
  host.columns = math.tointeger(args.columns) or host.columns
  if args.color ~= nil then host.color, session.color = args.color, args.color end
  if args.yes ~= nil then session.yes = args.yes end
  if session:incomplete(args.input) then
    return { id = args.id, ok = false, kind = "lua", incomplete = true, text = "the input is not complete\n",
      error = { kind = "invalid", code = "incomplete", message = "the input is not complete" } }
  end
  local outcome = run(session, args.id, args.input)
  return { id = args.id, ok = outcome.ok, kind = outcome.kind, text = cut(outcome.text or ""),
    error = not outcome.ok and plain_error(outcome.error) or nil }
end

--- args: { mode = "read" | "write", columns =, color =, yes =, surroundings = }
function host.main(channel, args)
  upstream = link.open(channel)
  local names
  if args.mode == "write" then
    open_settings(args)
    own_terminal(args)
    names = require("perigee.repl_names").new()
  else
    stub_modules(args)
    names = read_only_names()
  end
  print = print_to_reader
  local session = new_session(args, names)
  if args.mode ~= "write" then close_debug() end
  upstream:serve {
    eval = function(asked) return eval(session, asked) end,
    running = still_running,
    complete = function(asked) return session:complete(asked.text, asked.point) end,
  }
  collectgarbage()
  upstream:run()
end

return host
