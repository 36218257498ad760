-- log_tap_spec.lua - perigee.core.log.tap: log lines as they are written.
local core = require "perigee.core.log"
local log = require "perigee.log"
local task = require "perigee.task"

describe("log.tap", function()
  before_each(function() core.set_level "info" end)
  after_each(function() core.set_level "warn" end)

  it("waits for lines, of its level and above", function()
    local tap <close> = core.tap("warn", 10)
    local reader = task.spawn(function() return tap:next() end)
    task.sleep(0)

    log.info "tap.low"
    log.warn("tap.high", { n = 1 })

    local lines = reader:wait()
    assert.equal(1, #lines)
    assert.matches("tap.high n=1$", lines[1])
  end)

  it("keeps the newest and counts what it has lost", function()
    local tap <close> = core.tap("info", 2)
    for i = 1, 5 do log.info("tap.line", { n = i }) end

    local lines, lost = tap:next()
    assert.equal(3, lost)
    assert.matches("n=4$", lines[1])
    assert.matches("n=5$", lines[2])

    log.info("tap.line", { n = 6 })
    lines, lost = tap:next()
    assert.equal(0, lost)
    assert.equal(1, #lines)
  end)

  it("has nothing more once it is closed", function()
    local tap = core.tap("info", 10)
    local reader = task.spawn(function() return tap:next() end)
    task.sleep(0)

    tap:close()

    assert.same({}, reader:wait())
    log.info "tap.after"
    assert.is_false((pcall(tap.next, tap)))
  end)
end)
