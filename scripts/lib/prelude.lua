-- internal: prelude.lua - adapts the standard libraries to tasks; runs once in each new VM.
--
-- Coroutines: a wait inside a generator must reach the scheduler, not the generator's consumer.  So
-- resume and wrap forward the host's sentinel outwards and come back in with the answer.  Raw functions
-- stay private to this file.
-- Taken out: what would block the loop (os.execute, io.popen), end the process behind the tasks' backs
-- (os.exit), or reach around the host's protection (debug.sethook, the registry, __gc of scripts).
local host = ...

local raw_create, raw_resume, raw_yield = coroutine.create, coroutine.resume, coroutine.yield
local raw_close, raw_status = coroutine.close, coroutine.status
local enter, leave, killed, SENTINEL = host.enter, host.leave, host.killed, host.sentinel
local error, select, type = error, select, type

-- ---- coroutines ------------------------------------------------------------------------------------

-- coroutines inside a wait: a value passed in from elsewhere would become the result of the wait
local waiting = setmetatable({}, {__mode = "k"})

local function refuse_waiting(co, verb)
  if waiting[co] then
    error("cannot " .. verb .. " this coroutine: it is waiting inside a task (its wait must end first)", 3)
  end
end

-- takes what raw_resume(co, …) returned; hands waits on to the next forwarder or the scheduler
local function forward(co, ok, first, ...)
  if ok then
    if first == SENTINEL then
      waiting[co] = true
      raw_yield(SENTINEL)
      waiting[co] = nil
      return forward(co, raw_resume(co))
    elseif first == nil and select("#", ...) == 0 and killed() then
      raw_yield()
    end
  end
  return ok, first, ...
end

local function left(...)
  leave()
  return ...
end

local function step(co, ...)
  enter(co)
  return left(forward(co, raw_resume(co, ...)))
end

function coroutine.resume(co, ...)
  if type(co) ~= "thread" then return raw_resume(co, ...) end -- its error message is the right one
  refuse_waiting(co, "resume")
  return step(co, ...)
end

-- the <close> variables of co run inside co, where they cannot wait
local function close(co)
  enter(co)
  return left(raw_close(co))
end

local function unwrap(co, ok, ...)
  if ok then return ... end
  if raw_status(co) == "dead" then close(co) end
  return error((...), 0)
end

function coroutine.wrap(f)
  local co = raw_create(f)
  return function(...)
    refuse_waiting(co, "resume")
    return unwrap(co, step(co, ...))
  end
end

function coroutine.close(co)
  if type(co) ~= "thread" then return raw_close(co) end -- its error messages are the right ones
  refuse_waiting(co, "close")
  local status = raw_status(co)
  if status ~= "suspended" and status ~= "dead" then return raw_close(co) end
  return close(co)
end

-- ---- time, randomness, exit --------------------------------------------------------------------------

local os_time, os_date, wall, exit = os.time, os.date, host.wall, host.exit
local floor = math.floor

function os.time(t)
  if t == nil then return floor(wall()) end
  return os_time(t)
end

function os.date(format, t)
  return os_date(format or "%c", t or floor(wall()))
end

os.clock = host.cpu
os.tmpname = host.tmpname

function os.exit(code)
  if code == nil or code == true then code = 0 elseif code == false then code = 1 end
  return exit(code)
end

math.randomseed(host.seed())

-- ---- output ------------------------------------------------------------------------------------------

-- print, io.write and io.stdout:write go through the one writer, so that they appear above progress bars
local term = io and package.preload["perigee.core.term"] and require "perigee.core.term"
if term then
  local files = getmetatable(io.stdout).__index
  local raw_write, streams = files.write, {[io.stdout] = "out", [io.stderr] = "err"}

  function files.write(file, ...)
    local stream = streams[file]
    if not stream then return raw_write(file, ...) end
    local parts = {...}
    for i = 1, select("#", ...) do
      if type(parts[i]) ~= "string" and type(parts[i]) ~= "number" then
        error("write: argument " .. i .. " must be a string or a number, not " .. type(parts[i]), 2)
      end
      parts[i] = tostring(parts[i])
    end
    if term.write(stream, table.concat(parts)) then return file end
    return nil, "nobody reads this any more", 32
  end

  function io.write(...)
    return files.write(io.output(), ...)
  end

  print = term.print -- luacheck: ignore 121
end

-- ---- a prompt inside a script ------------------------------------------------------------------------------

function repl() -- luacheck: ignore 111
  require("perigee.repl_here").open()
end

-- ---- what scripts do without --------------------------------------------------------------------------

local function not_here(name, instead)
  return function()
    error(name .. " is not available here: " .. instead, 2)
  end
end

os.execute = not_here("os.execute", "it would stop every task; use perigee.proc")
os.setlocale = not_here("os.setlocale", "it would change how numbers are read and printed everywhere")
if io then io.popen = not_here("io.popen", "it would stop every task; use perigee.proc") end

for _, name in ipairs {"debug", "sethook", "gethook", "getregistry", "setmetatable", "setuservalue",
  "setcstacklimit"} do
  debug[name] = nil
end

local raw_setmetatable, rawget = setmetatable, rawget
function setmetatable(t, mt)
  if type(mt) == "table" and rawget(mt, "__gc") ~= nil then
    error("__gc is not available to scripts: release things with <close>", 2)
  end
  return raw_setmetatable(t, mt)
end

-- ---- C loops that neither wait nor allocate -------------------------------------------------------------

local LONGEST_SUBJECT = 64 * 1024 * 1024
local MOST_MOVED = 100 * 1000 * 1000
local MOST_REPEATS = 1000 * 1000 * 1000

for _, name in ipairs {"find", "match", "gmatch", "gsub"} do
  local raw = string[name]
  string[name] = function(s, ...)
    if type(s) == "string" and #s > LONGEST_SUBJECT then
      error("string." .. name .. ": the text is longer than 64 MB; cut it first", 2)
    end
    return raw(s, ...)
  end
end

local raw_rep = string.rep
function string.rep(s, n, ...)
  if type(n) == "number" and n > MOST_REPEATS then error("string.rep: more than 1000 million times", 2) end
  return raw_rep(s, n, ...)
end

local raw_move = table.move
function table.move(a, from, to, at, b)
  if type(from) == "number" and type(to) == "number" and to - from > MOST_MOVED then
    error("table.move: more than 100 million elements", 2)
  end
  if b == nil then return raw_move(a, from, to, at) end
  return raw_move(a, from, to, at, b)
end
