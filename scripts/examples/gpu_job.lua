-- gpu_job.lua - a container on a GPU, tried again if the job fails, its model downloaded at the end.
--
--   perigee run --emulator scripts/examples/gpu_job.lua
local retry = require "perigee.retry"
local sxwl = require "perigee.sxwl"

local client = sxwl.client { -- token: SXWL_TOKEN, or the emulator's
  prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" }, -- SXWL names no price: gates use yours
}

local policy = retry.new { attempts = 3, base = "1s", on = { "job_failed" } }
local job = policy:run(function()
  return client:run {
    gpuType = "NVIDIA-GeForce-RTX-3090",
    gpuNumber = 1,
    imagePath = "registry.example/digits:1.4",
    ckptPath = "/ckpt", ckptVol = 10000,
    modelPath = "/model", modelVol = 10000,
    jobType = "GeneralJob",
    runCommand = "python train.py --epochs 3",
    max_cost = "2 CNY", -- also decides how long it may run: the longest stopTime that fits
  }
end)
print(job.job_id .. " ended with " .. job.status)

local path = os.tmpname()
client:download(job.url, path)
print("model saved as " .. path)
