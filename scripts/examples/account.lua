-- account.lua - what there is: balance, jobs and GPU types.
--
--   perigee run --emulator scripts/examples/account.lua
local deai, sxwl = require "perigee.deai", require "perigee.sxwl"
local task = require "perigee.task"

local user = deai.client({}):user()
print(user.email .. " has " .. tostring(user.balanceCCD))

for job in deai.client({}):jobs() do
  print("job", job.jobName, job.jobID)
end

local types, err = task.try(function() -- not offered in every era: then the error says so
  return sxwl.client({}):gpu_types()
end)
if not types then
  print("GPU types: " .. err.message)
end
for _, gpu in ipairs(types or {}) do
  print("GPU", gpu.gpuProd, tostring(gpu.amount) .. " per hour")
end
