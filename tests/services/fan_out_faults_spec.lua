-- fan_out against the emulator, when replies get lost before an inference is started.

local fs = require "perigee.fs"
local helper = require "tests.helper"
local local_world = require "tests.services.local_world"

local function write_inputs(folder, count)
  local files = {}
  for i = 1, count do
    files[i] = ("%s/%d.csv"):format(folder, i)
    fs.write(files[i], "x," .. i .. "\n")
  end
  return files
end

-- A world with a trained job, reached by a client whose keys hardly rest.
local function with_job(f)
  local here <close> = local_world.open { seed = 2, speed = 1000 }
  local client = here:deai { draft_rest = 0.01, status_rate = 1000 }
  local folder = helper.tmpdir()
  fs.write(folder .. "/train.csv", "1,2,3\n")
  local path = client:upload(folder .. "/train.csv")
  local job = client:train {
    model = "CNN", jobName = "digits", epoch = 1, category = 2, train_shard = 0.5, x_train = path, y_train = path,
    max_cost = "1 CCD",
  }
  client:wait_job(job.jobID)
  return f(here.world, client, job, write_inputs(folder, 4), folder .. "/results.jsonl")
end

describe("fan_out", function()
  for _, operation in ipairs { "upload", "estimate_inference" } do
    it("does an input again whose " .. operation .. " got no reply: nothing of it was started", function()
      with_job(function(world, client, job, files, results)
        world.faults:replace("deai." .. operation .. ":drop_after=#2")
        local function run()
          return client:fan_out { jobID = job.jobID, files = files, results = results, max_cost = "1 CCD" }
        end

        local first, second = run(), run()

        assert.same({ 3, 1, 0 }, { first.done, first.failed, first.unknown })
        assert.same({ 4, 0, 0 }, { second.done, second.failed, second.unknown })
        assert.equal(4, #world.ledger:inferences())
      end)
    end)
  end

  it("never starts an input again whose start got no reply", function()
    with_job(function(world, client, job, files, results)
      world.faults:replace "deai.start_inference:drop_after=#2-3"
      for _ = 1, 2 do
        client:fan_out { jobID = job.jobID, files = files, results = results, max_cost = "1 CCD" }
      end

      local seen = {}
      for _, entry in ipairs(world.ledger:inferences()) do
        assert.is_nil(seen[entry.content_id])
        seen[entry.content_id] = true
      end
      assert.equal(4, #world.ledger:inferences())
    end)
  end)
end)
