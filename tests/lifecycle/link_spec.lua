-- link_spec.lua - perigee.link: calls between two VMs, in both directions.
local errors = require "perigee.error"
local helper = require "tests.helper"
local link = require "perigee.link"
local task = require "perigee.task"
local vms = require "perigee.core.vms"

-- The other end is in a VM of its own (tests/fixtures/child_vm.lua); seen: what it has called here.
local function connect()
  local vm = vms.start { module = "tests.fixtures.child_vm", args = { does = "link" }, step = 0.1 }
  local l, seen = link.open(vm:channel()), {}
  l:serve {
    add_one = function(n) return n + 1 end,
    napping = function() seen.napping = true end,
    woken = function() seen.woken = true end,
  }
  local reader = task.spawn(l.run, l)
  finally(function()
    l:close()
    vm:wait()
  end)
  return l, seen, reader, vm
end

describe("a link", function()
  it("brings arguments over and the result back", function()
    assert.equal(42, connect():call("double", 21))
  end)

  it("lets either side call while the other one does", function()
    assert.equal(106, connect():call("back", 5))
  end)

  it("keeps many calls apart", function()
    local l = connect()
    local numbers = {}
    for i = 1, 200 do numbers[i] = i end

    local doubled = task.map(numbers, function(n) return l:call("double", n) end, { concurrency = 50 })

    for i = 1, 200 do assert.equal(2 * i, doubled[i]) end
  end)

  it("works on no more calls at once than it was told, and brings what is only told in its order", function()
    local vm = vms.start { module = "tests.fixtures.child_vm", args = { does = "crowd" } }
    local l, now, most, told = link.open(vm:channel(), { most_calls = 3 }), 0, 0, {}
    l:serve { work = function()
      now = now + 1
      most = math.max(most, now)
      task.sleep(0.01)
      now = now - 1
    end }
    l:hear { tell = function(n) told[#told + 1] = n end }

    l:run()

    assert.is_true(vm:wait())
    assert.equal(3, most)
    assert.equal(20, #told)
    for i = 1, 20 do assert.equal(i, told[i]) end
  end)

  it("brings errors over as what they are", function()
    local l = connect()
    local denied = helper.error_of(l.call, l, "refuse")
    local raised = helper.error_of(l.call, l, "raise")
    local unknown = helper.error_of(l.call, l, "no_such_function")
    local unplain = helper.error_of(l.call, l, "unplain")

    assert.equal("denied", denied.kind)
    assert.equal("gate", denied.code)
    assert.matches("a plain error", raised, 1, true)
    assert.equal("not_found", unknown.code)
    assert.equal("invalid", unplain.kind)
  end)

  it("answers for a function that was ended by force, and goes on", function()
    local l = connect()
    local err = helper.error_of(l.call, l, "loop")

    assert.equal("runaway", err.code)
    assert.equal(2, l:call("double", 1))
  end)

  it("gives up a late call, and cancels it on the other side", function()
    local l, seen = connect()
    local err = helper.error_of(l.call, l, "nap", nil, { timeout = 0.05 })

    assert.equal("timeout", err.kind)
    assert.matches("nap", err.message, 1, true)
    helper.eventually(function() return seen.woken end)
  end)

  it("cancels on the other side what is cancelled here", function()
    local l, seen = connect()
    local call = task.spawn(l.call, l, "nap")
    helper.eventually(function() return seen.napping end)

    call:cancel "no more"

    assert.equal("cancelled", helper.error_of(call.wait, call).kind)
    helper.eventually(function() return seen.woken end)
  end)

  it("ends every call when it is closed here", function()
    local l, seen = connect()
    local call = task.spawn(pcall, l.call, l, "nap")
    helper.eventually(function() return seen.napping end)

    l:close()

    local ok, err = call:wait()
    assert.is_false(ok)
    assert.is_true(errors.is(err, "closed"))
    assert.equal("closed", helper.error_of(l.call, l, "double", 1).kind)
  end)

  it("ends every call when the other side closes it", function()
    local l, seen, reader = connect()
    local call = task.spawn(pcall, l.call, l, "nap")
    helper.eventually(function() return seen.napping end)

    pcall(l.call, l, "close")

    local ok, err = call:wait()
    assert.is_false(ok)
    assert.equal("closed", err.kind)
    reader:wait()
  end)
end)
