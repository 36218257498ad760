-- How running jobs are looked at: what is believed, and what is not.
local play = require "tests.support.supervised".play

describe("a running job", function()
  it("is not failed when its status cannot be read, however long; it is said once, after an hour", function()
    local out = play([[
      local from, to = os.time() + 20, os.time() + 20000
      local handle = world.world.handle
      world.world.handle = function(self, request, now)
        if os.time() > from and os.time() < to then return { drop = "before" } end
        return handle(self, request, now)
      end
      local began = os.time()
      function on_event(event, data)
        if event == "job.unreachable" then print(event, (os.time() - began) // 600, data.service, data.jobs) end
      end
      local id = submit {}
      sleep(15000)
      print(job(id).state)
      print(wait(id, 36000).state)
    ]])

    assert.equal("job.unreachable\t6\tsxwl\t1\nrunning\nsucceeded\n", out)
  end)

  it("starts its hour anew with any reading that succeeds", function()
    local out = play([[
      local handle = world.world.handle
      world.world.handle = function(self, request, now)
        if request.path:find "job_status" and (os.time() - 1700000000) % 3000 > 100 then return { drop = "before" } end
        return handle(self, request, now)
      end
      local id = submit { max_cost = "100 CNY" }
      sleep(12000)
      print(job(id).state, said())
    ]], {faults = "sxwl.create_job:never"})

    assert.equal("running\tjob.submitted job.running\n", out)
  end)

  it("is told of alone when only its own status cannot be read", function()
    local out = play([[
      local one = submit { name = "one", unreachable_after = "20m" }
      local two = submit { name = "two" }
      sleep(5)
      local bad = job(one).remote_id
      local handle = world.world.handle
      world.world.handle = function(self, request, now)
        if (request.body or ""):find(bad, 1, true) then return { status = 200, headers = {}, body = "<html>" } end
        return handle(self, request, now)
      end
      function on_event(event, data)
        if event == "job.unreachable" then print(data.job.name, (os.time() - 1700000000) // 600) end
      end
      sleep(5000)
      print(job(one).state, job(two).state)
    ]], {faults = "sxwl.create_job:never"})

    assert.equal("one\t2\nrunning\trunning\n", out)
  end)

  it("is looked at at once when a callback rings, and what the callback says is not believed", function()
    local out = play([[
      local id = submit {}
      sleep(100)
      local reads = 0
      world.before = function(request)
        if request.path:find "job_status" then reads = reads + 1 end
      end
      sup:ring(id)
      sleep(0.5)
      print(reads, job(id).state)
    ]], {faults = "sxwl.create_job:never"})

    assert.equal("1\trunning\n", out)
  end)

  it("carries the callback URL of its attempt", function()
    local out = play([[
      local bodies = {}
      world.before = function(request)
        if request.method == "POST" and request.path:find "userJob$" then bodies[#bodies + 1] = json.decode(request.body) end
      end
      local id = submit { retry = { attempts = 2, base = 1 } }
      wait(id)
      for i, body in ipairs(bodies) do print(body.callbackUrl == ("https://me.example/cb/%s.%d"):format(id, i)) end
    ]], {faults = "sxwl.create_job:fail=1",
      sup = {"{ url_for = function(id, attempt) return ('https://me.example/cb/%s.%d'):format(id, attempt) end }"}})

    assert.equal("true\ntrue\n", out)
  end)

  it("has succeeded when the service says so and has no model of it, in each era", function()
    for _, era in ipairs {"A", "B", "B2"} do
      local out = play([[
        local job = wait(submit {})
        print(job.state, job.result.url)
      ]], {faults = "sxwl.create_job:no_url", era = era})

      assert.equal("succeeded\tnil\n", out, era)
    end
  end)

  it("that has ended without a model costs no more than one that has one: its end is looked at again soon", function()
    local out = play([[
      local reads, at = {}, require "perigee.core.task".now
      world.before = function(request)
        if request.path:find "job_status" then reads[#reads + 1] = at() end
      end
      wait(submit {})
      print(#reads > 6, reads[#reads] - reads[#reads - 2] < 10)
    ]], {faults = "sxwl.create_job:no_url", speed = "0.2"})

    assert.equal("true\ttrue\n", out)
  end)

  it("that the list calls ended and its status does not, yet, is looked at again soon", function()
    local out = play([[
      local at = require "perigee.core.task".now
      local ids, listed, lied, longest = {}, {}, {}, 0
      for i = 1, 60 do ids[i] = submit { name = "job " .. i } end
      local handle = world.world.handle
      world.world.handle = function(self, request, now)
        local answer = handle(self, request, now)
        local ok, page = pcall(json.decode, answer.body)
        for _, row in ipairs(ok and page.content or {}) do
          if row.workStatus == 2 then listed[row.jobName] = true end
        end
        local id = request.path:find "job_status" and request.body:match "ai[%w-]+"
        if lied[id] then
          longest, lied[id] = math.max(longest, at() - lied[id]), false
        elseif listed[id] and lied[id] == nil then
          lied[id] = at()
          return { status = 200, headers = {}, body = '{"status":"working"}' }
        end
        return answer
      end
      for _, id in ipairs(ids) do wait(id) end
      print(longest > 0, longest < 30)
    ]], {speed = "0.2"})

    assert.equal("true\ttrue\n", out)
  end)

  it("whose status could not be read once is looked at again soon, and then as seldom as before", function()
    local out = play([[
      local id, reads, broken = submit {}, {}, nil
      local at = require "perigee.core.task".now
      world.before = function(request)
        if request.path:find "job_status" then reads[#reads + 1] = at() end
      end
      sleep(400)
      local handle = world.world.handle
      world.world.handle = function(self, request, now)
        if broken or not request.path:find "job_status" then return handle(self, request, now) end
        broken = #reads
        return { status = 200, headers = {}, body = "<html>" }
      end
      sleep(400)
      print(reads[broken] - reads[broken - 1] > 40, reads[broken + 1] - reads[broken] < 10, reads[#reads] - reads[#reads - 1] > 40)
    ]], {faults = "sxwl.create_job:never"})

    assert.equal("true\ttrue\ttrue\n", out)
  end)

  it("that the service has forgotten is failed after ten minutes, not before", function()
    local out = play([[
      local id = submit {}
      sleep(100)
      world:sxwl():stop_job(job(id).remote_id)
      sleep(500)
      print(job(id).state)
      local final = wait(id)
      print(final.state, final.error.code, final.cost)
    ]], {faults = "sxwl.create_job:never"})

    assert.equal("running\nfailed\tnot_found\t0.3 CNY\n", out)
  end)

  it("keeps no signed link in the journal", function()
    local out = play([[
      local id = submit {}
      local url = wait(id).result.url
      print(url:find("model.bin", 1, true) ~= nil, url:find("?", 1, true))
    ]])

    assert.equal("true\tnil\n", out)
  end)

  it("says that it ended at its deadline when it did", function()
    local out = play([[
      print(wait(submit { name = "a", max_cost = "0.1 CNY" }).result.at_deadline)
      print(wait(submit { name = "b" }).result.at_deadline)
    ]])

    assert.equal("true\nnil\n", out)
  end)

  it("is paid for by the time that passed, whatever the wall clock does", function()
    local out = play([[
      local time, now = require "perigee.time", require "perigee.time".now
      local id = submit {}
      sleep(60)
      time.now = function() return now() - 86400 end -- set back by a day
      local job = wait(id)
      print(job.state, job.cost)
    ]])

    assert.equal("succeeded\t0.4 CNY\n", out)
  end)

  it("is stopped at its own deadline, and has expired then", function()
    local out = play([[
      local job = wait(submit({ deadline = "30m", max_cost = "100 CNY" }, { stopTime = 600 }))
      print(job.state, job.cost, #world.world.ledger:list "stop")
    ]], {faults = "sxwl.create_job:never"})

    assert.equal("expired\t3 CNY\t1\n", out)
  end)
end)

describe("many running jobs", function()
  it("are seen by pages of the list, each within two minutes", function()
    local out = play([[
      local ids = {}
      for i = 1, 500 do ids[i] = submit { name = "job " .. i } end
      while sup:figures().jobs.running ~= 500 do sleep(1) end
      sleep(60)
      local before, oldest = sup:figures(), 0
      for _ = 1, 30 do
        sleep(10)
        local now = require "perigee.task".now()
        for _, id in ipairs(ids) do oldest = math.max(oldest, now - sup.entries[id].seen_at) end
      end
      local after = sup:figures()
      print(oldest < 120, after.readings - before.readings < 50, after.pages - before.pages < 50)
    ]], {faults = "sxwl.create_job:never"})

    assert.equal("true\ttrue\ttrue\n", out)
  end)

  it("all end when the list says so and job_status has confirmed it", function()
    local out = play([[
      for i = 1, 50 do submit { name = "job " .. i } end
      local list = sup.verbs.list { limit = 100 }
      for _, one in ipairs(list) do wait(one.id) end
      local states = {}
      for _, one in ipairs(sup.verbs.list { limit = 100 }) do states[one.state] = (states[one.state] or 0) + 1 end
      print(states.succeeded, created(), sup:figures().jobs.running)
    ]])

    assert.equal("50\t50\t0\n", out)
  end)

  it("are asked one by one where there is no list", function()
    local out = play([[
      local handle = world.world.handle
      world.world.handle = function(self, request, now)
        if request.method == "GET" then return { status = 404, headers = {}, body = "404 page not found" } end
        return handle(self, request, now)
      end
      for i = 1, 20 do submit { name = "job " .. i } end
      for _, one in ipairs(sup.verbs.list {}) do print(wait(one.id).state) end
    ]])

    assert.equal(("succeeded\n"):rep(20), out)
  end)
end)

describe("a refused password", function()
  it("is tried once in 15 minutes, the jobs stay watched, and it is said once", function()
    local out = play([[
      local id = submit {}
      sleep(10)
      local refused, tries = true, 0
      local handle = world.world.handle
      world.world.handle = function(self, request, now)
        if refused then
          tries = tries + 1
          return { status = 401, headers = {}, body = "unauthorized" }
        end
        return handle(self, request, now)
      end
      sleep(3000)
      print(tries, job(id).state, said())
      refused = false
      print(wait(id, 7200).state)
    ]])

    assert.equal("4\trunning\tjob.submitted job.running login.refused\nsucceeded\n", out)
  end)

  it("is tried again at once when the configuration was read anew", function()
    local out = play([[
      local id = submit {}
      sleep(10)
      local refused, tries = true, 0
      local handle = world.world.handle
      world.world.handle = function(self, request, now)
        tries = tries + 1
        if refused then return { status = 401, headers = {}, body = "unauthorized" } end
        return handle(self, request, now)
      end
      sleep(300)
      print(tries)
      refused = false
      sup:reload()
      sleep(5)
      print(tries > 1)
    ]], {faults = "sxwl.create_job:never"})

    assert.equal("1\ntrue\n", out)
  end)
end)

describe("jobs that are watched", function()
  it("end, many as they are, whatever the list means by its numbers", function()
    local out = play [[
      local handle = world.world.handle
      world.world.handle = function(self, request, now)
        local response = handle(self, request, now)
        if request.method == "GET" and request.path:find "userJob$" then
          response.body = response.body:gsub('"workStatus":%d', '"workStatus":1')
        end
        return response
      end
      local ids, began, MANY = {}, os.time(), 420
      for i = 1, MANY do ids[i] = submit { name = "job" .. i } end
      for i = 1, MANY do wait(ids[i], 7200) end
      local ended = 0
      for i = 1, MANY do ended = ended + (job(ids[i]).state == "succeeded" and 1 or 0) end
      print(ended == MANY, os.time() - began < 3600)
    ]]

    assert.equal("true\ttrue\n", out)
  end)

  it("that ended while nobody looked have succeeded, though their deadline has passed meanwhile", function()
    local out = play [[
      local id = submit({ deadline = "1h" }, {})
      sleep(10)
      sup:stop()
      sleep(7200)
      restart()
      print(wait(id, 600).state, job(id).result and job(id).result.url ~= nil)
    ]]

    assert.equal("succeeded\ttrue\n", out)
  end)
end)
