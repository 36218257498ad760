-- console_spec.lua - consoles in a daemon: what goes over the socket. That a read-only one only reads: console_read_only_spec.
local consoles = require "tests.support.console"
local daemon = require "tests.support.daemon"
local helper = require "tests.helper"
local task = require "perigee.task"

local function start()
  local socket, world = consoles.daemon()
  finally(function() world:close() end)
  return socket, world
end

describe("a console of a daemon", function()
  it("keeps names and locals between inputs, and shows what they gave", function()
    local socket = start()
    local one <close> = consoles.open(socket)

    assert.equal("read", one.events[1].mode)
    assert.equal("", one:eval("x = 20").text)
    assert.equal("", one:eval("local y <const> = 22").text)
    assert.equal("42\n", one:eval("x + y").text)
    assert.matches("aa11", one:eval("jobs.list{}").text)
    assert.equal("held", one:eval("jobs.get('held-one').state").text:match "%a+")
    assert.matches("held%-one", one:eval(":jobs").text)
    assert.matches("WHAT HAPPENED", one:eval(":why aa11").text, 1, true)
    assert.matches("nothing was paid", one:eval(":spend").text, 1, true)
    assert.matches("jobs", one:eval("?jobs.list").text)
  end)

  it("runs a single input in a VM of its own, as curl asks for it", function()
    local socket = start()

    local result = consoles.post(socket, "eval", { input = "print 'hello' return status().version", id = "mine" })
    local incomplete = consoles.post(socket, "eval", { input = "for i = 1, 2 do" })
    local wrong = consoles.post(socket, "eval", { input = "error { code = 7 }" })
    local _, unknown = consoles.post(socket, "eval", { input = "1", console = "none" })
    local _, no_input = consoles.post(socket, "eval", { mode = "read" })
    local _, no_mode = consoles.post(socket, "eval", { input = "1", mode = "all" })

    assert.equal("mine", result.id)
    assert.is_true(result.ok)
    assert.equal("hello\n", result.output)
    assert.matches('^"%d+%.%d+', result.text)
    assert.is_true(incomplete.incomplete)
    assert.is_false(wrong.ok)
    assert.equal("not_found", unknown.code)
    assert.matches("^input", no_input.message)
    assert.matches("^mode", no_mode.message)
  end)

  it("brings log lines, events and what its lines print, as they happen", function()
    local socket, world = start()
    local one <close> = consoles.open(socket)
    local other <close> = consoles.open(socket)

    one:eval "print('only for', 'me')"
    world:call("jobs.deny", { id = "aa11", why = "too dear" })

    one:wait_for(function(event) return event.event == "output" and event.text == "only for\tme\n" end)
    for _, each in ipairs { one, other } do
      local denied = each:wait_for(function(event) return event.event == "job" and event.what == "job.denied" end)
      assert.equal("held-one", denied.job.name)
      each:wait_for(function(event) return event.event == "log" and event.line:find("daemon.event", 1, true) end)
    end
    assert.equal("", other:output())
    other:eval "shared = 1"
    assert.equal("nil\n", one:eval("shared").text)
  end)

  it("cancels one input by its id, and one whose peer hangs up", function()
    local socket = start()
    local one <close> = consoles.open(socket)
    local sleeping = task.spawn(one.eval, one, "print 'begun' task.sleep(1000)", { id = "long" })
    helper.eventually(function() return one:output():find "begun" end, 20)

    local cancelled = consoles.post(socket, "cancel", { console = one.id, id = "long" })
    local again = consoles.post(socket, "cancel", { console = one.id, id = "long" })
    local result = sleeping:wait()

    assert.is_true(cancelled.cancelled)
    assert.is_false(result.ok)
    assert.equal("cancelled", result.error.kind)
    assert.is_false(again.cancelled)
    local abandoned = task.spawn(one.eval, one,
      "local on <close> = setmetatable({}, { __close = function() print 'ended' end }) print 'again' task.sleep(1000)")
    helper.eventually(function() return one:output():find "again" end, 20)
    abandoned:cancel "the client is interrupted"
    pcall(abandoned.wait, abandoned)
    helper.eventually(function() return one:output():find "ended" end, 20)
  end)

  it("completes names, and nothing where it cannot", function()
    local socket = start()
    local one <close> = consoles.open(socket)
    one:eval "some_variable = 1"

    local result = consoles.post(socket, "complete", { console = one.id, text = "some_v", point = 6 })

    assert.equal("some_variable", result.candidates[1].text)
    assert.equal(0, result.from)
  end)

  it("ends when the daemon does, and is told why; the daemon does not wait for it", function()
    local socket, world = start()
    local one <close> = consoles.open(socket)
    local busy = task.spawn(function() return pcall(one.eval, one, "while true do task.sleep(0.01) end") end)
    one:wait_for(function(event) return event.event == "hello" end)

    world.child:kill "TERM"

    assert.equal("the daemon is ending", one:wait_for(function(event) return event.event == "end" end).why)
    assert.equal(0, world.child:wait().status)
    busy:wait()
  end)

  it("with --write does what the daemon's verbs do, and has clients that the daemon's budgets govern", function()
    local socket = start()
    local one <close> = consoles.open(socket, "mode=write")

    local stopped = one:eval "jobs.get('held-one'):stop() return jobs.get('held-one').state"
    local listed = one:eval "sxwl:jobs() ~= nil"
    local paid = one:eval [[sxwl:create_job { gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "r/d:1",
      jobType = "GeneralJob", ckptPath = "/c", ckptVol = 1000, modelPath = "/m", modelVol = 1000, runCommand = "true",
      stopType = "1", stopTime = 60 }]]

    assert.equal('"stopped"\n', stopped.text)
    assert.equal("true\n", listed.text)
    assert.is_false(paid.ok)
    assert.equal("denied", paid.error.kind)
  end)

  it("with --write asks whoever is attached before it pays, and takes no answer for a no", function()
    local world = daemon.world()
    finally(function() world:close() end)
    world:start { "--emulator", "--config", world:config() }
    local socket = world.state .. "/control.sock"
    local one <close> = consoles.open(socket, "mode=write")
    local create = [[sxwl:create_job { gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "r/d:1",
      jobType = "GeneralJob", ckptPath = "/c", ckptVol = 1000, modelPath = "/m", modelVol = 1000, runCommand = "true",
      stopType = "1", stopTime = 60, max_cost = "20 CNY" }]]
    local function run(answer)
      local paying, asked = task.spawn(one.eval, one, create), #one.events
      local question
      helper.eventually(function()
        for i = asked + 1, #one.events do question = one.events[i].event == "ask" and one.events[i] or question end
        return question
      end, 20)
      consoles.post(socket, "answer", { console = one.id, question = question.question, answer = answer })
      return paying:wait(), question
    end

    local declined, question = run "no"
    local nobody = run "nobody"
    local paid = run "yes"
    local alone = consoles.post(socket, "eval", { input = create, mode = "write" })

    assert.matches("7 CNY", question.text)
    assert.equal("declined", declined.error.code)
    assert.equal("not_confirmed", nobody.error.code)
    assert.is_true(paid.ok, paid.text)
    assert.equal("not_confirmed", alone.error.code)
  end)

  it("is refused when there are too many, and when it is asked wrongly", function()
    local socket = start()
    local all = {}
    for i = 1, 16 do all[i] = consoles.open(socket) end

    local _, err = consoles.post(socket, "eval", { input = "1" })
    local seventeenth <close> = consoles.open(socket)
    for _, one in ipairs(all) do one:close() end

    assert.equal("too_many", err.code)
    assert.equal(503, seventeenth.status)
    helper.eventually(function() return consoles.post(socket, "eval", { input = "1" }) end, 20)
  end)
end)
