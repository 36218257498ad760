-- What can be asked of a supervisor, from here and from other processes.
local play = require "tests.support.supervised".play

describe("the verbs of a supervisor", function()
  it("stop a job before it is sent, and one that runs at the service, with what it has cost", function()
    local out = play([[
      function ask(event) return event == "job.submit" and job_waits and { decision = "hold", why = "look" } or nil end
      job_waits = true
      local early = submit { name = "early" }
      sleep(1)
      print(sup.verbs.stop(early, { who = "ann" }).state, created())
      job_waits = false
      local late = submit { name = "late" }
      sleep(100)
      local job = sup.verbs.stop(late, { who = "ann" })
      print(job.state, job.cost, #world.world.ledger:list "stop", permits(late))
      print(kinds(late))
    ]], {faults = "sxwl.create_job:never"})

    assert.equal("stopped\t0\nstopped\t0.2 CNY\t1\tsettled:0.2 CNY\nsubmit price reserve create stop poll settle\n", out)
  end)

  it("leave a job running when the service cannot be told to stop it, and say so", function()
    local out = play([[
      local id = submit {}
      sleep(20)
      local handle = world.world.handle
      world.world.handle = function() return { drop = "before" } end
      local ok, err = pcall(sup.verbs.stop, id)
      print(ok, err.kind, job(id).state)
      world.world.handle = handle
      print(sup.verbs.stop(id).state)
    ]], {faults = "sxwl.create_job:never"})

    assert.equal("false\tnetwork\trunning\nstopped\n", out)
  end)

  it("forget a running job: its supervision ends, its price counts as spent", function()
    local out = play([[
      local id = submit {}
      sleep(20)
      print(sup.verbs.forget(id, { who = "ann" }).state, permits(id), #world.world.ledger:list "stop")
    ]], {faults = "sxwl.create_job:never"})

    assert.equal("stopped\tsettled:10 CNY\t0\n", out)
  end)

  it("find a job by id, by its beginning, by name and key, and nothing for others", function()
    local out = play([[
      local id = submit { key = "k" }
      print(sup.verbs.get(id).id == id, sup.verbs.get(id:sub(1, 5)).id == id, sup.verbs.get({ name = "job", key = "k" }).id == id)
      print(sup.verbs.get "ffffffff", sup.verbs.get { name = "job" })
      print(#sup.verbs.list {}, #sup.verbs.list { state = "held" })
    ]])

    assert.equal("true\ttrue\ttrue\nnil\tnil\n1\t0\n", out)
  end)

  it("wait no longer than they are told", function()
    local out = play([[
      local id = submit {}
      local began = os.time()
      print(sup.verbs.wait(id, 30).state, os.time() - began)
    ]], {faults = "sxwl.create_job:never"})

    assert.equal("running\t30\n", out)
  end)

  it("sweep: paid jobs of the service that no job here tracks", function()
    local out = play([[
      local id = submit {}
      sleep(20)
      local fields = { stopType = "1", stopTime = 5 }
      for name, value in pairs(spec) do fields[name] = value end
      local lost = world:sxwl():create_job(fields)
      local swept = sup.verbs.sweep()
      print(#swept.found, #swept.failures)
      local one = swept.found[1]
      print(one.service, one.id == lost, one.name, one.price, os.time() - one.since < 30)
      print(said())
    ]])

    assert.equal("1\t0\nsxwl\ttrue\tNVIDIA-GeForce-RTX-3090\t6 CNY each hour\ttrue\n"
      .. "job.submitted job.running sweep.found\n", out)
  end)

  it("sweep says which service could not be asked", function()
    local out = play([[
      world.world.handle = function() return { drop = "before" } end
      local swept = sup.verbs.sweep()
      print(#swept.found, swept.failures[1].service, swept.failures[2].service)
    ]])

    assert.equal("0\tdeai\tsxwl\n", out)
  end)

  it("refuse what does not fit the state of a job", function()
    local out = play([[
      local id = submit {}
      sleep(10)
      for _, verb in ipairs { "approve", "deny", "retry", "adopt" } do
        local ok, err = pcall(sup.verbs[verb], id, { remote_id = "x" })
        print(verb, ok, err.kind, err.code)
      end
      wait(id)
      local ok, err = pcall(sup.verbs.stop, id)
      print(ok, err.code)
    ]])

    assert.equal("approve\tfalse\tinvalid\torder\ndeny\tfalse\tinvalid\torder\nretry\tfalse\tinvalid\torder\n"
      .. "adopt\tfalse\tinvalid\torder\nfalse\tended\n", out)
  end)
end)
