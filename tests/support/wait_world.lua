-- wait_world.lua - what the entries of tests/fixtures/waits.lua may use: a folder, and a client of an emulator in
-- this process.
local fs = require "perigee.fs"
local task = require "perigee.task"
local local_world = require "tests.services.local_world"

local wait_world = {}
local methods = {}
methods.__index = methods

local JOB <const> = {
  gpuNumber = 1, gpuType = "NVIDIA-GeForce-RTX-3090", ckptPath = "/ckpt", modelPath = "/model", ckptVol = 10,
  modelVol = 10, imagePath = "image", jobType = "GeneralJob", stopType = "1", stopTime = 5,
}

function wait_world.open()
  local endless = {}
  for name, value in pairs(JOB) do endless[name] = value end
  endless.gpuType = "GPU-that-nobody-has"
  local dir = os.tmpname() .. ".d"
  fs.mkdir(dir)
  return setmetatable({dir = dir, job = JOB, endless_job = endless}, methods)
end

function methods:client()
  self.services = self.services or local_world.open {}
  return self.services:sxwl {}
end

--- The path of a file with these bytes.
function methods:file(bytes)
  local path = self.dir .. "/data.csv"
  fs.write(path, bytes)
  return path
end

function methods:deai(options)
  self.services = self.services or local_world.open {}
  return self.services:deai(options)
end

--- A client whose service takes requests and does not answer them.
function methods:held()
  local client = self:deai()
  self.services.before = function() task.sleep(600) end
  return client
end

--- A client of an emulator behind a socket; options.faults: what goes wrong there.
function methods:over_http(options)
  options = options or {}
  local emulator = require("perigee.emulator.server").serve {seed = 1, faults = options.faults}
  self.emulator = emulator
  return require("perigee.deai").client {
    email = emulator.email, password = options.password or emulator.password, base_url = emulator.deai_url,
  }
end

--- A client in this process, and a jobID that is ready for inference.
function methods:trained(options)
  options = options or {}
  self.services = local_world.open {now = local_world.stepping(500), faults = options.faults}
  local client = self:deai()
  local job = client:train {
    model = "LSTM", jobName = "series", x_train = require("perigee.deai").file(self:file "1,2,3"), wait = true,
  }
  return client, job.jobID
end

function methods:__close()
  if self.emulator then self.emulator:close() end
  if self.server then self.server:close() end
  if self.services then getmetatable(self.services).__close(self.services) end
  task.shield(5, fs.remove, self.dir, {recursive = true})
end

return wait_world
