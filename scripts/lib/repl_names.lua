-- perigee.repl_names: the names that are ready at the prompt.  -- internal
-- Modules are loaded and clients made when a name is first used: a prompt appears at once, and needs no credentials.

local names = {}

--- The modules of perigee by the name they have at the prompt; deai and sxwl are clients.
names.modules = {
  amount = "perigee.amount", budget = "perigee.budget", callback = "perigee.callback", env = "perigee.env",
  fan_out = "perigee.fan_out", fs = "perigee.fs", http = "perigee.http", inspect = "perigee.inspect",
  jobs = "perigee.jobs", json = "perigee.json", log = "perigee.log", notify = "perigee.notify", policy = "perigee.policy",
  proc = "perigee.proc", progress = "perigee.progress", retry = "perigee.retry", secret = "perigee.secret",
  store = "perigee.store", task = "perigee.task", time = "perigee.time",
}

--- The services whose clients are there by their name: a client of the configuration, which also has the functions of
--- its module (deai.file, deai.client).
names.clients = { deai = "perigee.deai", sxwl = "perigee.sxwl" }

local function make_client(name)
  local module = require(names.clients[name])
  local client = module.client()
  for key, value in pairs(module) do client[key] = value end
  return client
end

--- A table of them, which fills as they are used.
function names.new()
  return setmetatable({}, {
    __index = function(self, name)
      local value
      if names.modules[name] then
        value = require(names.modules[name])
      elseif names.clients[name] then
        value = make_client(name)
      else
        return nil
      end
      rawset(self, name, value)
      return value
    end,
    unmade = { modules = names.modules, clients = names.clients }, -- what completion may name without making it
  })
end

--- Clients are made anew at their next use: what they were made from has changed.
function names.forget_clients(self)
  for name in pairs(names.clients) do self[name] = nil end
end

return names
