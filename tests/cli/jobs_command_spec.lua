-- jobs_command_spec.lua - perigee jobs and perigee why: what they show, who acts, and their exit codes.
local durable = require "tests.support.durable"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local json = require "perigee.json"
local spawn = require "tests.support.spawn"

describe("durable jobs", function()
  local world
  before_each(function() world = durable.open() end)

  it("are listed in columns that line up, and as one document", function()
    world:serve { faults = "sxwl.create_job:never" }
    finally(function() world:close() end)
    world:run(durable.script(durable.RUNNING))
    world:run(durable.script(durable.RUNNING, "", 'key = "monday",'))

    local text, object = world:perigee("jobs"), durable.document(world:perigee("jobs", "list", "--json"))

    assert.equal(0, text.status, text.stderr)
    local width = require("perigee.core.term").width
    local rows = {}
    for line in text.stdout:gmatch "[^\n]+" do rows[#rows + 1] = line end
    assert.equal(3, #rows, text.stdout)
    local at = width(rows[1]:match "^(.-)SERVICE")
    for i = 2, 3 do assert.equal(at, width(rows[i]:match "^(.-)sxwl job"), rows[i]) end
    assert.equal(2, #object.jobs)
    assert.is_false(object.more)
    assert.equal("running", object.jobs[1].state)
    assert.equal("monday", object.jobs[1].key)
    assert.equal(1, #durable.document(world:perigee("jobs", "--json", "--limit", "1")).jobs)
    assert.same({}, durable.document(world:perigee("jobs", "--json", "--status", "failed")).jobs)
  end)

  it("tell their story, in words and as a document", function()
    world:serve { faults = "sxwl.create_job:never" }
    finally(function() world:close() end)
    world:run(durable.script(durable.RUNNING))

    local text, object = world:perigee("why", "训练"), durable.document(world:perigee("why", "训练", "--json"))

    assert.equal(0, text.status, text.stderr)
    for _, words in ipairs { "WHAT HAPPENED", "max_cost 5 CNY", "MONEY", "held 4.9 CNY", "no program looks after it",
      "perigee jobs stop" } do
      assert.truthy(text.stdout:find(words, 1, true), words .. "\n" .. text.stdout)
    end
    assert.equal("running", object.job.state)
    assert.is_true(json.is_array(object.job.tags))
    assert.truthy(#object.decisions >= 3)
    assert.same({ { currency = "CNY", held = "4.9 CNY", spent = "0 CNY", unknown = "0 CNY" } }, object.money)
  end)

  it("and their money are shown without the control characters of names and words, each in its line", function()
    local made = world:run [[
      local call, json = require("perigee.core.journal").call, require "perigee.json"
      local e = "x\27[2Jevil\27]0;t\7\r\n\8y"
      local intent = ("a"):rep(32)
      call("permit.reserve", { intent = intent, operation = "create_job", service = "sxwl", price = "1 CCD", job = "abc123", policy = e,
        tags = json.encode { e }, model = e })
      call("permit.intent", { intent = intent })
      call("permit.move", { intent = intent, state = "settled", bucket = "spent" })
      call("job.submit", { id = "abc123", name = e, key = e, service = "sxwl", kind = "job", spec = json.encode { [e] = e }, hash = "h",
        state = "planned", policy = e, tags = json.encode { e }, options = json.encode { max_cost = "1 CCD", budget = { e } } })
      call("job.move", { id = "abc123", fence = 1, attempt = 1, remote_id = e, reason = e, error = json.encode { message = e },
        result = json.encode { url = e }, attempts = { { attempt = 1, state = e, remote_id = e, error = json.encode { message = e } } },
        decisions = { { kind = e, text = e, data = json.encode { a = e }, policy = e } } })
      call("job.release")]]
    assert.equal(0, made.status, made.stderr)

    local list = world:perigee("jobs", "list")
    assert.truthy(list.stdout:find("\nabc123  x\\x1b[2Jevil\\x1b]0;t\\x07 \\x08y  ", 1, true), list.stdout)
    for _, words in ipairs { { "jobs", "list" }, { "jobs", "show", "abc" }, { "why", "abc" }, { "spend", "--by", "policy" },
      { "spend", "--by", "job" }, { "jobs", "forget", "abc" }, { "jobs", "stop", "abc" } } do
      local result = world:perigee(table.unpack(words))
      assert.is_nil((result.stdout .. result.stderr):find "[\27\7\8]", table.concat(words, " "))
    end
  end)

  it("are stopped by the command itself when no program has them", function()
    world:serve { faults = "sxwl.create_job:never" }
    finally(function() world:close() end)
    world:run(durable.script(durable.RUNNING))

    local stopped = world:perigee("jobs", "stop", "训练")

    assert.equal(0, stopped.status, stopped.stderr)
    assert.truthy(stopped.stdout:find("is stopped", 1, true), stopped.stdout)
    assert.equal("stopped", durable.document(world:perigee("jobs", "show", "训练", "--json")).job.state)
    assert.equal(1, world.emulator.ledger:executions("sxwl", "stop_job"))
    assert.equal(1, world:perigee("jobs", "stop", "训练").status)

    local retried = world:perigee("jobs", "retry", "训练")
    assert.equal(0, retried.status, retried.stderr)
    local again = world:run(durable.script(durable.RUNNING .. " print(job.attempt)"))
    assert.truthy(again.stdout:find "\n2\n$", again.stdout .. again.stderr)
    assert.equal(2, world:created())
  end)

  it("are stopped by the program that has them, which is asked", function()
    world:serve { faults = "sxwl.create_job:never" }
    finally(function() world:close() end)
    local child <close> = spawn.start({ "run", "-e", durable.script(durable.RUNNING .. " job:wait()") }, { env = world.env })
    assert.is_true(child:read_until "running")

    local attached = world:run(durable.script "print(job.state)")
    local asked = world:perigee("jobs", "stop", "训练", "--json")

    assert.equal("running\n", attached.stdout, attached.stderr)
    assert.equal("owner", durable.document(asked).by, asked.stderr)
    local ended = child:wait()
    assert.equal(1, ended.status)
    assert.truthy(ended.stderr:find("was stopped", 1, true), ended.stderr)
  end)

  it("are taken over by a daemon, which acts on them and knows who asked", function()
    world:serve { faults = "sxwl.create_job:never" }
    finally(function() world:close() end)
    world:run(durable.script(durable.RUNNING))
    world.env.USER, world.env.SUDO_USER = "wei", false
    local daemon <close> = spawn.start({ "daemon" }, { env = world.env })
    helper.eventually(function()
      local shown = durable.document(world:perigee("jobs", "show", "训练", "--json"))
      return shown.owner and shown.owner.kind == "daemon"
    end)

    local stopped = world:perigee("jobs", "stop", "训练", "--json")

    assert.equal("daemon", durable.document(stopped).by, stopped.stderr)
    assert.equal("stopped", durable.document(stopped).job.state)
    assert.truthy(world:perigee("why", "训练").stdout:find("wei asks to stop it", 1, true))
    assert.equal(1, world:created())
    daemon:kill "TERM"
    assert.equal(0, daemon:wait().status)
  end)

  it("on Distributed AI are not stopped but left alone, and it is said that they are billed", function()
    world:serve { deai = true, faults = "deai.create_job:never" }
    finally(function() world:close() end)
    local result = world:run([[
      local job = require("perigee.jobs").submit { service = "deai", kind = "train", name = "digits", max_cost = "5 CCD",
        spec = { model = "LSTM", x_train = require("perigee.deai").file "scripts/examples/data/load.csv" } }
      ]] .. durable.RUNNING)
    assert.truthy(result.stderr:find("it cannot be stopped", 1, true), result.stderr)

    local stopped = world:perigee("jobs", "stop", "digits")

    assert.equal(0, stopped.status, stopped.stderr)
    assert.truthy(stopped.stdout:find("it goes on and stays billed", 1, true), stopped.stdout)
    assert.equal("stopped", durable.document(world:perigee("jobs", "show", "digits", "--json")).job.state)
  end)

  it("are called back where the program listens, under an address with a secret segment", function()
    world:serve { speed = 300 }
    finally(function() world:close() end)
    local result = spawn.run({ "run", "--listen", "127.0.0.1:0", "--log-level", "debug", "-e", durable.script "print(job:wait().state)" }, {
      env = world.env,
    })

    assert.equal("succeeded\n", result.stdout, result.stderr)
    local url = world.emulator.ledger:created("sxwl")[1].callbackUrl
    assert.truthy(url:find "^http://127%.0%.0%.1:%d+/cb/%x+%.1%-%x+$", url)
    assert.truthy(result.stderr:find("callback.received", 1, true), result.stderr)
  end)

  it("whose reply was lost are forgotten only with a yes, and adopted by their id", function()
    world:serve { faults = "sxwl.create_job:drop_after=1, sxwl.create_job:never, sxwl.jobs:error(500)" }
    finally(function() world:close() end)
    local unknown = [[while job:status() ~= "unknown" do require("perigee.task").sleep(0.02) end]]
    world:run(durable.script(unknown))
    local remote_id = world.emulator.ledger:created("sxwl")[1].job_id

    local why, forget = world:perigee("why", "训练"), world:perigee("jobs", "forget", "训练")
    local adopted = world:perigee("jobs", "adopt", "训练", remote_id)

    assert.truthy(why.stdout:find("perigee jobs adopt", 1, true), why.stdout)
    assert.equal(2, forget.status, forget.stderr)
    assert.truthy(forget.stderr:find("--yes", 1, true))
    assert.truthy(forget.stderr:find("4.9 CNY held for it is free again", 1, true), forget.stderr)
    assert.equal(0, adopted.status, adopted.stderr)
    local job = durable.document(world:perigee("jobs", "show", "训练", "--json")).job
    assert.equal("running", job.state)
    assert.equal(remote_id, job.remote_id)
  end)

  it("are forgotten with --yes: their money is free", function()
    world:serve { faults = "sxwl.create_job:drop_after=1, sxwl.create_job:never, sxwl.jobs:error(500)" }
    finally(function() world:close() end)
    world:run(durable.script [[while job:status() ~= "unknown" do require("perigee.task").sleep(0.02) end]])
    assert.equal("4.9 CNY", durable.document(world:perigee("why", "训练", "--json")).money[1].unknown)

    local forgotten = world:perigee("jobs", "forget", "训练", "--yes")

    assert.equal(0, forgotten.status, forgotten.stderr)
    local whole = durable.document(world:perigee("jobs", "show", "训练", "--json"))
    assert.equal("stopped", whole.job.state)
    assert.same({}, whole.money)
  end)

  it("that nobody tracks are found by sweep", function()
    world:serve { faults = "sxwl.create_job:never" }
    finally(function() world:close() end)
    world:run(durable.script(durable.RUNNING))
    world:run [[
      require("perigee.sxwl").client {}:create_job { gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "i:1",
        jobType = "GeneralJob", ckptPath = "/c", ckptVol = 1, modelPath = "/m", modelVol = 1, stopType = 1, stopTime = 5 }]]

    local object = durable.document(world:perigee("jobs", "sweep", "--json"))

    assert.equal(1, #object.found)
    assert.equal(world.emulator.ledger:created("sxwl")[2].job_id, object.found[1].id)
    assert.equal("deai", object.failures[1].service)
    assert.truthy(object.failures[1].error:find("DEAI_EMAIL", 1, true), object.failures[1].error)
  end)
end)

describe("commands about jobs", function()
  it("end with 3 where there is no journal, and make none", function()
    local folder = helper.tmpdir()

    for _, words in ipairs { { "jobs" }, { "why", "x" }, { "jobs", "stop", "x" } } do
      words[#words + 1] = "--json"
      local result = spawn.run(words, { env = { PERIGEE_STATE = folder .. "/none" } })
      assert.equal(3, result.status, result.stderr)
      assert.equal("no_journal", json.decode(result.stdout).error.code)
    end

    assert.is_false(fs.exists(folder .. "/none"))
  end)

  it("end with 4 for a job that is not there, and with 2 for words that make no sense", function()
    local folder = helper.tmpdir()
    local env = { PERIGEE_STATE = folder }
    spawn.run({ "run", "-e", [[require("perigee.core.journal").call("process.list", {})]] }, { env = env })
    for _, words in ipairs { { "why", "nothing" }, { "jobs", "show", "nothing" }, { "jobs", "stop", "abcdef" } } do
      local result = spawn.run(words, { env = env })
      assert.equal(4, result.status, result.stderr)
      assert.truthy(result.stderr:find("there is no job", 1, true))
    end
    for words, message in pairs {
      [{ "jobs", "shwo", "x" }] = "did you mean show", [{ "jobs", "show" }] = "takes one JOB", [{ "jobs", "list", "x" }] = "jobs show x",
      [{ "jobs", "--status", "runing" }] = "did you mean", [{ "jobs", "adopt", "x" }] = "the id that it has at the service",
    } do
      local result = spawn.run(words, { env = env })
      assert.equal(2, result.status, table.concat(words, " ") .. result.stderr)
      assert.truthy(result.stderr:find(message, 1, true), result.stderr)
    end
  end)
end)
