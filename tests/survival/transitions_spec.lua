-- transitions_spec.lua - the daemon is killed right before and right after the commit of each transition, one commit
-- for each call.  After every kill the ledger and the journal are compared; in the end every job has reached its end.
local siege = require "tests.survival.siege"

-- Those that move money or jobs, in the order of a job's life; a stream of jobs comes by all of them again and again.
local TRANSITIONS <const> = {
  "job.submit", "permit.reserve", "permit.intent", "job.move=submitting", "permit.move=sent", "permit.move=created",
  "job.move=running", "permit.move=settled", "job.move=succeeded", "job.claim", "hook.begin", "hook.end",
}

-- These need something to go wrong first.
local FAILURES <const> = {
  "job.move=unknown", "permit.move=unknown", "permit.take", "job.move=planned", "permit.move=released", "job.move=failed",
}

local function kill_at(s, transition, where)
  s:start { PERIGEE_CRASH = transition .. ":" .. where, PERIGEE_JOURNAL_BATCH = "1" }
  local result = s:ended()
  assert.equal(9, result.signal, ("the daemon came by %s without being killed: exit %s %s"):format(transition,
    tostring(result.status), result.stderr))
  local problems = s:audit()
  assert.equal(0, #problems, ("killed %s the commit of %s: %s"):format(where, transition, table.concat(problems, "\n")))
end

local function sweep(s, transitions)
  for _, transition in ipairs(transitions) do
    kill_at(s, transition, "before")
    kill_at(s, transition, "after")
  end
  s:dry()
  s:start { PERIGEE_JOURNAL_BATCH = "1" }
  s:settle(60)
  assert.same({}, s:audit())
end

describe("a daemon killed at the commit of", function()
  it("each transition of jobs that succeed creates nothing twice and loses nothing #long", function()
    local s <close> = siege.open { jobs = { sxwl = 2, train = 1, infer = 1 }, stream = true, speed = 400, seed = 11 }

    sweep(s, TRANSITIONS)

    for _, job in ipairs(s:rows "jobs") do assert.equal("succeeded", job.state) end
  end)

  it("each transition of jobs that fail, or whose answer is lost, creates nothing twice and loses nothing #long", function()
    local s <close> = siege.open {
      jobs = { sxwl = 3 }, stream = true, speed = 400, seed = 12,
      faults = "sxwl.create_job:drop_after=20%,sxwl.create_job:fail=30%,sxwl.create_job:transient=20%",
    }

    sweep(s, FAILURES)
  end)
end)
