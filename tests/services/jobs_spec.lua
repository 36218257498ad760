-- jobs_spec.lua - perigee.jobs against a supervisor of the spec's own: what the face says and asks for.
-- (What becomes of the jobs is in supervisor_spec.lua, whole programs in tests/cli/jobs_spec.lua.)
local errors = require "perigee.error"
local helper = require "tests.helper"
local jobs = require "perigee.jobs"
local log = require "perigee.log"
local task = require "perigee.task"

local ID <const> = "1a2b3c4d5e6f"

local function gpu_job(changes, spec)
  local fields = {
    gpuNumber = 1, gpuType = "NVIDIA-GeForce-RTX-3090", ckptPath = "/ckpt", ckptVol = 10000, modelPath = "/model", modelVol = 20,
    imagePath = "registry/image:1", jobType = "GeneralJob",
  }
  for name, value in pairs(spec or {}) do fields[name] = value end
  local all = { service = "sxwl", name = "train", max_cost = "5 CNY", spec = fields }
  for name, value in pairs(changes or {}) do all[name] = value end
  return all
end

describe("perigee.jobs", function()
  local fake = { verbs = {}, start = function() end } -- one for all specs: it is started once
  local asked, logged, real_warn, real_supervisor

  -- Answers of the supervisor by verb; each question is kept.
  local function answer(verb, f)
    fake.verbs[verb] = function(...)
      asked[#asked + 1] = { verb = verb, ... }
      return f(...)
    end
  end

  local function view(changes)
    local job = {
      id = ID, name = "train", key = "", service = "sxwl", kind = "job", state = "running", attempt = 1, attempts = 1, price = "5 CNY",
      options = { max_cost = "5 CNY", on_unknown = "wait" }, spec = gpu_job().spec, hash = "x", created_at = os.time(),
    }
    for name, value in pairs(changes or {}) do job[name] = value end
    return job
  end

  setup(function()
    real_warn, real_supervisor = log.warn, package.loaded["perigee.supervisor"]
    package.loaded["perigee.supervisor"] = fake
  end)
  teardown(function() package.loaded["perigee.supervisor"] = real_supervisor end)
  before_each(function()
    asked, logged = {}, {}
    for name in pairs(fake.verbs) do fake.verbs[name] = nil end
    log.warn = function(event, fields) logged[#logged + 1] = { event = event, fields = fields } end
    require("perigee.core.term").set_quiet(true)
  end)
  after_each(function()
    log.warn = real_warn
    require("perigee.core.term").set_quiet(false)
  end)

  it("asks the supervisor for nothing when a field is wrong", function()
    answer("submit", view)

    local err = helper.error_of(jobs.submit, gpu_job(nil, { gpuTyp = "x" }))

    assert.equal("invalid", err.kind)
    assert.same({}, asked)
  end)

  it("hands over plain text, and gives a job whose money is amounts and that prints well", function()
    local prepared
    answer("submit", function(given)
      prepared = given
      return view { cost = "0.5 CNY", state = "succeeded", attempts = 3, attempt = 2, key = "周一", created = true }
    end)

    local job = jobs.submit(gpu_job { key = "周一", retry = { attempts = 3 } })

    for name, value in pairs(prepared) do assert.equal("string", type(value), name) end
    assert.equal("周一", prepared.key)
    assert.equal("0.5 CNY", tostring(job.cost))
    assert.equal(require("perigee.amount") "5 CNY", job.price)
    assert.equal('job "train", key "周一" (1a2b3c4d5e6f): succeeded, attempt 2 of 3, 0.5 CNY', tostring(job))
  end)

  it("says which options of an attached job stay those of the first submit", function()
    answer("submit", function() return view { created = false } end)

    jobs.submit(gpu_job { max_cost = "9 CNY" })

    assert.equal("job.options_kept", logged[1].event)
    assert.equal("max_cost", logged[1].fields.options)
  end)

  it("names the fields that differ when name and key belong to another spec, and what to do", function()
    answer("submit", function() error(errors.new { kind = "invalid", code = "other_spec", message = "x" }, 0) end)
    answer("get", function(which)
      assert.same({ name = "train", key = "" }, which)
      return view { spec = require("perigee.json").decode(require("perigee.job_spec").prepare(gpu_job()).spec) }
    end)

    local err = helper.error_of(jobs.submit, gpu_job(nil, { gpuNumber = 2, runCommand = "true" }))

    assert.equal("other_spec", err.code)
    assert.same({ "gpuNumber", "runCommand" }, err.differing)
    assert.truthy(err.message:find('there is a job "train" (1a2b3c4d5e6f) with another spec (other: gpuNumber, runCommand)', 1, true),
      err.message)
    assert.truthy(err.message:find("under another key", 1, true))
    assert.truthy(err.message:find("perigee jobs stop 1a2b3c4d5e6f", 1, true))
  end)

  it("says what to do about a job that has ended", function()
    answer("submit", function() error(errors.new { kind = "invalid", code = "finished", message = "x" }, 0) end)
    answer("get", function() return view { state = "failed", ended_at = os.time() - 7200 } end)

    local err = helper.error_of(jobs.submit, gpu_job())

    assert.equal("finished", err.code)
    assert.truthy(err.message:find("(failed, 2 h ago)", 1, true), err.message)
    assert.truthy(err.message:find('attach = "finished"', 1, true))
  end)

  it("waits until the job ends, and gives it", function()
    local states = { "submitting", "running", "succeeded" }
    answer("submit", function() return view { state = "planned" } end)
    answer("wait", function() return view { state = table.remove(states, 1), result = { url = "http://x" } } end)

    local job = jobs.submit(gpu_job()):wait { timeout = "1h" }

    assert.equal("succeeded", job.state)
    assert.equal("http://x", job.result.url)
  end)

  it("raises what the job failed with, with the way to the story", function()
    answer("submit", function() return view() end)
    answer("wait", function()
      return view { state = "failed", cost = "2 CNY", error = { kind = "job_failed", code = "fail", message = "job x has failed" } }
    end)
    local job = jobs.submit(gpu_job())

    local err = helper.error_of(job.wait, job)

    assert.equal("job_failed", err.kind)
    assert.equal(ID, err.job)
    assert.equal("2 CNY", tostring(err.cost))
    assert.truthy(err.message:find("perigee why 1a2b3c4d5e6f", 1, true))
    assert.truthy(errors.is(job.error, "job_failed"))
  end)

  it("raises denied for a denied job, so that a run ends with 4", function()
    answer("submit", function() return view { state = "denied", reason = "a policy says no" } end)
    local job = jobs.submit(gpu_job())

    local err = helper.error_of(job.wait, job)

    assert.equal("denied", err.kind)
    assert.truthy(err.message:find("was denied: a policy says no", 1, true), err.message)
  end)

  it("ends a wait with its time-out, and says that the job goes on", function()
    answer("submit", function() return view() end)
    answer("wait", function(_, seconds)
      task.sleep(seconds)
      return view()
    end)
    local job = jobs.submit(gpu_job())

    local err = helper.error_of(job.wait, job, { timeout = 0.02 })

    assert.equal("timeout", err.kind)
    assert.truthy(err.message:find("It goes on, still paid for", 1, true))
  end)

  it("ends a wait for what was never sent without saying that it is paid for", function()
    for state, words in pairs {
      planned = "(SXWL is down). Nothing of it is at the service", held = "Nothing of it was sent: it waits for a person",
      unknown = "Whether it was started is not known",
    } do
      answer("submit", function() return view { state = state, reason = "SXWL is down" } end)
      answer("wait", function(_, seconds)
        task.sleep(seconds)
        return view { state = state, reason = "SXWL is down" }
      end)
      local job = jobs.submit(gpu_job())

      local err = helper.error_of(job.wait, job, { timeout = 0.02 })

      assert.truthy(err.message:find(words, 1, true), err.message)
      assert.is_nil(err.message:find("still paid for", 1, true), err.message)
      assert.equal(state == "unknown" and "unknown" or "none", err.outcome)
    end
  end)

  it("says once that a held job waits for a person", function()
    local states = { "held", "held", "succeeded" }
    answer("submit", function() return view { state = "held", reason = "over 3 CNY" } end)
    answer("wait", function() return view { state = table.remove(states, 1) } end)

    jobs.submit(gpu_job()):wait()

    assert.equal(1, #logged)
    assert.truthy(logged[1].fields.message:find("perigee approve 1a2b3c4d5e6f", 1, true))
  end)

  it("waits for all jobs of a list before it raises for those that failed", function()
    local ends = { a = "failed", b = "succeeded", c = "stopped" }
    answer("submit", function(prepared) return view { id = prepared.name, name = prepared.name } end)
    answer("wait", function(id)
      task.sleep(id == "a" and 0 or 0.01)
      return view { id = id, name = id, state = ends[id] }
    end)
    local list = {}
    for _, name in ipairs { "a", "b", "c" } do list[#list + 1] = jobs.submit(gpu_job { name = name }) end

    local err = helper.error_of(jobs.wait, list)

    assert.equal(2, #err.errors)
    assert.same({ "failed", "succeeded", "stopped" }, { list[1].state, list[2].state, list[3].state })
    ends = { a = "succeeded", b = "succeeded", c = "succeeded" }
    for _, job in ipairs(list) do job.state = "running" end
    assert.equal(list, jobs.wait(list))
  end)

  it("finds by name and key, and by the beginning of an id", function()
    answer("get", function(which)
      if which == "1a2b" or type(which) == "table" and which.name == "train" and which.key == "" then return view() end
    end)

    assert.equal(ID, jobs.get("train").id)
    assert.equal(ID, jobs.get("1a2b").id)
    assert.is_nil(jobs.get("train", "monday"))
    assert.is_nil(jobs.get "other")
  end)

  it("lists with filters whose names and values are checked", function()
    answer("list", function(filter)
      assert.same({ limit = 100, state = "running", since = 1700000000000 }, filter)
      return { view(), view { id = "2" .. ID:sub(2) } }
    end)

    assert.equal(2, #jobs.list { state = "running", since = 1700000000 })
    assert.truthy(helper.error_of(jobs.list, { stat = "x" }).message:find('did you mean "state"', 1, true))
    assert.truthy(helper.error_of(jobs.list, { state = "runing" }).message:find('did you mean "running"', 1, true))
  end)

  it("says that a stopped job on Distributed AI goes on and stays billed, and nothing of the kind on SXWL", function()
    answer("submit", function() return view() end)
    answer("stop", function() return view { state = "stopped", service = "deai", remote_id = "77" } end)
    local job = jobs.submit(gpu_job())

    assert.equal("stopped", job:stop().state)
    assert.truthy(logged[1].fields.message:find("goes on and stays billed", 1, true))
    answer("stop", function() return view { state = "stopped", remote_id = "77" } end)
    jobs.stop(job)
    assert.equal(1, #logged)
  end)

  it("goes through the link in a policy's VM", function()
    local calls = {}
    local link = package.loaded["perigee.link"]
    package.loaded["perigee.link"] = { upstream = { call = function(_, name, args)
      calls[#calls + 1] = { name, args }
      return name == "jobs.submit" and view() or view { state = "succeeded" }
    end } }
    finally(function() package.loaded["perigee.link"] = link end)

    jobs.submit(gpu_job()):wait()

    assert.equal("jobs.submit", calls[1][1])
    assert.equal("train", calls[1][2].name)
    assert.equal("jobs.wait", calls[2][1])
    assert.equal(ID, calls[2][2].id)
  end)
end)
