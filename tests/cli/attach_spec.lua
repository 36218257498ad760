-- attach_spec.lua - perigee repl --attach: a prompt whose lines run in the daemon.
local consoles = require "tests.support.console"
local daemon = require "tests.support.daemon"
local helper = require "tests.helper"
local spawn = require "tests.support.spawn"

local function start()
  local _, world = consoles.daemon()
  finally(function() world:close() end)
  return world
end

local function attach(world, input, ...)
  return spawn.run({ "repl", "--attach", "--state", world.state, ... }, { stdin = input })
end

describe("perigee repl --attach", function()
  it("runs the lines of a pipe in the daemon, and shows what they give and print", function()
    local world = start()

    local result = attach(world, "x = 20\nprint 'printed there'\nfor i = 1, 2 do\n  x = x + 11\nend\nx\n:jobs\n")

    assert.equal(0, result.status, result.stderr)
    assert.matches("printed there\n", result.stdout, 1, true)
    assert.matches("\n42\n", result.stdout, 1, true)
    assert.matches("held%-one", result.stdout)
  end)

  it("only reads, says what is missing, and ends at the first error", function()
    local world = start()

    local result = attach(world, "store.set('x', 1)\nprint 'after'\n")
    local stop = attach(world, "jobs.stop 'aa11'\n")

    assert.not_equal(0, result.status)
    assert.matches("store is not there for a console that may only look", result.stderr, 1, true)
    assert.is_nil(result.stdout:find("after", 1, true))
    assert.not_equal(0, stop.status)
    assert.equal("held", world:call("jobs.get", { id = "aa11" }).state)
  end)

  it("does with --write what the daemon's commands do", function()
    local world = start()

    local result = attach(world, "jobs.get('held-one'):stop()\njobs.get('held-one').state\n", "--write")

    assert.equal(0, result.status, result.stderr)
    assert.matches('"stopped"', result.stdout, 1, true)
    assert.equal("stopped", world:call("jobs.get", { id = "aa11" }).state)
  end)

  it("says where no daemon runs, with exit code 1", function()
    local folder = helper.tmpdir()

    local result = spawn.run({ "repl", "--attach", "--state", folder }, { stdin = "1\n" })

    assert.equal(1, result.status)
    assert.matches("no daemon runs on " .. folder, result.stderr, 1, true)
    assert.is_nil(result.stderr:find("traceback", 1, true))
  end)

  it("shows log lines of the daemon above the prompt as they come, and leaves when the daemon ends", function()
    local world = start()
    local child = spawn.start({ "repl", "--attach", "--state", world.state }, { columns = 100, env = { TERM = "dumb" } })
    finally(function()
      child:kill "KILL"
      child:close()
    end)
    assert(child:read_until("daemon> ", 20), daemon.log(child))

    world:call("jobs.deny", { id = "aa11", why = "too dear" })
    assert(child:read_until("job.denied", 20))
    world.child:kill "TERM"

    assert(child:read_until("the daemon", 20))
    assert.equal(1, child:wait().status)
  end)

  it("leaves the daemon free when it is killed in the middle of a line", function()
    local world = start()
    local one = spawn.start({ "repl", "--attach", "--state", world.state },
      { stdin = "print 'begun' while true do task.sleep(0.01) end\n" })
    assert(one:read_until("begun\n", 20))

    one:kill "KILL"
    one:close()

    helper.eventually(function() return daemon.log(world.child):find "console.closed" end, 20)
    assert.equal(0, attach(world, "1\n").status)
  end)
end)
