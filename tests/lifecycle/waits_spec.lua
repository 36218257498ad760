-- waits_spec.lua - every kind of wait: completes, is refused, fails late, times out, is cancelled, and is cut
-- off by the end of the host.  tests/helper.lua checks after each that nothing is left over.
local errors = require "perigee.error"
local helper = require "tests.helper"
local spawn = require "tests.support.spawn"
local task = require "perigee.task"
local waits = require "tests.fixtures.waits"
local wait_world = require "tests.support.wait_world"

local names = {}
for name in pairs(waits) do names[#names + 1] = name end
table.sort(names)

local function in_world(f)
  local world <close> = wait_world.open()
  return f(world)
end

for _, name in ipairs(names) do
  local wait = waits[name]

  describe(name, function()
    it("completes", function()
      in_world(wait.completes)
    end)

    it("is refused with an error before anything has started", function()
      assert.truthy(in_world(function(world) return helper.error_of(wait.refused, world) end))
    end)

    if wait.fails then
      it("fails late with an error", function()
        assert.truthy(in_world(function(world) return helper.error_of(wait.fails, world) end))
      end)
    else
      assert(wait.fails_not, name .. ": fails, or why not")
    end

    if wait.parked then
      it("is ended by a time limit", function()
        local err = in_world(function(world) return helper.error_of(task.deadline, 0.1, wait.parked, world) end)

        assert.is_true(errors.is(err, "timeout"), tostring(err))
      end)

      it("is ended by a cancel", function()
        local err = in_world(function(world)
          local child = task.spawn(wait.parked, world)
          helper.eventually(function() return child:status() == "waiting" end)
          child:cancel "enough"
          return helper.error_of(child.wait, child)
        end)

        assert.is_true(errors.is(err, "cancelled"), tostring(err))
      end)

      it("does not hold up the end of the host", function()
        local child <close> = spawn.start {"-e", ([[
          local task = require "perigee.task"
          local world <close> = require("tests.support.wait_world").open()
          task.detach(function() task.sleep(0.1) print "parked" end)
          require("tests.fixtures.waits")[%q].parked(world)]]):format(name)}
        assert.is_true(child:read_until "parked")

        child:kill "TERM"
        local result = child:wait()

        assert.equal(143, result.status, result.stderr)
        assert.not_matches("handle_left_open", result.stderr, 1, true)
      end)
    else
      assert(wait.parked_not, name .. ": parked, or why not")
    end
  end)
end
