-- fan_out_inference: one trained job, many inputs, each paid once, within a budget.
--
--   FAN_OUT_JOB=7712 FAN_OUT_FOLDER=/data/in FAN_OUT_RESULTS=/data/out perigee daemon fan_out_inference.lua
--   perigee run scripts/policies/fan_out_inference.lua -- jobID=7712 results=results.jsonl budget="2 CCD" \
--     [concurrency=16] [max_cost="0.1 CCD"] a.csv b.csv …
--
-- In a daemon every file that comes into the folder is an inference of its own; a training with the tag "fan_out" that
-- has succeeded takes the place of FAN_OUT_JOB.  By hand it ends with exit code 6 if the budget ended before the inputs.

local budget = require "perigee.budget"
local env = require "perigee.env"
local errors = require "perigee.error"
local fs = require "perigee.fs"
local json = require "perigee.json"
local policy = require "perigee.policy"
local policy_args = require "perigee.policy_args"

local USAGE = 'usage: fan_out_inference.lua -- jobID=… results=FILE budget="2 CCD" [concurrency=16] '
  .. '[max_cost="0.1 CCD"] FILE…'

local TAG = "fan_out"
local MAX_COST = "0.1 CCD" -- for one input

local fan = {
  name = "fan_out_inference",
  budget = { day = "5 CCD" },
  on = {},
}

local function has_tag(job)
  for _, tag in ipairs(job.tags or {}) do
    if tag == TAG then return true end
  end
  return false
end

function fan.applies(job)
  return job.service == "deai" and has_tag(job)
end

-- One job for each content; what was submitted before is found by its key, and not paid again.
local function submit_folder(jobID, folder)
  local jobs = require "perigee.jobs"
  for _, name in ipairs(fs.list(folder)) do
    local path = folder .. "/" .. name
    if not name:find "^%." and fs.stat(path).type == "file" then
      jobs.submit {
        service = "deai", kind = "infer", name = fan.name, key = ("%s/%s"):format(jobID, fs.sha256(path)), tags = { TAG },
        max_cost = MAX_COST, spec = { jobID = jobID, file = path }, attach = "finished",
      }
    end
  end
end

-- The jobID of the newest training with the tag that succeeded.
local function newest_training()
  for _, job in ipairs(require("perigee.jobs").list { service = "deai", state = "succeeded" }) do
    if job.kind == "train" and has_tag(job) then return job.remote_id end
  end
end

local function fan_out()
  local folder, jobID = env.get "FAN_OUT_FOLDER", newest_training() or env.get "FAN_OUT_JOB"
  if folder and jobID then submit_folder(jobID, folder) end
end

fan.schedules = { { name = "new_inputs", every = "15m", run = fan_out } }

local function write_result(job)
  local folder, input = env.get "FAN_OUT_RESULTS", job.spec.data_path
  local path = type(input) == "table" and input["$file"]
  if not folder or not path then return end
  local text = json.encode { file = path, job = job.id, cost = job.cost, result = job.result }
  fs.write(("%s/%s.json"):format(folder, path:match "[^/]+$"), text)
end

fan.on["job.succeeded"] = function(job)
  if job.kind == "infer" then write_result(job) else fan_out() end
end

fan.on["job.unknown"] = function()
  return policy.hold "it may have been started; the service's list settles it"
end

local function describe(report)
  local parts = {}
  for _, state in ipairs { "done", "failed", "unknown", "running", "not_started" } do
    if report[state] > 0 then parts[#parts + 1] = ("%d %s"):format(report[state], (state:gsub("_", " "))) end
  end
  local text = ("%s of %d inputs"):format(table.concat(parts, ", "), report.total)
  if report.cost then text = ("%s, %s"):format(text, report.cost) end
  return report.stopped and ("%s; %s"):format(text, report.stopped.message) or text
end

--- By hand: every file once.  Returns the report of deai:fan_out.
function fan.run(args)
  local given, files = policy_args.read(args, {
    usage = USAGE, needs = { "jobID", "results", "budget" }, takes = { "concurrency", "max_cost" },
  })
  if #files == 0 then errors.invalid("name at least one input\n" .. USAGE) end
  local client = require("perigee.deai").client { budget = budget.new(fan.budget) }
  local bar <close> = require("perigee.progress").new { label = "inference", total = #files }
  local report = client:fan_out {
    jobID = given.jobID,
    files = files,
    results = given.results,
    budget = budget.new { total = given.budget },
    max_cost = given.max_cost,
    concurrency = policy_args.integer(given, "concurrency"),
    on_item = function(_, counts) bar:set(counts.ended, counts.total) end,
  }
  print(describe(report))
  return report
end

return fan
