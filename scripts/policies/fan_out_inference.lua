-- fan_out_inference: one trained job, many inputs, within a budget; run it again to go on where it was.
--
--   perigee run scripts/policies/fan_out_inference.lua -- jobID=7712 results=results.jsonl budget="2 CCD" \
--     [concurrency=16] [max_cost="0.1 CCD"] a.csv b.csv …
--
-- Ends with exit code 6 if the budget was used up before every input was done.

local budget = require "perigee.budget"
local errors = require "perigee.error"
local policy_args = require "perigee.policy_args"

local USAGE = 'usage: fan_out_inference.lua -- jobID=… results=FILE budget="2 CCD" [concurrency=16] '
  .. '[max_cost="0.1 CCD"] FILE…'

local policy = {
  name = "fan_out_inference",
  budget = { day = "5 CCD" },
  on = {},
}

function policy.applies(job)
  return job.service == "deai" and job.operation == "infer"
end

policy.on["job.unknown"] = function()
  return { decision = "hold", why = "it may have been started; the next fan_out settles it from the list" }
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
function policy.run(args)
  local given, files = policy_args.read(args, {
    usage = USAGE, needs = { "jobID", "results", "budget" }, takes = { "concurrency", "max_cost" },
  })
  if #files == 0 then errors.invalid("name at least one input\n" .. USAGE) end
  local client = require("perigee.deai").client { budget = budget.new(policy.budget) }
  local bar <close> = require("perigee.progress").new { label = "inference", total = #files }
  local report = client:fan_out {
    jobID = given.jobID,
    files = files,
    results = given.results,
    budget = budget.new { name = "fan_out", total = given.budget },
    max_cost = given.max_cost,
    concurrency = policy_args.integer(given, "concurrency"),
    on_item = function(_, counts) bar:set(counts.ended, counts.total) end,
  }
  print(describe(report))
  return report
end

return policy
