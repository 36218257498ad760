-- Attempts of a job: when there is another, what it may cost, and with which fields.
local play = require "tests.support.supervised".play

describe("a job that fails", function()
  it("is tried again as its retry says, each attempt with an intent and a price of its own", function()
    local out = play([[
      local id = submit { retry = { attempts = 3, base = 5 } }
      local job = wait(id)
      print(job.state, job.attempt, job.cost, created())
      local seen = {}
      for i, one in ipairs(sup.verbs.why(id).attempts) do
        print(one.attempt, one.state, one.price, one.cost, seen[one.intent])
        seen[one.intent] = true
      end
      print(said())
    ]], {faults = "sxwl.create_job:fail=1"})

    assert.equal("succeeded\t2\t0.5 CNY\t2\n" .. "1\tfailed\t10 CNY\t0.2 CNY\tnil\n" .. "2\tsucceeded\t9.8 CNY\t0.3 CNY\tnil\n"
      .. "job.submitted job.running job.retry job.running job.succeeded\n", out)
  end)

  it("never costs more than max_cost in all its attempts together", function()
    local out = play([[
      local id = submit { retry = { attempts = 50, base = 1 }, max_cost = "0.5 CNY" }
      local job = wait(id)
      print(job.state, job.cost, job.error.kind)
      local whole = sup.verbs.why(id)
      print(whole.decisions[#whole.decisions].text)
      for _, one in ipairs(whole.attempts) do print(one.price) end
    ]], {faults = "sxwl.create_job:fail"})

    assert.equal("failed\t0.5 CNY\tjob_failed\n"
      .. "failed: SXWL says that the job has failed; its attempts have cost 0.5 CNY, and max_cost is 0.5 CNY\n"
      .. "0.5 CNY\n0.3 CNY\n0.1 CNY\n", out)
  end)

  it("counts the money of its attempts from the journal, whoever made them", function()
    local out = play([[
      local id = submit { retry = { attempts = 50, base = 100, jitter = "none" }, max_cost = "0.5 CNY" }
      while #sup.verbs.why(id).attempts < 2 do sleep(5) end
      restart()
      print(wait(id).cost)
      for _, one in ipairs(sup.verbs.why(id).attempts) do print(one.price) end
    ]], {faults = "sxwl.create_job:fail"})

    assert.equal("0.5 CNY\n0.5 CNY\n0.3 CNY\n0.1 CNY\n", out)
  end)

  it("waits for its next attempt over a restart, no shorter and no longer", function()
    local out = play([[
      local id = submit { retry = { attempts = 2, base = 1000, cap = 1000, jitter = "none" } }
      while job(id).state ~= "planned" or job(id).attempt == 0 do sleep(1) end
      local failed = os.time()
      sleep(300)
      restart()
      while job(id).attempt == 1 do sleep(1) end
      print((os.time() - failed) // 10, wait(id).state)
    ]], {faults = "sxwl.create_job:fail=1"})

    assert.equal("100\tsucceeded\n", out)
  end)

  it("is not tried again without being asked to, or for another kind of error", function()
    local out = play([[
      print(wait(submit { name = "a" }).attempt)
      print(wait(submit { name = "b", retry = { attempts = 3, on = { "unavailable" } } }).attempt)
    ]], {faults = "sxwl.create_job:fail"})

    assert.equal("1\n1\n", out)
  end)

  it("gets other fields and another time from a policy, and the next attempt has them", function()
    local out = play([[
      function ask(event, job)
        if event == "job.failed" then
          print(job.error.kind, job.attempt, job.spent)
          if job.attempt == 1 then return { decision = "retry", after = "2m", spec = { gpuNumber = 2 }, policy = "other" } end
          return { decision = "give_up", why = "twice is enough", policy = "other" }
        end
      end
      local numbers, times = {}, {}
      world.before = function(request)
        if request.method == "POST" and request.path:find "userJob$" then
          numbers[#numbers + 1], times[#times + 1] = json.decode(request.body).gpuNumber, os.time()
        end
      end
      local id = submit { retry = { attempts = 9 } }
      print(wait(id).state, table.concat(numbers, " "), times[2] - times[1] >= 120)
      local decisions = sup.verbs.why(id).decisions
      print(decisions[#decisions].text)
    ]], {faults = "sxwl.create_job:fail"})

    assert.equal("job_failed\t1\t0.2 CNY\njob_failed\t2\t0.6 CNY\nfailed\t1 2\ttrue\n"
      .. "failed: SXWL says that the job has failed; a policy gives up: twice is enough\n", out)
  end)

  it("is retried by hand after its end, as another attempt", function()
    local out = play([[
      local id = submit {}
      print(wait(id).state)
      sup.verbs.retry(id, nil, { who = "ann" })
      print(wait(id).state, job(id).attempt, created())
    ]], {faults = "sxwl.create_job:fail=1"})

    assert.equal("failed\nsucceeded\t2\t2\n", out)
  end)

  it("that the service refuses is no attempt that runs, and costs nothing", function()
    local out = play([[
      world.world.handle = function(_, request)
        return { status = 400, headers = {}, body = "the image is not allowed" }
      end
      local id = submit {}
      local job = wait(id)
      print(job.state, job.error.kind, job.error.outcome, job.cost, permits(id))
    ]])

    assert.equal("failed\tapi\tnone\tnil\treleased:10 CNY\n", out)
  end)

  it("where the service offers no create at all fails at once, saying so", function()
    local out = play([[
      local job = wait(submit {})
      print(job.state, job.error.code, job.ended_at - job.created_at < 10)
    ]], {era = "C"})

    assert.equal("failed\tnot_offered\ttrue\n", out)
  end)

  it("goes on trying to create while the service cannot be asked, and pays for nothing meanwhile", function()
    local out = play([[
      local handle = world.world.handle
      world.world.handle = function(self, request, now)
        if request.method == "POST" and os.time() < 1700007200 then
          return { status = 400, headers = {}, body = "dial tcp 10.0.0.1:3306: connect: connection refused" }
        end
        return handle(self, request, now)
      end
      local id = submit {}
      sleep(3600)
      print(job(id).state, job(id).attempt, created())
      print(wait(id, 7200).state, job(id).attempt, job(id).cost)
    ]])

    assert.equal("planned\t1\t0\nsucceeded\t1\t0.4 CNY\n", out)
  end)

  it("tells once that a job cannot be started for an hour, and starts it when it can", function()
    local out = play([[
      local id = submit {}
      sleep(3 * 3600)
      print(job(id).state, said())
      world.world.faults:replace ""
      print(wait(id).state, said())
    ]], {faults = "sxwl.create_job:transient"})

    assert.equal("planned\tjob.submitted job.unreachable\n"
      .. "succeeded\tjob.submitted job.unreachable job.running job.succeeded\n", out)
  end)
end)
