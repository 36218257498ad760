-- proc_spec.lua - child processes: complete only with exit and both ends of output.
local helper = require "tests.helper"
local proc = require "perigee.core.proc"
local task = require "perigee.core.task"

local function sh(code, options)
  local all = { args = { "/bin/sh", "-c", code } }
  for name, value in pairs(options or {}) do all[name] = value end
  return all
end

describe("proc.run", function()
  it("gives status, both outputs and takes input", function()
    local result = proc.run(sh("cat; echo oops >&2; exit 3", { stdin = "hello" }))
    assert.are.equal(3, result.status)
    assert.are.equal("hello", result.stdout)
    assert.are.equal("oops\n", result.stderr)
    assert.are.equal(0, result.signal)
  end)

  it("waits for output that comes after the exit", function()
    local result = proc.run(sh "(sleep 0.2; echo late) & exit 0")
    assert.are.equal("late\n", result.stdout)
  end)

  it("collects more than a pipe holds, from both streams", function()
    local result = proc.run(sh "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2")
    assert.are.equal(300000, #result.stdout)
    assert.are.equal(300000, #result.stderr)
  end)

  it("feeds more input than a pipe holds to a child that does not read it", function()
    assert.are.equal(0, proc.run(sh("exit 0", { stdin = ("x"):rep(1000000) })).status)
  end)

  it("kills at the time-out and says so", function()
    local result = proc.run(sh("echo first; exec sleep 30", { timeout = 0.2 }))
    assert.is_true(result.timed_out)
    assert.are.equal(9, result.signal)
    assert.are.equal("first\n", result.stdout)
  end)

  it("does not wait at the time-out for a grandchild that holds the output", function()
    local start = task.now()
    assert.is_true(proc.run(sh("sleep 20 & sleep 20", { timeout = 0.2 })).timed_out)
    assert.is_true(task.now() - start < 10)
  end)

  it("ends a child that says too much", function()
    local result = proc.run(sh("yes", { output_cap = 1000 }))
    assert.is_true(result.over_cap)
  end)

  it("kills the child when its task is cancelled", function()
    local pid_file = os.tmpname()
    local child = task.spawn(function() proc.run(sh("echo $$ > " .. pid_file .. "; exec sleep 30")) end)
    local pid
    helper.eventually(function()
      local file = assert(io.open(pid_file))
      pid = file:read "n"
      file:close()
      return pid
    end)
    child:cancel "test"
    pcall(child.wait, child)
    helper.eventually(function() return proc.run(sh("kill -0 " .. pid .. " 2>/dev/null")).status ~= 0 end)
    os.remove(pid_file)
  end)

  -- regression: the loop was closed before the system had told of their ends
  it("takes its children along when the program ends, and waits until they have gone", function()
    local result = proc.run { timeout = 30, args = { os.getenv "PERIGEE", "run", "-e", [[
      local proc, task = require "perigee.proc", require "perigee.task"
      task.detach(function()
        for _ = 1, 40 do task.spawn(proc.run, { args = { "sleep", "600" } }) end
        task.sleep(600)
      end)
      task.sleep(0.05)
      os.exit(3)]] } }
    assert.are.equal("", result.stderr)
    assert.are.equal(3, result.status)
  end)

  it("says which program could not be started", function()
    local err = helper.error_of(proc.run, { args = { "/nonexistent/program" } })
    assert.are.equal("unavailable", err.kind)
    assert.is_truthy(err.message:find("/nonexistent/program", 1, true))
  end)

  it("names an unknown field", function()
    assert.are.equal("invalid", helper.error_of(proc.run, { arg = { "x" } }).kind)
  end)
end)

describe("proc.spawn", function()
  it("lets a task wait for a text and send a signal", function()
    local child <close> = proc.spawn(sh "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done")
    assert.is_true(child:read_until "ready")
    child:kill "TERM"
    assert.are.equal(7, child:wait().status)
  end)

  it("tells when the text does not come", function()
    local child <close> = proc.spawn(sh "echo other")
    local found, why = child:read_until "ready"
    assert.is_false(found)
    assert.are.equal("ended", why)
  end)

  it("gives a terminal of the width asked for", function()
    local child <close> = proc.spawn(sh("stty size", { columns = 77 }))
    assert.are.equal("24 77\r\n", child:wait().stdout)
  end)
end)
