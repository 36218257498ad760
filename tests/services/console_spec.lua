-- console_spec.lua - perigee.console in this process: what is left of consoles whose readers are slow, gone, or killed.
local console = require "perigee.console"
local consoles = require "tests.support.console"
local control = require "perigee.control"
local core = require "perigee.core.task"
local helper = require "tests.helper"
local proc = require "perigee.core.proc"
local task = require "perigee.task"

-- A control socket with consoles; calls: how often a console has called it.
local function serve()
  local calls = { now = 0, most = 0, all = 0 }
  local function list()
    calls.all, calls.now = calls.all + 1, calls.now + 1
    calls.most = math.max(calls.most, calls.now)
    task.sleep(0.01)
    calls.now = calls.now - 1
    return {}
  end
  local verbs = { ["jobs.list"] = list, ["jobs.get"] = list, ["jobs.why"] = list, policies = list, spend = list, status = list }
  local socket = helper.tmpdir() .. "/c.sock"
  console.start { directory = "here", verbs = function() return verbs end, surroundings = function() return {} end }
  local server = control.serve { path = socket, verbs = verbs, console = console }
  finally(function() server:close() end)
  return socket, calls
end

local function count()
  collectgarbage()
  collectgarbage()
  local counts = core.counts()
  return { tasks = counts.tasks, handles = counts.handles, vms = counts.vms, timers = counts.timers, memory = counts.memory }
end

-- curl that keeps a console open, as a process that can be killed.  rate: bytes that it reads each second.
local function attach(socket, rate)
  local child = proc.spawn { args = { "curl", "-sN", "--limit-rate", tostring(rate or 0), "--unix-socket", socket,
    "http://localhost/console/events" }, timeout = 50 }
  assert(child:read_until '"event":"hello"')
  return child, child:output():match '"console":"(%x+)"'
end

describe("the consoles of a daemon", function()
  it("leave nothing behind: fifty are opened, work, and are killed", function()
    local socket = serve()
    local work = {
      "while true do task.sleep(0.01) end", "jobs.list() task.sleep(1000)", "while true do pcall(task.sleep, 100) end",
      "for i = 1, 200 do task.spawn(function() while true do pcall(task.sleep, 100) end end) end",
      "local t <close> = setmetatable({}, { __close = function() task.sleep(1000) end }) task.sleep(1000)",
    }
    local function round(many)
      local children = {}
      for i = 1, many do
        local child, id = attach(socket)
        children[i] = child
        task.detach(function() pcall(consoles.post, socket, "eval", { console = id, input = work[i % #work + 1] }) end)
      end
      task.sleep(0.1)
      for _, child in ipairs(children) do
        child:kill "KILL"
        child:close()
      end
      helper.eventually(function() return #console.status() == 0 end, 40)
    end
    round(10) -- as many connections as later are kept for a while
    helper.eventually(function() return count().vms == 1 end, 20)
    local before = count()

    for _ = 1, 5 do round(10) end

    helper.eventually(function()
      local after = count()
      return after.vms == before.vms and after.tasks <= before.tasks and after.handles <= before.handles
    end, 40)
    local after = count()
    assert.equal(before.vms, after.vms)
    assert.is_true(after.timers <= before.timers + 10, ("%d timers, %d before"):format(after.timers, before.timers))
    assert.is_true(after.memory < before.memory + 200000, ("%d bytes more"):format(after.memory - before.memory))
  end)

  it("lose a reader that does not read, and hold up nobody meanwhile", function()
    local socket, most = serve(), console.MOST
    local restore <close> = setmetatable({}, { __close = function() console.MOST = most end }) -- luacheck: ignore 211
    console.MOST = 2
    local slow = attach(socket, 1000)
    local reads <close> = consoles.open(socket)
    assert.equal("consoles", console.status()[1].name)

    for _ = 1, 3000 do
      console.event("budget.low", { budget = "b", why = ("x"):rep(1000) })
      task.sleep(0)
    end

    local function dropped() -- another one finds its place
      local third <close> = consoles.open(socket)
      return third.id ~= nil
    end
    helper.eventually(function() return reads.ended or #reads.events > 1000 and dropped() end, 20)
    assert.is_not_true(reads.ended)
    slow:kill "KILL"
    slow:close()
  end)

  it("wait with what their lines print until somebody takes it", function()
    local socket = serve()
    local one <close> = consoles.open(socket)

    local result = one:eval "for i = 1, 5000 do print(i) end"

    assert.is_true(result.ok)
    helper.eventually(function() return one:output():find "\n5000\n" end, 20)
    local n = 0
    for line in one:output():gmatch "%d+" do
      n = n + 1
      assert.equal(n, tonumber(line))
    end
    assert.equal(5000, n)
  end)

  it("ask the daemon for little at once, however many of their tasks ask", function()
    local socket, calls = serve()
    local one <close> = consoles.open(socket)

    local result = one:eval "for i = 1, 60 do task.spawn(jobs.list) end"

    assert.is_true(result.ok)
    helper.eventually(function() return calls.all == 60 end, 30)
    assert.is_true(calls.most <= 8)
  end)
end)
