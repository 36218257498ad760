-- money_spec.lua - what a session pays, a person has said yes to: over the emulator, with a session that is none.
local amount = require "perigee.amount"
local budget = require "perigee.budget"
local errors = require "perigee.error"
local helper = require "tests.helper"
local local_world = require "tests.services.local_world"
local retry = require "perigee.retry"
local service = require "perigee.service"
local task = require "perigee.task"
local stage = require "tests.repl.money_stage"

local GPU <const>, PRICES <const> = stage.GPU, stage.PRICES
local creates, gpu_job, input, new_session, ready, training =
  stage.creates, stage.gpu_job, stage.input, stage.new_session, stage.ready, stage.training

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
    for _, text in ipairs {
      "digits", client.account .. " at http://emulator-", tostring(result.price), "5 CCD of 5 CCD",
      "balance", "Pay?",
    } do
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
    local terms = { key = GPU, price = amount "7 CNY" }
    local err = helper.error_of(input, session, service.pay_or_raise, client, "create_job", fields, {}, terms)
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

    local absent = new_session { "nobody" } -- a console whose other side has no terminal
    assert.equal("not_confirmed", helper.error_of(input, absent, client.train, client, fields).code)
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
      max_cost = function()
        local path = fields.x_train
        client:train(training("digits", { x_train = path, y_train = path, max_cost = "0.000001 CCD" }))
      end,
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
