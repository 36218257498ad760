-- daemon_policies_spec.lua - policies in VMs of their own: what they say, what happens when they fail.
local daemon_policies = require "perigee.daemon_policies"
local errors = require "perigee.error"
local helper = require "tests.helper"
local json = require "perigee.json"
local task = require "perigee.task"

-- perigee.daemon_book without a journal.
local function new_book()
  local book = { rows = {}, pauses = {} }
  function book.begin(_, policy, hook, about)
    book.rows[#book.rows + 1] = { policy = policy, hook = hook, job = about.job }
    return #book.rows
  end
  function book.finish(_, number, outcome, why)
    book.rows[number].outcome, book.rows[number].error = outcome, why
  end
  function book.paused(_, name) return book.pauses[name] end
  function book.set_paused(_, name, pause) book.pauses[name] = pause end
  function book.failures() return {} end
  function book.last() return nil end
  function book.last_run() return nil end
  function book.remember_names() end
  return book
end

-- A set with one policy for each text; world.files: their paths.
local function new_world(texts, options)
  local world = { book = new_book(), events = {}, called = {}, files = {} }
  local folder = helper.tmpdir()
  world.folder = folder
  function world.write(name, text)
    local path = folder .. "/" .. name
    local file <close> = assert(io.open(path, "w"))
    file:write(text)
    return path
  end
  world.set = daemon_policies.new {
    book = world.book,
    emit = function(event, data) world.events[#world.events + 1] = { event = event, data = data } end,
    surroundings = {
      serve = function(name)
        return { called = function(args) world.called[#world.called + 1] = { policy = name, args = args } end }
      end,
    },
    now = task.now,
    max_failures = options and options.max_failures or 3,
    hook_seconds = options and options.hook_seconds or 5,
    changed = function() end,
  }
  for i, text in ipairs(texts) do
    world.files[i] = { file = world.write(("policy%d.lua"):format(i), text), step = options and options.step or 0.1,
      memory = options and options.memory }
  end
  finally(function()
    world.set:stop(true)
    helper.eventually(function()
      collectgarbage()
      return require("perigee.core.task").counts().vms == world.vms
    end)
  end)
  world.vms = require("perigee.core.task").counts().vms
  world.set:load(world.files)
  return world
end

local function gate(name, body)
  return ([[
    local policy = require "perigee.policy"
    return { name = %q, on = { ["job.submit"] = function(job) %s end } }]]):format(name, body)
end

local JOB <const> = { id = "a1", name = "train", service = "deai", price = "0.05 CCD", state = "planned" }

describe("a job that is submitted", function()
  it("is allowed if nobody speaks against it, and every verdict is kept", function()
    local world = new_world { gate("one", "return policy.allow()"), gate("two", "") }
    local result = world.set:ask("job.submit", JOB)

    assert.equal("allow", result.decision)
    assert.same({ { policy = "one", decision = "allow" }, { policy = "two", decision = "allow" } }, result.verdicts)
    assert.equal("done", world.book.rows[1].outcome)
    assert.equal("a1", world.book.rows[1].job)
  end)

  it("is denied by one deny, whatever the others say", function()
    local world = new_world {
      gate("holds", 'return policy.hold "look at it"'), gate("denies", 'return policy.deny("too dear: " .. job.price)'),
      gate("allows", "return policy.allow()"),
    }
    local result = world.set:ask("job.submit", JOB)

    assert.equal("deny", result.decision)
    assert.equal("denies: too dear: 0.05 CCD", result.why)
    assert.equal("denies", result.policy)
    assert.equal(3, #result.verdicts)
  end)

  it("is held by one hold, for as long as the shortest says", function()
    local world = new_world {
      gate("a", 'return policy.hold("first", { expires = "2h" })'), gate("b", 'return policy.hold("second", { expires = "1h" })'),
      gate("c", "return policy.allow()"),
    }
    local result = world.set:ask("job.submit", JOB)

    assert.equal("hold", result.decision)
    assert.equal("a: first; b: second", result.why)
    assert.equal(3600, result.expires)
  end)

  it("is nothing to a policy that does not apply", function()
    local world = new_world { [[
      return { name = "sxwl_only", applies = function(job) return job.service == "sxwl" end,
        on = { ["job.submit"] = function() return require "perigee.policy".deny "no" end } }]] }
    local result = world.set:ask("job.submit", JOB)

    assert.equal("allow", result.decision)
    assert.same({}, result.verdicts)
    assert.equal("skipped", world.book.rows[1].outcome)
  end)

  for name, body in pairs {
    ["raises an error"] = 'error "broken"',
    ["takes too long"] = 'require "perigee.task".sleep(60)',
    ["answers nonsense"] = 'return { decision = "alow" }',
    ["computes for ever"] = "while true do end",
  } do
    it("is denied if the gate " .. name, function()
      local world = new_world({ gate("gate", body) }, { hook_seconds = 0.2 })
      local result = world.set:ask("job.submit", JOB)

      assert.equal("deny", result.decision)
      assert.matches("could not decide", result.why, 1, true)
      assert.is_truthy(world.book.rows[1].error)
    end)
  end

  it("is denied if it cannot be written down that the gate is asked", function()
    local world = new_world { gate("gate", "return policy.allow()") }
    world.book.begin = function() error(errors.new { kind = "unavailable", code = "journal_full", message = "disk full" }, 0) end
    local result = world.set:ask("job.submit", JOB)

    assert.equal("deny", result.decision)
    assert.matches("disk full", result.why, 1, true)
  end)
end)

describe("a job that failed", function()
  local function retry(name, body)
    return ([[local policy = require "perigee.policy"
      return { name = %q, on = { ["job.failed"] = function(job) %s end } }]]):format(name, body)
  end

  it("gets the retry of the first policy that decides", function()
    local world = new_world {
      retry("none", ""),
      retry("again", 'return policy.retry { after = "10s", spec = { gpuNumber = 2, args = require("perigee.json").decode "[]" } }'),
      retry("not_asked", "error 'x'"),
    }
    local result = world.set:ask("job.failed", JOB)

    assert.equal("retry", result.decision)
    assert.equal(10, result.after)
    assert.same({ gpuNumber = 2, args = {} }, result.spec)
    assert.is_true(json.is_array(result.spec.args))
    assert.equal("again", result.policy)
    assert.equal(2, #world.book.rows)
  end)

  it("is left to its own rules if no policy decides, or one fails", function()
    local world = new_world { retry("none", ""), retry("broken", 'error "x"') }

    assert.is_nil(world.set:ask("job.failed", JOB))
    assert.equal("failed", world.book.rows[2].outcome)
  end)
end)

describe("a policy", function()
  it("that fails again and again is paused, durably, and that is told with the way out", function()
    local world = new_world { gate("gate", 'error "broken"') }
    for _ = 1, 3 do world.set:ask("job.submit", JOB) end

    assert.equal("paused", world.set:status()[1].state)
    assert.matches("failed 3 times in a row", world.book.pauses.gate.why, 1, true)
    assert.equal("policy.paused", world.events[1].event)
    assert.matches("perigee resume gate", world.events[1].data.hint, 1, true)
  end)

  it("that is paused holds what it would be asked for, and goes on after resume", function()
    local world = new_world { gate("gate", "return policy.allow()") }
    world.set:pause("gate", "holiday", "ann")

    local held = world.set:ask("job.submit", JOB)
    world.set:resume "gate"

    assert.equal("hold", held.decision)
    assert.matches("holiday", held.why, 1, true)
    assert.is_nil(world.book.pauses.gate)
    assert.equal("allow", world.set:ask("job.submit", JOB).decision)
  end)

  it("that was paused before the start stays so", function()
    local world = new_world {}
    world.book.pauses.gate = { why = "holiday", by = "ann", at = 1 }
    world.set:load { { file = world.write("gate.lua", gate("gate", "return policy.allow()")) } }

    assert.equal("paused", world.set:status()[1].state)
  end)

  it("that nobody has is named with the nearest", function()
    local world = new_world { gate("night_gate", "") }

    assert.matches('did you mean "night_gate"', helper.error_of(world.set.pause, world.set, "nigth_gate", "x", "ann").message, 1, true)
  end)

  it("that fills its memory is ended alone and started anew", function()
    local world = new_world({
      gate("greedy", 'local all = {} while true do all[#all + 1] = ("x"):rep(1 << 20) .. #all end'), gate("fine", "return policy.allow()"),
    }, { memory = 8 * 1024 * 1024, step = 5 })
    local first = world.set.slots[1].policy
    local result = world.set:ask("job.submit", JOB)

    assert.equal("deny", result.decision)
    assert.equal("allow", result.verdicts[2].decision)
    assert.equal("failing", world.set:status()[1].state)
    assert.matches("memory", world.set:status()[1].why)
    helper.eventually(function() return world.set.slots[1].policy end)
    assert.is_not.equal(first, world.set.slots[1].policy)
    assert.is_true(first.vm:status().ended)
  end)

  it("that leaves with os.exit ends nothing else", function()
    local world = new_world { gate("leaver", "os.exit(0)"), gate("fine", "return policy.allow()") }
    local result = world.set:ask("job.submit", JOB)

    assert.equal("deny", result.verdicts[1].decision)
    assert.equal("allow", result.verdicts[2].decision)
  end)

  it("whose VM ends between two calls is started anew", function()
    local world = new_world { [[
      return { name = "leaver", schedules = { { name = "bye", every = "1h", run = function()
        require "perigee.task".detach(function() os.exit(0) end)
      end } } }]] }
    local first = world.set.slots[1].policy
    world.set:run_schedule("leaver", require("perigee.schedule").parse(world.set:schedules()[1].fields), 0, "key")
    helper.eventually(function() return world.set:status()[1].state == "failing" end)
    assert.equal("bye", world.set:schedules()[1].fields.name)
    helper.eventually(function() return world.set:status()[1].state == "active" end)

    assert.is_not.equal(first, world.set.slots[1].policy)
  end)

  it("is told events, in their order, and what it calls comes in its own name", function()
    local world = new_world { [[
      local link = require "perigee.link"
      return { name = "listener", on = {
        ["job.running"] = function(job) require "perigee.task".sleep(0.01) link.upstream:call("called", "running " .. job.id) end,
        ["budget.low"] = function(data) link.upstream:call("called", "low " .. data.budget) end,
      } }]] }
    world.set:tell("job.running", { job = JOB })
    world.set:tell("budget.low", { budget = "team" })
    world.set:tell("job.succeeded", { job = JOB })
    helper.eventually(function() return #world.called == 2 and world.set:busy() == 0 end)

    assert.same({ { policy = "listener", args = "running a1" }, { policy = "listener", args = "low team" } }, world.called)
  end)

  it("runs its schedules, which know when they were due", function()
    local world = new_world { [[
      local link = require "perigee.link"
      return { name = "nightly", schedules = { { name = "sweep", every = "1m", run = function(ctx)
        link.upstream:call("called", { at = ctx.scheduled_at, name = ctx.name, policy = ctx.policy, deadline = ctx.deadline,
          key = require "perigee.task".get_local "perigee.schedule_key" })
      end } } }]] }
    local schedule = require("perigee.schedule").parse(world.set:schedules()[1].fields)
    local outcome = world.set:run_schedule("nightly", schedule, 1700000000000, "2023-11-14T22:13:20Z")

    assert.equal("done", outcome)
    local args = world.called[1].args
    assert.equal(1700000000, args.at)
    assert.equal("sweep", args.name)
    assert.equal("nightly", args.policy)
    assert.equal("2023-11-14T22:13:20Z", args.key)
    assert.is_true(args.deadline > 1700000000)
    assert.equal("schedule:sweep", world.book.rows[1].hook)
  end)

  it("finds its helper modules beside its file, and they are watched too", function()
    local world = new_world {}
    world.write("limits.lua", "return { most = 'nothing' }")
    world.set:load { { file = world.write("gate.lua", gate("gate", 'return policy.deny(require "limits".most)')) } }

    assert.matches("nothing", world.set:ask("job.submit", JOB).why, 1, true)
    assert.is_true(world.set:files()[world.folder .. "/limits.lua"])
    assert.is_true(world.set:files()[world.folder .. "/gate.lua"])
  end)
end)

describe("loading policies anew", function()
  it("takes all of them or none, and says what is wrong with each", function()
    local world = new_world { gate("one", 'return policy.deny "old"'), gate("two", "") }
    world.write("policy1.lua", gate("one", 'return policy.deny "new"'))
    world.write("policy2.lua", 'return { name = "two", on = { ["job.sumbit"] = function() end } }')
    local err = helper.error_of(world.set.load, world.set, world.files)

    assert.matches("policy2.lua", err.message, 1, true)
    assert.matches("job.submit", err.message, 1, true)
    assert.equal("one: old", world.set:ask("job.submit", JOB).why)

    world.write("policy2.lua", gate("two", ""))
    world.set:load(world.files)
    assert.equal("one: new", world.set:ask("job.submit", JOB).why)
  end)

  it("refuses a file that is not there, one that is no Lua, and a name that is taken", function()
    local world = new_world {}
    local missing = helper.error_of(world.set.load, world.set, { { file = world.folder .. "/none.lua" } })
    local bad = helper.error_of(world.set.load, world.set, { { file = world.write("bad.lua", "return {") } })
    local a, b = world.write("a.lua", gate("same", "")), world.write("b.lua", gate("same", ""))
    local twice = helper.error_of(world.set.load, world.set, { { file = a }, { file = b } })

    assert.matches("none.lua", missing.message, 1, true)
    assert.matches("bad.lua:1", bad.message, 1, true)
    assert.matches('"same" is that of', twice.message, 1, true)
  end)

  it("lets hooks that run end in the old VM", function()
    local world = new_world { gate("slow", 'require "perigee.task".sleep(0.2) return policy.deny "old"') }
    local asked = task.spawn(world.set.ask, world.set, "job.submit", JOB)
    local old = world.set.slots[1].policy
    helper.eventually(function() return world.set:busy() == 1 end)
    world.write("policy1.lua", gate("slow", 'return policy.deny "new"'))

    world.set:load(world.files)

    assert.is_false(old.vm:status().ended)
    assert.equal("slow: new", world.set:ask("job.submit", JOB).why)
    assert.equal("slow: old", asked:wait().why)
    helper.eventually(function() return old.vm:status().ended end)
  end)

  it("leaves memory where it was, ten times over", function()
    local world = new_world { gate("one", "return policy.allow()") }
    local counts = require("perigee.core.task").counts
    for _ = 1, 3 do world.set:load(world.files) end
    helper.eventually(function()
      collectgarbage()
      return counts().vms == world.vms + 1
    end)
    local memory = counts().memory
    for _ = 1, 10 do world.set:load(world.files) end
    helper.eventually(function()
      collectgarbage()
      return counts().vms == world.vms + 1
    end)

    assert.is_true(counts().memory < memory + 20000, counts().memory - memory)
  end)
end)
