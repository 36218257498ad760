-- Jobs of Distributed AI: estimates under locks, names that carry the intent, nothing that can be stopped.
local play = require "tests.support.supervised".play

local WORDS <const> = [[
  local path = os.tmpname()
  local f <close> = io.open(path, "w")
  f:write(("1,2,3\n"):rep(100))
  f:close()
  local file = require "perigee.deai".file
  local function train(t, fields)
    local all = { model = "LSTM", epoch = 2, x_train = file(path), train_shard = 0.8, jobName = "weather" }
    for name, value in pairs(fields or {}) do all[name] = value end
    t.service, t.kind, t.name, t.max_cost, t.spec = "deai", "train", t.name or "train", t.max_cost or "5 CCD", all
    return sup.verbs.submit(require "perigee.job_spec".prepare(t), { who = "a spec" }).id
  end
  local function infer(t, job_id)
    t.service, t.kind, t.name, t.max_cost = "deai", "infer", t.name or "infer", t.max_cost or "5 CCD"
    t.spec = { jobID = job_id, data_path = file(path) }
    return sup.verbs.submit(require "perigee.job_spec".prepare(t), { who = "a spec" }).id
  end
  local function trained() return wait(train {}, 36000).result.jobID end
  local function jobs() return #world.world.ledger:created "deai" end
]]

local function scene(text, options)
  return (play(WORDS .. text, options))
end

describe("a supervised training", function()
  it("is priced, created under a name with its intent, watched, and settled at its price", function()
    local out = scene [[
      local id = train {}
      local job = wait(id, 36000)
      print(job.state, job.cost == job.price, job.result.jobID == job.remote_id, job.result.by)
      local made = world.world.ledger:created "deai"[1].jobName
      print(#world.world.ledger:created "deai", made == "weather-" .. sup.verbs.why(id).attempts[1].intent)
      print(kinds(id), permits(id) == "settled:" .. job.price)
    ]]

    assert.equal("succeeded\ttrue\ttrue\tsubmission\n1\ttrue\nsubmit price reserve create poll settle\ttrue\n", out)
  end)

  it("keeps a long name within bounds, the intent whole", function()
    local out = scene [[
      local id = train({}, { jobName = ("x"):rep(190) .. "é" })
      wait(id, 36000)
      local made = world.world.ledger:created "deai"[1].jobName
      print(#made, made:match "%-(%x+)$" == sup.verbs.why(id).attempts[1].intent)
    ]]

    assert.equal("113\ttrue\n", out)
  end)

  it("keeps a long name of Chinese characters up to a whole one", function()
    local name_of = require("perigee.supervisor_deai").name_of
    assert.equal(("训练"):rep(13) .. "-abc", name_of(("训练"):rep(40), "abc"))
    assert.equal(("x"):rep(80) .. "-abc", name_of(("x"):rep(79) .. "x训", "abc"))
    assert.equal(("x"):rep(79) .. "-abc", name_of(("x"):rep(79) .. "训", "abc"))
  end)

  it("whose reply was lost, or came without a jobID, is found by its name", function()
    for _, fault in ipairs {"drop_after", "no_id"} do
      local out = scene([[
        local id = train {}
        print(wait(id, 36000).state, jobs(), said())
      ]], {faults = "deai.create_job:" .. fault .. "=1"})

      assert.equal("succeeded\t1\tjob.submitted job.unknown job.adopted job.succeeded\n", out, fault)
    end
  end)

  it("that was never started is not found, and sent again only where that is allowed", function()
    local out = scene([[
      local id = train { on_unknown = "retry" }
      print(wait(id, 36000).state, jobs(), #sup.verbs.why(id).attempts)
    ]], {faults = "deai.create_job:drop_before=1"})

    assert.equal("succeeded\t1\t2\n", out)
  end)

  it("is denied above max_cost, and its estimate is all that was asked", function()
    local out = scene [[
      local job = wait(train { max_cost = "0.001 CCD" })
      print(job.state, job.error.code, jobs())
    ]]

    assert.equal("denied\tmax_cost\t0\n", out)
  end)

  it("has its price before policies are asked", function()
    local out = scene [[
      function ask(event, job)
        if event == "job.submit" then
          print(job.price:find "^0%.00%d+ CCD$" ~= nil, jobs())
          return { decision = "deny", why = "no" }
        end
      end
      print(wait(train {}).state, jobs())
    ]]

    assert.equal("true\t0\ndenied\t0\n", out)
  end)

  it("that is stopped is looked after no more, and said to go on and stay billed", function()
    local out = scene [[
      local id = train {}
      sleep(10)
      local job = sup.verbs.stop(id, { who = "ann" })
      print(job.state, job.reason, job.cost == job.price)
    ]]

    assert.equal("stopped\tDistributed AI cannot be stopped: its supervision ends, it goes on there and stays billed\ttrue\n", out)
  end)

  it("is found trained by an estimate on its own data where submissions cannot be read", function()
    local out = scene [[
      local handle = world.world.handle
      world.world.handle = function(self, request, now)
        if request.path:find "subListByUser" then return { status = 404, headers = {}, body = "" } end
        return handle(self, request, now)
      end
      local id = train {}
      sleep(20)
      restart() -- what is needed for it is in the journal
      print(wait(id, 36000).result.by)
    ]]

    assert.equal("estimate\n", out)
  end)
end)

describe("a supervised inference", function()
  it("that had to wait for its turn until after its deadline is not started", function()
    local out = scene([[
      local id = trained()
      world.world.faults:replace "deai.estimate_inference:drop_after=1"
      local one = infer({ name = "one", max_cost = "5 CCD" }, id) -- its estimate is lost, so the job rests for a minute
      sleep(1)
      local two = infer({ name = "two", deadline = "30s" }, id)
      print(wait(two, 3600).state, job(two).reason)
      print(wait(one, 3600).state, #world.world.ledger:inferences(), permits(two) == "")
    ]])

    assert.equal("expired\tits deadline has passed\nsucceeded\t1\ttrue\n", out)
  end)

  it("is settled at the charge that the service reports", function()
    local out = scene [[
      local job = wait(infer({}, trained()), 36000)
      local billed = world.world.ledger:inferences()[1]
      print(job.state, job.cost == billed.ccd_cost .. " CCD", job.result.infer_id == billed.infer_id, job.result.tx_hash ~= nil)
    ]]

    assert.equal("succeeded\ttrue\ttrue\ttrue\n", out)
  end)

  it("whose reply was lost is told by the time of its row, if no other can be meant", function()
    local out = scene([[
      local id = infer({}, trained())
      local job = wait(id, 36000)
      print(job.state, job.cost == world.world.ledger:inferences()[1].ccd_cost .. " CCD", #world.world.ledger:inferences())
    ]], {faults = "deai.start_inference:drop_after=1"})

    assert.equal("succeeded\ttrue\t1\n", out)
  end)

  it("whose reply was lost, and that another start of that time could be, stays unknown", function()
    local out = scene([[
      local id = trained()
      local handle, blind_until = world.world.handle, os.time() + 100
      world.world.handle = function(self, request, now)
        if os.time() < blind_until and request.path:find "queryInferList" then return { drop = "before" } end
        return handle(self, request, now)
      end
      local one = infer({ name = "one" }, id)
      local two = infer({ name = "two" }, id)
      sleep(3600)
      print(job(one).state, job(two).state, #world.world.ledger:inferences())
    ]], {faults = "deai.start_inference:drop_after=1"})

    assert.equal("unknown\tsucceeded\t2\n", out)
  end)

  it("that was never started does not take the row of another start of that time for its own", function()
    local out = scene([[
      local id = trained()
      local handle, blind_until = world.world.handle, os.time() + 100
      world.world.handle = function(self, request, now)
        if os.time() < blind_until and request.path:find "queryInferList" then return { drop = "before" } end
        return handle(self, request, now)
      end
      local one = infer({ name = "one" }, id)
      local two = infer({ name = "two" }, id)
      sleep(3600)
      print(job(one).state, job(two).state, #world.world.ledger:inferences())
    ]], {faults = "deai.start_inference:drop_before=1"})

    assert.equal("unknown\tsucceeded\t1\n", out)
  end)

  it("whose row does not say yet when it was submitted is not sent again, and found once it does", function()
    local out = scene([[
      local handle, mute = world.world.handle, true
      world.world.handle = function(self, request, now)
        local response = handle(self, request, now)
        if mute and request.path:find "queryInferList" and response.body then
          response.body = response.body:gsub('"submitTime":%d+', '"submitTime":0')
        end
        return response
      end
      local id = infer({ on_unknown = "retry" }, trained())
      sleep(1800)
      print(job(id).state, #world.world.ledger:inferences())
      mute = false
      print(wait(id, 36000).state, #world.world.ledger:inferences())
    ]], {faults = "deai.start_inference:drop_after=1"})

    assert.equal("unknown\t1\nsucceeded\t1\n", out)
  end)

  it("whose reply was lost is found and watched behind the short pages of a list", function()
    local out = scene([[
      local id = trained()
      local handle, hidden = world.world.handle, true
      world.world.handle = function(self, request, now)
        if not request.path:find "queryInferList" then return handle(self, request, now) end
        if hidden then return { drop = "before" } end
        local asked = json.decode(request.body)
        asked.pageSize = math.min(asked.pageSize, 2)
        request.body = json.encode(asked)
        local response = handle(self, request, now)
        response.body = response.body:gsub('"totalPages":%d+,?', ""):gsub('"totalCount":%d+,?', "")
        return response
      end
      local lost = infer({ name = "lost", on_unknown = "retry" }, id)
      sleep(300)
      for i = 1, 5 do wait(infer({ name = "other" .. i }, id), 3600) end
      hidden = false
      print(wait(lost, 36000).state, #world.world.ledger:inferences())
    ]], {faults = "deai.start_inference:drop_after=1"})

    assert.equal("succeeded\t6\n", out)
  end)

  it("of a training: a name that the list shows cut short may be it, and nothing is sent again", function()
    local out = scene([[
      local handle = world.world.handle
      world.world.handle = function(self, request, now)
        local response = handle(self, request, now)
        if request.path:find "jobListByUser" and response.body then
          response.body = response.body:gsub('"jobName":"(weather%-%x%x)%x+"', '"jobName":"%1"')
        end
        return response
      end
      local id = train { on_unknown = "retry" }
      sleep(3600)
      print(job(id).state, jobs())
    ]], {faults = "deai.create_job:drop_after=1"})

    assert.equal("unknown\t1\n", out)
  end)
end)

describe("a refused password of Distributed AI", function()
  it("is tried once in 15 minutes, for jobs that run and jobs that wait alike", function()
    local out = scene [[
      local id = train {}
      sleep(10)
      local refused, logins = true, 0
      local handle = world.world.handle
      world.world.handle = function(self, request, now)
        if not refused then return handle(self, request, now) end
        if request.path:find "genToken" then logins = logins + 1 end
        return { status = 200, headers = {}, body = '{"code":401,"msg":"unauthorised"}' }
      end
      sleep(400)
      local other = train { name = "other" }
      sleep(2600)
      print(logins, job(id).state, job(other).state, jobs())
      refused = false
      print(wait(id, 36000).state, wait(other, 36000).state, select(2, said():gsub("login.refused", "")))
    ]]

    assert.equal("4\trunning\tplanned\t1\nsucceeded\tsucceeded\t1\n", out)
  end)
end)

describe("trainings without end", function()
  it("leave nothing behind of the estimates they were started by", function()
    local out = scene [[
      for i = 1, 3 do wait(train { name = "one" .. i }, 36000) end
      local count = 0
      for _ in pairs(require "perigee.deai_account".state(sup:driver "deai".client).drafts) do count = count + 1 end
      print(count, jobs())
    ]]

    assert.equal("0\t3\n", out)
  end)
end)
