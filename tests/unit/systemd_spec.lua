-- systemd_spec.lua - what the service manager is told, and when it gets no sign of life.
local errors = require "perigee.error"
local helper = require "helper"
local spawn = require "tests.support.spawn"
local task = require "perigee.task"

describe("systemd", function()
  local sent, interval, answer
  local systemd

  -- The module with a manager of the spec's own in place of the C module.
  before_each(function()
    sent, interval, answer = {}, nil, { true }
    local real = package.loaded["perigee.core.sdnotify"]
    package.loaded["perigee.core.sdnotify"] = {
      send = function(text)
        sent[#sent + 1] = text
        return table.unpack(answer)
      end,
      watchdog = function() return interval end,
    }
    package.loaded["perigee.systemd"] = nil
    systemd = require "perigee.systemd"
    package.loaded["perigee.core.sdnotify"], package.loaded["perigee.systemd"] = real, nil
  end)

  it("is told in one message each of readiness, state and end, on one line whatever the text holds", function()
    systemd.ready "12 jobs"
    systemd.status "a\nREADY=0\tb"
    systemd.stopping("draining", 30)

    assert.same({ "READY=1\nSTATUS=12 jobs", "STATUS=a READY=0 b",
      "STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=30000000" }, sent)
  end)

  it("is told of a reload together with the monotonic time in microseconds", function()
    local before = task.now()
    systemd.reloading()

    assert.equal(1, #sent)
    local usec = sent[1]:match "^RELOADING=1\nMONOTONIC_USEC=(%d+)\nSTATUS=reloading$"
    assert.is_true(tonumber(usec) >= before * 1e6 // 1 and tonumber(usec) <= task.now() * 1e6)
  end)

  it("costs nothing where there is no service manager", function()
    answer = { false }

    assert.is_false(systemd.ready "x")
    systemd.feed(function() error "never asked" end)
  end)

  local function feed_for(turns, ping)
    interval = 0.06
    local asked = 0
    local feeder <close> = setmetatable({ task = task.spawn(systemd.feed, function()
      asked = asked + 1
      return ping()
    end) }, { __close = function(f)
      f.task:cancel "done"
      pcall(f.task.wait, f.task)
    end })
    helper.eventually(function() return asked >= turns or feeder.task:status() == "failed" end)
    return #sent
  end

  it("gets signs of life while the journal answers, an error being an answer too", function()
    assert.is_true(feed_for(3, function() end) >= 2)
    assert.equal("WATCHDOG=1", sent[1])

    sent = {}
    local fed = feed_for(3, function()
      error(errors.new { kind = "unavailable", code = "journal_full", message = "full" }, 0)
    end)
    assert.is_true(fed >= 2)
  end)

  it("gets none while the journal's writer hangs", function()
    assert.equal(0, feed_for(3, function() task.sleep(30) end))
  end)

  it("is not inherited by children", function()
    local code = [[
      local core = require "perigee.core.sdnotify"
      print(core.watchdog())
      print(core.send "READY=1")
      print((require("perigee.proc").run { args = { "/usr/bin/env" } }).stdout)]]
    local result = spawn.script(code, { env = { NOTIFY_SOCKET = "/nonexistent/socket", WATCHDOG_USEC = "2500000" } })

    assert.equal("2.5", result.stdout:match "^[^\n]+")
    assert.truthy(result.stdout:find("the service manager cannot be told", 1, true))
    assert.is_nil(result.stdout:find("NOTIFY_SOCKET", 1, true))
    assert.is_nil(result.stdout:find("WATCHDOG_USEC", 1, true))
  end)

  it("does not ask another process for signs of life", function()
    local result = spawn.script([[print(require("perigee.core.sdnotify").watchdog())]],
      { env = { WATCHDOG_USEC = "2500000", WATCHDOG_PID = "1" } })

    assert.equal("\n", result.stdout)
  end)
end)
