-- vms_spec.lua - perigee.core.vms: VMs that a script starts, and how each of them ends.
local helper = require "tests.helper"
local task = require "perigee.task"
local vms = require "perigee.core.vms"

local function start(does, options)
  options = options or {}
  return vms.start {
    name = options.name or "child",
    module = "tests.fixtures.child_vm",
    args = { does = does, value = options.value },
    memory = options.memory,
    step = options.step,
    message = options.message,
    capacity = options.capacity,
    modules = options.modules,
    slice = options.slice,
    tasks = options.tasks,
  }
end

describe("a VM of its own", function()
  it("gets its arguments, and plain data goes both ways", function()
    local amount = require "perigee.amount"
    local vm = start("echo", { value = { 1, cost = amount.ccd "0.05" } })
    local channel <close> = vm:channel()

    local _, given = channel:receive()
    channel:send { "there", "and", "back" }
    local _, answer = channel:receive()

    assert.equal("0.05 CCD", tostring(given.cost))
    assert.same({ "there", "and", "back" }, answer)
  end)

  it("gets what JSON has besides tables and numbers, as it is", function()
    local json = require "perigee.json"
    local text = '{"big":123456789012345678901234567890,"empty":[],"none":{},"null":null,"some":[1,[]]}'
    local vm = start("echo", { value = json.decode(text) })
    local channel <close> = vm:channel()

    local _, given = channel:receive()
    channel:send(given)
    local _, answer = channel:receive()

    assert.equal(text, json.encode(given))
    assert.equal(text, json.encode(answer))
  end)

  it("ends when its main returns, and is freed at once", function()
    local vm = start "echo"
    vm:channel():receive()
    vm:channel():close()

    assert.is_true(vm:wait())

    local status = vm:status()
    assert.is_true(status.ended)
    assert.is_true(status.ok)
    assert.equal(0, status.memory)
    assert.is_true(status.peak > 10000)
  end)

  it("tells the error its main raised, with the traceback", function()
    local vm = start "fail"
    local ok, err = vm:wait()
    local raised, text, traceback = start("raise"):wait()

    assert.is_false(ok)
    assert.equal("funds", err.kind)
    assert.equal("the child has none", err.message)
    assert.is_false(raised)
    assert.matches("a plain error of the child", text, 1, true)
    assert.matches("child_vm.lua", traceback, 1, true)
  end)

  it("tells that its module is not there", function()
    local ok, err = vms.start({ module = "tests.fixtures.no_such_module" }):wait()

    assert.is_false(ok)
    assert.matches("no_such_module", tostring(err), 1, true)
  end)

  it("wakes who reads from it when it has ended", function()
    local vm = start "fail"

    local more = vm:channel():receive()

    assert.is_false(more)
  end)

  it("that computes for ever is ended alone", function()
    local loop, fine = start("loop", { step = 0.05, name = "busy" }), start "echo"
    local ok, err = loop:wait()
    fine:channel():receive()
    fine:channel():close()

    assert.is_false(ok)
    assert.equal("runaway", err.code)
    assert.is_true(fine:wait())
  end)

  it("that takes too much memory is ended alone", function()
    local gorge, fine = start("gorge", { memory = 4 * 1024 * 1024 }), start "echo"
    local ok, err = gorge:wait()
    fine:channel():receive()
    fine:channel():close()

    assert.is_false(ok)
    assert.matches("memory", tostring(err))
    assert.is_true(gorge:status().peak <= 6 * 1024 * 1024)
    assert.is_true(fine:wait())
  end)

  it("is stopped with a reason", function()
    local vm = start "sleep"
    vm:channel():receive()

    vm:stop("enough", 1)

    local ok, err = vm:wait()
    assert.is_false(ok)
    assert.equal("cancelled", err.kind)
    assert.matches("enough", err.message, 1, true)
  end)

  it("ends what its main has left behind", function()
    local vm = start "leave"

    assert.is_true(vm:wait())
  end)

  it("ends alone when it says os.exit", function()
    assert.is_false((start("exit"):wait()))
  end)

  it("goes with its channel when nobody holds it any more", function()
    local before = require("perigee.core.task").counts().vms
    start "echo"
    helper.eventually(function()
      collectgarbage()
      return require("perigee.core.task").counts().vms == before
    end)
  end)

  it("leaves nothing behind however often it is started", function()
    local function round()
      local vm = start "echo"
      vm:channel():receive()
      vm:channel():close()
      vm:wait()
    end
    for _ = 1, 20 do round() end
    collectgarbage()
    local before = require("perigee.core.task").counts().memory
    for _ = 1, 50 do round() end
    collectgarbage()

    assert.is_true(require("perigee.core.task").counts().memory < before + 20000)
  end)

  it("refuses options that it does not know, and arguments that are no plain data", function()
    local unknown = helper.error_of(vms.start, { module = "x", memry = 1 })
    local function_in_args = helper.error_of(vms.start, { module = "x", args = { f = print } })

    assert.matches("did you mean", unknown.message, 1, true)
    assert.equal("invalid", function_in_args.kind)
  end)

  it("has no more tasks at once than it was given", function()
    local vm = start("spawn_many", { tasks = 10 })
    local _, said = vm:channel():receive()
    vm:wait()

    assert.equal(9, said.started) -- and the one that starts them
    assert.equal("tasks", said.code)
  end)

  it("is ended by kill without being asked, whatever its clean-up would do", function()
    local vm = start("stubborn", { step = 10 })
    vm:channel():receive()

    vm:kill "enough"

    assert.is_false((vm:wait()))
    assert.is_true(vm:status().ended)
  end)

  it("with a slice leaves the turns of the loop to others, however many tasks it has ready", function()
    local vm = start("busy", { slice = 0.001 })
    local channel <close> = vm:channel()
    local function steps()
      channel:send "?"
      return (select(2, channel:receive()))
    end
    local before = steps()

    for _ = 1, 50 do task.sleep(0) end

    assert.is_true(steps() - before < 50 * 200 / 2)
  end)

  it("cannot send more in one message than it was given", function()
    local vm = start("echo", { value = ("x"):rep(5000), message = 4096 })
    local ok, err = vm:wait()

    assert.is_false(ok)
    assert.equal("limit", err.kind)
    assert.matches("too large, at most 4096", err.message, 1, true)
  end)

  it("pays with its own memory for messages that wait for room", function()
    local vm = start("flood", { memory = 4 * 1024 * 1024, capacity = 1 })
    local ok, err = vm:wait()

    assert.is_false(ok)
    assert.equal("limit", err.kind)
    assert.matches("what waits to be sent", err.message, 1, true)
  end)

  it("has no modules but those it was given, when they are named", function()
    local refused = helper.error_of(vms.start, { module = "x", modules = { "perigee.core.fs", "perigee.core.nothing" } })
    local ok, err = start("echo", { modules = { "perigee.core.task", "perigee.core.sync", "perigee.core.time" } }):wait()

    assert.matches("modules[2] is no module of the program", refused.message, 1, true)
    assert.is_false(ok) -- its code is in a file, and a closed VM reads none
    assert.matches("child_vm' not found", tostring(err), 1, true)
  end)

  it("wakes everybody who waits for it", function()
    local vm = start "echo"
    local one, two = task.spawn(vm.wait, vm), task.spawn(vm.wait, vm)
    vm:channel():receive()
    vm:channel():close()

    assert.is_true(one:wait())
    assert.is_true(two:wait())
  end)
end)
