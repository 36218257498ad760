-- money_steps_spec.lua - what a session pays in several steps, or many at once: asked about once.
local amount = require "perigee.amount"
local budget = require "perigee.budget"
local helper = require "tests.helper"
local local_world = require "tests.services.local_world"
local retry = require "perigee.retry"
local stage = require "tests.repl.money_stage"

local GPU <const>, PRICES <const> = stage.GPU, stage.PRICES
local creates, gpu_job, input, new_session, ready, training =
  stage.creates, stage.gpu_job, stage.input, stage.new_session, stage.ready, stage.training

describe("calls of several steps", function()
  it("infer asks before it starts", function()
    local here <close> = local_world.open {}
    local client, fields = ready(here)
    local trained = client:train(fields)
    here.now = local_world.stepping(30, 2000)
    local session = new_session { "no", "yes" }
    local job = { jobID = trained.jobID, data_path = fields.x_train, wait = false }

    assert.equal("declined", helper.error_of(input, session, client.infer, client, job).code)
    assert.equal(0, creates(here, "start_inference"))
    assert.truthy(input(session, client.infer, client, job).infer_id)
    assert.equal(1, creates(here, "start_inference"))
  end)

  it("run with retries asks once, for all attempts", function()
    local here <close> = local_world.open { faults = "sxwl.create_job:fail=2", now = local_world.stepping(4000) }
    local client = here:sxwl { prices = PRICES }
    local session = new_session { "yes" }
    local result = input(session, client.run, client, gpu_job { retry = { attempts = 3, base = 0.01, on = "job_failed" } })
    assert.equal(3, result.attempts)
    assert.equal(1, #session.asked)
    assert.equal(3, session.asked[1].count)
    assert.equal("21 CNY", tostring(session.asked[1].worst))
    assert.truthy(session.asked[1].text:find("21 CNY for 3 attempts", 1, true), session.asked[1].text)
  end)

  it("run with retries asks again for an attempt that is dearer, and the others have their answer", function()
    local here <close> = local_world.open { faults = "sxwl.create_job:fail=2", now = local_world.stepping(4000) }
    local client = here:sxwl { prices = PRICES }
    local session = new_session { "yes", "no" }
    local err = helper.error_of(input, session, client.run, client, gpu_job {
      retry = { attempts = 3, base = 0.01, on = "job_failed" },
      on_start = function() client.prices[GPU] = amount "8 CNY" end,
    })
    assert.equal("declined", err.code)
    assert.equal(2, session.asked[2].count)
    assert.equal(1, creates(here, "sxwl"))
  end)

  it("a plan of attempts allows nothing that is done beside them", function()
    local here <close> = local_world.open { faults = "sxwl.create_job:fail=1", now = local_world.stepping(4000) }
    local client = here:sxwl { prices = PRICES }
    local session = new_session { "yes", "no" }
    local inner
    input(session, client.run, client, gpu_job {
      retry = { attempts = 3, base = 0.01, on = "job_failed" },
      on_start = function() inner = inner or helper.error_of(client.create_job, client, gpu_job()) end,
    })
    assert.equal("declined", inner.code)
    assert.equal(2, creates(here, "sxwl"))
  end)

  it("a policy of the user's own asks for each attempt", function()
    local here <close> = local_world.open { faults = "sxwl.create_job:fail=2", now = local_world.stepping(4000) }
    local client = here:sxwl { prices = PRICES }
    local session = new_session { "yes", "yes", "no" }
    local again = retry.new { attempts = 5, base = 0.01, on = "job_failed" }
    local err = helper.error_of(input, session, again.run, again, function() return client:run(gpu_job()) end)
    assert.equal("declined", err.code)
    assert.equal(2, creates(here, "sxwl"))
  end)
end)

describe("fan_out", function()
  local function trained(here)
    local client = here:deai { status_rate = 10000 }
    local path = client:upload(stage.data_file())
    local job_id = client:train(training("digits", { x_train = path, y_train = path })).jobID
    here.now = local_world.stepping(600, 2000)
    return client, job_id
  end

  local function inputs(count)
    local dir, files = helper.tmpdir(), {}
    for i = 1, count do
      files[i] = ("%s/%d.csv"):format(dir, i)
      require("perigee.fs").write(files[i], ("input %d\n"):format(i):rep(i))
    end
    return files, dir .. "/results.jsonl"
  end

  it("asks once, with the number of its inputs and what they cost together", function()
    local here <close> = local_world.open { seed = 3 }
    local client, job_id = trained(here)
    local files, results = inputs(5)
    local session = new_session { "yes" }

    local report = input(session, client.fan_out, client, { jobID = job_id, files = files, results = results })

    assert.equal(5, report.done)
    assert.equal(1, #session.asked)
    local question = session.asked[1]
    assert.equal(5, question.count)
    assert.is_true(question.worst >= question.price)
    assert.is_true(question.worst < question.price * 6)
    assert.truthy(question.text:find("for 5 inferences", 1, true), question.text)
  end)

  it("starts nothing after a no, and asks for what is left when it is run again", function()
    local here <close> = local_world.open { seed = 3 }
    local client, job_id = trained(here)
    local files, results = inputs(3)
    local session = new_session { "no", "yes" }
    local run = { jobID = job_id, files = { files[1] }, results = results }

    assert.equal("declined", helper.error_of(input, session, client.fan_out, client, run).code)
    assert.equal(0, creates(here, "start_inference"))
    assert.equal(1, input(session, client.fan_out, client, run).done)

    session = new_session { "yes" }
    run.files = files
    assert.equal(3, input(session, client.fan_out, client, run).done)
    assert.equal(2, session.asked[1].count)

    session = new_session {}
    assert.equal(3, input(session, client.fan_out, client, run).done)
    assert.equal(0, #session.asked)
  end)

  it("asks about one input by itself that became dearer, and the others keep their answer", function()
    local permit = require "perigee.permit"
    local session = new_session { "yes", "yes", "no" }
    local function request(price)
      return { service = "deai", operation = "start_inference", key = "7", price = amount(price .. " CCD") }
    end
    local plan
    local function start(price)
      return permit.staged(plan, function() permit.request(request(price)):close() end)
    end
    local err = helper.error_of(input, session, function()
      plan = permit.plan(3, "inferences")
      permit.confirm(plan, { request "1", request "2", request "3" })
      start "1"
      start "4"
      start "2"
      start "3"
      start "1"
    end)
    assert.equal("declined", err.code)
    assert.equal(3, #session.asked)
    assert.equal("6 CCD", tostring(session.asked[1].worst))
    assert.equal(1, session.asked[2].count)
    assert.equal("4 CCD", tostring(session.asked[2].worst))
  end)

  it("does not ask for what no budget allows", function()
    local here <close> = local_world.open { seed = 3 }
    local client, job_id = trained(here)
    local files, results = inputs(2)
    local session = new_session {}
    local report = input(session, client.fan_out, client, {
      jobID = job_id, files = files, results = results, budget = budget.new { total = "0.000000001 CCD" },
    })
    assert.equal("over_budget", report.stopped.code)
    assert.equal(0, #session.asked)
  end)
end)
