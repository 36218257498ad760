-- What policies and people decide before anything is sent.
local play = require "tests.support.supervised".play

describe("the gate of a job", function()
  it("denies what a policy denies, with its words and its price in the story, and sends nothing", function()
    local out = play([[
      function ask(event, job)
        if event == "job.submit" then
          print("asked", job.name, job.price, job.state)
          return { decision = "deny", why = "too dear", verdicts = { { policy = "gate", decision = "deny", why = "too dear" } } }
        end
      end
      local id = submit {}
      local job = wait(id)
      print(job.state, job.reason, job.error.code, created())
      for _, one in ipairs(sup.verbs.why(id).decisions) do print(one.kind, one.policy, one.text) end
    ]])

    assert.equal(table.concat({
      "asked\tjob\t10 CNY\tplanned",
      "denied\ttoo dear\tpolicy\t0",
      "submit\tnil\tsubmitted by a spec",
      "price\tnil\t1 GPU for at most 100 min (stopTime, the longest that costs at most 10 CNY) at 6 CNY an hour cost at most 10 CNY",
      "gate\tgate\tpolicy gate says deny: too dear",
      "gate\tnil\tdenied: too dear",
    }, "\n") .. "\n", out)
  end)

  it("holds a job until somebody approves it, and asks the policies once", function()
    local out = play([[
      local asked = 0
      function ask(event)
        if event ~= "job.submit" then return nil end
        asked = asked + 1
        return { decision = "hold", why = "a person must look" }
      end
      local id = submit {}
      sleep(60)
      print(job(id).state, job(id).reason, job(id).price, created())
      sup.verbs.approve(id, "ann")
      print(wait(id).state, asked, created())
      print(said())
    ]])

    assert.equal("held\ta person must look\t10 CNY\t0\n" .. "succeeded\t1\t1\n"
      .. "job.submitted job.held job.running job.succeeded\n", out)
  end)

  it("holds a job for as long as the policy says", function()
    local out = play([[
      function ask(event) return event == "job.submit" and { decision = "hold", why = "look", expires = 7200 } or nil end
      local id = submit {}
      sleep(7000)
      print(job(id).state)
      sleep(300)
      print(job(id).state, said())
    ]])

    assert.equal("held\ndenied\tjob.submitted job.held approval.expiring job.denied\n", out)
  end)

  it("asks a person again when an approved job has become dearer, and sends it when that is approved", function()
    local out = play([[
      function ask(event) return event == "job.submit" and { decision = "hold", why = "look" } or nil end
      local id = submit({}, { stopTime = 60 })
      sleep(1)
      clients.sxwl.prices[spec.gpuType] = require "perigee.amount" "7 CNY"
      sup.verbs.approve(id, "ann")
      sleep(1)
      print(job(id).state, job(id).price, job(id).reason, created())
      sup.verbs.approve(id, "ann")
      print(wait(id).state, created())
      print(said())
    ]])

    assert.equal("held\t7 CNY\t6 CNY were approved, and by now it costs 7 CNY\t0\nsucceeded\t1\n"
      .. "job.submitted job.held job.held job.running job.succeeded\n", out)
  end)

  it("asks nobody again when an approved job has become cheaper, nor when its request had no effect", function()
    local out = play([[
      local asked = 0
      function ask(event)
        if event ~= "job.submit" then return nil end
        asked = asked + 1
        return { decision = "hold", why = "look" }
      end
      local id = submit({}, { stopTime = 60 })
      sleep(1)
      clients.sxwl.prices[spec.gpuType] = require "perigee.amount" "5 CNY"
      sup.verbs.approve(id, "ann")
      print(wait(id).state, asked, created(), job(id).price)
    ]], { faults = "sxwl.create_job:rate_limit(1s)=2" })

    assert.equal("succeeded\t1\t1\t5 CNY\n", out)
  end)

  it("ends a held job that is denied", function()
    local out = play([[
      function ask(event) return event == "job.submit" and { decision = "hold", why = "look" } or nil end
      local id = submit {}
      sleep(1)
      sup.verbs.deny(id, "bob")
      print(job(id).state, job(id).reason, created())
      print(pcall(sup.verbs.approve, id, "bob"))
    ]])

    assert.equal("denied\tdenied by bob\t0\nfalse\tinvalid: job ", (out:gsub("job %x+ has ended.*$", "job ")))
  end)

  it("takes silence for a no, and warns before", function()
    local out = play([[
      function ask(event) return event == "job.submit" and { decision = "hold", why = "look" } or nil end
      local began = os.time()
      function on_event(event) print(event, (os.time() - began) // 600) end
      print(wait(submit {}, 100000).state, created())
    ]], {sup = {"{ approval_after = 6000 }"}})

    assert.equal("job.submitted\t0\njob.held\t0\napproval.expiring\t8\njob.denied\t10\ndenied\t0\n", out)
  end)

  it("holds on over a restart, its end included", function()
    local out = play([[
      function ask(event) return event == "job.submit" and { decision = "hold", why = "look" } or nil end
      local id = submit {}
      sleep(1000)
      restart()
      print(job(id).state)
      print(wait(id, 4900).state, wait(id, 200).state)
    ]], {sup = {"{ approval_after = 6000 }"}})

    assert.equal("held\nheld\tdenied\n", out)
  end)

  it("keeps a job from being sent after its deadline", function()
    local out = play([[
      function ask(event) return event == "job.submit" and { decision = "hold", why = "look" } or nil end
      local job = wait(submit { deadline = "30m" }, 7200)
      print(job.state, job.ended_at - job.created_at, created())
    ]])

    assert.equal("expired\t1800.0\t0\n", out)
  end)

  it("denies what a budget of its name has no room for, and what names a budget nobody knows", function()
    local out = play([[
      local budget = require "perigee.budget"
      budget.keep(budget.new { name = "nightly", day = "0.5 CNY", warn = 0 })
      print(wait(submit { name = "a", budget = "nightly", max_cost = "0.4 CNY" }).state)
      local job = wait(submit { name = "b", budget = "nightly", max_cost = "0.4 CNY" })
      print(job.state, job.error.code)
      job = wait(submit { name = "c", budget = "nix" })
      print(job.state, job.error.code, created())
    ]])

    assert.equal("succeeded\ndenied\tover_budget\ndenied\tno_budget\t1\n", out)
  end)

  it("denies when the policies cannot be asked", function()
    local out = play([[
      function ask() error "the policy is broken" end
      local job = wait(submit {})
      print(job.state, job.reason:match "^the policies could not be asked: .*broken" ~= nil, created())
    ]])

    assert.equal("denied\ttrue\t0\n", out)
  end)

  it("asks again for a job that was denied and is retried by hand", function()
    local out = play([[
      local answer = "deny"
      function ask(event) return event == "job.submit" and { decision = answer, why = "x" } or nil end
      local id = submit {}
      print(wait(id).state)
      sup.verbs.retry(id)
      print(wait(id).state)
      answer = "allow"
      sup.verbs.retry(id)
      print(wait(id).state, created())
    ]])

    assert.equal("denied\ndenied\nsucceeded\t1\n", out)
  end)

  it("fails what lacks its secret, naming it, instead of waiting for it", function()
    local out = play([[
      local path = os.tmpname()
      local f <close> = io.open(path, "w")
      f:write "s3cret"
      f:close()
      function ask(event) return event == "job.submit" and { decision = "hold", why = "look" } or nil end
      local id = submit({}, { env = { KEY = require "perigee.secret".file(path) } })
      sleep(10)
      os.remove(path)
      sup.verbs.approve(id, "ann")
      local job = wait(id)
      print(job.state, job.error.kind, job.reason:find(path, 1, true) ~= nil, created())
    ]])

    assert.equal("failed\tauth\ttrue\t0\n", out)
  end)
end)
