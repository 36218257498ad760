-- cost_gate.lua - a training that is too expensive is denied before anything is created. Exit code: 4
--
--   perigee run --emulator scripts/examples/cost_gate.lua
local deai = require "perigee.deai"

local here = arg[0]:match "^(.*/)" or "./"
local client = deai.client {}

client:train {
  model = "CNN",
  jobName = "far too long",
  epoch = 5000,
  category = 10,
  train_shard = 0.8,
  x_train = deai.file(here .. "data/x_train.csv"),
  y_train = deai.file(here .. "data/y_train.csv"),
  max_cost = "1 CCD",
}
