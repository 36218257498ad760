-- policy_spec.lua - perigee.policy: the decisions of hooks, and what is found wrong with a policy's table.
local helper = require "tests.helper"
local policy = require "perigee.policy"

local function refusal(f, ...)
  local err = helper.error_of(f, ...)
  assert.equal("invalid", err.kind)
  return err.message
end

describe("a decision", function()
  it("is plain data that goes from VM to VM", function()
    assert.same({ decision = "allow" }, policy.allow())
    assert.same({ decision = "deny", why = "too dear" }, policy.deny "too dear")
    assert.same({ decision = "hold", why = "dear", expires = 43200.0 }, policy.hold("dear", { expires = "12h" }))
    assert.same({ decision = "hold", why = "dear" }, policy.hold "dear")
    assert.same({ decision = "retry", after = 30.0, spec = { gpuNumber = 1 } }, policy.retry { after = "30s", spec = { gpuNumber = 1 } })
    assert.equal(0, policy.retry().after)
    assert.same({ decision = "give_up", why = "3 times" }, policy.give_up "3 times")
  end)

  it("that ends or holds a job needs a reason", function()
    for _, f in ipairs { policy.deny, policy.hold, policy.give_up } do
      assert.matches("needs a reason", refusal(f), 1, true)
      assert.matches("needs a reason", refusal(f, " "), 1, true)
    end
  end)

  it("names the option that was meant", function()
    assert.matches('did you mean "expires"?', refusal(policy.hold, "x", { expire = "5m" }), 1, true)
    assert.matches('did you mean "after"?', refusal(policy.retry, { afer = "5m" }), 1, true)
    assert.matches("policy.retry: after is a time", refusal(policy.retry, { after = "soon" }), 1, true)
    assert.matches("spec is a table", refusal(policy.retry, { spec = 5 }), 1, true)
  end)

  it("is read as its event allows", function()
    assert.is_nil(policy.decision("job.failed", nil))
    assert.equal("deny", policy.decision("job.submit", policy.deny "x").decision)
    assert.equal("hold", policy.decision("job.unknown", policy.hold "x").decision)
    assert.matches("unknown decision", refusal(policy.decision, "job.submit", policy.retry()), 1, true)
    assert.matches('did you mean "allow"?', refusal(policy.decision, "job.submit", { decision = "alow" }), 1, true)
    assert.matches("returns policy.allow(…)", refusal(policy.decision, "job.submit", true), 1, true)
    assert.matches("told, not asked", refusal(policy.decision, "job.succeeded", policy.allow()), 1, true)
    assert.is_nil(policy.decision("job.succeeded", "queued"))
  end)
end)

describe("policy.check", function()
  local function problems(t)
    local list = {}
    for i, problem in ipairs(policy.check(t)) do list[i] = problem.field .. ": " .. problem.message end
    return table.concat(list, "\n")
  end

  local function with(changes)
    local t = { name = "x" }
    for key, value in pairs(changes) do t[key] = value end
    return problems(t)
  end

  it("finds nothing wrong with a whole policy", function()
    assert.equal("", with {
      applies = function() end, run = function() end, budget = { day = "5 CCD" }, retry = { attempts = 3 },
      on = { ["job.submit"] = function() end, ["policy.stale"] = function() end },
      schedules = { { name = "a", cron = "@daily", run = function() end }, { name = "b", every = "5m", run = function() end } },
    })
  end)

  for _, case in ipairs {
    { { bugdet = {} }, 'bugdet: a policy has no field "bugdet"; did you mean "budget"?' },
    { { applies = 1 }, "applies: applies must be a function" },
    { { run = {} }, "run: run must be a function" },
    { { on = { ["job.sumbit"] = print } }, 'did you mean "job.submit"?' },
    { { on = { ["job.failed"] = 3 } }, 'on["job.failed"]: a hook must be a function' },
    { { on = 3 }, "on must be a table" },
    { { budget = { dya = "1 CCD" } }, 'did you mean "day"?' },
    { { budget = { day = 5 } }, "never money" },
    { { retry = { attemps = 3 } }, 'did you mean "attempts"?' },
    { { schedules = { { name = "a", cron = "x", run = print } } }, "schedules[1].cron: five fields" },
    { { schedules = { { name = "a", every = "5m" } } }, "schedules[1].run must be a function" },
    { { schedules = { nightly = {} } }, 'schedules = { { name = "nightly"' },
    { { schedules = { { name = "a", every = "5m", run = print }, { name = "a", every = "6m", run = print } } }, "is taken already" },
    { { name = "no good" }, "name is text of letters" },
  } do
    it("finds: " .. case[2], function() assert.matches(case[2], with(case[1]), 1, true) end)
  end

  it("finds everything at once, and says what a file without a table returns", function()
    local _, lines = with({ nam = 1, applies = 1, on = 3, schedules = 4, budget = 5 }):gsub("\n", "")
    assert.equal(4, lines)
    assert.matches("returns nothing", problems(nil), 1, true)
    assert.matches("x.lua: a policy file returns a table", policy.check(3, "x.lua")[1].message, 1, true)
  end)
end)
