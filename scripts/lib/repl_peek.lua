-- repl_peek.lua - what an expression at the prompt stands for, found without running anything.  -- internal
--
-- Completion and help look into the values of a session while somebody types.  They must not run what people wrote:
-- no __index function, no __pairs, no __tostring; and must not make what is only made on use: a client, a connection.
-- So all reading is raw, and classes are known by what their modules say of them.
--
-- A thing is { value=, class= (table of methods), service= ("deai" | "sxwl"), module= }, each if known.

local names_of = require "perigee.repl_names"

-- Scripts may change these tables. A VM that only reads has no debug.getmetatable.
local rawget, next, type, metatable_of = rawget, next, type, debug.getmetatable or getmetatable

local peek = {}

local DEEPEST <const> = 8 -- classes behind a value
local MOST <const> = 20000 -- members of one table that are looked at

-- Members of the clients that are for perigee itself.
local OWN_BUSINESS <const> = { authorize = true, accepted = true, renew = true, heed = true, note = true, shared_locks = true }

local CLIENT_CLASS <const> = { ["perigee.sxwl.client"] = "sxwl", ["perigee.deai.client"] = "deai" }

-- What calls give, as far as it is always the same.
local GIVES <const> = {
  ["jobs.submit"] = "perigee.jobs", ["jobs.get"] = "perigee.jobs", ["jobs.stop"] = "perigee.jobs",
  ["sxwl.client"] = "perigee.sxwl", ["deai.client"] = "perigee.deai",
  ["task.spawn"] = "task", ["task.detach"] = "task", ["task.current"] = "task",
}

local function module(session, name)
  local ok, found = pcall(session.require or require, name)
  if ok and type(found) == "table" then return found end
end

local function is_identifier(key)
  return type(key) == "string" and key:find "^[%a_][%w_]*$" ~= nil
end

-- ---- one value -------------------------------------------------------------------------------------------------------

-- The table that a value's metatable looks members up in; nil if that is a function, or none.
local function class_of(value)
  local meta = metatable_of(value)
  local class = type(meta) == "table" and rawget(meta, "__index")
  if type(class) == "table" then return class end
end

local function thing_of(value)
  local meta = metatable_of(value)
  local name = type(meta) == "table" and rawget(meta, "__name") or nil
  return { value = value, class = class_of(value), service = type(name) == "string" and CLIENT_CLASS[name] or nil }
end

-- A client that nobody has made yet: its methods are those of its class.
local function unmade_client(session, service)
  local found = module(session, names_of.clients[service])
  if found then return { class = rawget(found, "_methods"), service = service, module = found } end
end

-- A member by its name, raw, as `value.key` would find it; nil where only running code could tell.
local function raw_member(thing, key)
  local value = nil
  if type(thing.value) == "table" then value = rawget(thing.value, key) end
  local class, depth = thing.class, 0
  while value == nil and class and depth < DEEPEST do
    value = rawget(class, key)
    class, depth = class_of(class), depth + 1
  end
  if value == nil and thing.module then value = rawget(thing.module, key) end
  return value
end

-- ---- names -----------------------------------------------------------------------------------------------------------

local function unmade_of(session)
  local meta = metatable_of(session.names)
  local unmade = type(meta) == "table" and rawget(meta, "unmade")
  return type(unmade) == "table" and unmade or { modules = {}, clients = {} }
end

--- What a name stands for in the session, or nil.
function peek.name(session, name)
  local variable = session.locals[name]
  if variable then return thing_of(variable.get()) end
  local value = rawget(session.env, name)
  local script = session.script
  if value == nil and script then
    if script.has(name) then
      value = script.get(name)
    elseif type(script.globals) == "table" then
      value = rawget(script.globals, name)
    end
  end
  if value == nil then value = rawget(session.names, name) end
  if value ~= nil then return thing_of(value) end
  local unmade = unmade_of(session)
  if unmade.clients[name] then return unmade_client(session, name) end
  if unmade.modules[name] then
    value = module(session, unmade.modules[name])
  else
    value = rawget(session.globals, name)
  end
  if value ~= nil then return thing_of(value) end
end

--- All names of the session: a set of those people gave or that perigee has ready, and one of Lua's own.
function peek.names(session)
  local ready, lua = {}, {}
  local function add(set, from)
    local count = 0
    for name in next, from do
      count = count + 1
      if count > MOST then return end
      if is_identifier(name) then set[name] = true end
    end
  end
  local unmade = unmade_of(session)
  for _, from in ipairs { session.locals, session.env, session.names, unmade.modules, unmade.clients } do add(ready, from) end
  local script = session.script
  if script then
    for _, name in ipairs(script.names and script.names() or {}) do ready[name] = true end
    if type(script.globals) == "table" and script.globals ~= session.globals then add(ready, script.globals) end
  end
  add(lua, session.globals)
  return ready, lua
end

-- ---- expressions -----------------------------------------------------------------------------------------------------

local function given_by(session, path)
  local source = GIVES[path]
  if source == "task" then
    return { class = class_of(require("perigee.core.task").current()) }
  elseif source == "perigee.jobs" then
    local found = module(session, source)
    return found and { class = rawget(found, "_methods") }
  elseif source then
    return unmade_client(session, source:match "%a+$")
  end
end

--- What a chain of perigee.repl_lexer stands for, and its path in words ("sxwl:create_job"), or nil. visible: names that
--- the text itself declares as locals, of which nothing is known.
function peek.chain(session, chain, visible)
  if chain.string then
    if #chain == 0 then return { class = string, value = "" }, "string" end
    return nil
  end
  if visible and visible[chain.name] then return nil, chain.name end
  local thing, path = peek.name(session, chain.name), chain.name
  for _, step in ipairs(chain) do
    if step.mark == "()" then
      thing = given_by(session, path)
      path = path .. "()"
    else
      path = path .. step.mark .. tostring(step.key)
      local value = thing and raw_member(thing, step.key)
      thing = value ~= nil and thing_of(value) or nil
    end
  end
  return thing, path
end

--- The service whose client this is ("deai", "sxwl"), or nil.
function peek.service(thing)
  return thing and thing.service
end

-- ---- members -----------------------------------------------------------------------------------------------------------

local function is_callable(value)
  if type(value) == "function" then return true end
  local meta = metatable_of(value)
  return type(value) ~= "string" and type(meta) == "table" and rawget(meta, "__call") ~= nil
end

local function collect(found, from, wanted, any_key)
  local count = 0
  for key, value in next, from do
    count = count + 1
    if count > MOST then return end
    if (is_identifier(key) and not key:find "^__" or any_key and type(key) == "string") and found[key] == nil and wanted(value) then
      found[key] = type(value)
    end
  end
end

local function anything() return true end
local function no_function(value) return not is_callable(value) end

--- The members of a thing as { [name] = type of its value }. mark ":": what can be called on it; ".": all the rest too.
function peek.members(thing, mark)
  local found = {}
  local own = type(thing.value) == "table" and thing.value or nil
  -- A client of the prompt also carries the functions of its module, which are no methods.
  if own and (mark == "." or not thing.class) then collect(found, own, mark == "." and anything or is_callable) end
  if thing.module and mark == "." then collect(found, thing.module, anything) end
  local class, depth = thing.class, 0
  -- `job.` is for fields; of what has none (a task, a client not yet made) the methods are shown.
  local wanted = mark == ":" and is_callable or next(found) ~= nil and not thing.module and no_function or anything
  while class and depth < DEEPEST do
    collect(found, class, wanted)
    class, depth = class_of(class), depth + 1
  end
  if thing.service then
    for name in next, OWN_BUSINESS do found[name] = nil end
  end
  return found
end

--- The name of a thing's class ("perigee.job"), or nil.
function peek.class_name(thing)
  local meta = thing.value ~= nil and metatable_of(thing.value) or thing.class
  local name = type(meta) == "table" and rawget(meta, "__name")
  return type(name) == "string" and name or nil
end

--- The keys of a table that are text, whatever they look like: { [key] = type of its value }.
function peek.keys(thing)
  local found = {}
  if type(thing.value) == "table" then collect(found, thing.value, anything, true) end
  return found
end

--- A field of a thing, raw: what its own table has.
function peek.own(thing, key)
  return thing and type(thing.value) == "table" and rawget(thing.value, key) or nil
end

return peek
