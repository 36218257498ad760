-- supervisor_faults_spec.lua - each fault of the emulator alone, at every call or at a third of them: jobs reach their
-- end, none is created twice for one intent, and what was created has money that stands for it.
local play = require "tests.support.supervised".play

-- What of each kind is done while the fault goes on; it ends after a while, so that everything can end.
local SCENE <const> = [[
  local path = os.tmpname()
  local f <close> = io.open(path, "w")
  f:write(("1,2,3\n"):rep(100))
  f:close()
  local file = require "perigee.deai".file
  local function deai_job(kind, name, spec)
    return sup.verbs.submit(require "perigee.job_spec".prepare {
      service = "deai", kind = kind, name = name, max_cost = "5 CCD", retry = { attempts = 3 }, on_unknown = "fail", spec = spec,
      deadline = "20h",
    }, { who = "a spec" }).id
  end
  local before = deai_job("train", "before", { model = "LSTM", epoch = 2, x_train = file(path), train_shard = 0.8 })
  local trained = wait(before, 36000).result.jobID
  world.world.faults:replace(FAULT)

  local ids = {}
  for i = 1, 4 do
    ids[i] = submit { name = "gpu" .. i, deadline = "20h", on_unknown = "retry", retry = { attempts = 3, base = "1s", cap = "1m" } }
  end
  ids[5] = deai_job("train", "train", { model = "LSTM", epoch = 2, x_train = file(path), train_shard = 0.8 })
  for i = 6, 8 do ids[i] = deai_job("infer", "infer" .. i, { jobID = trained, data_path = file(path) }) end

  sleep(1200)
  world.world.faults:replace ""
  local ends = {}
  for i, id in ipairs(ids) do
    local state = wait(id, 20 * 3600).state
    ends[i] = (state == "succeeded" or state == "failed" or state == "expired") and "ended" or state
  end
  print(table.concat(ends, " "))

  local permits, seen = {}, {}
  for _, permit in ipairs(journal.call("permit.list", { limit = 100000 })) do permits[permit.intent] = permit end
  for _, entry in ipairs(world.world.ledger.entries) do
    if entry.kind == "job" then
      local intent = entry.intent or entry.jobName:match "%-(%x+)$"
      local permit = permits[intent]
      if not permit then print("without an intent", entry.service) end
      if seen[intent] then print("created twice", entry.service) end
      if permit and entry.service == "sxwl" and permit.remote_id ~= entry.job_id then print("nobody tracks it", entry.job_id) end
      if permit and permit.bucket ~= "spent" and permit.bucket ~= "unknown" then
        print("nothing stands for it", entry.service, permit.state, permit.bucket)
      end
      seen[intent] = true
    end
  end
  local started, paid = #world.world.ledger:inferences(), 0
  for _, permit in pairs(permits) do
    if permit.operation == "start_inference" and (permit.bucket == "spent" or permit.bucket == "unknown") then paid = paid + 1 end
  end
  print(started <= paid and "all paid" or ("%d inferences, %d paid"):format(started, paid))
]]

local FAULTS <const> = {
  "*.*:drop_before=30%", "*.*:drop_after=30%", "*.*:delay(40s)=50%", "*.*:error(503)=30%", "*.*:error_after(502)=30%",
  "*.*:rate_limit(20s)=30%", "*.*:transient=30%", "*.*:garbage=30%", "deai.*:expired=30%", "deai.create_job:no_id",
  "*.*:never=50%", "sxwl.create_job:fail=50%", "sxwl.create_job:back(2)", "sxwl.create_job:no_url",
  "*.*:drop_before", "*.*:error(503)", "*.*:rate_limit(1s)", "*.*:garbage",
}

describe("jobs under one fault", function()
  for _, fault in ipairs(FAULTS) do
    it("reach their end, none is created twice, and what was created is paid: " .. fault, function()
      local out, problems = play(SCENE:gsub("FAULT", function() return ("%q"):format(fault) end), { seed = { "7" } })

      assert.equal("ended ended ended ended ended ended ended ended\nall paid\n", out, problems)
    end)
  end
end)
