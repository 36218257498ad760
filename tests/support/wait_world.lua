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

function methods:__close()
  if self.server then self.server:close() end
  if self.services then getmetatable(self.services).__close(self.services) end
  task.shield(5, fs.remove, self.dir, {recursive = true})
end

return wait_world
