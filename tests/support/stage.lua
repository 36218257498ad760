-- stage.lua - what tests.support.supervised has in its child: an emulator, a supervisor, and words for scenes.
local json = require "perigee.json"
local journal = require "perigee.core.journal"
local local_world = require "tests.services.local_world"
local supervisor = require "perigee.supervisor"
local task = require "perigee.task"

local stage = {}

stage.GPU = "NVIDIA-GeForce-RTX-3090"

local function merged(...)
  local all = {}
  for _, source in ipairs {...} do
    for name, value in pairs(source) do all[name] = value end
  end
  return all
end

-- What a scene says: functions over the stage.
local function words(self, env)
  -- Submits a job of SXWL (or another) and returns its id.
  function env.submit(t, spec)
    local own = t and t.service == "deai" and spec or merged(env.spec, spec or {})
    t = merged({service = "sxwl", name = "job", max_cost = "10 CNY", spec = own}, t or {})
    return self.sup.verbs.submit(require "perigee.job_spec".prepare(t), {who = "a spec"}).id
  end
  function env.wait(id, seconds) return self.sup.verbs.wait(id, seconds or 7200) end
  function env.job(id) return self.sup.verbs.get(id) end
  function env.said() return table.concat(self.events, " ") end
  function env.kinds(id)
    local kinds = {}
    for i, one in ipairs(self.sup.verbs.why(id).decisions) do kinds[i] = one.kind end
    return table.concat(kinds, " ")
  end
  function env.permits(id)
    local list = {}
    for i, permit in ipairs(journal.call("permit.list", {job = id})) do
      list[i] = permit.state .. ":" .. (permit.amount or permit.price or "-")
    end
    return table.concat(list, " ")
  end
  function env.created() return #self.world.world.ledger:created "sxwl" end
  env.world, env.sleep, env.json, env.journal = self.world, task.sleep, json, journal
  env.spec = {
    gpuNumber = 1, gpuType = stage.GPU, ckptPath = "/ckpt", ckptVol = "10", modelPath = "/model", modelVol = "10",
    imagePath = "image", jobType = "GeneralJob",
  }
end

--- Options: those of the emulator's world, and `sup` for the supervisor.
function stage.open(options)
  local sup_options = options.sup or {}
  options.sup = nil
  local self = {world = local_world.open(options), events = {}}
  local clients = {
    sxwl = self.world:sxwl {prices = {[stage.GPU] = "6 CNY/h"}},
    deai = self.world:deai {},
  }
  local env = setmetatable({}, {__index = _G})
  self.env, env.clients = env, clients
  words(self, env)
  local function start()
    self.sup = supervisor.new(merged({
      clients = clients,
      emit = function(event, data)
        self.events[#self.events + 1] = event
        if env.on_event then env.on_event(event, data) end
      end,
      ask = function(event, job)
        if env.ask then return env.ask(event, job) end
      end,
    }, sup_options))
    env.sup = self.sup
  end
  start()
  -- Ends the supervisor as a crash would, and starts another over the same journal.
  function env.restart()
    self.sup:stop()
    start()
    require "perigee.supervisor_recover".claim(self.sup)
  end
  return setmetatable(self, {__close = function()
    self.sup:stop()
    self.world:__close()
  end})
end

return stage
