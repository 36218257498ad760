-- perigee.repl_world: a second set of perigee's modules in this VM, over an emulator of its own.  -- internal
--
-- Lines that rehearse must not reach the services, the money, the jobs and the stored values of the real ones.  So the set has
-- a journal in memory, a spend kernel and clients of its own: each module that has to do with them is loaded once more, with a
-- `require` that leads to the set, and both sets can work at the same time.  What is neither (errors, amounts, tasks, files) is
-- shared.  The emulator runs in a VM of its own.

local errors = require "perigee.error"

local repl_world = {}
local World = { __name = "perigee.repl_world" }
World.__index = World

-- Modules that both sets share: without state of services, money or jobs, and known by what they make.
local SHARED <const> = {}
for name in ([[amount columns env error fs histogram http http_serve inspect json link log options progress proc run schedule
  schedule_cron secret task time time_zone]]):gmatch "%S+" do
  SHARED["perigee." .. name] = true
end
local OWN <const> = { ["perigee.repl_names"] = true, ["perigee.repl_money"] = true }

local function is_shared(name)
  if not name:find "^perigee%." then return true end
  return SHARED[name] or name:find "^perigee%.%l+%." ~= nil or name:find "^perigee%.repl" ~= nil and not OWN[name]
end

-- ---- modules ---------------------------------------------------------------------------------------------------------

-- The module as a function, with another environment: `require` and `package.loaded` of the set.
local function loader_of(name, env)
  for _, search in ipairs(package.searchers) do
    local loader, extra = search(name)
    if type(loader) == "function" then
      if debug.getupvalue(loader, 1) == "_ENV" then debug.upvaluejoin(loader, 1, function() return env end, 1) end
      return loader, extra
    end
  end
  return error(errors.new { kind = "invalid", message = ("no module '%s'"):format(name) }, 0)
end

local function new_set()
  local loaded = setmetatable({}, { __index = function(_, name)
    if type(name) == "string" and is_shared(name) then return package.loaded[name] end
  end })
  local env = {}
  local function load_module(name)
    if rawget(loaded, name) ~= nil then return loaded[name] end
    if is_shared(name) then return require(name) end
    local loader, extra = loader_of(name, env)
    local module = loader(name, extra)
    loaded[name] = module == nil and true or module
    return loaded[name], extra
  end
  env.require = load_module
  env.package = setmetatable({ loaded = loaded }, { __index = package })
  setmetatable(env, { __index = _G, __newindex = _G })
  return loaded, load_module
end

-- ---- what the set stands on ----------------------------------------------------------------------------------------------

-- The configuration: credentials and addresses are the emulator's, nothing is kept, nothing listens.
local function new_config(services)
  local config = require "perigee.config"
  local set = { listen = false, state = ":memory:", public_url = false }
  local own = {}
  function own.get(name)
    if services[name] ~= nil then return services[name], "the emulator" end
    return config.get(name)
  end
  function own.need(name)
    if services[name] ~= nil then return services[name], "the emulator" end
    return config.need(name)
  end
  function own.option(name)
    if set[name] ~= nil then return set[name] or nil, "the emulator" end
    return config.option(name)
  end
  function own.fixed() return services end
  return setmetatable(own, { __index = config })
end

-- Clients of the set share locks, tokens and what they leave behind among themselves.
local function new_ops()
  local ops, shared = require "perigee.core.ops", {}
  return setmetatable({ shared = function() return shared end }, { __index = ops })
end

-- Budgets hold here as they do outside, counted anew.
local function install_budgets(world)
  local config, spend = world.require "perigee.config", world.require "perigee.core.spend"
  if config.option "require_budget" then spend.require_budget() end
  local text = config.option "budget"
  if text then
    local limits = {}
    for limit in text:gmatch "[^,]+" do limits[#limits + 1] = limit:match "^%s*(.-)%s*$" end
    spend.add_default_budget(world.require("perigee.budget").own { name = "the session", total = limits })
  end
  if #config.budgets() > 0 then world.require("perigee.budgets").install() end
end

-- Starts the emulator; what its clients need, by the names of perigee.config.
local function start_emulator(world, options)
  world.vm = require("perigee.core.vms").start { name = "emulator", module = "perigee.emulator.room", args = options }
  world.channel = world.vm:channel()
  local more, services = world.channel:receive()
  if more then return services end
  local _, err = world.vm:wait()
  return error(err or errors.new { kind = "unavailable", message = "the emulator has ended" }, 0)
end

--- A world over a new emulator.  options: seed, faults, speed.  Raises what the emulator does not take.
function repl_world.open(options, session)
  local world = setmetatable({ options = options }, World)
  local services = start_emulator(world, options)
  for _, name in ipairs { "journal", "spend", "budget" } do require("perigee.core." .. name) end -- what they make is known by these
  local engines = require("perigee.core.engines").open()
  local loaded, load_module = new_set()
  world.require, world.loaded, world.url, world.yes = load_module, loaded, services.url, session.yes
  for name, module in pairs(engines) do loaded["perigee.core." .. name] = module end
  loaded["perigee.core.ops"], loaded["perigee.config"] = new_ops(), new_config(services)
  engines.journal.place { state = ":memory:", kind = "repl" }
  local own = load_module "perigee.world"
  own.id, own.base = world, services.url
  load_module("perigee.permit").guard(session)
  install_budgets(world)
  world.names = load_module("perigee.repl_names").new(load_module)
  rawset(world.names, "require", load_module)
  return world
end

--- Ends it: its jobs are let go of, and the emulator forgets all.
function World:close()
  local supervisor = rawget(self.loaded, "perigee.supervisor")
  if supervisor then pcall(supervisor.drain, 1) end
  self.channel:close()
  self.vm:stop("the rehearsal is over", 1)
end

return repl_world
