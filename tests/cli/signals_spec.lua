-- signals_spec.lua - Ctrl-C and its like: the first lets the script clean up, the second ends at once.
local spawn = require "tests.support.spawn"
local task = require "perigee.core.task"

local TIDY <const> = [[
  local task = require "perigee.core.task"
  local x <close> = setmetatable({}, { __close = function() task.sleep(0.05) print "tidied up" end })
  print "ready"
  task.sleep(60)]]

local STUBBORN <const> = [[
  local task = require "perigee.core.task"
  local x <close> = setmetatable({}, { __close = function() print "tidying" task.sleep(60) end })
  print "ready"
  task.sleep(60)]]

local function start(code, options)
  local child = spawn.start({ "-e", code }, options)
  assert.is_true(child:read_until "ready")
  return child
end

describe("a signal", function()
  for _, case in ipairs { { "INT", 130 }, { "TERM", 143 }, { "HUP", 129 } } do
    it(("SIG%s lets the script clean up and ends with %d"):format(case[1], case[2]), function()
      local child <close> = start(TIDY)
      child:kill(case[1])
      local result = child:wait()
      assert.are.equal(case[2], result.status, result.stderr)
      assert.is_truthy(result.stdout:find("tidied up", 1, true))
    end)
  end

  it("that comes a second time ends at once", function()
    local child <close> = start(STUBBORN)
    child:kill "INT"
    assert.is_true(child:read_until "tidying")
    local start_time = task.now()
    child:kill "INT"
    assert.are.equal(130, child:wait().status)
    assert.is_true(task.now() - start_time < 3) -- the clean-up would have had 5 s
  end)

  it("cannot be swallowed by a loop of pcall", function()
    local child <close> = start [[
      local task = require "perigee.core.task"
      print "ready"
      while true do pcall(task.sleep, 0.05) end]]
    child:kill "TERM"
    assert.are.equal(143, child:wait().status)
  end)

  it("SIGUSR1 lists what the tasks wait for, with their tracebacks, and ends nothing", function()
    local child <close> = start [[
      local task = require "perigee.core.task"
      local function nap() print "ready" task.sleep(2) end
      local function idle() task.sleep(3) end
      task.spawn(idle)
      task.sleep(0)
      nap()]]
    child:kill "USR1"
    assert.is_true(child:read_until "nap")
    local result = child:wait()
    assert.are.equal(0, result.status)
    local _, sleeping = result.stderr:gsub("waits in task.sleep", "")
    assert.are.equal(2, sleeping, result.stderr)
    assert.is_truthy(result.stderr:find "stack traceback:\n.-%(%-e%):%d+: in [^\n]*nap", result.stderr)
    assert.is_truthy(result.stderr:find "%(%-e%):3: in function <%(%-e%):3>", result.stderr)
  end)
end)
