-- demo_work.lua - the policy that brings the work of `make demo`'s second part: three GPU jobs and a training.
--
-- It asks for all of them again at every turn, as a script would that is started again and again: jobs are found by
-- name and key, so that nothing is created twice.  The ready policies decide about them: cost_gate what may go,
-- retry_failed_jobs what is tried again, and fan_out_inference starts inferences on the training when it is done.
local deai = require "perigee.deai"
local env = require "perigee.env"
local jobs = require "perigee.jobs"

local GPU_JOBS <const> = { { "night-1", "10 CNY" }, { "night-2", "10 CNY" }, { "big", "70 CNY" }, { "too-big", "300 CNY" } }

local work = { name = "demo_work", budget = { day = { "5 CCD", "100 CNY" } } }

local function gpu_job(name, max_cost)
  jobs.submit {
    service = "sxwl", name = name, key = "demo", max_cost = max_cost, attach = "finished",
    spec = {
      gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "registry.example/digits:1.4", jobType = "GeneralJob",
      ckptPath = "/ckpt", ckptVol = 10000, modelPath = "/model", modelVol = 10000, runCommand = "python train.py",
    },
  }
end

local function training()
  local data = env.get "DEMO_DATA"
  jobs.submit {
    service = "deai", kind = "train", name = "digits", key = "demo", max_cost = "1 CCD", tags = { "fan_out" }, attach = "finished",
    spec = {
      model = "CNN", epoch = 10, category = 10, train_shard = 0.8,
      x_train = deai.file(data .. "/x_train.csv"), y_train = deai.file(data .. "/y_train.csv"),
    },
  }
end

local function submit_all()
  training()
  for _, job in ipairs(GPU_JOBS) do gpu_job(job[1], job[2]) end
end

work.schedules = { { name = "all", every = "1s", run = submit_all } }

return work
