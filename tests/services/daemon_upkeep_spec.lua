-- daemon_upkeep_spec.lua - what the daemon does once a day.
local upkeep = require "perigee.daemon_upkeep"

local DAY <const> = 24 * 3600 * 1000

-- A journal with one value and a memory of what was asked.
local function new_world()
  local world = { now = 1000 * DAY, swept = 0, compacted = {} }
  function world.call(verb, args)
    if verb == "store.get" then return { world.value and { value = world.value } } end
    if verb == "store.set" then world.value = args.value end
    if verb == "journal.compact" then world.compacted[#world.compacted + 1] = args.keep_days end
    return { {} }
  end
  world.context = {
    call = function(...) return world.call(...) end,
    now = function() return world.now end,
    sweep = function()
      world.swept = world.swept + 1
      if world.refuse then error(world.refuse, 0) end
      return { found = {} }
    end,
  }
  return world
end

describe("the daemon's upkeep", function()
  it("is done once a day, whoever did it last", function()
    local world = new_world()
    assert.is_true(upkeep.look(world.context))
    assert.is_false(upkeep.look(world.context))
    world.now = world.now + DAY - 1
    assert.is_false(upkeep.look(world.context))
    world.now = world.now + 1
    assert.is_true(upkeep.look(world.context))

    assert.equal(2, world.swept)
    assert.same({ 90, 90 }, world.compacted)
  end)

  it("is not put off for years by a clock that was wrong", function()
    local world = new_world()
    upkeep.look(world.context)
    world.now = world.now - 365 * DAY

    assert.is_true(upkeep.look(world.context))
  end)

  it("lets the journal forget though the services cannot be asked", function()
    local world = new_world()
    world.refuse = require("perigee.error").new { kind = "network", message = "no way" }
    upkeep.look(world.context)

    assert.same({ 90 }, world.compacted)
  end)

  it("keeps what has ended for as long as it is told", function()
    local world = new_world()
    world.context.keep_days = 400
    upkeep.look(world.context)

    assert.same({ 400 }, world.compacted)
  end)
end)
