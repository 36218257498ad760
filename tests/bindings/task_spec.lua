-- task_spec.lua - perigee.task: the rules of docs/design.md "Tasks", and what is composed of them.
local task = require "perigee.task"
local core = require "perigee.core.task"
local errors = require "perigee.error"
local helper = require "tests.helper"

local error_of, within = helper.error_of, helper.within

-- a value whose closing is recorded, and may wait
local function closer(record, name, wait)
  return setmetatable({}, {__close = function()
    if wait then task.sleep(wait) end
    record[#record + 1] = name
  end})
end

describe("a wait", function()
  it("gives the results of what it waited for, nils included", function()
    local child = task.spawn(function(a) task.sleep(0.001) return a, nil, 3 end, "x")

    assert.same({"x", nil, 3, n = 3}, table.pack(child:wait()))
  end)

  it("lets other tasks run meanwhile, in the order of their deadlines", function()
    local order = {}
    task.map({3, 1, 2}, function(n) task.sleep(n * 0.01) order[#order + 1] = n end)

    assert.same({1, 2, 3}, order)
  end)

  it("works inside a generator made with coroutine.wrap", function()
    local function numbers()
      for i = 1, 3 do
        task.sleep(0.001)
        coroutine.yield(i)
      end
    end
    local seen = {}

    for i in coroutine.wrap(numbers) do seen[#seen + 1] = i end

    assert.same({1, 2, 3}, seen)
  end)

  it("works two generators deep", function()
    local inner = coroutine.wrap(function() task.sleep(0.001) coroutine.yield "a" coroutine.yield "b" end)
    local outer = coroutine.wrap(function() for _ = 1, 2 do coroutine.yield(inner() .. "!") end end)

    assert.equal("a!", outer())
    assert.equal("b!", outer())
  end)

  it("works in pcall, metamethods, iterators and <close>", function()
    local slow = setmetatable({}, {__index = function(_, k) task.sleep(0.001) return k end})
    local closed = {}
    do
      local c <close> = closer(closed, "closed", 0.001) -- luacheck: ignore 211
      assert.equal("key", select(2, pcall(function() return slow.key end)))
    end

    assert.same({"closed"}, closed)
  end)

  for name, call in pairs {
    ["table.sort"] = function() table.sort({2, 1}, function(a, b) task.sleep(0.001) return a < b end) end,
    ["string.gsub"] = function() return (("x"):gsub("x", function() task.sleep(0.001) return "y" end)) end,
    ["coroutine.close"] = function()
      local co = coroutine.create(function()
        local c <close> = closer({}, "c", 0.001) -- luacheck: ignore 211
        coroutine.yield()
      end)
      coroutine.resume(co)
      local ok, err = coroutine.close(co)
      if not ok then error(err, 0) end
    end,
  } do
    it("inside " .. name .. " raises an error that names the call", function()
      local err = error_of(call)

      assert.equal("invalid", err.kind)
      assert.matches("task.sleep waits, and cannot be called inside a C function", err.message, 1, true)
    end)
  end

  it("cannot be answered by somebody else's resume, wrap or close", function()
    local co = coroutine.create(function() return task.sleep(0.02) end)
    local consumer = task.spawn(coroutine.resume, co)
    task.sleep(0.001)

    assert.matches("waiting inside a task", error_of(coroutine.resume, co, "forged"), 1, true)
    assert.matches("waiting inside a task", error_of(coroutine.close, co), 1, true)
    assert.same({true}, {consumer:wait()})
  end)

  it("outside of its task fails the task that yields by hand", function()
    local child = task.spawn(function() coroutine.yield "to nobody" end)

    assert.matches("yielded outside of a wait", error_of(child.wait, child).message, 1, true)
  end)

  it("goes on when every reference to the task is dropped", function()
    local done = false
    do task.spawn(function() task.sleep(0.01) done = true end) end
    collectgarbage() collectgarbage()

    helper.eventually(function() return done end)
  end)
end)

describe("a scope", function()
  it("waits for its tasks when it is left", function()
    local done = 0
    task.scope(function(s)
      for _ = 1, 3 do s:spawn(function() task.sleep(0.005) done = done + 1 end) end
    end)

    assert.equal(3, done)
  end)

  it("cancels its tasks, and waits for their clean-up, when it is left by an error", function()
    local record = {}

    local err = error_of(function()
      local s <close> = task.scope()
      s:spawn(function()
        local c <close> = closer(record, "cleaned", 0.005) -- luacheck: ignore 211
        task.sleep(60)
      end)
      task.sleep(0.001)
      error("out", 0)
    end)

    assert.equal("out", err)
    assert.same({"cleaned"}, record)
  end)

  it("stops its body and its other tasks when one of them fails, and raises that error", function()
    local record = {}

    local err = error_of(within, 5, function()
      task.scope(function(s)
        s:spawn(function()
          local c <close> = closer(record, "sibling") -- luacheck: ignore 211
          task.sleep(60)
        end)
        s:spawn(function() task.sleep(0.001) error({code = 7}, 0) end)
        task.sleep(60)
      end)
    end)

    assert.same({code = 7}, err)
    assert.same({"sibling"}, record)
  end)

  it("given a deadline raises a time-out that a pcall loop inside cannot swallow", function()
    local child = task.spawn(function()
      task.scope(function() while true do pcall(task.sleep, 60) end end, {deadline = 0.01, grace = 0.05})
    end)

    local err = error_of(within, 5, child.wait, child)

    assert.equal("limit", err.kind)
    assert.equal("grace", err.code)
  end)

  it("that is left can start nothing more", function()
    local kept
    task.scope(function(s) kept = s end)

    assert.matches("the scope is closed", error_of(kept.spawn, kept, function() end).message, 1, true)
  end)

  it("reports the failure of a spawned task nobody waited for as the parent's own", function()
    local parent = task.spawn(function() task.spawn(error, "unseen", 0) end)

    assert.equal("unseen", error_of(parent.wait, parent))
  end)

  it("reports nothing once somebody has waited for the failed task", function()
    local parent = task.spawn(function()
      local child = task.spawn(error, "seen", 0)
      task.sleep(0.002)
      return (pcall(child.wait, child))
    end)

    assert.is_false(parent:wait())
  end)

  it("reports nothing either when it was seen through another handle of the task", function()
    local parent = task.spawn(function()
      local own
      local child = task.spawn(function() own = task.current() task.sleep(0.001) error("seen", 0) end)
      task.sleep(0.005)
      assert.equal("failed", child:status())
      return (pcall(own.wait, own))
    end)

    assert.is_false(parent:wait())
  end)
end)

describe("cancel", function()
  it("raises at the wait, with the reason, and runs <close>, which may wait", function()
    local record = {}
    local child = task.spawn(function()
      local c <close> = closer(record, "cleaned", 0.005) -- luacheck: ignore 211
      task.sleep(60)
    end)
    task.sleep(0.001)

    child:cancel "enough"
    local err = error_of(child.wait, child)

    assert.equal("cancelled", err.kind)
    assert.equal("enough", err.reason)
    assert.same({"cleaned"}, record)
    assert.equal("cancelled", child:status())
  end)

  it("before the first step means that the function never runs", function()
    local ran = false
    local child = task.spawn(function() ran = true end)

    child:cancel()

    assert.equal("cancelled", error_of(child.wait, child).kind)
    assert.is_false(ran)
  end)

  it("reaches the tasks a task has spawned", function()
    local record = {}
    local child = task.spawn(function()
      task.spawn(function()
        local c <close> = closer(record, "grandchild") -- luacheck: ignore 211
        task.sleep(60)
      end)
      task.sleep(60)
    end)
    task.sleep(0.001)

    child:cancel()
    error_of(child.wait, child)

    assert.same({"grandchild"}, record)
  end)

  it("lets an operation that was completed first keep its result", function()
    local lock_holder = task.lock "contested"
    local got
    local waiter = task.spawn(function()
      local permit <close> = task.lock "contested" -- luacheck: ignore 211
      got = true
    end)
    task.sleep(0.001)

    lock_holder:release() -- completes the waiter's operation
    waiter:cancel()
    waiter:wait()

    assert.is_true(got)
  end)

  it("ends a task that goes on swallowing it, within its grace and a second", function()
    local child
    local started = core.now()
    local s <close> = task.scope {grace = 0.1}
    child = s:spawn(function() while true do pcall(task.sleep, 1) end end)
    task.sleep(0.001)

    s:cancel()
    local err = error_of(child.wait, child)

    assert.equal("grace", err.code)
    assert.is_true(core.now() - started < 1.1 + 4) -- the machine may be busy
  end)

  it("is not swallowed by task.try, task.map in collect mode or retry-like loops over task.try", function()
    local reached = false
    local child = task.spawn(function()
      task.map({1}, function() task.try(task.sleep, 60) reached = true end, {mode = "collect"})
      reached = true
    end)
    task.sleep(0.001)

    child:cancel()
    error_of(child.wait, child)

    assert.is_false(reached)
  end)

  it("waits for a shielded part, but not longer than it was given", function()
    local record = {}
    local child = task.spawn(function()
      task.shield(5, function() task.sleep(0.02) record[#record + 1] = "shielded" end)
      task.sleep(60)
      record[#record + 1] = "not reached"
    end)
    task.sleep(0.001)

    child:cancel()

    assert.equal("cancelled", error_of(child.wait, child).kind)
    assert.same({"shielded"}, record)
  end)

  it("interrupts a shielded part when its time is over", function()
    local s <close> = task.scope {grace = 0.01}
    local child = s:spawn(function() task.shield(0.05, task.sleep, 60) end)
    task.sleep(0.001)

    s:cancel()

    assert.equal("cancelled", error_of(within, 5, child.wait, child).kind)
  end)
end)

describe("task.map", function()
  local function double(n) task.sleep(0.001) return n * 2 end

  it("gives the results in the order of the items", function()
    assert.same({2, 4, 6, n = 3}, task.map({1, 2, 3}, double))
    assert.same({n = 0}, task.map({}, double))
  end)

  it("runs at most `concurrency` at once, and 16 unless told", function()
    local function highest(options)
      local running, most, items = 0, 0, {}
      for i = 1, 40 do items[i] = i end
      task.map(items, function()
        running = running + 1
        most = math.max(most, running)
        task.sleep(0.001)
        running = running - 1
      end, options)
      return most
    end

    assert.equal(16, highest())
    assert.equal(3, highest {concurrency = 3})
  end)

  it("fails fast: the first error cancels the rest and is raised", function()
    local finished = 0

    local err = error_of(within, 5, task.map, {1, 2, 3}, function(n)
      if n == 2 then error("two", 0) end
      task.sleep(60)
      finished = finished + 1
    end)

    assert.equal("two", err)
    assert.equal(0, finished)
  end)

  it("collects outcomes without holes, and starts nothing after stop_on", function()
    local outcomes = task.map({1, 2, 3, 4}, function(n)
      if n == 2 then error(errors.new {kind = "funds", message = "empty"}, 0) end
      return n
    end, {mode = "collect", concurrency = 1, stop_on = "funds"})

    assert.same({"done", "failed", "not_started", "not_started"},
      {outcomes[1].state, outcomes[2].state, outcomes[3].state, outcomes[4].state})
    assert.same({true, 1}, {outcomes[1].ok, outcomes[1].value})
    assert.equal("funds", outcomes[2].err.kind)
  end)

  it("iterates as items end", function()
    local order = {}
    for i, outcome in task.map({3, 1, 2}, function(n) task.sleep(n * 0.01) return n end, {mode = "completed"}) do
      order[#order + 1] = {i, outcome.value}
    end

    assert.same({{2, 1}, {3, 2}, {1, 3}}, order)
  end)

  it("cancels what still runs when the loop is left", function()
    local record = {}
    for _ in task.map({0.001, 60}, function(n)
      local c <close> = closer(record, n) -- luacheck: ignore 211
      task.sleep(n)
    end, {mode = "completed"}) do break end

    assert.same({0.001, 60}, record)
  end)

  it("spaces starts by `rate` and spreads workers over `ramp`", function()
    local started = core.now()
    task.map({1, 2, 3, 4, 5}, function() end, {rate = 100})
    assert.is_true(core.now() - started >= 0.039)

    started = core.now()
    task.map({1, 2}, function() task.sleep(0.03) end, {concurrency = 2, ramp = 0.04})
    assert.is_true(core.now() - started >= 0.049)
  end)

  it("names an option that is not right", function()
    assert.matches('unknown option "concurency"; did you mean "concurrency"',
      error_of(task.map, {}, print, {concurency = 1}).message, 1, true)
    assert.equal("invalid", error_of(task.map, {}, print, {concurrency = 0}).kind)
    assert.equal("invalid", error_of(task.map, {}, print, {mode = "fast"}).kind)
    assert.equal("invalid", error_of(task.map, {}, print, {rate = 0}).kind)
  end)
end)

describe("task.race", function()
  it("gives the results of the first to end and cancels the others", function()
    local record = {}

    local a, b = task.race {
      function() local c <close> = closer(record, "loser") task.sleep(60) end, -- luacheck: ignore 211
      function() task.sleep(0.001) return "winner", 2 end,
    }

    assert.same({"winner", 2}, {a, b})
    assert.same({"loser"}, record)
  end)

  it("raises the error of the first to end", function()
    assert.equal("first", error_of(task.race, {function() error("first", 0) end, function() task.sleep(60) end}))
  end)
end)

describe("task.deadline", function()
  it("gives the results of a function that is in time", function()
    assert.same({1, nil, 3, n = 3}, table.pack(task.deadline("5s", function() return 1, nil, 3 end)))
  end)

  it("raises kind timeout, and bounds all attempts inside it", function()
    local attempts = 0

    local err = error_of(within, 5, task.deadline, 0.05, function()
      while true do
        attempts = attempts + 1
        task.sleep(0.01)
      end
    end)

    assert.equal("timeout", err.kind)
    assert.is_true(attempts >= 2)
  end)

  it("bounds what is spawned inside it, too", function()
    local child

    local err = error_of(within, 5, task.deadline, 0.01, function()
      child = task.spawn(task.sleep, 60)
      return child:wait()
    end)

    assert.equal("timeout", err.kind)
    assert.equal("cancelled", child:status())
  end)

  it("raises the outer deadline through an inner one", function()
    local err = error_of(within, 5, task.deadline, 0.01, task.deadline, 60, task.sleep, 60)

    assert.equal("timeout", err.kind)
  end)
end)

describe("task-local values", function()
  it("are inherited by spawned tasks and not changed by them", function()
    task.set_local("budget", "outer")
    local seen
    task.spawn(function()
      seen = task.get_local "budget"
      task.set_local("budget", "inner")
    end):wait()

    assert.equal("outer", seen)
    assert.equal("outer", task.get_local "budget")
    task.set_local("budget", nil)
  end)
end)

describe("task.detach", function()
  it("outlives the scope it was started in", function()
    local detached
    task.scope(function(s)
      s:spawn(function() detached = task.detach(function() task.sleep(0.005) return "done" end) end)
    end)

    assert.equal("done", detached:wait())
  end)
end)
