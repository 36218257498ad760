-- perigee.repl_names: the names that are ready at the prompt.  -- internal
-- Modules are loaded and clients made when a name is first used: the prompt appears at once, and needs no credentials.

local names = {}

--- The modules by the name they have at the prompt.
names.modules = {
  amount = "perigee.amount", budget = "perigee.budget", callback = "perigee.callback", env = "perigee.env",
  fan_out = "perigee.fan_out", fs = "perigee.fs", http = "perigee.http", inspect = "perigee.inspect", jobs = "perigee.jobs",
  json = "perigee.json", log = "perigee.log", notify = "perigee.notify", policy = "perigee.policy", proc = "perigee.proc",
  progress = "perigee.progress", retry = "perigee.retry", secret = "perigee.secret", store = "perigee.store",
  task = "perigee.task", time = "perigee.time",
}

--- The services by the name of their client, which is made from the configuration and has the functions of its module
--- as well (deai.file, deai.client).
names.clients = { deai = "perigee.deai", sxwl = "perigee.sxwl" }

local function make_client(module)
  local client = module.client()
  for name, value in pairs(module) do rawset(client, name, value) end
  return client
end

-- Words that people try first: their echo says what to type. quit() and exit() do leave.
local HINTS <const> = {
  help = "type :help for the commands, and ?name for what a name is",
  quit = ":quit or Ctrl-D leaves",
  exit = ":quit or Ctrl-D leaves; os.exit(code) ends the program at once",
}

local function hint(name)
  return setmetatable({}, {
    __tostring = function() return HINTS[name] end,
    __call = function()
      if name == "help" then return HINTS.help end
      require("perigee.task").get_local("perigee.session").leaving = true
    end,
  })
end

--- A table of them that fills as they are used. load: what takes the place of require.
function names.new(load_module)
  load_module = load_module or require
  return setmetatable({}, {
    __index = function(self, name)
      local value
      if names.modules[name] then
        value = load_module(names.modules[name])
      elseif names.clients[name] then
        value = make_client(load_module(names.clients[name]))
      elseif HINTS[name] then
        value = hint(name)
      end
      if value ~= nil then rawset(self, name, value) end
      return value
    end,
    unmade = { modules = names.modules, clients = names.clients }, -- what completion may name without making it
  })
end

return names
