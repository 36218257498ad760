-- job_backend.lua - who does what perigee.jobs is asked for: the supervisor of this VM, or one that is reached.  -- internal
--
-- One shape everywhere: a verb, and one plain table of arguments.  In a policy's VM the supervisor is behind the
-- link, under "jobs.<verb>"; the control socket offers the same names.  Elsewhere it runs in this VM, from the
-- first call.

local config = require "perigee.config"
local errors = require "perigee.error"
local log = require "perigee.log"
local permits = require "perigee.permit"
local task = require "perigee.task"

local backend = {}

-- How the functions of perigee.supervisor take their arguments.
local VERBS <const> = {
  submit = function(f, args, origin) return f(args, origin) end,
  get = function(f, args) return f(args.id or { name = args.name, key = args.key }) end,
  list = function(f, args) return f(args) end,
  wait = function(f, args) return f(args.id, args.seconds) end,
  stop = function(f, args, origin) return f(args.id, origin) end,
  quote = function(f, args, origin) return f(args, origin) end,
  retry = function(f, args, origin) return f(args.id, { spec = args.spec, confirmed = args.confirmed }, origin) end,
  adopt = function(f, args, origin) return f(args.id, { remote_id = args.remote_id }, origin) end,
  forget = function(f, args, origin) return f(args.id, origin) end,
  approve = function(f, args, origin) return f(args.id, { who = args.who or origin.who, price = args.price }) end,
  deny = function(f, args, origin) return f(args.id, { why = args.why }, origin) end,
  sweep = function(f) return f() end,
  why = function(f, args) return f(args.id) end,
}

-- A person at the control socket says who they are; a policy is who it is.
local function asker(args, origin)
  if type(args.who) ~= "string" or origin.policy then return origin end
  return { who = args.who }
end

--- Functions by name ("jobs.submit", …), each with one table of arguments, over the supervisor's verbs.  origin: who
--- asks, {policy=, who=}.
function backend.handlers(verbs, origin)
  local handlers = {}
  for name, call in pairs(VERBS) do
    handlers["jobs." .. name] = function(args)
      args = args or {}
      return call(verbs[name], args, asker(args, origin))
    end
  end
  return handlers
end

--- A backend over anything with call(self, name, args): a link, a client of the control socket.
function backend.over(peer)
  return { call = function(verb, args) return peer:call("jobs." .. verb, args or {}) end, remote = true }
end

local function call_over(verbs, who)
  local handlers = backend.handlers(verbs, { who = who })
  return { call = function(verb, args) return handlers["jobs." .. verb](args) end }
end

-- A receiver of callbacks for the jobs of a script, if the program was told to listen; without one they are polled.
local function receiver_for(supervisor, listen, public_url)
  local journal = require "perigee.core.journal"
  journal.call("process.list", {}) -- opens it, so that its place is known
  local started = task.queue(1)
  require("perigee.worker").start(function()
    local ok, receiver = pcall(require("perigee.callbacks").serve, {
      listen = listen, public_url = public_url, directory = journal.status().directory,
      ring = function(id, hint) supervisor.ring(id, hint) end,
    })
    started:put { ok, receiver }
    if ok then task.queue(1):get() end -- for ever: the server's tasks belong to this one
  end)
  local _, result = started:get()
  local receiver = result[2]
  if not result[1] then
    log.warn("jobs.no_callbacks", { error = errors.is(receiver) and receiver.message or tostring(receiver) })
    return nil
  end
  receiver.public_url = receiver.public_url or receiver.url
  return function(id, attempt) return receiver:url_for(id, attempt) end
end

local present -- the supervisor of this VM, once it was started

-- The supervisor of this VM, which begins with the first call.
local function here()
  local lock <close> = task.lock "perigee.jobs.start" -- luacheck: ignore 211
  if not present then
    local supervisor = require "perigee.supervisor"
    local listen = config.option "listen"
    local session, found = permits.session(), call_over(supervisor.verbs, "the script")
    supervisor.start {
      url_for = listen and receiver_for(supervisor, listen, config.option "public_url"),
      emit = session and require("perigee.repl_money_jobs").watch(session, found.call),
    }
    present = found
  end
  return present
end

--- One call in a process that does nothing else: what it took over is let go of at the end.
function backend.once(verb, args, who)
  local supervisor = require "perigee.supervisor"
  local ending <close> = setmetatable({}, { __close = function() supervisor.drain() end }) -- luacheck: ignore 211
  return call_over(supervisor.verbs, who or "a command").call(verb, args)
end

-- What a session wants paid is asked about first.
local function staged(found, session)
  return {
    remote = found.remote,
    call = function(verb, args) return require("perigee.repl_money_jobs").call(session, found.call, verb, args) end,
  }
end

--- The backend of this VM.
function backend.find()
  require("perigee.world").check "perigee.jobs as it was kept"
  local link = package.loaded["perigee.link"]
  local found = link and link.upstream and backend.over(link.upstream) or here()
  local session = permits.session()
  return session and staged(found, session) or found
end

return backend
