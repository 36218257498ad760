-- failures_spec.lua - the daemon is killed right before and right after the commit of each transition that follows
-- something gone wrong: a lost answer, a failed job, a refusal.
local siege = require "tests.survival.siege"

local TRANSITIONS <const> = {
  "job.move=unknown", "permit.move=unknown", "permit.take", "job.move=planned", "permit.move=released", "job.move=failed",
}

describe("a daemon killed at the commit of each transition of jobs that go wrong", function()
  it("creates nothing twice, loses no job and no money #long", function()
    local s <close> = siege.open {
      jobs = { sxwl = 3 }, stream = true, speed = 400, seed = 12,
      faults = "sxwl.create_job:drop_after=20%,sxwl.create_job:fail=30%,sxwl.create_job:transient=20%",
    }

    s:sweep(TRANSITIONS)

    assert.same({}, s:audit())
  end)
end)
