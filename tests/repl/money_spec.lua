-- money_spec.lua - what a session pays, a person has said yes to: over the emulator, with a session that is none.
local amount = require "perigee.amount"
local budget = require "perigee.budget"
local deai = require "perigee.deai"
local errors = require "perigee.error"
local helper = require "tests.helper"
local local_world = require "tests.services.local_world"
local retry = require "perigee.retry"
local service = require "perigee.service"
local task = require "perigee.task"

local GPU <const> = "NVIDIA-GeForce-RTX-3090"

-- A session whose person answers with the words of the list, then with no; answers may be functions of the question.
local function new_session(answers)
  local session = { asked = {}, kind = "repl" }
  function session.ask(question)
    session.asked[#session.asked + 1] = question
    local answer = answers[#session.asked] or "no"
    if type(answer) == "function" then return answer(question) end
    return answer
  end
  return session
end

-- f(…) as an input of the session: in a task of its own, as perigee.repl runs it.
local function input(session, f, ...)
  local args = table.pack(...)
  local line = task.spawn(function()
    task.set_local("perigee.session", session)
    task.set_local("perigee.entry", {})
    return f(table.unpack(args, 1, args.n))
  end)
  return line:wait()
end

local function data_file(content)
  local path = helper.tmpdir() .. "/data.csv"
  local file = assert(io.open(path, "wb"))
  file:write(content or "pixels")
  file:close()
  return path
end

local function training(name, more)
  local fields = {
    model = "CNN", epoch = 2, jobName = name or "digits", x_train = "a/x.csv", y_train = "a/y.csv", train_shard = 0.8,
    category = 10, channel = 1,
  }
  for field, value in pairs(more or {}) do fields[field] = value end
  return fields
end

local function gpu_job(more)
  local fields = {
    gpuNumber = 1, gpuType = GPU, ckptPath = "/ckpt", ckptVol = 1000, modelPath = "/model", modelVol = 1000,
    imagePath = "image", jobType = "GeneralJob", stopType = "1", stopTime = 60,
  }
  for field, value in pairs(more or {}) do fields[field] = value end
  return fields
end

local PRICES <const> = { [GPU] = "7 CNY/h" }

local function uploaded(here, client)
  return client:upload(data_file())
end

-- A client and the fields of a training whose data is on the service.
local function ready(here, name, more)
  local client = here:deai()
  local path = uploaded(here, client)
  return client, training(name, { x_train = path, y_train = path, table.unpack(more or {}) })
end

local function creates(here, operation)
  return here.world.ledger:calls(operation == "sxwl" and "sxwl" or "deai", operation == "sxwl" and "create_job" or operation or "create_job")
end

describe("a paid call of a session", function()
  it("is made after a yes, once, with its price, worst case and what is left in the question", function()
    local here <close> = local_world.open {}
    local client, fields = ready(here)
    fields.budget = budget.new { total = "5 CCD" }
    local session = new_session { "yes" }

    local result = input(session, client.train, client, fields)

    assert.equal(1, #session.asked)
    assert.equal(1, creates(here))
    local question = session.asked[1]
    assert.equal(tostring(result.price), tostring(question.price))
    assert.equal(tostring(result.price), tostring(question.worst))
    assert.equal("5 CCD", tostring(question.left))
    for _, text in ipairs { "digits", tostring(result.price), "5 CCD of 5 CCD", "balance", "Pay?" } do
      assert.truthy(question.text:find(text, 1, true), question.text)
    end
  end)

  it("is not made after a no: nothing is sent, nothing is held", function()
    local here <close> = local_world.open {}
    local client, fields = ready(here)
    local b = budget.new { total = "5 CCD" }
    fields.budget = b
    local session = new_session { "no" }

    local err = helper.error_of(input, session, client.train, client, fields)

    assert.is_true(errors.is(err, "denied"))
    assert.equal("declined", err.code)
    assert.equal("none", err.outcome)
    assert.equal(0, creates(here))
    assert.equal("5 CCD", tostring(b:left()))
  end)

  it("takes anything but a yes for a no", function()
    local here <close> = local_world.open {}
    local client, fields = ready(here)
    for _, answer in ipairs { "", "maybe", "YES", 1, true, function() return nil end } do
      local session = new_session { answer }
      assert.equal("declined", helper.error_of(input, session, client.train, client, fields).code)
    end
    assert.equal(0, creates(here))
  end)

  it("takes all for a no where it is not offered: a call without a price", function()
    local here <close> = local_world.open {}
    local client = here:sxwl {}
    assert.equal("declined", helper.error_of(input, new_session { "all" }, client.create_job, client, gpu_job()).code)
    assert.equal(0, creates(here, "sxwl"))
  end)

  it("that no question is put for is denied: the gate is where the permit is asked for", function()
    local here <close> = local_world.open {}
    local client = here:sxwl { prices = PRICES }
    local fields = require("perigee.core.ops").check("sxwl", "create_job", gpu_job())
    local session = new_session { "yes" }
    local err = helper.error_of(input, session, service.pay_or_raise, client, "create_job", fields, {}, { key = GPU, price = amount "7 CNY" })
    assert.equal("not_confirmed", err.code)
    assert.equal(0, #session.asked)
    assert.equal(0, creates(here, "sxwl"))
  end)

  it("can get its permit in one place alone", function()
    local callers = {}
    for _, name in ipairs(require("perigee.fs").list "scripts/lib") do
      local path = type(name) == "table" and name.name or name
      local file = path:match "%.lua$" and assert(io.open("scripts/lib/" .. path))
      if file then
        if file:read("a"):find("spend%.request%f[%A]%s*[({,]") then callers[#callers + 1] = path end
        file:close()
      end
    end
    assert.same({ "permit.lua" }, callers)
  end)

  it("is denied where there is nobody to ask, and made where asking is turned off", function()
    local here <close> = local_world.open {}
    local client, fields = ready(here)

    local err = helper.error_of(input, { kind = "repl" }, client.train, client, fields)
    assert.equal("not_confirmed", err.code)
    assert.truthy(err.hint:find("--yes", 1, true))
    assert.equal(0, creates(here))

    input({ kind = "repl", yes = true }, client.train, client, fields)
    local session = new_session {}
    session.yes = true
    input(session, client.train, client, fields)
    assert.equal(2, creates(here))
    assert.equal(0, #session.asked)
  end)

  it("is not asked about in a script", function()
    local here <close> = local_world.open {}
    local client, fields = ready(here)
    client:train(fields)
    assert.equal(1, creates(here))
  end)

  it("is not made when the line is cancelled at the question", function()
    local here <close> = local_world.open {}
    local client, fields = ready(here)
    local line
    local session = new_session { function()
      line:cancel "Ctrl-C"
      task.sleep(60)
    end }

    line = task.spawn(function()
      task.set_local("perigee.session", session)
      client:train(fields)
    end)

    assert.equal("cancelled", helper.error_of(line.wait, line).kind)
    assert.equal(0, creates(here))
  end)
end)

describe("while a person thinks", function()
  -- Answers yes after f() has been called in another task, which must come to its end meanwhile.
  local function after(f)
    return function()
      local scope <close> = task.scope()
      scope:spawn(f):wait()
      return "yes"
    end
  end

  it("no lock is held: a script's task trains under the same name, and then the session does", function()
    local here <close> = local_world.open {}
    local client, fields = ready(here)
    local first
    local session = new_session { after(function()
      task.set_local("perigee.session", nil)
      do
        local lock <close> = service.lock(client, "train", "digits") -- luacheck: ignore 211
      end
      first = client:train(fields)
    end) }
    local second = input(session, client.train, client, fields)
    assert.equal(1, #session.asked)
    assert.equal(2, creates(here))
    assert.not_equal(first.jobID, second.jobID)
  end)

  it("the draft of a training that somebody else replaces is not what is created", function()
    local here <close> = local_world.open {}
    local client, fields = ready(here)
    local session = new_session { after(function()
      task.set_local("perigee.session", nil)
      local dear = training("digits", { x_train = fields.x_train, y_train = fields.y_train, epoch = 200 })
      client:estimate(dear)
    end) }

    local result = input(session, client.train, client, fields)

    local job = here:entries { kind = "job" }[1]
    assert.equal(tostring(result.price), tostring(job.price or result.price))
    assert.equal(1, #session.asked)
    assert.equal(1, creates(here))
  end)

  it("a create of one draft is not one of another that the session makes meanwhile: it asks again", function()
    local here <close> = local_world.open {}
    local client, fields = ready(here)
    local cheap = training("digits", { x_train = fields.x_train, y_train = fields.y_train, epoch = 1 })
    local session = new_session { after(function() client:estimate(cheap) end), "no" }

    local err = helper.error_of(input, session, function()
      client:estimate(fields)
      return client:create_job { jobName = "digits" }
    end)

    assert.equal("declined", err.code)
    assert.equal(2, #session.asked)
    assert.truthy(session.asked[2].text:find("another estimate", 1, true))
    assert.equal(0, creates(here))
  end)

  it("a start is refused if somebody else has estimated the job meanwhile", function()
    local here <close> = local_world.open {}
    local client, fields = ready(here)
    local session = new_session { after(function()
      task.set_local("perigee.session", nil)
      client:estimate(fields)
    end) }

    local err = helper.error_of(input, session, function()
      client:estimate(fields)
      return client:create_job { jobName = "digits" }
    end)

    assert.equal("invalid", err.kind)
    assert.equal(0, creates(here))
  end)

  it("a price that went up is asked about again, and one that went down is not", function()
    local here <close> = local_world.open {}
    local client = here:sxwl { prices = PRICES }
    local function price(text)
      return function()
        client.prices[GPU] = amount(text)
        return "yes"
      end
    end
    local session = new_session { price "8 CNY", price "9 CNY", price "3 CNY" }

    input(session, client.create_job, client, gpu_job())

    assert.equal(3, #session.asked)
    assert.equal("8 CNY", tostring(session.asked[2].price))
    assert.truthy(session.asked[2].text:find("yes to 7 CNY", 1, true), session.asked[2].text)
    assert.equal("9 CNY", tostring(session.asked[3].price))
    assert.equal(1, creates(here, "sxwl"))
  end)

  it("a price that became unknown is asked about again, and so is one that became known", function()
    local here <close> = local_world.open {}
    local client = here:sxwl { prices = PRICES }
    local session = new_session { function()
      client.prices[GPU] = nil
      return "yes"
    end, function()
      client.prices[GPU] = amount "1 CNY"
      return "yes"
    end }
    assert.equal("declined", helper.error_of(input, session, client.create_job, client, gpu_job()).code)
    assert.equal(3, #session.asked)
    assert.equal(0, creates(here, "sxwl"))
  end)
end)

describe("the question", function()
  it("says that a price is not known, and that nothing bounds the call", function()
    local here <close> = local_world.open {}
    local client = here:sxwl {}
    local session = new_session {}
    helper.error_of(input, session, client.create_job, client, gpu_job())
    for _, text in ipairs { "not known", "nothing bounds", "no max_cost and no budget" } do
      assert.truthy(session.asked[1].text:find(text, 1, true), session.asked[1].text)
    end
    assert.is_nil(session.asked[1].price)
    assert.is_false(session.asked[1].all)
  end)

  it("says what a job without an end costs in an hour", function()
    local here <close> = local_world.open {}
    local client = here:sxwl { prices = PRICES }
    local session = new_session {}
    helper.error_of(input, session, client.create_job, client, gpu_job { stopType = "0", stopTime = nil, gpuNumber = 2 })
    assert.truthy(session.asked[1].text:find("14 CNY an hour", 1, true), session.asked[1].text)
    assert.truthy(session.asked[1].text:find("nothing ends the job", 1, true))
  end)

  it("does not come for what a limit denies", function()
    local here <close> = local_world.open {}
    local client, fields = ready(here)
    local gpu = here:sxwl { prices = PRICES }
    local session = new_session {}
    local small = budget.new { total = "0.000001 CCD" }
    for code, call in pairs {
      max_cost = function() client:train(training("digits", { x_train = fields.x_train, y_train = fields.x_train, max_cost = "0.000001 CCD" })) end,
      over_budget = function() budget.with(small, client.train, client, fields) end,
      currency = function() budget.with(budget.new { total = "5 CNY" }, client.train, client, fields) end,
      no_worst_case = function() gpu:create_job(gpu_job { stopType = "0", stopTime = nil, max_cost = "5 CNY" }) end,
    } do
      local err = helper.error_of(input, session, call)
      assert.equal("denied", err.kind)
      assert.equal(code, err.code)
    end
    assert.equal(0, #session.asked)
    assert.equal(0, creates(here))
  end)
end)

describe("an answer", function()
  it("is good for one call", function()
    local here <close> = local_world.open {}
    local client, fields = ready(here)
    local session = new_session { "yes" }
    local err = helper.error_of(input, session, function()
      client:train(fields)
      client:train(fields)
    end)
    assert.equal("declined", err.code)
    assert.equal(2, #session.asked)
    assert.equal(1, creates(here))
  end)

  it('"all" is good for further calls of the input up to that price, and of no other input', function()
    local here <close> = local_world.open {}
    local client, fields = ready(here)
    local dear = training("dear", { x_train = fields.x_train, y_train = fields.x_train, epoch = 50 })
    local session = new_session { "all" }

    local err = helper.error_of(input, session, function()
      client:train(fields)
      client:train(fields)
      client:train(dear)
    end)
    assert.equal("declined", err.code)
    assert.equal(2, #session.asked)
    assert.equal(2, creates(here))

    helper.error_of(input, session, client.train, client, fields)
    assert.equal(3, #session.asked)
    assert.equal(2, creates(here))
  end)

  it("of one task is not that of another that asks at the same time", function()
    local here <close> = local_world.open {}
    local client, fields = ready(here)
    local open, most = 0, 0
    local function answer(word)
      return function()
        open = open + 1
        most = math.max(most, open)
        task.sleep(0.01)
        open = open - 1
        return word
      end
    end
    local session = new_session { answer "yes", answer "no" }

    input(session, function()
      task.map({ "one", "two" }, function(name)
        return client:train(training(name, { x_train = fields.x_train, y_train = fields.x_train }))
      end, { mode = "collect" })
    end)

    assert.equal(2, #session.asked)
    assert.equal(1, most)
    assert.equal(1, creates(here))
  end)

  it('"all" counts for a task of the input that waits to ask', function()
    local here <close> = local_world.open {}
    local client, fields = ready(here)
    local session = new_session { function()
      task.sleep(0.05)
      return "all"
    end }
    input(session, function()
      task.map({ "one", "two", "three" }, function(name)
        return client:train(training(name, { x_train = fields.x_train, y_train = fields.x_train }))
      end)
    end)
    assert.equal(1, #session.asked)
    assert.equal(3, creates(here))
  end)

  it("holds when the request was refused for its token and goes out again", function()
    local here <close> = local_world.open { faults = "deai.create_job:expired=#1" }
    local client, fields = ready(here)
    local session = new_session { "yes" }
    input(session, client.train, client, fields)
    assert.equal(1, #session.asked)
    assert.equal(2, creates(here))
    assert.equal(1, #here:entries { kind = "job" })
  end)

  it("no is not asked for again by a retry", function()
    local here <close> = local_world.open {}
    local client, fields = ready(here)
    local session = new_session { "no", "yes", "yes" }
    local again = retry.new { attempts = 3, base = 0.01, on = { "denied", "retryable" } }
    local err = helper.error_of(input, session, again.run, again, function() return client:train(fields) end)
    assert.equal("declined", err.code)
    assert.equal(1, #session.asked)
    assert.equal(0, creates(here))
  end)
end)

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
    local path = client:upload(data_file())
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
