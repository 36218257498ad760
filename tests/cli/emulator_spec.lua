-- emulator_spec.lua - the emulator from the command line, and whole runs against it.
local helper = require "tests.helper"
local json = require "perigee.json"
local spawn = require "tests.support.spawn"

local TRAIN <const> = [[
  local deai = require "perigee.deai"
  local path = os.tmpname()
  local file = io.open(path, "w")
  file:write("1,2,3\n")
  file:close()
  local job = deai.client {}:train { model = "CNN", jobName = "digits", epoch = 2, category = 10, train_shard = 0.8,
    x_train = deai.file(path), y_train = deai.file(path), max_cost = MAX_COST }
  os.remove(path)
  print(job.jobID)]]

local function train(max_cost)
  return (TRAIN:gsub("MAX_COST", max_cost and ("%q"):format(max_cost) or "nil"))
end

--- Starts an emulator; returns the child and its variables.
local function start_emulator(...)
  local child = spawn.start { "emulator", "--listen", "127.0.0.1:0", ... }
  assert.is_true(child:read_until "SXWL_TOKEN")
  local env = {}
  for name, value in child:output():gmatch "export ([%u_]+)='([^\n]*)'\n" do env[name] = value end
  return child, env
end

describe("perigee run --emulator", function()
  it("runs a script against both services without an account", function()
    local path = helper.tmpdir() .. "/summary.json"
    local result = spawn.run { "run", "--emulator", "--summary", path, "-e", train "5 CCD" }
    assert.are.equal(0, result.status, result.stderr)
    assert.is_truthy(result.stdout:find "^%d+\n$")
    assert.is_truthy(result.stderr:find("perigee: summary", 1, true))
    assert.is_truthy(result.stderr:find "CCD +%d")
    local file = assert(io.open(path))
    local object = json.decode(file:read "a")
    file:close()
    assert.are.equal(0, object.exit_code)
    assert.is_truthy(object.spent.CCD:find "^%d+%.%d+$")
    assert.is_true(object.calls >= 4)
  end)

  it("fails when it went well but for its summary file", function()
    local words = { "run", "--emulator", "--summary", "/nonexistent/summary.json", "-e", train "5 CCD" }
    local result = spawn.run(words)
    assert.are.equal(1, result.status, result.stderr)
    assert.is_truthy(result.stderr:find("cannot write the summary to /nonexistent/summary.json", 1, true))
    assert.is_truthy(result.stderr:find("exit code 1", 1, true))
  end)

  it("goes before credentials of the environment", function()
    local env = { DEAI_EMAIL = "me@example.com", DEAI_PASSWORD = "secret-password", DEAI_BASE_URL = "http://127.0.0.1:1" }
    assert.are.equal(0, spawn.run({ "run", "--emulator", "-e", train "5 CCD" }, { env = env }).status)
  end)

  it("says nothing of a summary with --quiet", function()
    assert.are.equal("", spawn.run({ "run", "--quiet", "--emulator", "-e", train "5 CCD" }).stderr)
  end)

  it("ends with 4 when max_cost, --budget or --require-budget denies", function()
    assert.are.equal(4, spawn.run({ "run", "--emulator", "-e", train "0.000001 CCD" }).status)
    local denied = spawn.run { "run", "--emulator", "--budget", "0.000001 CCD, 1 CNY", "-e", train() }
    assert.are.equal(4, denied.status, denied.stderr)
    assert.is_truthy(denied.stderr:find("denied +1  over_budget 1"))
    assert.are.equal(4, spawn.run({ "run", "--emulator", "--require-budget", "-e", train() }).status)
    assert.are.equal(0, spawn.run({ "run", "--emulator", "-e", train() }).status)
  end)

  it("repeats a run with the same seed", function()
    local function ids(seed)
      return spawn.run({ "run", "--emulator", "--seed", seed, "-e", train "5 CCD" }).stdout
    end
    assert.are.equal(ids "3", ids "3")
    assert.are_not.equal(ids "3", ids "4")
  end)
end)

local GPU_JOB <const> = [[
  local client = require("perigee.sxwl").client { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" } }
  client:run { gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "i:1", ckptPath = "/c", ckptVol = 10,
    modelPath = "/m", modelVol = 10, jobType = "GeneralJob", runCommand = "true", max_cost = "2 CNY" }]]

describe("a run that is interrupted while a job runs", function()
  local function interrupted(signal, words, options)
    local emulator <close>, env = start_emulator("--faults", "sxwl.create_job:never")
    options = options or {}
    options.env = env
    local child <close> = spawn.start({ "run", "--log-level", "debug", table.unpack(words) }, options)
    assert.is_true(child:read_until "operation=job_status")
    child:kill(signal)
    local result = child:wait()
    local jobs = spawn.run({ "run", "-e", [[
      for job in require("perigee.sxwl").client {}:jobs() do print(job.job_id or job.jobName, job.status) end]] }, { env = env })
    emulator:kill "KILL"
    return result, jobs
  end

  it("by Ctrl-C on a terminal stops it", function()
    local result = interrupted("INT", { "-e", GPU_JOB }, { columns = 200 })
    assert.are.equal(130, result.status, result.stdout)
    assert.is_truthy(result.stdout:find("sxwl.stopped", 1, true), result.stdout)
    assert.is_nil(result.stdout:find("goes on", 1, true))
  end)

  it("without a terminal, or by SIGTERM, leaves it and names it last, with its cost and how to stop it", function()
    for signal, code in pairs { INT = 130, TERM = 143 } do
      local result = interrupted(signal, { "-e", GPU_JOB })
      assert.are.equal(code, result.status)
      local last = result.stderr:gsub("[^\n]* debug [^\n]*\n", ""):match "perigee: a remote job goes on.*$"
      assert.is_truthy(last, result.stderr)
      assert.is_truthy(last:find("worst cost 1.", 1, true))
      assert.is_truthy(last:find "stop it with: perigee run %-e [^\n]+\n$", last)
    end
  end)

  it("does what --on-interrupt says", function()
    local stopped = interrupted("INT", { "--on-interrupt", "stop", "-e", GPU_JOB })
    assert.is_truthy(stopped.stderr:find("sxwl.stopped", 1, true))
    local left = interrupted("INT", { "--on-interrupt", "leave", "-e", GPU_JOB }, { columns = 200 })
    assert.is_truthy(left.stdout:find("a remote job goes on", 1, true))
  end)
end)

describe("perigee emulator", function()
  it("prints variables that point another perigee at it, and ends with a signal", function()
    local emulator <close>, env = start_emulator()
    assert.are.equal(0, spawn.script(train "5 CCD", { env = env }).status)
    emulator:kill "INT"
    assert.are.equal(130, emulator:wait().status)
  end)

  it("loses a reply on request: the run ends with 5, holds the price and sends nothing twice", function()
    local emulator <close>, env = start_emulator("--faults", "deai.create_job:drop_after,deai.jobs:error")
    local result = spawn.script(train "5 CCD", { env = env })
    assert.are.equal(5, result.status, result.stderr)
    assert.is_truthy(result.stderr:find("Do not just run it again", 1, true))
    assert.is_truthy(result.stderr:find "unknown +1  may have been charged")
    env.PERIGEE_STATE = ":memory:" -- on the same state the jobName would rest: the first request may still arrive
    local caught = spawn.script(("pcall(function() %s end)"):format(train "5 CCD"), { env = env })
    assert.are.equal(5, caught.status, "an error that was caught leaves the outcome unknown")
    emulator:kill "TERM"
    assert.are.equal(143, emulator:wait().status)
  end)

  it("refuses words that make no sense", function()
    for _, words in ipairs { { "--listen", "nowhere" }, { "--listen", "127.0.0.1:99999" }, { "--faults", "x=1" },
      { "--era", "Z" } } do
      local result = spawn.run { "emulator", table.unpack(words) }
      assert.are.equal(2, result.status, table.concat(words, " ") .. "\n" .. result.stderr)
    end
  end)

  it("says when its port is taken", function()
    local emulator <close>, env = start_emulator()
    local address = env.DEAI_BASE_URL:match "//([%d.:]+)"
    local result = spawn.run { "emulator", "--listen", address }
    assert.are.equal(1, result.status)
    assert.is_truthy(result.stderr:lower():find "in use", result.stderr)
    emulator:kill "KILL"
  end)
end)
