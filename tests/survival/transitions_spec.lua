-- transitions_spec.lua - the daemon is killed right before and right after the commit of each transition of jobs that
-- succeed.  A stream of jobs comes by all of them again and again.
local siege = require "tests.survival.siege"

local TRANSITIONS <const> = {
  "job.submit", "permit.reserve", "permit.intent", "job.move=submitting", "permit.move=sent", "permit.move=created",
  "job.move=running", "permit.move=settled", "job.move=succeeded", "job.claim", "hook.begin", "hook.end",
}

describe("a daemon killed at the commit of each transition", function()
  it("creates nothing twice, loses no job and no money #long", function()
    local s <close> = siege.open { jobs = { sxwl = 2, train = 1, infer = 1 }, stream = true, speed = 400, seed = 11 }

    s:sweep(TRANSITIONS)

    assert.same({}, s:audit())
    for _, job in ipairs(s:rows "jobs") do
      if job.name ~= "inferences" then assert.equal("succeeded", job.state) end
    end
  end)
end)
