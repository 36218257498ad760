-- sync_spec.lua - perigee.task: locks, semaphores and queues.  No permit and no value is lost, however a wait ends.
local task = require "perigee.task"
local helper = require "tests.helper"

local error_of, within = helper.error_of, helper.within

describe("locks and semaphores", function()
  it("ends the wait for a permit of a semaphore that is closed, and gives none", function()
    local semaphore = require "perigee.core.sync".semaphore(0)
    local waiter = task.spawn(pcall, semaphore.acquire, semaphore)
    helper.eventually(function() return waiter:status() == "waiting" end)

    semaphore:close()

    local ok, err = waiter:wait()
    assert.is_false(ok)
    assert.equal("closed", err.kind)
    assert.equal("closed", select(2, pcall(semaphore.acquire, semaphore)).kind)
    assert.equal(0, semaphore:free())
  end)

  it("let one task in at a time, first come first served", function()
    local order, inside = {}, 0
    task.map({1, 2, 3}, function(i)
      local permit <close> = task.lock "key" -- luacheck: ignore 211
      inside = inside + 1
      assert.equal(1, inside)
      task.sleep(0.001)
      inside = inside - 1
      order[#order + 1] = i
    end)

    assert.same({1, 2, 3}, order)
  end)

  it("are apart for different keys", function()
    local a <close> = task.lock "a" -- luacheck: ignore 211
    local b <close> = within(1, task.lock, "b") -- luacheck: ignore 211
  end)

  it("lose no permit when a waiter is cancelled", function()
    local holder = task.lock "cancelled waiter"
    local waiter = task.spawn(function()
      local permit <close> = task.lock "cancelled waiter" -- luacheck: ignore 211
    end)
    task.sleep(0.001)
    waiter:cancel()
    error_of(waiter.wait, waiter)
    holder:release()

    local again <close> = within(1, task.lock, "cancelled waiter")

    assert.truthy(again)
  end)

  it("lose no permit when the holder fails", function()
    error_of(function()
      local permit <close> = task.lock "failing" -- luacheck: ignore 211
      error "x"
    end)

    local again <close> = within(1, task.lock, "failing")

    assert.truthy(again)
  end)

  it("give up after the time-out they were given", function()
    local holder <close> = task.lock "busy" -- luacheck: ignore 211

    assert.equal("timeout", error_of(task.lock, "busy", {timeout = 0.01}).kind)
    assert.is_nil(task.lock("busy", {timeout = 0}))
  end)

  it("with a count let so many in", function()
    local inside, most = 0, 0
    task.map({1, 2, 3, 4, 5, 6}, function()
      local permit <close> = task.semaphore("pool", 2) -- luacheck: ignore 211
      inside = inside + 1
      most = math.max(most, inside)
      task.sleep(0.001)
      inside = inside - 1
    end)

    assert.equal(2, most)
  end)
end)

describe("task.queue", function()
  it("holds a producer back while it is full", function()
    local q = task.queue(2)
    local put = 0
    local s <close> = task.scope()
    s:spawn(function() for i = 1, 5 do q:put(i) put = put + 1 end q:close() end)
    task.sleep(0.005)
    assert.equal(2, put)

    local got = {}
    for v in q:each() do got[#got + 1] = v end

    assert.same({1, 2, 3, 4, 5}, got)
  end)

  it("gives what is left after close, then ends; a put then raises closed", function()
    local q = task.queue(3)
    q:put "last"
    q:close()

    assert.same({true, "last"}, {q:get()})
    assert.same({false}, {q:get()})
    assert.equal("closed", error_of(q.put, q, 1).kind)
  end)

  it("loses no value when a getter is cancelled", function()
    local q = task.queue(1)
    local getter = task.spawn(q.get, q)
    task.sleep(0.001)
    getter:cancel()
    error_of(getter.wait, getter)
    q:put "kept"

    assert.same({true, "kept"}, {within(1, q.get, q)})
  end)
end)
