-- scope_cancel_spec.lua - a task that is cancelled while it waits for the tasks of a scope.
local errors = require "perigee.error"
local helper = require "tests.helper"
local task = require "perigee.task"

describe("cancelling a task that waits for its scope's tasks", function()
  it("ends the task when they have ended, and is not swallowed", function()
    local went_on = false
    local child = task.spawn(function()
      task.map({ 1, 2, 3, 4 }, function() task.sleep(60) end, { concurrency = 2 })
      went_on = true
    end)
    task.sleep(0)

    child:cancel "enough"
    local err = helper.error_of(child.wait, child)

    assert.is_true(errors.is(err, "cancelled"))
    assert.is_false(went_on)
  end)

  it("lets clean-up use a scope of its own", function()
    local cleaned
    local child = task.spawn(function()
      local ok, err = pcall(task.sleep, 60)
      cleaned = task.map({ 1, 2 }, function(x) task.sleep(0) return x end)
      error(ok or err, 0)
    end)
    task.sleep(0)

    child:cancel "enough"
    pcall(child.wait, child)

    assert.same({ 1, 2, n = 2 }, cleaned)
  end)
end)
