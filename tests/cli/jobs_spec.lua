-- jobs_spec.lua - durable jobs as a person meets them: scripts that are run again or killed, and the commands.
local emulator_server = require "perigee.emulator.server"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local json = require "perigee.json"
local spawn = require "tests.support.spawn"

local CONFIG <const> = 'return { sxwl = { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" } } }'

-- A script that submits one job. after: what it does then; fields: of the spec; beside: what stands beside it.
local function script(after, fields, beside)
  return ([[
    local jobs, secret = require "perigee.jobs", require "perigee.secret"
    local job = jobs.submit {
      service = "sxwl", name = "训练", max_cost = "5 CNY", %s
      spec = { gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "registry/train:1", jobType = "GeneralJob",
        ckptPath = "/ckpt", ckptVol = 10, modelPath = "/model", modelVol = 10, %s },
    }
    %s]]):format(beside or "", fields or "", after or "")
end

-- Goes on until the service has taken the job.
local RUNNING <const> = [[while job:status() ~= "running" do require("perigee.task").sleep(0.02) end print("running", job.id)]]

describe("durable jobs", function()
  local emulator, folder, env

  local function serve(options)
    options = options or {}
    emulator = emulator_server.serve { seed = 1, speed = options.speed, faults = options.faults }
    env.SXWL_BASE_URL, env.SXWL_TOKEN = emulator.sxwl_url, emulator.token
    if options.deai then
      env.DEAI_BASE_URL, env.DEAI_EMAIL, env.DEAI_PASSWORD = emulator.deai_url, emulator.email, emulator.password
    end
  end

  before_each(function()
    folder = helper.tmpdir()
    fs.write(folder .. "/config.lua", CONFIG, { mode = "0600" })
    env = { PERIGEE_CONFIG = folder .. "/config.lua", PERIGEE_STATE = folder .. "/state", TZ = "UTC" }
  end)

  -- Closes the emulator when the spec ends, before its scope would wait for it.
  local function tidy()
    finally(function() emulator:close() end)
  end

  local function run(code, more)
    local all = {}
    for name, value in pairs(env) do all[name] = value end
    for name, value in pairs(more or {}) do all[name] = value end
    return spawn.run({ "run", "-e", code }, { env = all })
  end

  local function perigee(...)
    return spawn.run({ ... }, { env = env })
  end

  local function document(result)
    local object = json.decode(result.stdout)
    assert.equal(1, object.schema_version)
    return object
  end

  local function created()
    return #emulator.ledger:created "sxwl"
  end

  it("are attached to by a second run, which creates nothing and says so", function()
    serve { speed = 1000000 }
    tidy()
    local first = run(script(RUNNING))
    assert.equal(0, first.status, first.stderr)
    assert.truthy(first.stderr:find("a remote job goes on", 1, true), first.stderr)
    assert.truthy(first.stderr:find("stop it with: perigee jobs stop " .. first.stdout:match "running%s+(%x+)", 1, true), first.stderr)

    local second = run(script "print(job:wait().state)")

    assert.equal(0, second.status, second.stderr)
    assert.equal("succeeded\n", second.stdout)
    assert.truthy(second.stderr:find('job "训练" (' .. first.stdout:match "running%s+(%x+)" .. ") was there already", 1, true), second.stderr)
    assert.is_nil(second.stderr:find("a remote job goes on", 1, true))
    local third = run(script())
    assert.equal(1, third.status)
    assert.truthy(third.stderr:find('attach = "finished"', 1, true), third.stderr)
    assert.equal("succeeded\n", run(script("print(job:wait().state)", "", 'attach = "finished",')).stdout)
    assert.equal(1, created())
  end)

  it("are sent before their script ends, and one that could not be is named", function()
    serve { faults = "sxwl.create_job:never, sxwl.create_job:transient=#2-9" }
    tidy()

    local sent, unsent = run(script()), run(script("", "", 'key = "2",'))

    assert.equal(1, created())
    assert.truthy(sent.stderr:find("a remote job goes on", 1, true), sent.stderr)
    assert.equal(0, unsent.status, unsent.stderr)
    assert.truthy(unsent.stderr:find('key "2" %(%x+%) is planned, and nothing of it was sent: run this script again'), unsent.stderr)
  end)

  it("survive kill -9 of their program: the next run finds the job, and one create is in the ledger", function()
    serve { speed = 1000000 }
    tidy()
    local child <close> = spawn.start({ "run", "-e", script(RUNNING .. " require('perigee.task').sleep(60)") }, { env = env })
    assert.is_true(child:read_until "running")
    child:kill "KILL"
    child:wait()

    local second = run(script "print(job:wait().state)")

    assert.equal("succeeded\n", second.stdout, second.stderr)
    assert.equal(1, created())
  end)

  it("keep their secrets out of the journal, and send what is in the variable", function()
    serve { faults = "sxwl.create_job:never" }
    tidy()
    local code = script(RUNNING, 'env = { HF_TOKEN = secret.env "HF_TOKEN" }')
    local result = run(code, { HF_TOKEN = "hf-0123456789abcdef" })
    assert.equal(0, result.status, result.stderr)

    local bytes = ""
    for _, name in ipairs(fs.list(env.PERIGEE_STATE)) do
      if name:find "^journal" then bytes = bytes .. fs.read(env.PERIGEE_STATE .. "/" .. name) end
    end
    assert.truthy(bytes:find("env:HF_TOKEN", 1, true))
    assert.is_nil(bytes:find("0123456789abcdef", 1, true))
    assert.is_nil((result.stdout .. result.stderr):find("0123456789abcdef", 1, true))
    local shown = perigee("jobs", "show", "训练")
    assert.truthy(shown.stdout:find("env:HF_TOKEN", 1, true), shown.stdout .. shown.stderr)
    assert.equal("hf-0123456789abcdef", emulator.ledger:created("sxwl")[1].job.body.env.HF_TOKEN)
  end)

  it("refuse another spec under their name, naming what differs, and end a run with 1", function()
    serve { faults = "sxwl.create_job:never" }
    tidy()
    run(script(RUNNING))

    local other = run(script("", 'runCommand = "true"'))

    assert.equal(1, other.status)
    assert.truthy(other.stderr:find("(other: runCommand)", 1, true), other.stderr)
    assert.equal(1, created())
  end)

  it("count against a budget of their script, also in a process that has never heard of it", function()
    serve { faults = "sxwl.create_job:never" }
    tidy()
    local budget = 'budget = require("perigee.budget").new { name = "mine", total = "6 CNY" },'
    run(script(RUNNING, "", budget))

    local second = run(script("job:wait()", "", 'key = "2", budget = "mine",'))

    assert.equal(4, second.status, second.stderr)
    assert.truthy(second.stderr:find("mine", 1, true), second.stderr)
    assert.equal(1, created())
  end)

  it("are listed in columns that line up, and as one document", function()
    serve { faults = "sxwl.create_job:never" }
    tidy()
    run(script(RUNNING))
    run(script(RUNNING, "", 'key = "monday",'))

    local text, object = perigee("jobs"), document(perigee("jobs", "list", "--json"))

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
    assert.equal(1, #document(perigee("jobs", "--json", "--limit", "1")).jobs)
    assert.same({}, document(perigee("jobs", "--json", "--status", "failed")).jobs)
  end)

  it("tell their story, in words and as a document", function()
    serve { faults = "sxwl.create_job:never" }
    tidy()
    run(script(RUNNING))

    local text, object = perigee("why", "训练"), document(perigee("why", "训练", "--json"))

    assert.equal(0, text.status, text.stderr)
    for _, words in ipairs { "WHAT HAPPENED", "max_cost 5 CNY", "MONEY", "held 4.9 CNY", "no program looks after it",
      "perigee jobs stop" } do
      assert.truthy(text.stdout:find(words, 1, true), words .. "\n" .. text.stdout)
    end
    assert.equal("running", object.job.state)
    assert.truthy(#object.decisions >= 3)
    assert.same({ { currency = "CNY", held = "4.9 CNY", spent = "0 CNY", unknown = "0 CNY" } }, object.money)
  end)

  it("are stopped by the command itself when no program has them", function()
    serve { faults = "sxwl.create_job:never" }
    tidy()
    run(script(RUNNING))

    local stopped = perigee("jobs", "stop", "训练")

    assert.equal(0, stopped.status, stopped.stderr)
    assert.truthy(stopped.stdout:find("is stopped", 1, true), stopped.stdout)
    assert.equal("stopped", document(perigee("jobs", "show", "训练", "--json")).job.state)
    assert.equal(1, emulator.ledger:executions("sxwl", "stop_job"))
    assert.equal(1, perigee("jobs", "stop", "训练").status)

    local retried = perigee("jobs", "retry", "训练")
    assert.equal(0, retried.status, retried.stderr)
    local again = run(script(RUNNING .. " print(job.attempt)"))
    assert.truthy(again.stdout:find "\n2\n$", again.stdout .. again.stderr)
    assert.equal(2, created())
  end)

  it("are stopped by the program that has them, which is asked", function()
    serve { faults = "sxwl.create_job:never" }
    tidy()
    local child <close> = spawn.start({ "run", "-e", script(RUNNING .. " job:wait()") }, { env = env })
    assert.is_true(child:read_until "running")

    local attached = run(script "print(job.state)")
    local asked = perigee("jobs", "stop", "训练", "--json")

    assert.equal("running\n", attached.stdout, attached.stderr)
    assert.equal("owner", document(asked).by, asked.stderr)
    local ended = child:wait()
    assert.equal(1, ended.status)
    assert.truthy(ended.stderr:find("was stopped", 1, true), ended.stderr)
  end)

  it("are taken over by a daemon, which acts on them and knows who asked", function()
    serve { faults = "sxwl.create_job:never" }
    tidy()
    run(script(RUNNING))
    env.USER, env.SUDO_USER = "wei", false
    local daemon <close> = spawn.start({ "daemon" }, { env = env })
    helper.eventually(function()
      local shown = document(perigee("jobs", "show", "训练", "--json"))
      return shown.owner and shown.owner.kind == "daemon"
    end)

    local stopped = perigee("jobs", "stop", "训练", "--json")

    assert.equal("daemon", document(stopped).by, stopped.stderr)
    assert.equal("stopped", document(stopped).job.state)
    assert.truthy(perigee("why", "训练").stdout:find("wei asks to stop it", 1, true))
    assert.equal(1, created())
    daemon:kill "TERM"
    assert.equal(0, daemon:wait().status)
  end)

  it("on Distributed AI are not stopped but left alone, and it is said that they are billed", function()
    serve { deai = true, faults = "deai.create_job:never" }
    tidy()
    local result = run([[
      local job = require("perigee.jobs").submit { service = "deai", kind = "train", name = "digits", max_cost = "5 CCD",
        spec = { model = "LSTM", x_train = require("perigee.deai").file "scripts/examples/data/load.csv" } }
      ]] .. RUNNING)
    assert.truthy(result.stderr:find("it cannot be stopped", 1, true), result.stderr)

    local stopped = perigee("jobs", "stop", "digits")

    assert.equal(0, stopped.status, stopped.stderr)
    assert.truthy(stopped.stdout:find("it goes on and stays billed", 1, true), stopped.stdout)
    assert.equal("stopped", document(perigee("jobs", "show", "digits", "--json")).job.state)
  end)

  it("are called back where the program listens, under an address with a secret segment", function()
    serve { speed = 300 }
    tidy()

    local result = spawn.run({ "run", "--listen", "127.0.0.1:0", "--log-level", "debug", "-e", script "print(job:wait().state)" }, {
      env = env,
    })

    assert.equal("succeeded\n", result.stdout, result.stderr)
    local url = emulator.ledger:created("sxwl")[1].callbackUrl
    assert.truthy(url:find "^http://127%.0%.0%.1:%d+/cb/%x+%.1%-%x+$", url)
    assert.truthy(result.stderr:find("callback.received", 1, true), result.stderr)
  end)

  it("whose reply was lost are forgotten only with a yes, and adopted by their id", function()
    serve { faults = "sxwl.create_job:drop_after=1, sxwl.create_job:never, sxwl.jobs:error(500)" }
    tidy()
    local unknown = [[while job:status() ~= "unknown" do require("perigee.task").sleep(0.02) end]]
    run(script(unknown))
    local remote_id = emulator.ledger:created("sxwl")[1].job_id

    local why, forget = perigee("why", "训练"), perigee("jobs", "forget", "训练")
    local adopted = perigee("jobs", "adopt", "训练", remote_id)

    assert.truthy(why.stdout:find("perigee jobs adopt", 1, true), why.stdout)
    assert.equal(2, forget.status, forget.stderr)
    assert.truthy(forget.stderr:find("--yes", 1, true))
    assert.truthy(forget.stderr:find("4.9 CNY held for it is free again", 1, true), forget.stderr)
    assert.equal(0, adopted.status, adopted.stderr)
    local job = document(perigee("jobs", "show", "训练", "--json")).job
    assert.equal("running", job.state)
    assert.equal(remote_id, job.remote_id)
  end)

  it("are forgotten with --yes: their money is free", function()
    serve { faults = "sxwl.create_job:drop_after=1, sxwl.create_job:never, sxwl.jobs:error(500)" }
    tidy()
    run(script [[while job:status() ~= "unknown" do require("perigee.task").sleep(0.02) end]])
    assert.equal("4.9 CNY", document(perigee("why", "训练", "--json")).money[1].unknown)

    local forgotten = perigee("jobs", "forget", "训练", "--yes")

    assert.equal(0, forgotten.status, forgotten.stderr)
    local whole = document(perigee("jobs", "show", "训练", "--json"))
    assert.equal("stopped", whole.job.state)
    assert.same({}, whole.money)
  end)

  it("that nobody tracks are found by sweep", function()
    serve { faults = "sxwl.create_job:never" }
    tidy()
    run(script(RUNNING))
    run [[
      require("perigee.sxwl").client {}:create_job { gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "i:1",
        jobType = "GeneralJob", ckptPath = "/c", ckptVol = 1, modelPath = "/m", modelVol = 1, stopType = 1, stopTime = 5 }]]

    local object = document(perigee("jobs", "sweep", "--json"))

    assert.equal(1, #object.found)
    assert.equal(emulator.ledger:created("sxwl")[2].job_id, object.found[1].id)
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
