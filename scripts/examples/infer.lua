-- infer.lua - run a trained model on one file. The job is the first argument, or the newest job of the account.
--
--   perigee run --emulator scripts/examples/infer.lua [jobID]
local deai = require "perigee.deai"

local here = arg[0]:match "^(.*/)" or "./"
local client = deai.client {}
local jobID = arg[1]

if not jobID then
  print "no job given: training a small one first"
  jobID = client:train({
    model = "LSTM", jobName = "load forecast", epoch = 3, x_train = deai.file(here .. "data/load.csv"),
    train_shard = 0.8, max_cost = "0.10 CCD", wait = true,
  }).jobID
end

local answer = client:infer { jobID = jobID, file = here .. "data/mon.csv", max_cost = "0.05 CCD" }

print("result   " .. tostring(answer.result))
print("charged  " .. tostring(answer.ccd_cost))
print("chain    " .. answer.tx_hash)
