-- perigee.repl_here: repl() inside a script: a prompt that sees the script's locals.  -- internal
--
-- The script waits inside repl() meanwhile, so its frame stays where it is: a local is read and written in the frame of
-- that coroutine, counted from its bottom, and an upvalue in its function. Tasks of the script go on.

local core = require "perigee.core.task"
local errors = require "perigee.error"
local repl_local = require "perigee.repl_local"
local term = require "perigee.core.term"

-- Scripts may change this table.
local getinfo, getlocal, setlocal = debug.getinfo, debug.getlocal, debug.setlocal
local getupvalue, setupvalue = debug.getupvalue, debug.setupvalue

local repl_here = {}

local CALLER <const> = 4 -- of repl(), seen from frame_of: frame_of, open, repl, the script
local MOST_SHOWN <const> = 8

local function unavailable(code, message)
  error(errors.new { kind = "unavailable", code = code, outcome = "none", retryable = false, message = message }, 0)
end

-- ---- the frame -----------------------------------------------------------------------------------------------

local function height_from(level)
  local n = 0
  while getinfo(level + n + 1, "l") do n = n + 1 end
  return n
end

local function height_of(thread)
  local n = 0
  while getinfo(thread, n, "l") do n = n + 1 end
  return n
end

-- Where each name of the script is: { slot= } in its frame or { upvalue= } of its function; the innermost of a name.
local function names_of(level, f)
  local places, order = {}, {}
  local i, name = 1, getupvalue(f, 1)
  while name do
    if name ~= "_ENV" then places[name] = { upvalue = i } end
    i = i + 1
    name = getupvalue(f, i)
  end
  i, name = 1, getlocal(level + 1, 1)
  while name do
    if name:find "^[%a_]" then places[name] = { slot = i } end
    i = i + 1
    name = getlocal(level + 1, i)
  end
  for each in pairs(places) do order[#order + 1] = each end
  table.sort(order)
  return places, order
end

local function globals_of(f)
  local i, name, value = 1, getupvalue(f, 1)
  while name do
    if name == "_ENV" then return value end
    i = i + 1
    name, value = getupvalue(f, i)
  end
  return _G
end

--- What a session needs of the script that has called repl(): has, get, set, names, globals; and where that was.
local function frame_of()
  -- After `return repl()` the script's frame is gone, and what stands there is its caller's.
  local thread, f = coroutine.running(), getinfo(CALLER - 1, "t").istailcall and frame_of or getinfo(CALLER, "f").func
  local height, info = height_from(CALLER), getinfo(CALLER, "Sl")
  local places, order = {}, {}
  if f ~= frame_of then places, order = names_of(CALLER, f) end
  local function level() return height_of(thread) - height end
  return {
    names = function() return order end,
    globals = globals_of(f),
    where = ("%s:%d"):format(info.short_src, info.currentline),
    has = function(name) return places[name] ~= nil end,
    get = function(name)
      local place = places[name]
      if place.slot then return (select(2, getlocal(thread, level(), place.slot))) end
      return (select(2, getupvalue(f, place.upvalue)))
    end,
    set = function(name, value)
      local place = places[name]
      if place.slot then
        setlocal(thread, level(), place.slot, value)
      else
        setupvalue(f, place.upvalue, value)
      end
    end,
    -- The script goes on, and its frame with it: what the prompt has left behind sees the last values.
    leave = function(self)
      local values = {}
      for name in pairs(places) do values[name] = self.get(name) end
      self.get = function(name) return values[name] end
      self.set = function(name, value) values[name] = value end
    end,
  }
end

-- ---- the prompt ----------------------------------------------------------------------------------------------

local function banner(script)
  local names = script.names()
  local shown = table.concat(names, ", ", 1, math.min(#names, MOST_SHOWN))
  if #names > MOST_SHOWN then shown = shown .. (", … %d more"):format(#names - MOST_SHOWN) end
  return ("perigee: repl() at %s%s; Ctrl-D goes on\n"):format(term.escape(script.where), #names > 0 and ", locals " .. shown or "")
end

--- repl(): opens a prompt on the terminal, with the locals of the caller; returns when it is left.
function repl_here.open()
  local host = require("perigee.run").prompt_host()
  if not host then unavailable("no_terminal", "repl(): only a script that was run from a terminal can open a prompt, not a policy") end
  if not (term.is_tty "stdin" and term.is_tty "out") then
    unavailable("no_terminal", "repl(): standard input and output are no terminal, so nobody could type")
  end
  if not core.current() then return end
  if require("perigee.task").get_local "perigee.session" then
    unavailable("busy", "repl(): there is a prompt already; it opens one in a script that `perigee run` has started")
  end
  local script = frame_of()
  local backend = repl_local.new { name = "repl", locals = script }
  local guard <close> = setmetatable({}, { __close = function() script:leave() end }) -- luacheck: ignore 211
  require("perigee.repl").prompt(backend, { host = host, banner = banner(script) })
end

return repl_here
