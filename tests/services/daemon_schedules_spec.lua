-- daemon_schedules_spec.lua - when the daemon starts the schedules of its policies, on a clock the spec moves.
local daemon_schedules = require "perigee.daemon_schedules"
local helper = require "tests.helper"
local task = require "perigee.task"

local MINUTE <const> = 60 * 1000
local START <const> = 1700000000 * 1000 // (10 * MINUTE) * (10 * MINUTE)

-- A scheduler whose runs wait until the spec lets them end: world.finish(outcome) ends the oldest.
local function new_world()
  local world = { started = {}, skipped = {}, stale = {}, cancelled = {}, waiting = {} }
  world.schedules = daemon_schedules.new {
    run = function(entry, at)
      world.started[#world.started + 1] = at
      if world.at_once then return world.at_once end
      local run = { done = require("perigee.core.sync").semaphore(0) }
      world.waiting[#world.waiting + 1] = run
      local ok, err = pcall(run.done.take, run.done)
      if not ok then
        world.cancelled[#world.cancelled + 1] = at
        error(err, 0)
      end
      return run.outcome
    end,
    skipped = function(_, at, why) world.skipped[#world.skipped + 1] = { at = at, why = why } end,
    stale = function(entry) world.stale[#world.stale + 1] = entry.name end,
    may_run = function() return not world.closed, "it is closed" end,
  }
  function world.finish(outcome)
    local run = table.remove(world.waiting, 1)
    run.outcome = outcome or "done"
    run.done:give()
    task.sleep(0.001)
  end
  function world.tick(now)
    local soonest = world.schedules:tick(now)
    task.sleep(0.001)
    return soonest
  end
  finally(function()
    while #world.waiting > 0 do world.finish() end
  end)
  return world
end

local function with(fields, last)
  local world = new_world()
  fields.name = fields.name or "sweep"
  fields.every = fields.every or "1m"
  world.schedules:sync({ { policy = "p", fields = fields, last = last } }, START)
  return world
end

local function minutes(list)
  local result = {}
  for i, at in ipairs(list) do result[i] = ((type(at) == "table" and at.at or at) - START) / MINUTE end
  return result
end

describe("schedules of policies", function()
  it("run when their time comes, and say when the next comes", function()
    local world = with {}
    world.at_once = "done"

    assert.equal(START + 10 * 1000, world.tick(START))
    assert.equal(START + MINUTE, world.tick(START + MINUTE - 1000))
    world.tick(START + MINUTE)
    world.tick(START + MINUTE + 1)
    world.tick(START + 2 * MINUTE)

    assert.same({ 1, 2 }, minutes(world.started))
  end)

  it("wait for their jitter", function()
    local world = with { jitter = "50s" }
    world.at_once = "done"
    local delay = require("perigee.schedule").parse({ name = "sweep", every = "1m", jitter = "50s" }):jitter(START + MINUTE)
    assert.is_true(delay > 0)

    world.tick(START + MINUTE + delay - 1)
    assert.equal(0, #world.started)
    world.tick(START + MINUTE + delay)

    assert.same({ 1 }, minutes(world.started))
  end)

  it("skip a moment while the run before it works, by default", function()
    local world = with {}
    world.tick(START + MINUTE)
    world.tick(START + 2 * MINUTE)
    world.finish()
    world.tick(START + 3 * MINUTE)

    assert.same({ 1, 3 }, minutes(world.started))
    assert.same({ 2 }, minutes(world.skipped))
  end)

  it("with buffer_one keep one moment for afterwards", function()
    local world = with { overlap = "buffer_one" }
    for i = 1, 3 do world.tick(START + i * MINUTE) end
    world.finish()

    assert.same({ 1, 2 }, minutes(world.started))
    assert.same({ 3 }, minutes(world.skipped))
  end)

  it("with buffer_all keep every moment, in order", function()
    local world = with { overlap = "buffer_all" }
    for i = 1, 4 do world.tick(START + i * MINUTE) end
    for _ = 1, 3 do world.finish() end

    assert.same({ 1, 2, 3, 4 }, minutes(world.started))
    assert.same({}, world.skipped)
  end)

  it("with cancel_other cancel the run that works and start when it has ended", function()
    local world = with { overlap = "cancel_other" }
    world.tick(START + MINUTE)
    table.remove(world.waiting, 1)
    world.tick(START + 2 * MINUTE)
    helper.eventually(function() return #world.started == 2 end)

    assert.same({ 1 }, minutes(world.cancelled))
    assert.same({ 1, 2 }, minutes(world.started))
  end)

  it("with terminate_other start at once", function()
    local world = with { overlap = "terminate_other" }
    world.tick(START + MINUTE)
    table.remove(world.waiting, 1)
    world.tick(START + 2 * MINUTE)

    assert.same({ 1, 2 }, minutes(world.started))
    assert.same({ 1 }, minutes(world.cancelled))
  end)

  it("with allow_all run side by side", function()
    local world = with { overlap = "allow_all" }
    for i = 1, 3 do world.tick(START + i * MINUTE) end

    assert.equal(3, #world.waiting)
  end)

  it("make up for moments while nothing ran, within catchup", function()
    local world = with({ overlap = "buffer_all", catchup = "5m" }, START - 60 * MINUTE)
    world.at_once = "done"
    world.tick(START)
    helper.eventually(function() return #world.started == 6 end) -- one after the other

    assert.same({ -5, -4, -3, -2, -1, 0 }, minutes(world.started))
  end)

  it("of a paused policy do not run, and are noted as skipped", function()
    local world = with {}
    world.closed = true
    world.tick(START + MINUTE)

    assert.same({}, world.started)
    assert.equal("it is closed", world.skipped[1].why)
  end)

  it("are stale after two moments without a run that was done, and say so once", function()
    local world = with {}
    world.at_once = "failed"
    world.tick(START + MINUTE)
    assert.same({}, world.stale)
    world.tick(START + 2 * MINUTE)
    world.tick(START + 3 * MINUTE)
    assert.same({ "sweep" }, world.stale)
    assert.is_true(world.schedules:status()[1].stale)

    world.at_once = "done"
    world.tick(START + 4 * MINUTE)

    assert.is_false(world.schedules:status()[1].stale)
  end)

  it("go on after the clock was set back, and do not wait for the old time", function()
    local world = with {}
    world.at_once = "done"
    world.tick(START + MINUTE)
    world.tick(START - 60 * MINUTE)
    world.tick(START - 59 * MINUTE)

    assert.same({ 1, -59 }, minutes(world.started))
  end)

  it("do not run a thousand times after the clock was set forward", function()
    local world = with { catchup = "3m" }
    world.at_once = "done"
    world.tick(START)
    world.tick(START + 30 * 24 * 60 * MINUTE)

    assert.is_true(#world.started + #world.skipped <= 4)
    assert.is_true(world.tick(START + 30 * 24 * 60 * MINUTE + 1) > START + 30 * 24 * 60 * MINUTE + 1)
  end)

  it("keep what they do when the policies are loaded anew", function()
    local world = with {}
    world.tick(START + MINUTE)
    world.schedules:sync({ { policy = "p", fields = { name = "sweep", every = "2m" } } }, START + MINUTE)
    world.tick(START + 2 * MINUTE)

    assert.same({ 2 }, minutes(world.skipped))
    assert.equal(1, world.schedules:status()[1].running)
    world.finish()
    world.tick(START + 4 * MINUTE)
    assert.same({ 1, 4 }, minutes(world.started))
  end)
end)
