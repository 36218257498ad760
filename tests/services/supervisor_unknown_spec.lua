-- A create whose reply was lost: found again, or left to whoever decides; never sent blindly.
local play = require "tests.support.supervised".play

local LOST <const> = "sxwl.create_job:drop_after=1"
local NEVER_THERE <const> = "sxwl.create_job:drop_before=1"

describe("a create without an answer", function()
  it("is found by its intent in the service's list, and adopted", function()
    local out = play([[
      local id = submit {}
      print(wait(id).state, created(), job(id).attempt)
      print(said())
      print(permits(id))
    ]], {faults = LOST})

    assert.equal("succeeded\t1\t1\njob.submitted job.unknown job.adopted job.succeeded\nsettled:0.4 CNY\n", out)
  end)

  it("is found also behind other jobs, on a later page", function()
    local out = play([[
      local calls = 0
      world.before = function(request)
        if request.method == "GET" then
          calls = calls + 1
          request.query.size = "2" -- a service that gives two at once
        end
      end
      local first = submit { name = "lost" }
      for i = 1, 7 do submit { name = "other" .. i } end
      print(wait(first).state, created(), calls > 3)
    ]], {faults = LOST})

    assert.equal("succeeded\t8\ttrue\n", out)
  end)

  it("waits for a decision though the list does not show it, with its money held as unknown", function()
    local out = play([[
      local id = submit {}
      print(wait(id, 3600).state, created(), permits(id))
      print(kinds(id))
    ]], {faults = NEVER_THERE})

    assert.equal("unknown\t0\tunknown:10 CNY\nsubmit price reserve answer reconcile\n", out)
  end)

  it("is sent again with on_unknown = retry, once the whole list has not shown it for a minute", function()
    local out = play([[
      local began, at = os.time(), nil
      world.before = function(request)
        if request.method == "POST" and request.path:find "userJob$" then at = os.time() - began end
      end
      local id = submit { on_unknown = "retry" }
      print(wait(id, 3600).state, created(), at >= 90 and at < 220)
      print(permits(id))
      local attempts = sup.verbs.why(id).attempts
      print(#attempts, attempts[1].state, attempts[2].state, attempts[1].intent ~= attempts[2].intent)
    ]], {faults = NEVER_THERE})

    assert.equal("succeeded\t1\ttrue\nsettled:0.4 CNY released:10 CNY\n2\trefused\tsucceeded\ttrue\n", out)
  end)

  it("is not sent again where no list is offered, whatever on_unknown says", function()
    local out = play([[
      local handle = world.world.handle
      world.world.handle = function(self, request, now)
        if request.method == "GET" then return { status = 404, headers = {}, body = "404 page not found" } end
        return handle(self, request, now)
      end
      local id = submit { on_unknown = "retry" }
      print(wait(id, 7200).state, created())
    ]], {faults = NEVER_THERE})

    assert.equal("unknown\t0\n", out)
  end)

  it("is not sent again where rows of the list do not tell what they carry: one of them may be it", function()
    for _, what in ipairs {"nil", "''", [['{"env":{"PERIG']], "'{}'"} do
      local out = play(([[
        local handle = world.world.handle
        world.world.handle = function(self, request, now)
          local response = handle(self, request, now)
          if request.method == "GET" and request.path:find "userJob$" then
            local page = json.decode(response.body)
            for _, row in ipairs(page.content) do row.jsonAll = %s end
            response.body = json.encode(page)
          end
          return response
        end
        local id = submit { on_unknown = "retry" }
        print(wait(id, 7200).state, created(), permits(id))
      ]]):format(what), {faults = LOST})

      assert.equal("unknown\t1\tunknown:10 CNY\n", out, what)
    end
  end)

  it("is sent again where only jobs that others track do not tell what they carry", function()
    local out = play([[
      local handle = world.world.handle
      world.world.handle = function(self, request, now)
        local response = handle(self, request, now)
        if request.method == "GET" and request.path:find "userJob$" then
          local page = json.decode(response.body)
          for _, row in ipairs(page.content) do row.jsonAll = nil end
          response.body = json.encode(page)
        end
        return response
      end
      local lost = submit { on_unknown = "retry", name = "lost" }
      sleep(1)
      submit { name = "other" }
      print(wait(lost, 7200).state, created())
    ]], {faults = NEVER_THERE})

    assert.equal("succeeded\t2\n", out)
  end)

  it("is found where pages are short, rows are not counted, and the times of rows say nothing", function()
    local out = play([[
      local handle = world.world.handle
      local hidden = true
      world.world.handle = function(self, request, now)
        if request.method ~= "GET" or not request.path:find "userJob$" then return handle(self, request, now) end
        if hidden then return { status = 503, headers = {}, body = "" } end
        request.query.size = tostring(math.min(2, tonumber(request.query.size)))
        local response = handle(self, request, now)
        local page = json.decode(response.body)
        page.totalElements = nil
        for _, row in ipairs(page.content) do row.createTime = "0001-01-01T00:00:00Z" end
        response.body = json.encode(page)
        return response
      end
      local lost = submit { on_unknown = "retry", name = "lost" }
      sleep(1)
      for i = 1, 5 do submit { name = "other" .. i } end
      sleep(30)
      hidden = false
      print(wait(lost, 7200).state, created())
    ]], {faults = LOST})

    assert.equal("succeeded\t6\n", out)
  end)

  it("is not sent again where the service always gives the same page", function()
    local out = play([[
      local handle = world.world.handle
      local hidden = true
      world.world.handle = function(self, request, now)
        if request.method ~= "GET" or not request.path:find "userJob$" then return handle(self, request, now) end
        if hidden then return { status = 503, headers = {}, body = "" } end
        request.query.size, request.query.current = "2", "1"
        return handle(self, request, now)
      end
      local lost = submit { on_unknown = "retry", name = "lost" }
      sleep(1)
      for i = 1, 5 do submit { name = "other" .. i } end
      sleep(30)
      hidden = false
      print(wait(lost, 7200).state, created())
    ]], {faults = LOST})

    assert.equal("unknown\t6\n", out)
  end)

  it("is adopted by the callback of its attempt, if that names a job that the service knows and nobody else has", function()
    local out = play([[
      local handle = world.world.handle
      world.world.handle = function(self, request, now)
        if request.method == "GET" and request.path:find "userJob$" then
          return { status = 404, headers = {}, body = "404 page not found" }
        end
        return handle(self, request, now)
      end
      local id, other = submit { name = "lost" }, nil
      sleep(1)
      other = submit { name = "other" }
      sleep(10)
      local remote = world.world.ledger:created "sxwl"[1].job_id
      for _, claim in ipairs { "ai-none", job(other).remote_id } do
        sup:ring(id, { attempt = 1, remote_id = claim })
        sleep(5)
      end
      sup:ring(id, { attempt = 2, remote_id = remote })
      sleep(5)
      print(job(id).state)
      sup:ring(id, { attempt = 1, remote_id = remote })
      print(wait(id).state, created(), job(id).remote_id == remote, permits(id))
    ]], {faults = LOST})

    assert.equal("unknown\nsucceeded\t2\ttrue\tsettled:0.3 CNY\n", out)
  end)

  it("is not sent again once its callback came, though the list does not show it", function()
    local out = play([[
      local id = submit { on_unknown = "retry" }
      sleep(10)
      sup:ring(id, { attempt = 1 })
      print(wait(id, 7200).state, created())
    ]], {faults = NEVER_THERE})

    assert.equal("unknown\t0\n", out)
  end)

  it("is not sent again while the request may still be on its way", function()
    local out = play([[
      local handle, late = world.world.handle, true
      world.world.handle = function(self, request, now)
        if not (late and request.method == "POST" and request.path:find "userJob$") then return handle(self, request, now) end
        late = false
        require "perigee.task".detach(function()
          sleep(80)
          handle(self, request, os.time())
        end)
        return { drop = "before" }
      end
      local id = submit { on_unknown = "retry" }
      print(wait(id, 7200).state, created(), said())
    ]])

    assert.equal("succeeded\t1\tjob.submitted job.unknown job.adopted job.succeeded\n", out)
  end)

  it("is not sent again while the list cannot be read", function()
    local out = play([[
      local handle = world.world.handle
      world.world.handle = function(self, request, now)
        if request.method == "GET" then return { drop = "before" } end
        return handle(self, request, now)
      end
      local id = submit { on_unknown = "retry" }
      print(wait(id, 7200).state, created())
      world.world.handle = handle
      print(wait(id, 7200).state, created())
    ]], {faults = NEVER_THERE})

    assert.equal("unknown\t0\nsucceeded\t1\n", out)
  end)

  it("is not given up while the list cannot be read", function()
    local out = play([[
      local handle = world.world.handle
      world.world.handle = function(self, request, now)
        if request.method == "GET" then return { drop = "before" } end
        return handle(self, request, now)
      end
      local id = submit { on_unknown = "fail" }
      print(wait(id, 3600).state)
      world.world.handle = handle
      print(wait(id, 3600).state)
    ]], {faults = NEVER_THERE})

    assert.equal("unknown\nfailed\n", out)
  end)

  it("fails with on_unknown = fail, and its money stays held as unknown", function()
    local out = play([[
      local id = submit { on_unknown = "fail", retry = { attempts = 5 } }
      local job = wait(id, 3600)
      print(job.state, job.error.outcome, permits(id), created())
    ]], {faults = NEVER_THERE})

    assert.equal("failed\tunknown\tunknown:10 CNY\t0\n", out)
  end)

  it("is decided by a policy, if one has an answer", function()
    local out = play([[
      function ask(event) return event == "job.unknown" and { decision = "retry", policy = "bold" } or nil end
      local id = submit {}
      print(wait(id, 3600).state, created())
      for _, one in ipairs(sup.verbs.why(id).decisions) do
        if one.kind == "retry" then print(one.text) end
      end
    ]], {faults = NEVER_THERE})

    assert.equal("succeeded\t1\ntwo readings of the service's list, 60 s apart, do not show attempt 1, and policy bold says to try again\n",
      out)
  end)

  it("is still looked for at its deadline: found, it is stopped; else it has expired with its money unknown", function()
    local out = play([[
      local handle, blind = world.world.handle, true
      world.world.handle = function(self, request, now)
        if blind and request.method == "GET" then return { drop = "before" } end
        return handle(self, request, now)
      end
      local one, two = submit { name = "one", deadline = "10m" }, submit { name = "two", deadline = "10m" }
      sleep(700)
      print(job(one).state, job(two).state)
      blind = false
      print(wait(one).state, wait(two).state, #world.world.ledger:list "stop", permits(one))
    ]], {faults = "sxwl.create_job:drop_after=#1,sxwl.create_job:drop_before=#2,sxwl.create_job:never"})

    assert.equal("unknown\tunknown\nexpired\texpired\t1\tsettled:1 CNY\n", (out:gsub("1%.%d CNY", "1 CNY")))
  end)

  it("does not get a remote job that another job has", function()
    local out = play([[
      local one = submit { name = "one" }
      local done = wait(one)
      world.world.faults:replace "sxwl.create_job:drop_before=1,sxwl.jobs:error(503)"
      local two = submit { name = "two" }
      sleep(10)
      local ok, err = pcall(sup.verbs.adopt, two, { remote_id = done.remote_id }, { who = "ann" })
      print(job(two).state, ok, err.kind, err.code, err.message:find(one, 1, true) ~= nil)
    ]])

    assert.equal("unknown\tfalse\tinvalid\ttaken\ttrue\n", out)
  end)

  it("is adopted by hand, or forgotten, which frees its money", function()
    local out = play([[
      local one, two = submit { name = "one" }, submit { name = "two" }
      sleep(10)
      local fields = { stopType = "1", stopTime = 5 }
      for name, value in pairs(spec) do fields[name] = value end
      local remote = world:sxwl():create_job(fields)
      print(job(one).state, job(two).state)
      sup.verbs.adopt(one, { remote_id = remote }, { who = "ann" })
      print(wait(one).state)
      print(sup.verbs.forget(two, { who = "bob" }).state, permits(two))
      print(said())
    ]], {faults = "sxwl.create_job:drop_before=2"})

    assert.equal("unknown\tunknown\nsucceeded\nstopped\treleased:10 CNY\n"
      .. "job.submitted job.submitted job.unknown job.unknown job.adopted job.succeeded job.stopped\n", out)
  end)

  it("cannot be retried by hand while it may have happened", function()
    local out = play([[
      local id = submit {}
      sleep(10)
      local ok, err = pcall(sup.verbs.retry, id)
      print(ok, err.code, created())
    ]], {faults = NEVER_THERE})

    assert.equal("false\tunknown\t0\n", out)
  end)
end)
