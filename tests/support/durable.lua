-- durable.lua - an emulator in this process, a state directory of its own, and scripts that submit a job.
local emulator_server = require "perigee.emulator.server"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local json = require "perigee.json"
local spawn = require "tests.support.spawn"

local durable = {}
local methods = {}
methods.__index = methods

local CONFIG <const> = 'return { sxwl = { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" } } }'

--- Code that goes on until the service has taken the job.
durable.RUNNING = [[while job:status() ~= "running" do require("perigee.task").sleep(0.02) end print("running", job.id)]]

--- A script that submits one job. after: what it does then; fields: of the spec; beside: what stands beside it.
function durable.script(after, fields, beside)
  return ([[
    local jobs, secret = require "perigee.jobs", require "perigee.secret"
    local job = jobs.submit {
      service = "sxwl", name = "训练", max_cost = "5 CNY", %s
      spec = { gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "registry/train:1", jobType = "GeneralJob",
        ckptPath = "/ckpt", ckptVol = 10, modelPath = "/model", modelVol = 10, %s },
    }
    %s]]):format(beside or "", fields or "", after or "")
end

--- The document that a command has printed, and nothing else.
function durable.document(result)
  local object = json.decode(result.stdout)
  assert(object.schema_version == 1, result.stdout)
  return object
end

--- A state directory and a configuration with prices; serve() starts the emulator, close() ends it.
function durable.open()
  local folder = helper.tmpdir()
  fs.write(folder .. "/config.lua", CONFIG, { mode = "0600" })
  local env = { PERIGEE_CONFIG = folder .. "/config.lua", PERIGEE_STATE = folder .. "/state", TZ = "UTC" }
  return setmetatable({ env = env }, methods)
end

--- options: speed, faults; deai: the variables of Distributed AI are set as well.
function methods:serve(options)
  local emulator, env = emulator_server.serve { seed = 1, speed = options.speed, faults = options.faults }, self.env
  self.emulator = emulator
  env.SXWL_BASE_URL, env.SXWL_TOKEN = emulator.sxwl_url, emulator.token
  if options.deai then
    env.DEAI_BASE_URL, env.DEAI_EMAIL, env.DEAI_PASSWORD = emulator.deai_url, emulator.email, emulator.password
  end
end

--- To be called before the scope of a spec ends, which would wait for the emulator.
function methods:close()
  self.emulator:close()
end

--- Runs code; more: variables.
function methods:run(code, more)
  local all = {}
  for name, value in pairs(self.env) do all[name] = value end
  for name, value in pairs(more or {}) do all[name] = value end
  return spawn.run({ "run", "-e", code }, { env = all })
end

--- Runs a command.
function methods:perigee(...)
  return spawn.run({ ... }, { env = self.env })
end

--- How many jobs SXWL has made.
function methods:created()
  return #self.emulator.ledger:created "sxwl"
end

return durable
