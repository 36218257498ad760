-- daemon_stuck_spec.lua - a policy that nothing can interrupt ends the daemon, and is paused by the next one.
local daemon = require "tests.support.daemon"

local STUCK <const> = [[
  return { name = "stuck", on = { ["job.submit"] = function() end }, schedules = { { name = "search", every = "1s", run = function()
    return (("a"):rep(40)):find(("a-"):rep(30) .. "b")
  end } } }]]

describe("a policy that is stuck in a pattern", function()
  it("ends the daemon with 70; the next one does not load it, says why, and works", function()
    local world = daemon.world()
    finally(function() world:close() end)
    local child = world:start { "--max-step", "200ms", world:policy("stuck", STUCK), world:policy("fine", 'return { name = "fine" }') }
    local ended = child:wait()
    assert.equal(70, ended.status, ended.stderr)

    world:start { world.files.stuck, world.files.fine }
    local policies = world:call("policies").policies
    assert.equal("stuck", policies[1].name)
    assert.equal("paused", policies[1].state)
    assert.matches("exit code 70", policies[1].why, 1, true)
    assert.equal("active", policies[2].state)

    world:policy("stuck", 'return { name = "stuck" }')
    assert.equal(0, world:run("resume", "stuck").status)
    assert.equal("active", world:call("policies").policies[1].state)
  end)
end)
