-- demo.lua - the guided tour of `make demo`: two services, one script, and what keeps the money safe.
--
--   perigee run --emulator scripts/demo.lua
--
-- Nothing here is staged: the price comes from the emulated service, the denial from that price, and one slow reply and
-- one failing GPU job from faults the emulator is asked for.  The table at the end is perigee's own.
local budget, deai, sxwl = require "perigee.budget", require "perigee.deai", require "perigee.sxwl"
local fs, http = require "perigee.fs", require "perigee.http"
local progress, retry, task = require "perigee.progress", require "perigee.retry", require "perigee.task"

local here = arg[0]:match "^(.*/)" or "./"
local INPUTS <const>, BUDGET <const> = 24, "1 CCD"
local FAULTS <const> = "sxwl.create_job:fail=1, deai.start_inference:delay(1s)=#5"
local GPU <const>, GPU_PRICE <const> = "NVIDIA-GeForce-RTX-3090", "7 CNY/h"

local function say(text, ...)
  print("   " .. text:format(...))
end

local function chapter(title)
  print("\n" .. title)
end

-- Tells the emulator what is to go wrong; a real service has no such switch.
local function ask_for_faults(client)
  local origin = client.base_url:gsub("/sdk/computation$", "")
  local ok, reply = pcall(http.post, origin .. "/__faults", { body = FAULTS })
  if not ok or reply.status ~= 200 then
    error("this tour needs the emulator: perigee run --emulator scripts/demo.lua", 0)
  end
  say("The emulator has been asked to let the first GPU job fail, and one reply come a second late:")
  say("%s", FAULTS)
end

-- The inputs of the fan-out: small files, each with its own numbers.
local function write_inputs(folder)
  local files = {}
  for i = 1, INPUTS do
    local row = {}
    for k = 1, 16 do
      row[k] = i * k % 256
    end
    files[i] = ("%s/image-%02d.csv"):format(folder, i)
    fs.write(files[i], table.concat(row, ",") .. "\n")
  end
  return files
end

local function upload(client)
  chapter "1. A data set goes up"
  local paths = {}
  for _, name in ipairs { "x_train.csv", "y_train.csv" } do
    paths[name] = client:upload(here .. "examples/data/" .. name)
    say("%s, %d bytes  →  %s", name, fs.size(here .. "examples/data/" .. name), paths[name])
  end
  return paths["x_train.csv"], paths["y_train.csv"]
end

local function price_and_gate(client, plan)
  chapter "2. A price is asked for, and a gate says no"
  plan.epoch, plan.max_cost = 4000, "0.10 CCD"
  local job, denied = task.try(client.train, client, plan)
  assert(not job and denied.kind == "denied", "the gate should have said no")
  say("4000 epochs would cost %s; the script allows %s.", denied.price, plan.max_cost)
  say("Denied, nothing was created: %s", denied.message)
end

local function train(client, plan)
  chapter "3. A smaller training fits"
  local started = task.now()
  plan.epoch, plan.wait = 10, true
  plan.on_start = function(job)
    say("10 epochs for %s: created, waiting for the end of the training …", job.price)
  end
  local job = client:train(plan)
  say("trained after %.0f s. Its jobID has %d digits and stays a text: no number type holds it.",
    task.now() - started, #job.jobID)
  return job
end

local function fan_out(client, job, folder)
  chapter(("4. %d inferences at once, on one budget of %s"):format(INPUTS, BUDGET))
  local bar <close> = progress.new { label = "   inference", total = INPUTS, unit = "inputs" }
  local report = client:fan_out {
    jobID = job.jobID,
    files = write_inputs(folder),
    results = folder .. "/results.jsonl",
    concurrency = 8,
    budget = budget.new { total = BUDGET },
    on_item = function(_, counts)
      bar:set(counts.ended)
    end,
  }
  bar:done()
  say("%d of %d done for %s. The first said: %s", report.done, report.total, report.cost, report.items[1].result)
  say "Each has its line in the results file: run again, and none is started or paid for twice."
end

local function gpu_job()
  chapter "5. A GPU job fails, and is tried again within its price"
  local client = sxwl.client { prices = { [GPU] = GPU_PRICE } }
  local policy = retry.new { attempts = 3, base = "500ms", on = { "job_failed" }, max_cost = "2 CNY" }
  local job = policy:run(function(try)
    if try.last_error then say("attempt %d failed: %s", try.attempt - 1, try.last_error.message) end
    return client:run {
      on_start = function(started)
        say("attempt %d: %s on one %s at %s", try.attempt, started.job_id, GPU, GPU_PRICE)
      end,
      gpuNumber = 1, gpuType = GPU, imagePath = "registry.example/digits:1.4", jobType = "GeneralJob",
      ckptPath = "/ckpt", ckptVol = 10000, modelPath = "/model", modelVol = 10000,
      stopType = 1, stopTime = 5, -- minutes: the worst case has a price
      runCommand = "python train.py --epochs 3",
    }
  end)
  say("%s, for %s at most.", job.status, job.cost)
end

local client = deai.client {}
local folder = os.tmpname()
fs.remove(folder)
fs.mkdir(folder)

print "perigee: a tour. Real HTTP, an emulator of both services, and no money: nothing here is paid."
ask_for_faults(client)
local x_train, y_train = upload(client)
local plan = {
  model = "CNN", jobName = "digits", category = 10, train_shard = 0.8, x_train = x_train, y_train = y_train,
}
price_and_gate(client, plan)
local job = train(client, plan)
fan_out(client, job, folder)
gpu_job()
fs.remove(folder, { recursive = true })

chapter "6. What it came to"
say "perigee closes every run with this table:"
print ""
