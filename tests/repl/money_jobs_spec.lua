-- money_jobs_spec.lua - jobs of a session: asked about before they are submitted, and again when they are dearer.
local play = require "tests.support.supervised".play

-- A session over the stage's supervisor: answers is the list of what its person says; asked has the questions.
local SESSION <const> = [[
  local permit = require "perigee.permit"
  local money_jobs = require "perigee.repl_money_jobs"
  local amount = require "perigee.amount"
  local handlers = require "perigee.job_backend".handlers(sup.verbs, { who = "the prompt" })
  local function direct(verb, args) return handlers["jobs." .. verb](args) end
  asked, answers = {}, {}
  session = { kind = "repl" }
  function session.ask(question)
    asked[#asked + 1] = question
    local answer = answers[#asked] or "no"
    if type(answer) == "function" then return answer(question) end
    return answer
  end
  permit.guard(session)
  local watch = money_jobs.watch(session, direct)
  function on_event(event, data) watch(event, data) end
  function ask_verb(verb, args) return money_jobs.call(session, direct, verb, args) end
  function price(text) clients.sxwl.prices[spec.gpuType] = amount(text) end
  function prepared(more, fields)
    local own = {}
    for name, value in pairs(spec) do own[name] = value end
    own.stopTime = 60
    for name, value in pairs(fields or {}) do own[name] = value end
    local t = { service = "sxwl", name = "job", spec = own }
    for name, value in pairs(more or {}) do t[name] = value end
    return require "perigee.job_spec".prepare(t)
  end
  function code(f, ...)
    local ok, err = pcall(f, ...)
    return ok and "none" or err.kind .. "/" .. tostring(err.code)
  end
]]

local function scene(text, options)
  local out, stderr = play(SESSION .. text, options)
  return out, stderr
end

describe("a job of a session", function()
  it("is asked about before anything of it is in the journal, and sent after a yes", function()
    local out = scene [[
      answers[1] = function() print("jobs", #direct_list()) return "yes" end
      function direct_list() return sup.verbs.list {} end
      local view = ask_verb("submit", prepared())
      print(wait(view.id).state, #asked, created())
      print(asked[1].text)
    ]]
    assert.equal(table.concat({
      "jobs\t0", "succeeded\t1\t1",
      "the job job",
      "  price       6 CNY, 1 GPU for at most 60 min (stopTime, as its spec says) at 6 CNY an hour cost at most 6 CNY",
      "  worst case  6 CNY",
      "  limits      none: no max_cost and no budget applies",
      "Pay? [y]es, [n]o:",
    }, "\n") .. "\n", out)
  end)

  it("is not there after a no, and its name is free", function()
    local out = scene [[
      answers = { "no", "yes" }
      print(code(ask_verb, "submit", prepared()), #sup.verbs.list {}, created())
      print(wait(ask_verb("submit", prepared()).id).state)
    ]]
    assert.equal("denied/declined\t0\t0\nsucceeded\n", out)
  end)

  it("that is there already costs nothing and is not asked about", function()
    local out = scene [[
      answers = { "yes" }
      local first = ask_verb("submit", prepared())
      local second = ask_verb("submit", prepared())
      print(first.id == second.id, #asked)
    ]]
    assert.equal("true\t1\n", out)
  end)

  it("is denied without anybody to ask, and submitted with yes", function()
    local out = scene [[
      session.ask = nil
      print(code(ask_verb, "submit", prepared()), #sup.verbs.list {})
      session.yes = true
      print(wait(ask_verb("submit", prepared()).id).state)
    ]]
    assert.equal("denied/not_confirmed\t0\nsucceeded\n", out)
  end)

  it("that a limit denies is not asked about", function()
    local out = scene [[
      print(code(ask_verb, "submit", prepared { max_cost = "5 CNY" }), #asked)
      print(code(ask_verb, "submit", prepared { max_cost = "5 CCD" }), #asked)
    ]]
    assert.equal("denied/max_cost\t0\ndenied/currency\t0\n", out)
  end)

  it("is asked about once for all of its attempts", function()
    local out = scene([[
      answers = { "yes" }
      local view = ask_verb("submit", prepared { retry = { attempts = 3, base = 1 } })
      print(wait(view.id).state, #asked, created(), asked[1].count, asked[1].worst)
    ]], { faults = "sxwl.create_job:fail=2" })
    assert.equal("succeeded\t1\t3\t3\t18 CNY\n", out)
  end)

  it("whose price went up after the yes is held, asked about again, and sent for that or not at all", function()
    for answer, ending in pairs { yes = "succeeded\t2\t1\t7 CNY", no = "denied\t2\t0\t7 CNY" } do
      local out = scene(([[
        answers = { function() price "7 CNY" return "yes" end, %q }
        local view = ask_verb("submit", prepared())
        print(wait(view.id).state, #asked, created(), asked[2].price)
      ]]):format(answer))
      assert.equal(ending .. "\n", out)
    end
  end)

  it("whose second attempt is dearer is asked about again, and no lock of it is held meanwhile", function()
    local out = scene([[
      local id
      answers = { "yes", function()
        local view = sup.verbs.get(id)
        print(view.state, view.attempt, created())
        sup.verbs.stop(id, { who = "another task" })
        return "yes"
      end }
      id = ask_verb("submit", prepared { retry = { attempts = 3, base = 1 } }).id
      price "7 CNY"
      print(wait(id).state, #asked, created())
    ]], { faults = "sxwl.create_job:fail=2" })
    assert.truthy(out:find "^held\t%d\t%d\n")
    assert.truthy(out:find("stopped\t2\t", 1, true), out)
  end)

  it("whose price went down, or whose request had no effect, is not asked about again", function()
    local out = scene([[
      answers = { function() price "5 CNY" return "yes" end }
      local view = ask_verb("submit", prepared())
      print(wait(view.id).state, #asked, created(), job(view.id).price)
    ]], { faults = "sxwl.create_job:rate_limit(1s)=2" })
    assert.equal("succeeded\t1\t1\t5 CNY\n", out)
  end)

  it("keeps its answer's price also under a supervisor that knows of no session", function()
    local out = scene [[
      answers = { function() permit.guard(nil) price "7 CNY" return "yes" end }
      on_event = nil
      local view = ask_verb("submit", prepared())
      sleep(60)
      print(job(view.id).state, job(view.id).reason, created())
      sup.verbs.approve(view.id, "ann")
      print(wait(view.id).state, created())
    ]]
    assert.equal("held\t6 CNY were confirmed, and by now it costs 7 CNY\t0\nsucceeded\t1\n", out)
  end)

  it("that somebody else has submitted is not sent by a session's supervisor without a yes", function()
    local out = scene [[
      answers = { "no" }
      local id = submit {}
      sleep(60)
      print(job(id).state, #asked, created())
      sup.verbs.approve(id, "ann")
      print(wait(id).state, created())
    ]]
    assert.equal("held\t1\t0\nsucceeded\t1\n", out)
  end)

  it("is still a matter of the policies after a yes", function()
    local out = scene [[
      local verdicts = 0
      function ask(event)
        if event ~= "job.submit" then return nil end
        verdicts = verdicts + 1
        return { decision = "deny", why = "no" }
      end
      answers = { "yes" }
      print(wait(ask_verb("submit", prepared()).id).state, verdicts, created())
    ]]
    assert.equal("denied\t1\t0\n", out)
  end)
end)

describe("other paid verbs of a session", function()
  it("retry asks for the price of another attempt, and is good for that one", function()
    local out = scene([[
      answers = { "yes", "no", "yes", "no" }
      local id = ask_verb("submit", prepared()).id
      print(wait(id).state, #asked)
      print(code(ask_verb, "retry", { id = id }), job(id).state)
      price "9 CNY"
      ask_verb("retry", { id = id })
      print(wait(id).state, #asked, asked[3].price, created())
    ]], { faults = "sxwl.create_job:fail=2" })
    assert.equal("failed\t1\ndenied/declined\tfailed\nfailed\t3\t9 CNY\t2\n", out)
  end)

  it("approve asks, for the price that is shown and no other", function()
    local out = scene [[
      function ask(event) return event == "job.submit" and { decision = "hold", why = "look" } or nil end
      on_event = nil
      session.yes = true
      local id = ask_verb("submit", prepared()).id
      sleep(1)
      session.yes = false
      print(job(id).state, code(ask_verb, "approve", { id = id }), #asked)
      answers[2] = function()
        print(code(direct_approve, id))
        return "yes"
      end
      function direct_approve(job_id) sup.verbs.approve(job_id, { who = "ann", price = "5 CNY" }) end
      ask_verb("approve", { id = id })
      print(wait(id).state, #asked)
    ]]
    assert.equal("held\tdenied/declined\t1\ninvalid/other_price\nsucceeded\t2\n", out)
  end)
end)
