-- job_spec_spec.lua - what jobs.submit is given: its checks, its plain form, what makes two specs the same.
local deai = require "perigee.deai"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local job_spec = require "perigee.job_spec"
local json = require "perigee.json"
local literals = require "perigee.job_literals"
local secret = require "perigee.secret"
local task = require "perigee.task"

local function with(base, changes)
  local all = {}
  for name, value in pairs(base) do all[name] = value end
  for name, value in pairs(changes or {}) do all[name] = value end
  for name, value in pairs(all) do
    if value == "absent" then all[name] = nil end
  end
  return all
end

local function gpu_spec(changes)
  return with({
    gpuNumber = 1, gpuType = "NVIDIA-GeForce-RTX-3090", ckptPath = "/ckpt", ckptVol = 10000, modelPath = "/model", modelVol = 20,
    imagePath = "registry/image:1", jobType = "GeneralJob",
  }, changes)
end

local function gpu_job(changes, spec)
  return with({ service = "sxwl", name = "train", max_cost = "5 CNY", spec = gpu_spec(spec) }, changes)
end

local function training(changes, spec)
  return with({ service = "deai", kind = "train", name = "digits", max_cost = "1 CCD", spec = with({
    model = "CNN", epoch = 2, category = 10, train_shard = 0.8, x_train = "remote/x.csv", y_train = "remote/y.csv",
  }, spec) }, changes)
end

local function data_file(bytes, name)
  local path = helper.tmpdir() .. "/" .. (name or "data.csv")
  fs.write(path, bytes)
  return path
end

local function refused(message, t)
  local err = helper.error_of(job_spec.prepare, t)
  assert.equal("invalid", err.kind, tostring(err))
  assert.truthy(err.message:find(message, 1, true), err.message)
end

describe("jobs.submit's table", function()
  it("becomes canonical JSON: sorted names, exact values, whatever way they were written", function()
    local one = job_spec.prepare(gpu_job(nil, { gpuNumber = "1", env = { B = 2, A = "x" }, stopTime = 60 }))
    local other = job_spec.prepare(gpu_job(nil, { ckptVol = "10000", env = { A = "x", B = "2" }, stopTime = "60", stopType = 1 }))

    assert.equal('{"ckptPath":"/ckpt","ckptVol":"10000","env":{"A":"x","B":"2"},"gpuNumber":1,"gpuType":"NVIDIA-GeForce-RTX-3090",'
      .. '"imagePath":"registry/image:1","jobType":"GeneralJob","modelPath":"/model","modelVol":"20","stopTime":60,"stopType":"1"}',
      one.spec)
    assert.equal(one.spec, other.spec)
    assert.equal(one.hash, other.hash)
    assert.truthy(one.hash:find "^%x+$" and #one.hash == 64)
  end)

  it("has another hash for another value, kind or service's field", function()
    local hash = job_spec.prepare(gpu_job()).hash

    assert.are_not.equal(hash, job_spec.prepare(gpu_job(nil, { gpuNumber = 2 })).hash)
    assert.are_not.equal(hash, job_spec.prepare(gpu_job(nil, { env = { A = "1" } })).hash)
  end)

  it("has the same hash when only what stands beside the spec differs", function()
    local one = job_spec.prepare(gpu_job())
    local other = job_spec.prepare(gpu_job { max_cost = "9 CNY", key = "monday", tags = { "b", "a", "b" }, deadline = "2h" })

    assert.equal(one.hash, other.hash)
    assert.equal('["a","b"]', other.tags)
    assert.equal("monday", other.key)
    assert.equal("", one.key)
  end)

  it("leaves an SXWL job's end to max_cost or deadline, and wants one of them", function()
    assert.is_nil(job_spec.prepare(gpu_job(nil, { stopType = "0" })).spec:find("stop", 1, true))
    assert.is_nil(job_spec.prepare(gpu_job { max_cost = "absent", deadline = 3600 }).spec:find("stop", 1, true))
    refused("an SXWL job needs an end", gpu_job { max_cost = "absent" })
  end)

  it("gives a training its job's name, and checks the fields of estimate and create", function()
    local spec = json.decode(job_spec.prepare(training()).spec)

    assert.equal("digits", spec.jobName)
    assert.equal(64, spec.batchSize)
    assert.equal("Distributed AI", spec.computation)
    refused('unknown field "epohc"; did you mean "epoch"', training(nil, { epohc = 2 }))
    refused("batchSize must be", training(nil, { batchSize = "many" }))
  end)

  it("takes the key of the schedule that runs it", function()
    local key
    task.spawn(function()
      task.set_local("perigee.schedule_key", "2026-11-22T08:00:00Z")
      key = job_spec.prepare(gpu_job()).key
    end):wait()

    assert.equal("2026-11-22T08:00:00Z", key)
  end)

  it("refuses, naming the field and the nearest right one", function()
    refused('unknown field "maxcost"; did you mean "max_cost"', gpu_job { maxcost = "5 CNY" })
    refused('service must be "deai" or "sxwl", not "swxl"; did you mean "sxwl"', gpu_job { service = "swxl" })
    refused('kind must be "train" or "infer", not "trian"; did you mean "train"', training { kind = "trian" })
    refused("name is required", gpu_job { name = "absent" })
    refused("name must not contain line ends", gpu_job { name = "a\nb" })
    refused("name is not valid UTF-8", gpu_job { name = "a\xff" })
    refused("key is 201 bytes long; the most is 200", gpu_job { key = ("k"):rep(201) })
    refused('max_cost = "5 CCD"', gpu_job { max_cost = 5 })
    refused("deadline must be seconds as a number, or a time like", gpu_job { deadline = "soon" })
    refused("deadline is over", gpu_job { deadline = "2020-01-01" })
    refused('on_unknown must be "wait" or "retry" or "fail", not fial; did you mean "fail"', gpu_job { on_unknown = "fial" })
    refused("tags is a list", gpu_job { tags = { nightly = true } })
    refused("gpuNumber is required", gpu_job(nil, { gpuNumber = "absent" }))
    refused('unknown field "gpuTyp"; did you mean "gpuType"', gpu_job(nil, { gpuTyp = "x" }))
    refused("write max_cost beside spec", gpu_job(nil, { max_cost = "1 CNY" }))
    refused("a job has no use for it", training(nil, { on_start = print }))
    refused("PERIGEE_INTENT is set by perigee", gpu_job(nil, { env = { PERIGEE_INTENT = "x" } }))
    refused("must have a name", gpu_job { budget = require("perigee.budget").new { total = "5 CNY" } })
  end)

  it("checks retry with the words of perigee.retry, and writes its defaults out", function()
    local options = json.decode(job_spec.prepare(gpu_job { retry = { attempts = 3, base = "2s" } }).options)

    assert.same({ attempts = 3, base = 2, cap = 60, jitter = "full", on = { "job_failed", "retryable" } }, options.retry)
    refused('jobs.submit: retry: unknown option "atempts"; did you mean "attempts"', gpu_job { retry = { atempts = 3 } })
    refused("jobs.submit: retry: attempts is a whole number", gpu_job { retry = { attempts = 0 } })
    refused("on is a list of error kinds here", gpu_job { retry = { on = print } })
    refused('unknown error kind "job_fail"', gpu_job { retry = { on = { "job_fail" } } })
  end)

  it("counts against its own budgets and those of its scope, which all need a name", function()
    local budget = require "perigee.budget"
    local outer, own = budget.new { name = "outer", total = "9 CNY" }, budget.new { name = "own", total = "9 CNY" }

    local prepared = budget.with(outer, job_spec.prepare, gpu_job { budget = { own, "of the configuration", own } })

    assert.same({ "own", "of the configuration", "outer" }, json.decode(prepared.options).budget)
    local err = helper.error_of(budget.with, budget.new { total = "9 CNY" }, job_spec.prepare, gpu_job())
    assert.truthy(err.message:find("must have a name", 1, true), err.message)
    refused("budget is the name of a budget", gpu_job { budget = { name = "x" } })
  end)

  it("keeps a deadline as wall time, whether a duration or a time was given", function()
    local function deadline(value)
      return json.decode(job_spec.prepare(gpu_job { deadline = value }).options).deadline
    end

    assert.equal(4102444800000, deadline "2100-01-01")
    assert.equal(4102444800000, deadline(4102444800))
    assert.truthy(math.abs(deadline "2h" / 1000 - os.time() - 7200) < 5)
  end)
end)

describe("local files of a spec", function()
  it("stand with the hash of their content, and where they lie does not count", function()
    local one = job_spec.prepare(training(nil, { x_train = deai.file(data_file "1,2\n") }))
    local other = job_spec.prepare(training(nil, { x_train = deai.file(data_file("1,2\n", "again.csv")) }))
    local third = job_spec.prepare(training(nil, { x_train = deai.file(data_file "1,3\n") }))

    local reference = json.decode(one.spec).x_train
    assert.equal(fs.sha256_text "1,2\n", reference.sha256)
    assert.equal("/", reference["$file"]:sub(1, 1))
    assert.equal(one.hash, other.hash)
    assert.are_not.equal(one.hash, third.hash)
    assert.same({ "x_train" }, job_spec.differences(one.spec, third.spec))
    assert.same({}, job_spec.differences(one.spec, other.spec))
  end)

  it("are marked for upload when they are sent, unless they have changed or gone", function()
    local path = data_file "1,2\n"
    local spec = job_spec.prepare(training(nil, { x_train = deai.file(path) })).spec

    assert.equal(path, job_spec.resolve(spec).x_train.path)
    fs.write(path, "1,3\n")
    assert.truthy(helper.error_of(job_spec.resolve, spec).message:find("its content has changed", 1, true))
    fs.remove(path)
    assert.truthy(helper.error_of(job_spec.resolve, spec).message:find("cannot be read any more", 1, true))
  end)

  it("may be given to an inference as file", function()
    local path = data_file "1\n"
    local prepared = job_spec.prepare { service = "deai", kind = "infer", name = "i", spec = { jobID = "77", file = path } }

    assert.equal(path, json.decode(prepared.spec).data_path["$file"])
    assert.equal("77", json.decode(prepared.spec).jobID)
  end)
end)

describe("secrets of a spec", function()
  local folder
  before_each(function()
    folder = helper.tmpdir()
    fs.write(folder .. "/hf", "hf-1234567890\n", { mode = "0600" })
  end)

  it("are kept by where they come from, and read again at each send", function()
    local path = folder .. "/hf"
    local prepared = job_spec.prepare(gpu_job(nil, { env = { HF_TOKEN = secret.file(path), MODE = "x" } }))

    assert.is_nil(prepared.spec:find("hf-1234567890", 1, true))
    assert.same({ ["$secret"] = "file:" .. path }, json.decode(prepared.spec).env.HF_TOKEN)
    fs.write(path, "hf-rotated", { mode = "0600" })
    local fields = job_spec.resolve(prepared.spec)
    assert.equal("hf-rotated", fields.env.HF_TOKEN:reveal())
    assert.equal("x", fields.env.MODE)
  end)

  it("name what is missing when they are to be sent", function()
    local err = helper.error_of(job_spec.resolve, '{"env":{"A":{"$secret":"env:PERIGEE_TEST_NOT_SET"}}}')

    assert.equal("auth", err.kind)
    assert.truthy(err.message:find("PERIGEE_TEST_NOT_SET is not set", 1, true))
  end)

  it("made from text cannot be kept, and the lines to write are named", function()
    refused('write secret.env "NAME"', gpu_job(nil, { env = { A = secret.of "abcdefgh" } }))
  end)

  it("may be written as references, as a hook gets them", function()
    local first = job_spec.prepare(gpu_job(nil, { env = { HF_TOKEN = secret.file(folder .. "/hf") } }))
    local text, hash = job_spec.plain(json.decode(first.spec), { service = "sxwl", kind = "job", bounded = true })

    assert.equal(first.spec, text)
    assert.equal(first.hash, hash)
  end)

  it("written out are refused with the line to write, and the value is not repeated", function()
    local cases = {
      [{ env = { HF_TOKEN = "hf-abcdef" } }] = 'env = { HF_TOKEN = secret.env "HF_TOKEN" }',
      [{ env = { dbPassword = "hf-abcdef" } }] = 'secret.env "dbPassword"',
      [{ runCommand = "python t.py --hf-token hf-abcdef" }] = 'env = { HF_TOKEN = secret.env "HF_TOKEN" }',
      [{ runCommand = "env API_KEY=hf-abcdef python t.py" }] = 'env = { API_KEY = secret.env "API_KEY" }',
      [{ callbackUrl = "https://me.example/cb?token=hf-abcdef" }] = "token in spec.callbackUrl",
      [{ runCommand = "git clone https://me:hf-abcdef@git.example/x" }] = "the password of an address",
    }
    for spec, message in pairs(cases) do
      local err = helper.error_of(job_spec.prepare, gpu_job(nil, spec))
      assert.equal("invalid", err.kind)
      assert.truthy(err.message:find(message, 1, true), err.message)
      assert.is_nil(tostring(err):find("abcdef", 1, true))
    end
  end)

  it("are known by their names", function()
    for _, name in ipairs { "HF_TOKEN", "token", "AWS_SECRET_ACCESS_KEY", "dbPassword", "apikey", "api-key", "PRIVATE_KEY", "hftoken",
      "WANDB_API_KEY", "GIT_CREDENTIALS", "PASSPHRASE", "SecretKey" } do
      assert.is_true(literals.looks_secret(name), name)
    end
    for _, name in ipairs { "MAX_TOKENS", "TOKENIZERS_PARALLELISM", "TOKEN_FILE", "KEY", "MODE", "PASSES", "author", "SECRET_PATH",
      "monkey", "keyboard" } do
      assert.is_false(literals.looks_secret(name), name)
    end
    job_spec.prepare(gpu_job(nil, {
      env = { GOOGLE_APPLICATION_CREDENTIALS = "/run/key.json", MAX_TOKEN = "512" },
      runCommand = "python t.py --tokenizer bert --token $HF_TOKEN",
    }))
  end)

  it("come from systemd's credentials too", function()
    local result = require("tests.support.spawn").script([[
      local secret = require "perigee.secret"
      local s = secret.credential "hf"
      print(secret.source(s), s:reveal() == "hf-1234567890", secret.from(secret.source(s)) == s)
      print(select(2, pcall(secret.credential, "none")).kind, select(2, pcall(secret.credential, "../hf")).kind)]],
      { env = { CREDENTIALS_DIRECTORY = folder } })

    assert.equal("credential:hf\ttrue\ttrue\nauth\tinvalid\n", result.stdout, result.stderr)
  end)
end)
