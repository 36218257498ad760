-- Distributed AI: train, infer and the waits, against the emulator in this process.
local amount = require "perigee.amount"
local budget = require "perigee.budget"
local deai = require "perigee.deai"
local errors = require "perigee.error"
local helper = require "tests.helper"
local local_world = require "tests.services.local_world"
local service = require "perigee.service"
local task = require "perigee.task"

local function data(text)
  local path = helper.tmpdir() .. "/data.csv"
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

local function cnn(fields)
  local path = data "pixels"
  local all = {
    model = "CNN", epoch = 2, jobName = "digits", x_train = deai.file(path), y_train = deai.file(path),
    train_shard = 0.8, category = 10, channel = 1,
  }
  for name, value in pairs(fields or {}) do all[name] = value end
  return all
end

describe("deai:train", function()
  it("uploads, estimates and creates a CNN job, and tells its price", function()
    local here <close> = local_world.open {}

    local result = here:deai():train(cnn())

    local job, estimate = here:entries { kind = "job" }[1], here:entries { kind = "estimate" }[1]
    assert.equal(job.jobID, result.jobID)
    assert.equal("digits", result.jobName)
    assert.equal(tostring(amount.base(estimate.ccd_cost, "CCD")), tostring(result.price))
    assert.equal("CNN", job.model)
    assert.equal(0, #here:entries { kind = "complaint" })
  end)

  it("creates an LSTM job and sends no field of the other model", function()
    local here <close> = local_world.open {}

    local result = here:deai():train { model = "LSTM", jobName = "series", x_train = deai.file(data "1,2,3") }

    assert.equal("LSTM", here:entries { kind = "job" }[1].model)
    assert.equal(here:entries { kind = "job" }[1].jobID, result.jobID)
    assert.equal(0, #here:entries { kind = "complaint" })
  end)

  it("is known to go on until its end was seen, or somebody infers with it", function()
    local here <close> = local_world.open { now = local_world.stepping(500) }
    local client, started = here:deai(), {}
    local function is_open(id)
      for _, one in ipairs(require("perigee.deai_flows").unfinished()) do
        if one.id == id then return true end
      end
      return false
    end

    for i = 1, 2 do started[i] = client:train(cnn { jobName = "digits" .. i }).jobID end
    assert.is_true(is_open(started[1]) and is_open(started[2]))
    client:wait_job(started[1])
    assert.is_false(is_open(started[1]))

    local answer = client:infer { jobID = started[2], file = data "1,2", wait = false }
    assert.is_false(is_open(started[2]))
    assert.is_true(is_open(answer.infer_id))
    client:wait_inference(answer.infer_id)
    assert.is_false(is_open(answer.infer_id))
  end)

  it("waits until the job is trained if it is told to", function()
    local here <close> = local_world.open { now = local_world.stepping(500) }
    local started

    local result = here:deai():train(cnn { wait = true, on_start = function(job) started = job.jobID end })

    assert.equal(result.jobID, started)
  end)

  it("refuses wrong fields of either step before anything is sent", function()
    local here <close> = local_world.open {}
    local client = here:deai()

    assert.equal("deai.train: batchSize must be from 1 to 2147483647, not 0",
      helper.error_of(client.train, client, cnn { batchSize = 0 }).message)
    assert.equal('deai.train: unknown field "epochs"; did you mean "epoch"?',
      helper.error_of(client.train, client, cnn { epochs = 2 }).message)
    assert.truthy(helper.error_of(client.train, client, cnn { model = "RNN" }).message:find 'must be "CNN" or "LSTM"')
    assert.truthy(helper.error_of(client.train, client, cnn { x_train = data "x" }).message:find "deai.file")
    assert.truthy(helper.error_of(client.train, client, cnn { y_train = deai.file "/nowhere" }).message:find "cannot be read")
    assert.equal(0, #here:entries { kind = "call" })
  end)

  it("denies what costs more than max_cost and creates nothing", function()
    local here <close> = local_world.open {}
    local client = here:deai()

    local err = helper.error_of(client.train, client, cnn { max_cost = "0.000001 CCD" })

    assert.equal("denied", err.kind)
    assert.equal("max_cost", err.code)
    assert.truthy(err.price and err.limit)
    assert.equal(0, #here:entries { kind = "job" })
    assert.equal(1, #here:entries { kind = "estimate" })
  end)

  it("counts against the budgets of the call, the client and the scope", function()
    local here <close> = local_world.open {}
    local of_call, of_client, of_scope = budget.new { total = "1 CCD" }, budget.new { total = "2 CCD" }, budget.new { total = "3 CCD" }
    local client = here:deai { budget = of_client }

    local result = budget.with(of_scope, function() return client:train(cnn { budget = of_call }) end)

    for _, b in ipairs { of_call, of_client, of_scope } do assert.equal(tostring(result.price), tostring(b:spent())) end
  end)

  it("looks a job up by its name if the reply has no jobID", function()
    local here <close> = local_world.open { faults = "deai.create_job:no_id=#2" }
    local client = here:deai()
    client:train(cnn())

    local result = client:train(cnn())

    assert.equal(here:entries { kind = "job" }[2].jobID, result.jobID)
  end)

  it("leaves a create without a jobID unknown, and held, if the list does not show it", function()
    local here <close> = local_world.open { faults = "deai.create_job:no_id, deai.jobs:error(503)" }
    local limit = budget.new { total = "10 CCD" }

    local err = helper.error_of(here:deai().train, here:deai(), cnn { budget = limit })

    assert.equal("unknown", err.outcome)
    assert.equal("no_job_id", err.code)
    assert.equal("0 CCD", tostring(limit:spent()))
    assert.equal(tostring(err.price), tostring(limit:unknown()))
  end)

  it("takes over a job whose reply was lost if exactly one new one has its name", function()
    local here <close> = local_world.open { faults = "deai.create_job:drop_after=#2" }
    local client, limit = here:deai(), budget.new { total = "10 CCD" }
    local first = client:train(cnn { budget = limit })

    local second = client:train(cnn { budget = limit })

    assert.equal(here:entries { kind = "job" }[2].jobID, second.jobID)
    assert.not_equal(first.jobID, second.jobID)
    assert.equal(2, #here:entries { kind = "call", operation = "create_job" })
    assert.equal(tostring(first.price + second.price), tostring(limit:spent()))
  end)

  it("leaves a create unknown, and held, if no new job appears", function()
    local here <close> = local_world.open { faults = "deai.create_job:drop_before" }
    local client, limit = here:deai { draft_rest = 0.1 }, budget.new { total = "10 CCD" }

    local err = helper.error_of(client.train, client, cnn { budget = limit })

    assert.equal("unknown", err.outcome)
    assert.equal("digits", err.jobName)
    assert.equal(1, #here:entries { kind = "call", operation = "create_job" })
    assert.is_false(limit:left() == amount "10 CCD")
  end)

  it("leaves a create unknown if two new jobs have its name", function()
    local here <close> = local_world.open { faults = "deai.create_job:drop_after=1" }
    local client = here:deai { draft_rest = 0.1 }
    local twin
    here.before = function(request)
      if twin or not request.url:find "createJob" then return end
      twin = true -- somebody else creates a job of the same name at the same moment
      here.world.faults:replace ""
      here.world:handle(request, os.time())
      here.world.faults:replace "deai.create_job:drop_after=1"
    end

    local err = helper.error_of(client.train, client, cnn())

    assert.equal("unknown", err.outcome)
    assert.equal(2, #here:entries { kind = "job" })
  end)

  it("leaves the low-level create_job unknown when its reply is lost", function()
    local here <close> = local_world.open { faults = "deai.create_job:drop_after" }
    local client = here:deai { draft_rest = 0.1 }
    client:estimate(cnn())

    local err = helper.error_of(client.create_job, client, { jobName = "digits" })

    assert.equal("unknown", err.outcome)
    assert.equal(1, #here:entries { kind = "job" })
  end)

  it("does not send a create in a cancelled task", function()
    local here <close> = local_world.open {}
    local client = here:deai()
    client:estimate(cnn())
    local running = task.spawn(function()
      local ok = pcall(task.sleep, 60)
      assert.is_false(ok)
      return pcall(client.create_job, client, { jobName = "digits" })
    end)
    task.sleep(0)

    running:cancel "enough"
    pcall(running.wait, running)

    assert.equal(0, #here:entries { kind = "call", operation = "create_job" })
  end)

  it("waits for the answer of a create that is cancelled on its way", function()
    local here <close> = local_world.open { faults = "deai.create_job:delay(300ms)" }
    local client, limit = here:deai(), budget.new { total = "10 CCD" }
    client:estimate(cnn())
    local running
    here.before = function(request)
      if request.url:find "createJob" then running:cancel "enough" end
    end
    running = task.spawn(function() return client:train(cnn { budget = limit }) end)

    pcall(running.wait, running)

    assert.equal(1, #here:entries { kind = "job" })
    assert.is_false(limit:spent() == amount "0 CCD")
  end)
end)

describe("deai:infer", function()
  local function trained(here, client)
    local job = client:train { model = "LSTM", jobName = "series", x_train = deai.file(data "1,2,3") }
    here.now = local_world.stepping(30, 2000)
    return job.jobID
  end

  it("returns the result with its exact charge, and settles at it", function()
    local here <close> = local_world.open {}
    local client, limit = here:deai(), budget.new { total = "10 CCD" }
    local job_id = trained(here, client)

    local result = client:infer { jobID = job_id, file = data "input", budget = limit }

    local entry = here:entries { kind = "inference" }[1]
    assert.equal(entry.infer_id, result.infer_id)
    assert.equal(entry.ccd_cost, result.ccd_cost:decimal())
    assert.truthy(result.tx_hash and result.result and result.submitTime)
    assert.equal(tostring(result.ccd_cost), tostring(limit:spent()))
  end)

  it("holds the price of a low-level start until the charge is read, and settles at that", function()
    local here <close> = local_world.open {}
    local client, limit = here:deai(), budget.new { total = "10 CCD" }
    local job_id = trained(here, client)
    local price = client:estimate_inference { jobID = job_id, data_path = deai.file(data "input") }

    local infer_id = client:start_inference { jobID = job_id, budget = limit }
    assert.same({ tostring(price), "0 CCD" }, { tostring(limit:held()), tostring(limit:spent()) })
    local failed = require("perigee.core.ops").stats().failed
    local row = client:wait_inference(infer_id)

    assert.equal(failed, require("perigee.core.ops").stats().failed, '"not ready yet" is an answer, not a failure')
    assert.same({ "0 CCD", tostring(row.ccd_cost) }, { tostring(limit:held()), tostring(limit:spent()) })
  end)

  it("names the job that goes on when on_start raises", function()
    local here <close> = local_world.open {}
    local client = here:deai()
    local job_id = trained(here, client)
    local before = #service.left_behind()

    local ok = pcall(client.infer, client, { jobID = job_id, file = data "input", on_start = function() error "no" end })

    assert.is_false(ok)
    assert.equal(before + 1, #service.left_behind())
  end)

  it("takes data_path or file, not both", function()
    local here <close> = local_world.open {}
    local client = here:deai()

    local err = helper.error_of(client.infer, client, { jobID = "1", file = "a", data_path = "b" })

    assert.equal("invalid", err.kind)
  end)

  it("tells what it started before it waits, and what goes on when the wait ends", function()
    local here <close> = local_world.open { faults = "deai.start_inference:never" }
    local client = here:deai()
    local job_id = trained(here, client)
    local started
    local before = #service.left_behind()

    local err = helper.error_of(client.infer, client, {
      jobID = job_id, file = data "input", timeout = 1, on_start = function(inference) started = inference end,
    })

    assert.equal("timeout", err.kind)
    assert.equal(started.infer_id, err.infer_id)
    assert.truthy(err.message:find("goes on, still paid for", 1, true))
    local left = service.left_behind()
    assert.equal(before + 1, #left)
    assert.equal(started.infer_id, left[#left].id)
  end)

  it("sees through every way in which an inference can be unfinished", function()
    local here <close> = local_world.open {
      faults = "deai.inference:error(503)=#2, deai.inference:garbage=#3, deai.inference:drop_before=#4",
    }
    local client = here:deai()
    local job_id = trained(here, client)
    here.now = local_world.stepping(40, 2500)

    local result = client:infer { jobID = job_id, file = data "input" }

    assert.truthy(result.tx_hash)
  end)

  it("says insufficient funds when the account cannot pay", function()
    local here <close> = local_world.open {}
    local client = here:deai()
    local job_id = trained(here, client)
    here.world.deai.accounts[require "perigee.emulator.world".EMAIL].balance = 0

    local err = helper.error_of(client.infer, client, { jobID = job_id, file = data "input" })

    assert.equal("funds", err.kind)
    assert.equal("none", err.outcome)
  end)
end)

describe("deai:wait_job", function()
  it("asks a probe of the caller's instead of its own", function()
    local here <close> = local_world.open {}
    local asked = 0

    local result = here:deai():wait_job("12", { probe = function() asked = asked + 1 return asked == 2 end })

    assert.equal("probe", result.by)
    assert.equal(0, #here:entries { kind = "call" })
  end)

  it("never says that a job failed: time-out is all there is", function()
    local here <close> = local_world.open {}
    local client = here:deai()

    local err = helper.error_of(client.wait_job, client, "12", { timeout = 0.1 })

    assert.equal("timeout", err.kind)
    assert.equal("12", err.jobID)
    assert.is_false(err.retryable)
  end)

  it("raises a refused password at once", function()
    local here <close> = local_world.open {}
    local client = here:deai { password = "wrong" }

    local err = helper.error_of(client.wait_job, client, "12", {})

    assert.is_true(errors.is(err, "auth"))
  end)
end)
