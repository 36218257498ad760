-- internal: policy_load.lua - runs a policy file only to get its table, with nothing in reach that could send, pay or
-- write: for `perigee check`.
--
-- The file and its helpers get an environment of their own.  Modules that only reckon are the real ones; those that
-- reach outside are replaced by stand-ins, which can be required and raise when they are used; C modules are not loaded.
-- Hooks, schedules and run are never called, so what is inside them meets no stand-in.

local errors = require "perigee.error"

local policy_load = {}

local LONGEST <const> = 10 -- seconds that loading may wait

-- Modules that neither send nor write.
local REAL <const> = { "amount", "budget", "env", "error", "inspect", "json", "log", "policy", "policy_args", "retry", "task", "time" }

-- Modules that do.
local CUT <const> = { "callback", "deai", "fan_out", "fs", "http", "http_serve", "jobs", "notify", "proc", "progress", "secret", "store",
  "sxwl" }

local function refuse(what)
  return errors.invalid(what .. " is called while the file is loaded: do that in a hook, a schedule or run")
end

-- Anything can be read from it and called on it; the call raises.
local function stand_in(name, fields)
  return setmetatable(fields or {}, {
    __index = function(_, key)
      return function() return refuse(("%s.%s"):format(name, tostring(key))) end
    end,
    __call = function() return refuse(name) end,
    __name = name,
  })
end

local function client_of(name)
  return function() return stand_in("a client of " .. name) end
end

-- What files do at their top, though it belongs to a module that reaches outside.
local function cut_module(name)
  if name == "secret" then
    local function hidden() return require("perigee.core.secret").of "-" end
    return stand_in(name, { env = hidden, file = hidden, credential = hidden, of = hidden })
  elseif name == "fs" then
    local fs = require "perigee.fs"
    return stand_in(name, { read = fs.read, exists = fs.exists, list = fs.list, stat = fs.stat, size = fs.size, lines = fs.lines,
      sha256 = fs.sha256, sha256_text = fs.sha256_text, absolute = fs.absolute })
  elseif name == "deai" then
    return stand_in(name, { client = client_of(name), file = function(path) return { path = path } end })
  elseif name == "sxwl" then
    return stand_in(name, { client = client_of(name) })
  end
  return stand_in(name)
end

local function is_in(list, name)
  for _, one in ipairs(list) do
    if one == name then return true end
  end
  return false
end

--- The module of ours of that name as a checked file gets it; raises with the nearest right name.
local function own_module(name)
  local short = name:match "^perigee%.(.+)$"
  local ready = short:find "^policies%." and package.searchers[2](name) -- afresh: the file may change its table
  if type(ready) == "function" then return ready(name) end
  if is_in(REAL, short) then return require(name) end
  if is_in(CUT, short) then return cut_module(short) end
  local known = table.move(CUT, 1, #CUT, #REAL + 1, table.move(REAL, 1, #REAL, 1, {}))
  local near = errors.nearest(short, known)
  return errors.invalid(("there is no module %s for policies%s"):format(name,
    near and ("; did you mean perigee.%s?"):format(near) or ""))
end

--- The path of a helper in Lua, or nil; and whether it is a C module.
function policy_load.find(name, folder)
  local here = ("%s/?.lua;%s/?/init.lua"):format(folder, folder)
  local path = package.searchpath(name, here) or package.searchpath(name, package.path)
  if path then return path, false end
  return package.searchpath(name, package.cpath), true
end

-- ---- the environment -----------------------------------------------------------------------------------------------

local function copy(t, names)
  local new = {}
  if names then
    for _, name in ipairs(names) do new[name] = t[name] end
  else
    for name, value in pairs(t) do new[name] = value end
  end
  return new
end

local function open_to_read(path, mode)
  if mode ~= nil and mode ~= "r" and mode ~= "rb" then return refuse(("io.open(…, %q)"):format(tostring(mode))) end
  return io.open(path, mode)
end

local function to_stderr(...)
  local parts = {}
  for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
  require("perigee.core.term").write("err", table.concat(parts, "\t") .. "\n")
end

local function environment()
  local env = copy(_G, { "assert", "collectgarbage", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget",
    "rawlen", "rawset", "select", "setmetatable", "tonumber", "tostring", "type", "warn", "xpcall", "_VERSION" })
  for _, name in ipairs { "coroutine", "math", "string", "table", "utf8" } do env[name] = copy(_G[name]) end
  env.os = copy(os, { "clock", "date", "difftime", "getenv", "time" })
  env.io = { open = open_to_read, lines = io.lines, type = io.type, stderr = io.stderr }
  env.arg = {}
  env.print = to_stderr
  env._G = env
  function env.load(chunk, name, _, given) return load(chunk, name, "t", given or env) end
  function env.loadfile(path, _, given) return loadfile(path, "t", given or env) end
  function env.dofile(path) return assert(env.loadfile(path))() end
  return env
end

local function missing(name, folder)
  return errors.new {
    kind = "invalid",
    code = "missing_helper",
    message = ("the file needs %q, and there is no such helper: neither %s/%s.lua nor in the Lua path"):format(name, folder,
      (name:gsub("%.", "/"))),
  }
end

-- require for the file in that folder; files: where the paths of its helpers are collected.
local function requirer(env, folder, files)
  local loaded = { _G = env }
  for _, name in ipairs { "coroutine", "io", "math", "os", "string", "table", "utf8" } do loaded[name] = env[name] end
  env.package = { loaded = loaded, path = package.path, cpath = "", config = package.config, preload = {} }
  return function(name)
    if loaded[name] ~= nil then return loaded[name] end
    if type(name) == "string" and name:find "^perigee%." then
      loaded[name] = own_module(name)
      return loaded[name]
    end
    local path, is_c = policy_load.find(name, folder)
    if not path then error(missing(name, folder), 0) end
    if is_c then
      loaded[name] = stand_in(name)
      return loaded[name]
    end
    files[#files + 1] = path
    local chunk, problem = loadfile(path, "t", env)
    if not chunk then error(problem, 0) end
    local value = chunk(name, path)
    loaded[name] = value == nil and (loaded[name] == nil or loaded[name]) or value
    return loaded[name]
  end
end

--- What the chunk of the file at that path returns, and the list of its helpers' paths.  Raises what it raises.
function policy_load.run(chunk_of, path)
  local env, files = environment(), {}
  env.require = requirer(env, path:match "^(.*)/[^/]*$" or ".", files)
  local task = require "perigee.task"
  local result = task.deadline(LONGEST, function() return chunk_of(env)() end)
  return result, files
end

return policy_load
