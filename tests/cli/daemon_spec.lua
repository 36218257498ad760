-- daemon_spec.lua - perigee daemon as a process: start, work, reload.
local daemon = require "tests.support.daemon"
local fs = require "perigee.fs"
local task = require "perigee.task"

local TICKER <const>, SUBMITTER <const> = daemon.TICKER, daemon.SUBMITTER

local function new_world()
  local world = daemon.world()
  finally(function() world:close() end)
  return world
end

describe("perigee daemon", function()
  it("runs the schedules of its policies, and ends in order at SIGTERM", function()
    local world = new_world()
    local child = world:start { world:policy("ticker", TICKER) }
    assert.is_true(child:read_until "VERSION ticked")

    child:kill "TERM"
    local result = child:wait()

    assert.equal(0, result.status, result.stderr)
    assert.equal("", result.stdout)
  end)

  it("leaves nothing that another user could open, in a state directory that they may look into", function()
    local world = new_world()
    fs.mkdir(world.state, { mode = "0755" })
    world:start {}

    assert.equal('{"result":{"policies":[]},"schema_version":1}\n', world:run("reload", "--json").stdout)
    local seen = 0
    for _, name in ipairs(fs.list(world.state)) do
      assert.equal("0600", fs.stat(world.state .. "/" .. name).mode, name)
      seen = seen + 1
    end
    assert.truthy(seen >= 6, seen) -- socket, lock and its holder, the journal's three
  end)

  it("sees a job through that a policy's schedule has submitted", function()
    local world = new_world()
    world:emulator("--speed", "600")
    local child = world:start { "--config", world:config(), world:policy("submitter", SUBMITTER) }

    assert.is_true(child:read_until "succeeded digits", daemon.log(child))
    local row = world:call("jobs.list", {})[1]
    assert.equal("succeeded", row.state)
    assert.equal("submitter", row.policy)
  end)

  it("is the only one for its state directory: the second names the first and ends with 3", function()
    local world = new_world()
    world:start {}
    local second = world:run "daemon"

    assert.equal(3, second.status)
    assert.matches("belongs to the daemon with process %d+ on %S+, since 20%d%d", second.stderr)
  end)

  it("takes new policies at SIGHUP, and keeps the old ones if one is bad", function()
    local world = new_world()
    local child = world:start { world:policy("ticker", TICKER) }
    world:policy("ticker", (TICKER:gsub("VERSION", "second")))
    child:kill "HUP"
    assert.is_true(child:read_until "second ticked")

    world:policy("ticker", "return { name = 'ticker', schedulse = {} }")
    child:kill "HUP"
    assert.is_true(child:read_until "daemon.reload_failed")

    assert.matches('did you mean \\"schedules\\"', daemon.log(child), 1, true)
    assert.equal("active", world:call("policies").policies[1].state)
    assert.matches("the old policies go on", world:call("status").problems[1].text, 1, true)
  end)

  it("answers reload with what is wrong, and goes on", function()
    local world = new_world()
    world:start { world:policy("ticker", TICKER) }
    world:policy("ticker", "return {")
    local bad = world:run "reload"
    world:policy("ticker", TICKER)
    local good = world:run "reload"

    assert.equal(1, bad.status)
    assert.matches("ticker.lua:1", bad.stderr, 1, true)
    assert.equal(0, good.status)
    assert.matches("ticker", good.stdout, 1, true)
  end)

  it("refuses to start with a bad policy, and says what is wrong", function()
    local world = new_world()
    local result = world:run("daemon", world:policy("bad", "return { name = 'bad', on = { ['job.faild'] = function() end } }"))

    assert.equal(3, result.status)
    assert.matches("job.failed", result.stderr, 1, true)
  end)

  it("reads the configuration again with the policies, all of it or nothing", function()
    local world = new_world()
    world:policy("ticker", TICKER)
    world:policy("other", 'return { name = "other", budget = { day = "3 CNY" } }')
    local config = world:config([[return { policies = { "ticker.lua" }, budgets = { { name = "team", day = "5 CCD" } } }]])
    world:start { "--config", config }
    local function seen()
      local words = {}
      for _, row in ipairs(world:call("policies").policies) do words[#words + 1] = row.name end
      for _, line in ipairs(world:call("status").money) do
        if line.limit then words[#words + 1] = line.budget .. " " .. line.limit end
      end
      return words
    end
    assert.same({ "ticker", "team 5 CCD" }, seen())

    world:config([[return { policies = { "ticker.lua", "other.lua" }, budgets = { { name = "team", day = "five" } } }]])
    assert.matches("budget team", world:run("reload").stderr, 1, true)
    assert.same({ "ticker", "team 5 CCD" }, seen())

    world:config([[return { policies = { { "ticker.lua", memory = "64M" }, "other.lua" },
      budgets = { { name = "team", day = "6 CCD" } } }]])
    assert.equal(0, world:run("reload").status)
    assert.same({ "ticker", "other", "team 6 CCD", "policy other 3 CNY" }, seen())
  end)

  it("says which address it cannot have, and which state directory it cannot make", function()
    local world = new_world()
    local server = require("perigee.http").serve { handler = function() return { status = 200 } end }
    finally(function()
      world:close()
      server:close()
    end)
    local taken = world:run("daemon", "--admin-listen", (server.url:match "//(.-)/?$"))
    world.state = "/proc/none"
    local nowhere = world:run "daemon"

    assert.equal(1, taken.status)
    assert.matches("admin-listen: cannot listen on 127.0.0.1", taken.stderr, 1, true)
    assert.matches("Name another address", taken.stderr, 1, true)
    assert.equal(3, nowhere.status)
    assert.matches("the state directory: cannot make", nowhere.stderr, 1, true)
  end)

  it("pauses and resumes a policy by its commands", function()
    local world = new_world()
    world:start { world:policy("ticker", TICKER) }

    assert.equal(0, world:run("pause", "ticker").status)
    assert.equal("paused", world:call("policies").policies[1].state)
    assert.equal(0, world:run("resume", "ticker").status)
    assert.equal("active", world:call("policies").policies[1].state)
    assert.matches("ticker", world:run("pause", "tiker").stderr, 1, true)
  end)

  it("reads a folder of policies, in the order of their names", function()
    local world = new_world()
    local lfs = require "lfs"
    lfs.mkdir(world.folder .. "/policies")
    world:policy("policies/b", "return { name = 'b' }")
    world:policy("policies/a", "return { name = 'a' }")
    world:start { world.folder .. "/policies" }

    local rows = world:call("policies").policies
    assert.same({ "a", "b" }, { rows[1].name, rows[2].name })
  end)

  it("does not wake more than about once a second while nothing happens", function()
    local world = new_world()
    local child = world:start {}
    local pid = world:call("status").pid
    local function wakes()
      local file <close> = assert(io.open(("/proc/%d/status"):format(pid)))
      return tonumber(file:read("a"):match "voluntary_ctxt_switches:%s*(%d+)")
    end
    task.sleep(0.3)
    local before = wakes()
    task.sleep(2)

    assert.is_true(wakes() - before <= 10, wakes() - before)
    child:kill "TERM"
    assert.equal(0, child:wait().status)
  end)
end)
