-- fan_out.lua - one model, many files, at once, within one budget. The results file makes a rerun do only what is
-- missing: nothing is inferred, or paid, twice.
--
--   perigee run --emulator scripts/examples/fan_out.lua [results.jsonl]
local budget = require "perigee.budget"
local deai = require "perigee.deai"

local here = arg[0]:match "^(.*/)" or "./"
local client = deai.client {}
local job = client:train {
  model = "CNN", jobName = "digits", epoch = 3, category = 10, train_shard = 0.8, max_cost = "0.10 CCD", wait = true,
  x_train = deai.file(here .. "data/x_train.csv"), y_train = deai.file(here .. "data/y_train.csv"),
}

local files = {}
for i, day in ipairs { "mon", "tue", "wed", "thu", "fri", "sat", "sun" } do
  files[i] = here .. "data/" .. day .. ".csv"
end

local purse = budget.new { total = "0.50 CCD" }
local report = client:fan_out {
  jobID = job.jobID, files = files, concurrency = 4, budget = purse, results = arg[1] or os.tmpname(),
}

for _, item in ipairs(report.items) do
  print(item.file:match "[^/]+$", item.state, item.result, item.cost)
end
print(report.done .. " done, spent " .. tostring(purse:spent()) .. ", left " .. tostring(purse:left()))
