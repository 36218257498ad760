-- SXWL: run and wait: polling, callbacks, deadlines, money, and leaving a wait.
local budget = require "perigee.budget"
local callback = require "perigee.callback"
local helper = require "tests.helper"
local local_world = require "tests.services.local_world"
local retry = require "perigee.retry"
local service = require "perigee.service"
local task = require "perigee.task"

local GPU <const> = "NVIDIA-GeForce-RTX-3090"
local PRICES <const> = { [GPU] = "60 CNY/h" } -- 1 CNY for a minute

local function spec(fields)
  local all = {
    gpuNumber = 1, gpuType = GPU, ckptPath = "/ckpt", ckptVol = 10, modelPath = "/model", modelVol = 20,
    imagePath = "image", jobType = "GeneralJob", stopType = "1", stopTime = 5,
  }
  for name, value in pairs(fields or {}) do all[name] = value end
  return all
end

-- A world whose clock runs `step` seconds for each request: jobs end after a few polls.
local function world(faults, step, era)
  return local_world.open { faults = faults, now = local_world.stepping(step or 400), era = era }
end

describe("the command that stops a job", function()
  it("is not written out for an id that a shell would read as more than an id", function()
    local stop_command = require "perigee.sxwl_flows".stop_command

    assert.truthy(stop_command("ai3f-2_x.y"):find('^perigee run %-e .*stop_job"ai3f%-2_x%.y"'))
    for _, id in ipairs { "a';reboot;'", 'a"b', "a b", "a$(b)", "a\nb", "" } do
      assert.equal("can be stopped by client:stop_job", stop_command(id))
    end
  end)
end)

describe("sxwl:run", function()
  it("creates the job, waits for its end and tells what it cost at most", function()
    local here <close> = world()
    local started

    local result = here:sxwl({ prices = PRICES }):run(spec { on_start = function(job) started = job end })

    local entry = here:entries { kind = "job" }[1]
    assert.equal(entry.job_id, result.job_id)
    assert.equal(entry.job_id, started.job_id)
    assert.equal("5 CNY", tostring(started.price))
    assert.equal("success", result.status)
    assert.truthy(result.url)
    assert.equal(1, result.attempts)
    assert.equal("1 CNY", tostring(result.cost)) -- one started minute on our own clock
  end)

  it("raises job_failed with the job and its cost", function()
    local here <close> = world "sxwl.create_job:fail"
    local client = here:sxwl { prices = PRICES }

    local err = helper.error_of(client.run, client, spec())

    assert.equal("job_failed", err.kind)
    assert.equal(here:entries { kind = "job" }[1].job_id, err.job_id)
    assert.equal("1 CNY", tostring(err.cost))
  end)

  it("sets stopType 1 and the longest stopTime that max_cost allows", function()
    local here <close> = world()

    local own = spec { gpuNumber = 2, stopType = "0", max_cost = "25.5 CNY" }
    local ours = spec { gpuNumber = 2, max_cost = "25.5 CNY" }
    ours.stopType, ours.stopTime = nil, nil
    here:sxwl({ prices = PRICES }):run(own)
    here:sxwl({ prices = PRICES }):run(ours)

    local jobs = here:entries { kind = "job" }
    assert.same({ "1", 5 }, { jobs[1].stopType, jobs[1].stopTime })
    assert.same({ "1", 12 }, { jobs[2].stopType, jobs[2].stopTime })
  end)

  it("is denied when not even a minute fits, or no price is known", function()
    local here <close> = world()
    local fields = spec { max_cost = "0.5 CNY" }
    fields.stopTime = nil
    local priced, unpriced = here:sxwl { prices = PRICES }, here:sxwl()
    local denied = require("perigee.core.spend").figures().denied

    assert.same({ "denied", "max_cost" }, (function(e) return { e.kind, e.code } end)(helper.error_of(priced.run, priced, fields)))
    assert.same({ "denied", "no_price" }, (function(e) return { e.kind, e.code } end)(helper.error_of(unpriced.run, unpriced, fields)))
    assert.equal(0, #here:entries { kind = "job" })
    local after = require("perigee.core.spend").figures().denied
    assert.same({ 1, 1 }, { after.max_cost - denied.max_cost, after.no_price - denied.no_price })
  end)

  it("settles with the budget at the derived cost, not at the worst case", function()
    local here <close> = world()
    local limit = budget.new { total = "100 CNY" }

    here:sxwl({ prices = PRICES }):run(spec { stopTime = 50, budget = limit })

    assert.equal("1 CNY", tostring(limit:spent()))
    assert.equal("0 CNY", tostring(limit:held()))
  end)

  it("tries again under a retry policy, all attempts within one max_cost", function()
    local here <close> = world "sxwl.create_job:fail=2"
    local policy = retry.new { attempts = 5, on = { "job_failed" }, base = 0.01 }

    local result = here:sxwl({ prices = PRICES }):run(spec { stopTime = 3, max_cost = "6 CNY", retry = policy })

    assert.equal(3, result.attempts)
    assert.equal(3, #here:entries { kind = "job" })
  end)

  it("stops trying again when max_cost is used up", function()
    local here <close> = world "sxwl.create_job:fail"
    local client = here:sxwl { prices = PRICES }

    local err = helper.error_of(client.run, client, spec {
      stopTime = 3, max_cost = "4 CNY", retry = { attempts = 9, on = { "job_failed" }, base = 0.01 },
    })

    assert.equal("denied", err.kind)
    assert.equal(2, #here:entries { kind = "job" }) -- 3 + 3 would be above 4 - 1, and 1 + 3 is not
  end)

  it("lists near names for a GPU type that nobody offers, and creates nothing", function()
    local here <close> = world()
    local client = here:sxwl()

    local err = helper.error_of(client.run, client, spec { gpuType = "RTX3090" })

    assert.equal("invalid", err.kind)
    assert.same({ GPU }, err.near)
    assert.truthy(err.message:find(GPU, 1, true))
    assert.equal(0, #here:entries { kind = "job" })
  end)

  it("goes without the list of GPU types where it is not offered", function()
    local here <close> = world "sxwl.gpu_types:error(404)"

    assert.equal("success", here:sxwl():run(spec()).status)
  end)
end)

describe("sxwl:wait", function()
  it("takes a status that goes back for what it is", function()
    local here <close> = world("sxwl.create_job:back(2)", 200)
    local client, seen = here:sxwl(), {}
    local job_id = client:create_job(spec())

    local result = client:wait(job_id, { on_status = function(status) seen[#seen + 1] = status end })

    assert.equal("success", result.status)
  end)

  it("asks again for a link that success does not bring, then goes without", function()
    local here <close> = world("sxwl.create_job:no_url", 400, "A")
    local client = here:sxwl()
    local job_id = client:create_job(spec())

    local ok, result = pcall(client.wait, client, job_id, { timeout = 30 })

    assert.is_true(ok)
    assert.equal("success", result.status)
    assert.is_nil(result.url)
  end)

  it("does not take unreadable for failed", function()
    local here <close> = world("sxwl.job_status:error(500)=#1, sxwl.job_status:garbage=#2, sxwl.job_status:transient=#3")
    local client = here:sxwl()

    assert.equal("success", client:wait(client:create_job(spec())).status)
  end)

  it("raises not_found for a job that never was", function()
    local here <close> = world()
    local client = here:sxwl()

    local err = helper.error_of(client.wait, client, "ai-unknown", { timeout = 60 })

    assert.equal("not_found", err.code)
  end)

  it("polls at once when a callback comes, whoever sent it, and believes job_status alone", function()
    local here <close> = local_world.open { now = function() return 1700000000 end }
    local receiver <close> = callback.receiver {}
    local client = here:sxwl { callbacks = receiver, prices = PRICES }
    local polls = 0
    local urls = {}
    here.before = function(request)
      if request.url:find "job_status" then polls = polls + 1 end
      urls[#urls + 1] = request.body:match '"callbackUrl":"([^"]+)"'
    end
    local running = task.spawn(function() return client:run(spec()) end)
    helper.eventually(function() return polls == 1 end)
    assert.truthy(urls[1]:find(receiver.public_url, 1, true))

    for key in pairs(receiver._by_key) do receiver._by_key[key].bell.ring() end -- forged: it still works
    helper.eventually(function() return polls == 2 end, 1.5)
    here.now = function() return 1700100000 end
    for key in pairs(receiver._by_key) do receiver._by_key[key].bell.ring() end
    local result = helper.within(1.5, running.wait, running)

    assert.equal("success", result.status)
    assert.equal(3, polls)
  end)
end)

describe("the money of a job created low-level", function()
  it("is held at its worst case until wait sees the end, then derived", function()
    local here <close> = world()
    local client, limit = here:sxwl { prices = PRICES }, budget.new { total = "100 CNY" }

    local job_id = client:create_job(spec { budget = limit })
    assert.same({ "5 CNY", "0 CNY" }, { tostring(limit:held()), tostring(limit:spent()) })
    local result = client:wait(job_id)

    assert.equal("1 CNY", tostring(result.cost))
    assert.same({ "0 CNY", "1 CNY" }, { tostring(limit:held()), tostring(limit:spent()) })
  end)

  it("is derived once job_status shows the end, and wait still knows the job", function()
    local here <close> = world()
    local client, limit = here:sxwl { prices = PRICES }, budget.new { total = "100 CNY" }
    local job_id = client:create_job(spec { budget = limit })
    here.now = local_world.stepping(1, 100000)

    assert.equal("success", client:job_status(job_id).status)
    assert.same({ "0 CNY", "1 CNY" }, { tostring(limit:held()), tostring(limit:spent()) })

    assert.equal("1 CNY", tostring(client:wait(job_id).cost))
    assert.equal("1 CNY", tostring(limit:spent()))
  end)

  it("is derived when the job is stopped", function()
    local here <close> = world(nil, 0)
    local client, limit = here:sxwl { prices = PRICES }, budget.new { total = "100 CNY" }

    client:stop_job(client:create_job(spec { budget = limit }))

    assert.same({ "0 CNY", "1 CNY" }, { tostring(limit:held()), tostring(limit:spent()) })
  end)
end)

describe("leaving sxwl:run", function()
  local function interrupted(client, fields, reason, here)
    local reads = #here:entries { kind = "call", operation = "job_status" }
    local running = task.spawn(function() return client:run(fields) end)
    helper.eventually(function() return #here:entries { kind = "call", operation = "job_status" } > reads end)
    running:cancel(reason)
    return helper.error_of(running.wait, running)
  end

  it("stops the job with on_cancel = stop, and books what it cost", function()
    local here <close> = world(nil, 0)
    local limit = budget.new { total = "10 CNY" }

    local err = interrupted(here:sxwl { prices = PRICES }, spec { on_cancel = "stop", budget = limit }, "enough", here)

    assert.equal("cancelled", err.kind)
    assert.equal(err.job_id, here:entries { kind = "stop" }[1].job_id)
    assert.equal("1 CNY", tostring(limit:spent()))
  end)

  it("leaves the job otherwise, and says what it may cost and how to stop it", function()
    local here <close> = world(nil, 0)
    local before = #service.left_behind()

    local err = interrupted(here:sxwl { prices = PRICES }, spec { on_cancel = "leave" }, "enough", here)

    local left = service.left_behind()
    assert.equal(0, #here:entries { kind = "stop" })
    assert.equal(before + 1, #left)
    assert.equal(err.job_id, left[#left].id)
    assert.equal("5 CNY", left[#left].worst_cost)
    assert.truthy(left[#left].how:find(err.job_id, 1, true))
  end)

  it("names the job that goes on when on_start or on_status raises", function()
    local here <close> = world(nil, 0)
    local client = here:sxwl { prices = PRICES }
    local before = #service.left_behind()

    assert.is_false(pcall(client.run, client, spec { on_start = function() error "no" end }))
    assert.is_false(pcall(client.run, client, spec { on_status = function() error "no" end }))

    assert.equal(before + 2, #service.left_behind())
  end)

  it("leaves the job without a terminal, and on a time-out", function()
    local here <close> = world(nil, 0)
    local client = here:sxwl()

    local err = helper.error_of(client.run, client, spec { timeout = 0.2 })

    assert.equal("cancelled", interrupted(client, spec(), "interrupted", here).kind)
    assert.equal("timeout", err.kind)
    assert.truthy(err.message:find "goes on")
    assert.equal(0, #here:entries { kind = "stop" })
  end)

  it("stops the job when a person presses Ctrl-C on a terminal, and leaves it on SIGTERM", function()
    local here <close> = world(nil, 0)
    local client, term = here:sxwl(), require "perigee.core.term"
    local is_tty = term.is_tty
    finally(function() term.is_tty = is_tty end)
    term.is_tty = function() return true end

    interrupted(client, spec(), "terminated", here)
    assert.equal(0, #here:entries { kind = "stop" })
    local err = interrupted(client, spec(), "interrupted", here)

    assert.equal("cancelled", err.kind)
    assert.equal(err.job_id, here:entries { kind = "stop" }[1].job_id)
  end)
end)
