-- daemon_end_spec.lua - how a daemon ends, and what the next one finds.
local daemon = require "tests.support.daemon"
local helper = require "tests.helper"
local task = require "perigee.task"

local TICKER <const>, SUBMITTER <const> = daemon.TICKER, daemon.SUBMITTER

local function new_world()
  local world = daemon.world()
  finally(function() world:close() end)
  return world
end

describe("a daemon that is told to end", function()
  it("lets a hook that runs end before it ends itself, and ends at once at the second signal", function()
    local world = new_world()
    local slow = TICKER:gsub("print.-\n", 'print "begun" require "perigee.task".sleep(SECONDS) print "ended"\n')
    local child = world:start { world:policy("ticker", (slow:gsub("SECONDS", "0.3"))) }
    assert.is_true(child:read_until "begun")
    child:kill "TERM"
    local result = child:wait()
    assert.equal(0, result.status)
    assert.matches("ended", result.stderr, 1, true)

    local stubborn = world:start { world:policy("ticker", (slow:gsub("SECONDS", "60"))) }
    assert.is_true(stubborn:read_until "begun")
    stubborn:kill "TERM"
    assert.is_true(stubborn:read_until '"daemon.signal"')
    stubborn:kill "TERM"
    assert.equal(143, stubborn:wait().status)
  end)

  it("does not wait for jobs that a schedule waits for", function()
    local world = new_world()
    world:emulator("--speed", "1")
    local waiter = SUBMITTER:gsub('print%("submitted " .. job.id%)', '%0 job:wait()')
    local child = world:start { "--config", world:config(), world:policy("submitter", waiter) }
    assert.is_true(child:read_until "submitted ", daemon.log(child))
    helper.eventually(function() return world:call("jobs.list", {})[1].state == "running" end)
    local began = task.now()
    child:kill "TERM"

    assert.equal(0, child:wait().status)
    assert.is_true(task.now() - began < 5, task.now() - began)
    assert.is_nil(daemon.log(child):find("policy.failed", 1, true))
  end)

  it("tells who sits at the terminal what it does, and what goes on", function()
    local world = new_world()
    world:emulator("--speed", "1")
    local child = world:start({ "--config", world:config(), world:policy("submitter", SUBMITTER) }, { columns = 100 })
    helper.eventually(function() return (world:call("jobs.list", {})[1] or {}).state == "running" end)
    child:kill "INT"
    local result = child:wait()
    local shown = result.stdout .. result.stderr

    assert.equal(0, result.status)
    assert.matches("supervising with 1 policy", shown, 1, true)
    assert.matches("ending in order", shown, 1, true)
    assert.matches("jobs that have not ended: 1", shown, 1, true)
  end)

  it("waits no longer than its grace for hooks", function()
    local world = new_world()
    local slow = TICKER:gsub("print.-\n", 'print "begun" require "perigee.task".sleep(60)\n')
    local child = world:start { "--grace", "200ms", world:policy("ticker", slow) }
    assert.is_true(child:read_until "begun")
    local began = task.now()
    child:kill "TERM"

    assert.equal(0, child:wait().status)
    assert.is_true(task.now() - began < 10)
  end)
end)

describe("a daemon that was killed", function()
  it("is told of by the next one, with the hooks it interrupted", function()
    local world = new_world()
    local slow = TICKER:gsub("print.-\n", 'print "begun" require "perigee.task".sleep(60)\n')
    local child = world:start { world:policy("ticker", slow) }
    assert.is_true(child:read_until "begun")
    child:kill "KILL"
    child:wait()

    world:start { world.files.ticker }
    local problems = world:call("status").problems
    assert.matches("did not end in order", problems[#problems].text, 1, true)
    assert.matches("ticker schedule:tick", problems[#problems].text, 1, true)
  end)

  it("leaves its jobs to the next one, which creates none twice", function()
    local world = new_world()
    world:emulator("--speed", "100")
    local config, policy = world:config(), world:policy("submitter", SUBMITTER)
    local child = world:start { "--config", config, policy }
    assert.is_true(child:read_until "submitted ", daemon.log(child))
    local id = daemon.log(child):match "submitted (%w+)"
    child:kill "KILL"
    child:wait()

    local second = world:start { "--config", config, policy }
    assert.is_true(second:read_until "succeeded digits", daemon.log(second))
    local rows = world:call("jobs.list", {})
    assert.equal(1, #rows)
    assert.equal(id, rows[1].id)
    assert.equal(1, rows[1].attempt)
  end)

  it("leaves no lock behind, and what was paused stays paused", function()
    local world = new_world()
    local child = world:start { world:policy("ticker", TICKER) }
    assert.equal(0, world:run("pause", "ticker").status)
    child:kill "KILL"
    child:wait()

    helper.within(20, world.start, world, { world.files.ticker })
    assert.equal("paused", world:call("policies").policies[1].state)
  end)
end)
