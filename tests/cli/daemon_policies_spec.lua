-- daemon_policies_spec.lua - policies that misbehave beside one that does not, and files that change under a daemon.
local daemon = require "tests.support.daemon"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local json = require "perigee.json"
local spawn = require "tests.support.spawn"
local task = require "perigee.task"

local TICKER <const> = [[
  return { name = "ticker", schedules = { { name = "tick", every = "1s", run = function(ctx)
    print(("VERSION ticked %.3f late"):format(require "perigee.time".now() - ctx.scheduled_at))
  end } } }]]

local LOOPER <const> = [[
  return { name = "looper", schedules = { { name = "loop", every = "1s", run = function()
    print "looping"
    while true do end
  end } } }]]

local HOG <const> = [[
  return { name = "hog", schedules = { { name = "eat", every = "1s", run = function()
    print "eating"
    local all = {}
    while true do all[#all + 1] = ("x"):rep(1 << 20) .. #all end
  end } } }]]

local function new_world()
  local world = daemon.world()
  finally(function() world:close() end)
  return world
end

local function write_config(world, text)
  local path = world.folder .. "/config.lua"
  fs.write(path, text, { mode = "0600" })
  return path
end

local function policy_of(world, name)
  for _, row in ipairs(world:call("policies").policies) do
    if row.name == name then return row end
  end
end

local function count(text, word)
  return select(2, text:gsub(word, ""))
end

describe("a policy that overruns", function()
  it("is ended alone, for time and for memory, while another keeps its schedule", function()
    local world = new_world()
    world:policy("ticker", TICKER)
    world:policy("looper", LOOPER)
    world:policy("hog", HOG)
    local config = write_config(world,
      [[return { policies = { "ticker.lua", { "looper.lua", step = "300ms" }, { "hog.lua", memory = "24M" } } }]])
    local child = world:start { "--config", config }
    helper.eventually(function()
      local log = daemon.log(child)
      return count(log, '"policy.ended"') >= 2 and count(log, "ticked") >= 4
    end, 20)

    local looper, hog = policy_of(world, "looper"), policy_of(world, "hog")
    assert.is_true(looper.failed >= 1)
    assert.is_true(hog.failed >= 1)
    assert.equal("active", policy_of(world, "ticker").state)
    assert.equal(0, policy_of(world, "ticker").failed)
    for late in daemon.log(child):gmatch "ticked ([%d.]+) late" do assert.is_true(tonumber(late) < 1.5, late) end
    assert.is_true(hog.peak < 30 << 20, hog.peak)
    local screen = world:run("status").stdout
    assert.matches("looper%s+%S", screen)
    assert.matches("failing", screen, 1, true)
    child:kill "TERM"
    assert.equal(0, child:wait().status)
  end)
end)

describe("a policy that fails again and again", function()
  it("is paused after as many failures in a row as it says", function()
    local world = new_world()
    local bad = TICKER:gsub("print%(.-\n", 'error "bad luck"\n')
    local child = world:start { world:policy("ticker", (bad:gsub("schedules =", "max_failures = 2, %0"))) }
    assert.is_true(child:read_until("policy.paused", 20))

    assert.matches("failed 2 times in a row", policy_of(world, "ticker").why, 1, true)
    local wrong = spawn.run { "check", world:policy("wrong", "return { name = 'wrong', max_failures = 0 }") }
    assert.equal(1, wrong.status)
    assert.matches("max_failures is a whole number from 1", wrong.stdout .. wrong.stderr, 1, true)
  end)
end)

describe("a hook that was killed midway", function()
  it("is recorded as interrupted, and shown by status and journal export", function()
    local world = new_world()
    local slow = TICKER:gsub("print%(.-\n", 'print "begun" require "perigee.task".sleep(60)\n')
    local child = world:start { world:policy("ticker", slow) }
    assert.is_true(child:read_until "begun")
    child:kill "KILL"
    child:wait()
    child = world:start { world:policy("ticker", "return { name = 'ticker' }") }

    assert.matches("interrupted", world:run("status").stdout, 1, true)
    local outcomes = {}
    for line in world:run("journal", "export").stdout:gmatch "[^\n]+" do
      local one = json.decode(line)
      if one.table == "hooks" then outcomes[#outcomes + 1] = one.record.hook .. " " .. tostring(one.record.outcome) end
    end
    assert.same({ "schedule:tick interrupted" }, outcomes)
    child:kill "TERM"
    child:wait()
  end)
end)

describe("a policy that misses its own schedule", function()
  it("shows as stale", function()
    local world = new_world()
    local slow = TICKER:gsub("print%(.-\n", 'require "perigee.task".sleep(60)\n')
    world:start { world:policy("ticker", slow) }

    helper.eventually(function() return policy_of(world, "ticker").state == "stale" end, 20)
    assert.matches("stale: tick misses its schedule", world:run("status").stdout, 1, true)
  end)
end)

describe("perigee daemon --watch", function()
  it("takes a policy that has changed, and keeps the old one while the new is bad", function()
    local world = new_world()
    local child = world:start { "--watch", world:policy("ticker", TICKER) }
    world:policy("ticker", (TICKER:gsub("VERSION", "second")))
    assert.is_true(child:read_until("second ticked", 20))

    world:policy("ticker", "return { name = 'ticker', schedulse = {} }")
    assert.is_true(child:read_until("daemon.reload_failed", 20))
    assert.equal("active", policy_of(world, "ticker").state)

    world:policy("ticker", (TICKER:gsub("VERSION", "fourth")))
    assert.is_true(child:read_until("fourth ticked", 20))
  end)
end)

describe("a reload", function()
  it("refuses a configuration whose notify is wrong, and goes on with the old one", function()
    local world = new_world()
    world:policy("ticker", TICKER)
    local good = [[return { policies = { "ticker.lua" }, notify = { webhook = "http://127.0.0.1:9/" } }]]
    world:start { "--config", write_config(world, good) }
    write_config(world, (good:gsub("webhook", "webhok")))
    local bad = world:run "reload"
    write_config(world, good)

    assert.equal(3, bad.status)
    assert.matches('did you mean "webhook"?', bad.stderr, 1, true)
    assert.equal("active", policy_of(world, "ticker").state)
    assert.equal(0, world:run("reload").status)
  end)

  it("lets a hook that runs end in the old policy", function()
    local world = new_world()
    local slow = TICKER:gsub("print%(.-\n", 'print "begun" require "perigee.task".sleep(0.7) print "VERSION ended"\n')
    local child = world:start { world:policy("ticker", (slow:gsub("VERSION", "first"))) }
    assert.is_true(child:read_until "begun")
    world:policy("ticker", (TICKER:gsub("VERSION", "second")))
    assert.equal(0, world:run("reload").status)

    assert.is_true(child:read_until "first ended")
    assert.is_true(child:read_until "second ticked")
    assert.is_nil(daemon.log(child):find("policy.failed", 1, true))
  end)

  it("leaves memory where it was, ten times over", function()
    local world = new_world()
    -- a sanitizer keeps what was freed for a while
    world.env = { ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":quarantine_size_mb=0:thread_local_quarantine_size_kb=0" }
    local child = world:start { world:policy("ticker", TICKER), world:policy("other", (TICKER:gsub('"ticker"', '"other"'))) }
    local pid = world:call("status").pid
    local function resident()
      local file <close> = assert(io.open(("/proc/%d/status"):format(pid)))
      return tonumber(file:read("a"):match "VmRSS:%s*(%d+)")
    end
    for _ = 1, 3 do world:call "reload" end -- what is there once, and stays
    task.sleep(0.2)
    local before = resident()
    for _ = 1, 10 do world:call "reload" end
    helper.eventually(function() return resident() - before < 1500 end, 5)
    assert.equal(2, #world:call("policies").policies)
    child:kill "TERM"
    assert.equal(0, child:wait().status)
  end)
end)
