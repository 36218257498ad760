-- determinism_spec.lua - one seed, two processes: the same event log, byte for byte.
local spawn = require "tests.support.spawn"

local function rehearse(seed)
  local result = spawn.run(
    {"run", "--seed", tostring(seed), "--log-level", "debug", "--log-format", "json", "tests/fixtures/rehearsal.lua"},
    {env = {PERIGEE_VIRTUAL_TIME = "1700000000"}})
  assert.equal(0, result.status, result.stderr)
  return result.stderr, result.stdout
end

describe("a rehearsal on virtual time", function()
  it("leaves the same event log for the same seed, with tasks, waits, calls, permits and retries in it", function()
    local first, outcomes = rehearse(5)

    assert.equal(first, (rehearse(5)))
    assert.equal("done\ndone\ndone\n", outcomes)
    for _, event in ipairs {"task.start", "op.wait", "ops.call", "spend.permit", "retry"} do
      assert.matches('"event":"' .. event .. '"', first, 1, true)
    end
  end)

  it("leaves another log for another seed", function()
    assert.not_equal((rehearse(5)), (rehearse(6)))
  end)

  it("takes hours of the script's time in moments of ours", function()
    local result = spawn.run({"run", "-e", [[
      local task = require "perigee.task"
      task.map({3600, 7200}, task.sleep)
      print(os.date("!%Y-%m-%d %H:%M", os.time()))]]},
      {env = {PERIGEE_VIRTUAL_TIME = "1700000000"}, timeout = 20})

    assert.equal("2023-11-15 00:13\n", result.stdout)
  end)
end)
