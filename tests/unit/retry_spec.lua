-- retry_spec.lua - what is repeated, how soon, how often, and what never is.
local errors = require "perigee.error"
local helper = require "tests.helper"
local retry = require "perigee.retry"
local task = require "perigee.task"

local function failing(fields)
  fields.kind = fields.kind or "network"
  fields.message = fields.message or "the connection was reset"
  if fields.retryable == nil then fields.retryable = true end
  return errors.new(fields)
end

-- A function that fails with the given errors in turn, then returns "done"; and its number of calls.
local function make_work(list)
  local calls = { n = 0 }
  return function(context)
    calls.n = calls.n + 1
    calls[calls.n] = context
    if list[calls.n] then error(list[calls.n], 0) end
    return "done", calls.n
  end, calls
end

local function quick(options)
  options = options or {}
  options.base = options.base or 0.001
  return retry.new(options)
end

describe("retry.run", function()
  it("calls again until it succeeds, with the attempt and the last error", function()
    local first, second = failing {}, failing { kind = "unavailable" }
    local work, calls = make_work { first, second }

    local result, count = quick():run(work)

    assert.same({ "done", 3 }, { result, count })
    assert.equal(1, calls[1].attempt)
    assert.is_nil(calls[1].last_error)
    assert.equal(first, calls[2].last_error)
    assert.equal(3, calls[3].attempt)
    assert.equal(second, calls[3].last_error)
  end)

  it("raises the last error when the attempts are used up", function()
    local work, calls = make_work { failing {}, failing {}, failing { message = "the third" } }

    local err = helper.error_of(quick({ attempts = 3 }).run, quick { attempts = 3 }, work)

    assert.equal("the third", err.message)
    assert.equal(3, err.attempt)
    assert.equal(3, calls.n)
  end)

  it("never repeats an unknown outcome, whatever it was told", function()
    local work, calls = make_work { failing { outcome = "unknown", retryable = true } }
    local policy = quick { on = function() return true end }

    local err = helper.error_of(policy.run, policy, work)

    assert.equal("unknown", err.outcome)
    assert.equal(1, calls.n)
  end)

  it("never swallows a cancel", function()
    local calls = 0
    local policy = quick { on = function() return true end, attempts = 100 }
    local child = task.spawn(function()
      policy:run(function()
        calls = calls + 1
        task.sleep(60)
      end)
    end)
    task.sleep(0)

    child:cancel "enough"
    local err = helper.error_of(child.wait, child)

    assert.is_true(errors.is(err, "cancelled"))
    assert.equal(1, calls)
  end)

  it("ends at once when it is cancelled between two attempts", function()
    local work, calls = make_work { failing {}, failing {} }
    local child = task.spawn(function() retry.new({ base = 60, jitter = "none" }):run(work) end)
    helper.eventually(function() return calls.n == 1 end)

    child:cancel "enough"
    local err = helper.error_of(child.wait, child)

    assert.is_true(errors.is(err, "cancelled"))
    assert.equal(1, calls.n)
  end)

  it("repeats by error kind, a failed job among them", function()
    local policy = quick { on = { "job_failed" } }
    local work, calls = make_work { failing { kind = "job_failed", retryable = false } }
    assert.equal("done", (policy:run(work)))
    assert.equal(2, calls.n)

    work, calls = make_work { failing { kind = "network", retryable = true } }
    assert.equal("network", helper.error_of(policy.run, policy, work).kind)
    assert.equal(1, calls.n)
  end)

  it("asks a function of the error, with the attempt", function()
    local asked = {}
    local policy = quick { on = function(err, attempt)
      asked[#asked + 1] = err.code .. attempt
      return err.code == "again"
    end }
    local work = make_work { failing { code = "again" }, failing { code = "enough" } }

    helper.error_of(policy.run, policy, work)

    assert.same({ "again1", "enough2" }, asked)
  end)

  it("repeats by default only what says it is safe to repeat", function()
    local work, calls = make_work { failing { retryable = false } }
    local policy = quick()

    helper.error_of(policy.run, policy, work)

    assert.equal(1, calls.n)
  end)

  it("does not repeat a mistake in the script", function()
    local calls = 0
    local policy = quick { on = function() return true end }

    local err = helper.error_of(policy.run, policy, function()
      calls = calls + 1
      local t = nil
      return t.field
    end)

    assert.equal("string", type(err))
    assert.equal(1, calls)
  end)

  it("does not start an attempt after its time is up", function()
    local work, calls = make_work { failing {}, failing {} }
    local policy = retry.new { elapsed = 5, base = 10, jitter = "none" }
    local started = task.now()

    helper.error_of(policy.run, policy, work)

    assert.equal(1, calls.n)
    assert.is_true(task.now() - started < 5)
  end)

  it("gives up when too many calls to one service are being repeated", function()
    local policy = retry.new { service = "busy-service", attempts = 1000, base = 0, cap = 0 }
    local calls = 0

    local err = helper.error_of(policy.run, policy, function()
      calls = calls + 1
      error(failing {}, 0)
    end)

    assert.equal("network", err.kind)
    assert.is_true(calls >= 51 and calls <= 60)
    local other, others = make_work { failing {} }
    quick({ service = "quiet-service" }):run(other)
    assert.equal(2, others.n)
  end)
end)

describe("retry.delay", function()
  it("doubles from the base up to the cap", function()
    local policy = retry.new { base = "2s", cap = "15s", jitter = "none" }

    assert.same({ 2.0, 4.0, 8.0, 15, 15 }, { policy:delay(1), policy:delay(2), policy:delay(3), policy:delay(4),
      policy:delay(2000) })
  end)

  it("is drawn from the whole range below that", function()
    local policy = retry.new { base = 4, cap = 60 }
    local least, most, sum = math.huge, 0, 0

    for _ = 1, 2000 do
      local delay = policy:delay(3)
      least, most, sum = math.min(least, delay), math.max(most, delay), sum + delay
    end

    assert.is_true(least >= 0 and least < 1)
    assert.is_true(most <= 16 and most > 15)
    assert.is_true(math.abs(sum / 2000 - 8) < 1)
  end)

  it("is at least what the service asked for, within its bound", function()
    local policy = retry.new { base = 1, jitter = "none", retry_after = "1m" }

    assert.equal(30, policy:delay(1, failing { retry_after = 30 }))
    assert.equal(60, policy:delay(1, failing { retry_after = 86400 }))
    assert.equal(1, policy:delay(1, failing { retry_after = 0 }))
  end)
end)

describe("retry.new", function()
  local function message_of(options)
    local err = helper.error_of(retry.new, options)
    assert.is_true(errors.is(err, "invalid"))
    return err.message
  end

  it("names what is wrong with its options", function()
    assert.truthy(message_of({ attemps = 3 }):find 'did you mean "attempts"')
    assert.truthy(message_of({ attempts = 0 }):find "1 or more")
    assert.truthy(message_of({ base = "soon" }):find "base must be seconds")
    assert.truthy(message_of({ on = { "job_fail" } }):find 'did you mean "job_failed"')
    assert.truthy(message_of({ on = { "cancelled" } }):find "never repeated")
    assert.truthy(message_of({ jitter = "some" }):find "jitter")
    assert.truthy(message_of({ max_cost = 5 }):find "max_cost")
  end)
end)
