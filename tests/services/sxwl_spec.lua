-- SXWL: each operation, in both eras, against the emulator in this process.
local errors = require "perigee.error"
local helper = require "tests.helper"
local local_world = require "tests.services.local_world"

local GPU <const> = "NVIDIA-GeForce-RTX-3090"
local PRICES <const> = { [GPU] = "7 CNY/h" }

local function spec(fields)
  local all = {
    gpuNumber = "1", gpuType = GPU, ckptPath = "/ckpt", ckptVol = 10000, modelPath = "/model", modelVol = "20",
    imagePath = "registry/image:1", jobType = "GeneralJob", stopType = 1, stopTime = "5", env = { N = 3 },
  }
  for name, value in pairs(fields or {}) do all[name] = value end
  for name, value in pairs(all) do
    if value == "" then all[name] = nil end
  end
  return all
end

describe("sxwl:create_job", function()
  it("sends the exact JSON types of the contract for what a person would write", function()
    local here <close> = local_world.open {}
    local body
    here.before = function(request) body = request.body end

    here:sxwl():create_job(spec { callbackUrl = "https://me.example/cb/x" })

    assert.equal('{"gpuNumber":1,"gpuType":"' .. GPU .. '","ckptPath":"/ckpt","ckptVol":"10000","modelPath":"/model",'
      .. '"modelVol":"20","imagePath":"registry/image:1","jobType":"GeneralJob","stopType":"1","stopTime":5,'
      .. '"callbackUrl":"https://me.example/cb/x","env":{"N":"3"}}', body)
    assert.equal(0, #here:entries { kind = "complaint" })
  end)

  it("takes a token with Bearer in front or not, and sends it once", function()
    local here <close> = local_world.open {}
    local seen = {}
    here.before = function(request) seen[#seen + 1] = request.headers.authorization end
    local token = here.world.sxwl.token

    for _, given in ipairs { token, "Bearer " .. token, "  bearer " .. token .. "\n" } do
      here:sxwl({ token = given }):job_status(here:sxwl():create_job(spec()))
    end

    for _, header in ipairs(seen) do assert.equal("Bearer " .. token, header) end
  end)

  it("shows no value of an environment variable that is named like a secret, also if the service echoes it", function()
    local here <close> = local_world.open {}
    function here.world.handle(_, request)
      return { status = 400, headers = {}, body = "cannot take " .. request.body }
    end
    local env = { HF_TOKEN = "hf-98765432", db_password = "db-87654321", MODE = "training" }

    local err = helper.error_of(function() here:sxwl():create_job(spec { env = env }) end)

    assert.truthy(err.body:find("training", 1, true))
    for _, text in ipairs { err.body, err.message, tostring(err) } do
      assert.is_nil(text:find("98765432", 1, true))
      assert.is_nil(text:find("87654321", 1, true))
    end
  end)

  it("takes secrets for token and environment, and sends their text", function()
    local here <close> = local_world.open {}
    local secret = require "perigee.secret"
    local body
    here.before = function(request) body = request.body end

    here:sxwl({ token = secret.of(here.world.sxwl.token) }):create_job(spec { env = { KEY = secret.of "s3cret-key" } })

    assert.truthy(body:find('"env":{"KEY":"s3cret-key"}', 1, true))
  end)

  it("refuses a number as money before sending, and names the line to write", function()
    local here <close> = local_world.open {}
    local client = here:sxwl()

    local err = helper.error_of(client.run, client, spec { max_cost = 5 })

    assert.equal("invalid", err.kind)
    assert.truthy(err.message:find('max_cost = "5 CCD"', 1, true))
    assert.equal(0, #here:entries { kind = "call" })
  end)

  it("refuses before sending, naming the field and the nearest right one", function()
    local here <close> = local_world.open {}
    local client = here:sxwl()
    local cases = {
      [{ gpuNumber = "two" }] = "gpuNumber must be a whole number",
      [{ ckptVol = "10GB" }] = 'ckptVol must be a whole number in digits, not "10GB"',
      [{ stopType = 2 }] = 'stopType must be "0" or "1", not "2"',
      [{ stopTime = "" }] = 'stopTime is required when stopType is "1"',
      [{ jobType = "pytorch" }] = 'did you mean "Pytorch"',
      [{ imagePath = "" }] = "imagePath is required",
      [{ callbackUrl = "https://me.example/:x" }] = "path segment that starts with ':'",
      [{ gpuTyp = "x" }] = 'unknown field "gpuTyp"; did you mean "gpuType"',
      [{ env = "A=1" }] = "env must be a table",
    }
    for fields, message in pairs(cases) do
      local err = helper.error_of(client.create_job, client, spec(fields))
      assert.equal("invalid", err.kind)
      assert.truthy(err.message:find(message, 1, true), err.message)
    end
    assert.equal(0, #here:entries { kind = "call" })
  end)

  it("is unknown and not sent again when its reply is lost", function()
    local here <close> = local_world.open { faults = "sxwl.create_job:drop_after" }
    local client = here:sxwl()

    local err = helper.error_of(client.create_job, client, spec())

    assert.equal("unknown", err.outcome)
    assert.equal(1, #here:entries { kind = "job" })
    assert.equal(1, #here:entries { kind = "call", operation = "create_job" })
  end)

  it("is unknown after a 5xx, and did not happen after a 400, transient ones included", function()
    local here <close> = local_world.open { faults = "sxwl.create_job:error(502)=#1, sxwl.create_job:transient=#2" }
    local client = here:sxwl()

    local gateway = helper.error_of(client.create_job, client, spec())
    local transient = helper.error_of(client.create_job, client, spec())

    assert.same({ "http", "unknown", false }, { gateway.kind, gateway.outcome, gateway.retryable })
    assert.same({ "unavailable", "none", true }, { transient.kind, transient.outcome, transient.retryable })
    assert.equal(2, #here:entries { kind = "call", operation = "create_job" })
  end)

  it("fails clearly on a server that does not offer it", function()
    local here <close> = local_world.open {}
    local client = here:sxwl { base_url = here:address() .. "/nowhere" }

    local err = helper.error_of(client.create_job, client, spec())

    assert.same({ "unavailable", "not_offered", "none" }, { err.kind, err.code, err.outcome })
  end)

  it("is denied when it is governed and nothing bounds its cost", function()
    local here <close> = local_world.open {}
    local client = here:sxwl { prices = PRICES }

    local unbounded = helper.error_of(client.create_job, client, spec { stopType = "0", stopTime = "", max_cost = "9 CNY" })
    local unpriced = helper.error_of(client.create_job, client, spec { gpuType = "Other", max_cost = "9 CNY" })
    local dear = helper.error_of(client.create_job, client, spec { stopTime = 600, max_cost = "9 CNY" })

    assert.same({ "denied", "no_worst_case" }, { unbounded.kind, unbounded.code })
    assert.same({ "denied", "no_price" }, { unpriced.kind, unpriced.code })
    assert.same({ "denied", "max_cost", "70 CNY" }, { dear.kind, dear.code, tostring(dear.price) })
    assert.equal(0, #here:entries { kind = "call" })
  end)

  it("refuses a price table that is none", function()
    local here <close> = local_world.open {}

    for _, prices in ipairs { { [GPU] = 7 }, { [GPU] = "7" }, { [GPU] = "7 CNY" }, { "7 CNY/h" }, { [GPU] = "x CNY/h" } } do
      local err = helper.error_of(here.sxwl, here, { prices = prices })
      assert.equal("invalid", err.kind)
    end
  end)
end)

for _, era in ipairs { "A", "B" } do
  describe("sxwl in era " .. era, function()
    it("reads every status, and one error for an unknown job", function()
      local here <close> = local_world.open { era = era, now = local_world.stepping(1) }
      local client = here:sxwl()
      local job_id = client:create_job(spec())

      assert.same({ job_id = job_id, status = "working" }, client:job_status(job_id))
      here.now = local_world.stepping(1, 100000)
      local done = client:job_status(job_id)
      assert.equal("success", done.status)
      assert.truthy(done.url:find("&Expires=", 1, true))
      local err = helper.error_of(client.job_status, client, "ai-unknown")
      assert.same({ "api", "not_found", "none" }, { err.kind, err.code, err.outcome })
    end)

    it("waits out a transient 400 and a 500 when it reads a status", function()
      local here <close> = local_world.open { era = era, faults = "sxwl.job_status:transient=#1, sxwl.job_status:error(500)=#2" }
      local client = here:sxwl()

      assert.equal("working", client:job_status(client:create_job(spec())).status)
    end)

    it("stops a job, also twice, also an unknown one", function()
      local here <close> = local_world.open { era = era }
      local client = here:sxwl()
      local job_id = client:create_job(spec())

      client:stop_job(job_id)
      client:stop_job(job_id)
      client:stop_job "ai-unknown"

      assert.is_true(#here:entries { kind = "stop" } >= 1)
      assert.equal(job_id, here:entries { kind = "stop" }[1].job_id)
    end)

    it("says auth for a token that is refused", function()
      local here <close> = local_world.open { era = era }
      local client = here:sxwl { token = "wrong.token.here" }

      local err = helper.error_of(client.create_job, client, spec())

      assert.is_true(errors.is(err))
      assert.equal(0, #here:entries { kind = "job" })
      assert.is_nil((err.body or ""):find("wrong.token.here", 1, true))
    end)
  end)
end

describe("sxwl: lists", function()
  it("iterates over the jobs, newest first", function()
    local here <close> = local_world.open { now = local_world.stepping(1) }
    local client = here:sxwl()
    local ids = {}
    for i = 1, 5 do ids[6 - i] = client:create_job(spec()) end

    local seen = {}
    for row in client:jobs { size = 2 } do seen[#seen + 1] = row.jobName end

    assert.same(ids, seen)
    assert.equal(5, #client:jobs():all())
  end)

  it("knows GPU types and their prices", function()
    local here <close> = local_world.open {}

    local types = here:sxwl():gpu_types()

    local by_name = {}
    for _, row in ipairs(types) do by_name[row.gpuProd] = tostring(row.amount) end
    assert.equal("7 CNY", by_name[GPU])
  end)

  it("says not offered where a 404 answers", function()
    local here <close> = local_world.open { faults = "sxwl.jobs:error(404), sxwl.gpu_types:error(404)" }
    local client = here:sxwl()

    assert.equal("not_offered", helper.error_of(client.gpu_types, client).code)
    assert.equal("not_offered", helper.error_of(client:jobs()).code)
  end)
end)
