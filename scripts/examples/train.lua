-- train.lua - upload a data set, train on it within a price, wait for the end.
--
--   perigee run --emulator scripts/examples/train.lua
local deai = require "perigee.deai"

local here = arg[0]:match "^(.*/)" or "./"
local client = deai.client {} -- account: DEAI_EMAIL and DEAI_PASSWORD, or the emulator's

local job = client:train {
  model = "CNN",
  jobName = "digits",
  epoch = 10,
  category = 10,
  train_shard = 0.8,
  x_train = deai.file(here .. "data/x_train.csv"),
  y_train = deai.file(here .. "data/y_train.csv"),
  max_cost = "0.10 CCD", -- a higher price is denied, and nothing is created
  wait = true,
}

print("trained " .. job.jobName .. " for " .. tostring(job.price))
print("job " .. job.jobID)
