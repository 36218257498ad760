-- readme.lua - the script of the README: train within a price, then infer on three files at once.
--
--   perigee run --emulator scripts/examples/readme.lua
local deai, task = require "perigee.deai", require "perigee.task"
local data, days = "scripts/examples/data/", { "mon", "tue", "wed" }
local client = deai.client {} -- the account: DEAI_EMAIL and DEAI_PASSWORD, or the emulator's
local job = client:train { model = "CNN", jobName = "digits", epoch = 5, category = 10, train_shard = 0.8,
  x_train = deai.file(data .. "x_train.csv"), y_train = deai.file(data .. "y_train.csv"),
  max_cost = "0.10 CCD", wait = true }
print("trained digits for " .. tostring(job.price))
local answers = task.map(days, function(day)
  return client:infer { jobID = job.jobID, file = data .. day .. ".csv", max_cost = "0.05 CCD" }
end)
for i, answer in ipairs(answers) do print(days[i], answer.result, answer.ccd_cost) end
