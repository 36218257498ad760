-- jobs.lua - a training that outlives this script: run it again, and it finds the job instead of paying twice.
--
--   perigee run --emulator scripts/examples/jobs.lua
local deai = require "perigee.deai"
local jobs = require "perigee.jobs"

local folder = arg[0]:match "^(.*)/" or "."
local submitted = {
  service = "deai", kind = "train", name = "digits", key = os.date "%F", -- one a day
  max_cost = "5 CCD", -- all attempts together
  retry = { attempts = 3 },
  tags = { "nightly" },
  spec = {
    model = "CNN", epoch = 3, category = 10, train_shard = 0.8,
    x_train = deai.file(folder .. "/data/x_train.csv"), -- counts by its content, wherever it lies
    y_train = deai.file(folder .. "/data/y_train.csv"),
  },
}
local job = jobs.submit(submitted)
print(job)

local again = jobs.submit(submitted) -- the same name, key and spec: nothing is created
assert(again.id == job.id)

job:wait { timeout = "10m" }
print(job)
print(job:why())
