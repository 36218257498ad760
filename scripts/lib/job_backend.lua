-- job_backend.lua - who does what perigee.jobs is asked for: the supervisor of this VM, or one that is reached.  -- internal
--
-- One shape everywhere: a verb, and one plain table of arguments.  In a policy's VM the supervisor is behind the
-- link, under "jobs.<verb>"; the control socket offers the same names.  Elsewhere it runs in this VM, from the
-- first call.

local backend = {}

-- How the functions of perigee.supervisor take their arguments.
local VERBS <const> = {
  submit = function(f, args, origin) return f(args, origin) end,
  get = function(f, args) return f(args.id or { name = args.name, key = args.key }) end,
  list = function(f, args) return f(args) end,
  wait = function(f, args) return f(args.id, args.seconds) end,
  stop = function(f, args, origin) return f(args.id, origin) end,
  retry = function(f, args, origin) return f(args.id, { spec = args.spec }, origin) end,
  adopt = function(f, args, origin) return f(args.id, { remote_id = args.remote_id }, origin) end,
  forget = function(f, args, origin) return f(args.id, origin) end,
  approve = function(f, args, origin) return f(args.id, args.who or origin.who) end,
  deny = function(f, args) return f(args.id, args.why) end,
  sweep = function(f) return f() end,
  why = function(f, args) return f(args.id) end,
}

--- Functions by name ("jobs.submit", …), each with one table of arguments, over the supervisor's verbs.  origin: who
--- asks, {policy=, who=}.
function backend.handlers(verbs, origin)
  local handlers = {}
  for name, call in pairs(VERBS) do
    handlers["jobs." .. name] = function(args) return call(verbs[name], args or {}, origin) end
  end
  return handlers
end

--- A backend over anything with call(self, name, args): a link, a client of the control socket.
function backend.over(peer)
  return { call = function(verb, args) return peer:call("jobs." .. verb, args or {}) end, remote = true }
end

-- The supervisor of this VM, which begins with the first call.
local function here(who)
  local handlers = backend.handlers(require("perigee.supervisor").verbs, { who = who })
  return { call = function(verb, args) return handlers["jobs." .. verb](args) end }
end

--- One call in a process that does nothing else: what it took over is let go of at the end.
function backend.once(verb, args, who)
  local supervisor = require "perigee.supervisor"
  local ending <close> = setmetatable({}, { __close = function() supervisor.drain() end }) -- luacheck: ignore 211
  return here(who or "a command").call(verb, args)
end

--- The backend of this VM.
function backend.find()
  local link = package.loaded["perigee.link"]
  if link and link.upstream then return backend.over(link.upstream) end
  return here "the script"
end

return backend
