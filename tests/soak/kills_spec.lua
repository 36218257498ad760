-- kills_spec.lua - 200 jobs of three policies, every fault the emulator has, callbacks, and a daemon that is killed
-- again and again at random moments.  `make check-slow` kills it 10 times, `make soak` 30 times (KILLS=).
local http = require "perigee.http"
local json = require "perigee.json"
local siege = require "tests.survival.siege"
local task = require "perigee.task"

local KILLS <const> = tonumber(os.getenv "KILLS" or "") or 10
local SEED <const> = tonumber(os.getenv "SEED" or "") or 31
local JOBS <const> = { sxwl = 100, train = 40, infer = 60 }
local RAMP <const> = 2 * KILLS -- seconds in which they are submitted: while it is killed
local DEADLINE <const> = RAMP + 160 -- seconds; only jobs that never end reach it
local POLL <const> = 60 -- seconds between two looks at most

-- Every kind of fault; rates at which each job can reach its end.
local FAULTS <const> = table.concat({
  "*.*:drop_before=2%", "*.*:error(503)=2%", "*.*:transient=1%", "*.*:rate_limit(1s)=2%", "*.*:delay(300ms)=10%",
  "sxwl.job_status:garbage=3%", "sxwl.jobs:garbage=3%", "deai.inference:garbage=3%", "deai.*:expired=2%",
  "sxwl.create_job:drop_after=5%", "sxwl.create_job:error_after(502)=3%", "sxwl.create_job:garbage=2%",
  "sxwl.create_job:fail=10%", "sxwl.create_job:back(2)=10%", "sxwl.create_job:never=1%", "sxwl.create_job:no_url=2%",
  "sxwl.create_job:callback_never=10%", "sxwl.create_job:callback_twice=10%", "sxwl.create_job:callback_early=10%",
  "sxwl.create_job:callback_late(20s)=10%",
  "deai.create_job:drop_after=5%", "deai.create_job:no_id=3%", "deai.create_job:never=3%",
  "deai.start_inference:drop_after=5%", "deai.start_inference:error_after(502)=3%",
}, ",")

-- The same moments for the same seed: this machine's speed is random enough.
local function moments()
  local state = SEED
  return function()
    state = (state * 1103515245 + 12345) % 2147483648
    return 0.2 + 3 * state / 2147483648
  end
end

-- Somebody who knows the address, and a job's id, and not the key.
local function forge(s)
  for _, job in ipairs(s:rows "jobs") do
    local url = ("http://%s/cb/%s.1-%s"):format(s.listen, job.id, ("0"):rep(32))
    local answer = task.try(http.post, url, { body = '{"status":"success","job_id":"ai0"}', timeout = 5 })
    if answer then assert.equal(404, answer.status) end
  end
end

-- How many jobs are in each state, and what happened to two that had to be ended at their deadline.
local function ends_of(s)
  local states, stories = {}, {}
  for _, job in ipairs(s:rows "jobs") do
    states[job.state] = (states[job.state] or 0) + 1
    if job.state == "expired" and #stories < 2 then stories[#stories + 1] = s:why(job.id) end
  end
  return states, json.encode(states) .. "\n" .. table.concat(stories, "\n")
end

local function storm(s)
  local moment = moments()
  for number = 1, KILLS do
    s:start()
    task.sleep(moment())
    if number % 5 == 0 then forge(s) end
    s:kill()
    assert.same({}, s:audit())
  end
end

describe(("a daemon killed %d times at random moments, with every fault"):format(KILLS), function()
  it("sees each of 200 jobs to its end, creates none twice, and has money for each #long", function()
    local s <close> = siege.open {
      jobs = JOBS, ramp = RAMP, deadline = DEADLINE .. "s", callbacks = true, speed = 15, seed = SEED, faults = FAULTS,
    }

    storm(s)
    s:start()
    s:settle(DEADLINE + 120)

    local states, stories = ends_of(s)
    assert.is_true((states.succeeded or 0) >= 120, stories)
    assert.is_true((states.expired or 0) <= 20, stories)
    assert.same({}, s:audit(POLL))
  end)
end)
