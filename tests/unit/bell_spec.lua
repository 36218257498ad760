-- bell_spec.lua - a bell wakes its sleeper, whenever it rings.
local bells = require "perigee.bell"
local task = require "perigee.task"

describe("a bell", function()
  it("wakes who sleeps, and who sleeps next, once for any number of rings", function()
    local bell = bells.new()
    bell.ring()
    bell.ring()

    assert.is_true(bell.sleep(5))
    assert.is_false(bell.sleep(0.001))
    assert.is_false(bell.sleep(0))
    local ringer = task.spawn(function() bell.ring() end)
    assert.is_true(bell.sleep(5))
    ringer:wait()
  end)

  it("that rings just when the time is up has rung, and rings again", function()
    local bell, rung = bells.new(), nil
    local sleeper = task.spawn(function() rung = bell.sleep(0.01) end)
    task.sleep(0)
    bell.ring()
    local until_ = task.now() + 0.03
    while task.now() < until_ do end -- luacheck: ignore 542
    sleeper:wait()

    assert.is_true(rung)
    assert.is_false(bell.sleep(0.001))
    local ringer = task.spawn(function() bell.ring() end)
    assert.is_true(bell.sleep(5))
    ringer:wait()
  end)
end)
