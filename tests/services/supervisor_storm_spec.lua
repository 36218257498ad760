-- All faults at once, and a supervisor that dies every minute and a half: every job reaches its end, nothing is created
-- twice or without an intent, and what stands as spent or held is never less than what the service billed.
local play = require "tests.support.supervised".play

local FAULTS <const> = table.concat({
  "*.*:error(503)=0.05", "*.*:transient=0.05", "*.*:garbage=0.03", "*.*:rate_limit=0.03", "*.*:delay(3s)=0.05",
  "sxwl.create_job:drop_after=0.1", "sxwl.create_job:drop_before=0.1", "sxwl.create_job:error_after=0.05",
  "sxwl.create_job:fail=0.2", "sxwl.create_job:back=0.2", "sxwl.create_job:no_url=0.1", "sxwl.job_status:drop_before=0.05",
  "deai.create_job:drop_after=0.2", "deai.create_job:no_id=0.1", "deai.submissions:drop_after=0.1", "deai.*:expired=0.05",
}, ",")

local SCENE <const> = [[
  local amount = require "perigee.amount"
  local path = os.tmpname()
  local f <close> = io.open(path, "w")
  f:write(("1,2,3\n"):rep(100))
  f:close()
  local ids = {}
  for i = 1, 40 do
    ids[i] = submit { name = "job " .. i, on_unknown = "retry", retry = { attempts = 6, base = 5 }, max_cost = "5 CNY" }
  end
  for i = 1, 8 do
    ids[#ids + 1] = submit({ service = "deai", kind = "train", name = "train " .. i, on_unknown = "retry", max_cost = "5 CCD",
      retry = { attempts = 6, base = 5 },
    }, { model = "LSTM", epoch = 2, x_train = require "perigee.deai".file(path), train_shard = 0.8, jobName = "weather" })
  end
  for _ = 1, 10 do
    sleep(97)
    restart()
  end
  local states = {}
  for _, id in ipairs(ids) do
    local state = wait(id, 40000).state
    states[state] = (states[state] or 0) + 1
  end
  print(json.encode(states))

  local permits, seen, wrong = {}, {}, 0
  for _, permit in ipairs(journal.call("permit.list", {})) do permits[permit.intent] = permit end
  local function check(intent, billed)
    local permit = permits[intent]
    local booked = permit and permit.bucket ~= "none" and amount(permit.amount or permit.price)
    if seen[intent] or not booked or booked < billed then wrong = wrong + 1 end
    seen[intent] = true
  end
  local use = {}
  for _, one in ipairs(world.world.ledger:gpu_use(os.time())) do use[one.job_id] = one.gpu_minutes end
  for _, made in ipairs(world.world.ledger:created "sxwl") do
    check(made.job.body.env.PERIGEE_INTENT, amount "0.1 CNY" * use[made.job_id])
  end
  for _, made in ipairs(world.world.ledger:created "deai") do
    check(made.jobName:match "%-(%x+)$", amount "0 CCD")
  end
  print(wrong, #world.world.ledger:created "deai" >= 8)
]]

describe("many jobs under all faults and restarts", function()
  for seed = 1, 3 do
    it(("all end, each create once, and no money is missing (seed %d)"):format(seed), function()
      local out = play(SCENE, {faults = FAULTS, seed = {tostring(seed)}})

      assert.equal('{"succeeded":48}\n0\ttrue\n', out)
    end)
  end
end)
