-- policies_spec.lua - the ready policies: what they return, what their hooks decide, and their run by hand.
local deai = require "perigee.deai"
local emulator_server = require "perigee.emulator.server"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local policies = require "perigee.policy"
local proc = require "perigee.proc"

local FOLDER = "scripts/policies/"

local function load_policy(name)
  return assert(loadfile(FOLDER .. name .. ".lua"))()
end

local function run_policy(emulator, name, ...)
  return proc.run {
    args = { os.getenv "PERIGEE", "run", FOLDER .. name .. ".lua", "--", ... },
    timeout = 50,
    env = {
      DEAI_BASE_URL = emulator.deai_url, DEAI_EMAIL = emulator.email, DEAI_PASSWORD = emulator.password,
      SXWL_BASE_URL = emulator.sxwl_url, SXWL_TOKEN = emulator.token,
    },
  }
end

local function with_emulator(options)
  local emulator = emulator_server.serve(options)
  finally(function() emulator:close() end)
  return emulator
end

describe("every ready policy", function()
  for _, name in ipairs { "retry_failed_jobs", "cost_gate", "fan_out_inference" } do
    it("returns a table in which nothing is wrong, and does nothing else: " .. name, function()
      local policy = load_policy(name)

      assert.equal(name, policy.name)
      assert.same({}, policies.check(policy))
      assert.equal("function", type(policy.run))
      assert.is_truthy(next(policy.on))
    end)
  end

  it("names what is missing when it is run without arguments", function()
    local emulator = with_emulator { seed = 1 }
    for _, name in ipairs { "retry_failed_jobs", "cost_gate", "fan_out_inference" } do
      local result = run_policy(emulator, name)

      assert.is_true(result.status ~= 0)
      assert.truthy(result.stderr:find("usage: " .. name, 1, true), result.stderr)
    end
  end)
end)

describe("retry_failed_jobs", function()
  local function failed(kind, attempt)
    return load_policy "retry_failed_jobs".on["job.failed"] { attempt = attempt, error = { kind = kind, message = "it failed" } }
  end

  it("decides to retry, later each time, until the attempts are used up", function()
    local first = policies.decision("job.failed", failed("job_failed", 1))
    assert.equal("retry", first.decision)
    assert.is_true(first.after >= 0 and first.after <= 10)
    assert.equal("retry", failed("job_failed", 2).decision)
    assert.equal("give_up", failed("job_failed", 3).decision)
    assert.equal("all 3 attempts are used", failed("job_failed", 3).why)
  end)

  it("gives up at once where another attempt changes nothing", function()
    assert.equal("give_up", failed("invalid", 1).decision)
    assert.equal("give_up", failed("funds", 1).decision)
  end)

  it("never repeats an unknown job, and leaves other services alone", function()
    local policy = load_policy "retry_failed_jobs"

    assert.equal("hold", policies.decision("job.unknown", policy.on["job.unknown"] {}).decision)
    assert.is_true(policy.applies { service = "sxwl" })
    assert.is_false(policy.applies { service = "deai" })
  end)

  it("submits a failing job again until it runs", function()
    local emulator = with_emulator { seed = 1, speed = 100000, faults = "sxwl.create_job:fail=1" }
    local dir = helper.tmpdir()
    fs.write(dir .. "/job.lua", [[
      return {
        prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" },
        gpuNumber = 1, gpuType = "NVIDIA-GeForce-RTX-3090", imagePath = "registry/train:1",
        jobType = "GeneralJob", ckptPath = "/ckpt", ckptVol = 1000, modelPath = "/model", modelVol = 1000,
        stopType = 1, stopTime = 60,
      }]])
    -- the wait between attempts is the policy's own; this copy only shortens it
    local text = fs.read(FOLDER .. "retry_failed_jobs.lua"):gsub('base = "10s"', 'base = "10ms"')
    fs.write(dir .. "/policy.lua", text)

    local result = proc.run {
      args = { os.getenv "PERIGEE", "run", dir .. "/policy.lua", "--", dir .. "/job.lua", "max_cost=30 CNY" },
      timeout = 50, env = { SXWL_BASE_URL = emulator.sxwl_url, SXWL_TOKEN = emulator.token },
    }

    assert.equal(0, result.status, result.stderr)
    assert.truthy(result.stdout:find("attempt 2", 1, true), result.stdout)
    assert.equal(2, #emulator.ledger:created "sxwl")
  end)
end)

describe("cost_gate", function()
  it("allows, holds for a person, or denies, by price", function()
    local function submit(price) return policies.decision("job.submit", load_policy "cost_gate".on["job.submit"] { price = price }) end

    assert.equal("allow", submit("1 CCD").decision)
    local held = submit "1.000000000000000001 CCD"
    assert.equal("hold", held.decision)
    assert.equal(12 * 3600, held.expires)
    assert.equal("its price is 1.000000000000000001 CCD, and without asking it may be 1 CCD", held.why)
    assert.equal("deny", submit("5.000000000000000001 CCD").decision)
    assert.equal("allow", submit("50 CNY").decision)
    assert.equal("its price is not known", submit(nil).why)
    assert.equal("there is no limit in USD", submit("1 USD").why)
  end)

  it("trains what is within the limit, and nothing above it: exit code 4", function()
    local emulator = with_emulator { seed = 1, speed = 100000 }
    local dir = helper.tmpdir()
    fs.write(dir .. "/x.csv", "1,2,3\n")
    fs.write(dir .. "/y.csv", "1\n")
    local function gate(max_cost)
      return run_policy(emulator, "cost_gate", "max_cost=" .. max_cost, "jobName=digits", "model=CNN",
        "x_train=" .. dir .. "/x.csv", "y_train=" .. dir .. "/y.csv", "train_shard=0.8", "epoch=1", "category=10")
    end

    local denied = gate "0.000001 CCD"
    assert.equal(4, denied.status, denied.stderr)
    assert.equal(0, #emulator.ledger:created "deai")

    local allowed = gate "1 CCD"
    assert.equal(0, allowed.status, allowed.stderr)
    assert.equal(1, #emulator.ledger:created "deai")
  end)
end)

describe("fan_out_inference", function()
  -- The policy with what it would submit collected in a list, and jobs that are there already.
  local function with_jobs(there)
    local submitted, real = {}, package.loaded["perigee.jobs"]
    package.loaded["perigee.jobs"] = {
      submit = function(t) submitted[#submitted + 1] = t end,
      list = function() return there or {} end,
    }
    finally(function() package.loaded["perigee.jobs"] = real end)
    return submitted
  end

  -- A folder of inputs; the variables are those of the environment of the whole run, so the policy reads them from here.
  local function with_folders(variables)
    local env = require "perigee.env"
    local get = env.get
    env.get = function(name, ...) -- luacheck: ignore 122
      if variables[name] ~= nil then return variables[name] end
      return get(name, ...)
    end
    return function() env.get = get end -- luacheck: ignore 122
  end

  local function inputs()
    local dir = helper.tmpdir()
    fs.write(dir .. "/a.csv", "one")
    fs.write(dir .. "/b.csv", "two")
    fs.write(dir .. "/copy-of-a.csv", "one")
    fs.write(dir .. "/.hidden", "three")
    fs.mkdir(dir .. "/folder")
    return dir
  end

  it("submits each file of its folder under a key made of its content", function()
    local submitted, dir = with_jobs(), inputs()
    local restore = with_folders { FAN_OUT_FOLDER = dir, FAN_OUT_JOB = "7712" }
    local ok, err = pcall(load_policy "fan_out_inference".schedules[1].run, {})
    restore()

    assert.is_true(ok, tostring(err))
    assert.equal(3, #submitted)
    assert.equal("7712/" .. fs.sha256_text "one", submitted[1].key)
    assert.equal(submitted[1].key, submitted[3].key)
    assert.same({ jobID = "7712", file = dir .. "/a.csv" }, submitted[1].spec)
    assert.equal("finished", submitted[1].attach)
    assert.equal("0.1 CCD", submitted[1].max_cost)
    assert.is_string(require("perigee.job_spec").prepare(submitted[1]).hash)
  end)

  it("starts when a training with its tag succeeds, on that training", function()
    local training = { service = "deai", kind = "train", tags = { "fan_out" }, remote_id = "99" }
    local submitted, dir = with_jobs { { kind = "train", tags = {}, remote_id = "98" }, training }, inputs()
    local restore = with_folders { FAN_OUT_FOLDER = dir, FAN_OUT_JOB = "7712" }
    local policy = load_policy "fan_out_inference"
    assert.is_true(policy.applies(training))
    assert.is_false(policy.applies { service = "deai", kind = "train", tags = {} })
    pcall(policy.on["job.succeeded"], training)
    restore()

    assert.equal(3, #submitted)
    assert.equal("99", submitted[1].spec.jobID)
  end)

  it("writes the result of each input beside its name, and holds what may have been started", function()
    local dir = helper.tmpdir()
    local restore = with_folders { FAN_OUT_RESULTS = dir }
    local policy = load_policy "fan_out_inference"
    pcall(policy.on["job.succeeded"], {
      kind = "infer", id = "1a2b", cost = "0.01 CCD", result = { result = "7" }, spec = { data_path = { ["$file"] = "/in/a.csv" } },
    })
    restore()

    assert.same({ file = "/in/a.csv", job = "1a2b", cost = "0.01 CCD", result = { result = "7" } },
      require("perigee.json").decode(fs.read(dir .. "/a.csv.json")))
    assert.equal("hold", policies.decision("job.unknown", policy.on["job.unknown"] {}).decision)
  end)

  it("does what the budget allows, ends with exit code 6, and goes on in the next run", function()
    local emulator = with_emulator { seed = 1, speed = 1000000 }
    local client = deai.client {
      base_url = emulator.deai_url, email = emulator.email, password = emulator.password, status_rate = 10000,
    }
    local dir = helper.tmpdir()
    local words = {}
    for i = 1, 6 do
      words[i] = ("%s/%d.csv"):format(dir, i)
      fs.write(words[i], "input " .. i)
    end
    local jobID = client:train({
      model = "CNN", jobName = "digits", epoch = 1, train_shard = 0.8, scale_ratio = 255, category = 10,
      channel = 1, x_train = deai.file(words[1]), y_train = deai.file(words[2]), wait = true,
    }).jobID
    local price = client:estimate_inference { jobID = jobID, data_path = deai.file(words[1]) }
    local function fan_out(budget_text)
      return run_policy(emulator, "fan_out_inference", "jobID=" .. jobID, "results=" .. dir .. "/results.jsonl",
        "budget=" .. budget_text, "concurrency=2", table.unpack(words))
    end

    local first = fan_out(tostring(price * 3))
    local ran = #emulator.ledger:inferences()
    local second = fan_out "5 CCD"

    assert.equal(6, first.status, first.stderr)
    assert.is_true(ran >= 1 and ran < 6)
    assert.equal(0, second.status, second.stderr)
    assert.truthy(second.stdout:find("6 done of 6 inputs", 1, true), second.stdout)
    assert.equal(6, #emulator.ledger:inferences())
  end)
end)
