-- The emulated SXWL, held against the contract in each era, on a clock of the spec's own.

local client = require "tests.services.emulator_client"
local json = require "perigee.json"
local wire = require "perigee.emulator.wire"

local function finished(c, fields)
  local id = c:sxwl_create(fields)
  c.now = c.now + 1000
  return id
end

describe("emulated SXWL: who calls", function()
  it("answers a missing and a malformed token as its era does", function()
    local function ask(era, header)
      local c = client.new { era = era }
      return c:sxwl("POST", "/userJob/job_status", { job_id = "x" }, { authorization = header })
    end

    assert.equal(401, ask("A").status)
    assert.equal("unauthorized", json.decode(ask("A").body).message)
    assert.equal(500, ask("A", "Bearer nonsense").status)
    assert.equal(401, ask("B").status)
    assert.has_error(function() json.decode(ask("B").body) end)
    assert.equal(401, ask("B", "bearer " .. client.new().world.sxwl.token).status)
  end)

  it("does not take Bearer twice", function()
    local c = client.new()

    local header = "Bearer Bearer " .. c.world.sxwl.token

    assert.equal(401, c:sxwl("POST", "/userJob/job_status", { job_id = "x" }, { authorization = header }).status)
  end)
end)

describe("emulated SXWL: creating", function()
  it("answers with an id of its shape, another one each time", function()
    local c = client.new()

    local one, two = c:sxwl_create(), c:sxwl_create()

    assert.truthy(one:match "^ai%x+%-%x+%-4%x+%-a%x+%-%x+$")
    assert.not_equal(one, two)
    assert.equal(2, #c.ledger:created "sxwl")
  end)

  it("refuses a missing field: as JSON in A, as text in B, as JSON with a message later in B", function()
    local function without_image(era)
      local c = client.new { era = era }
      local body = c:sxwl_body()
      body.imagePath = nil
      local response = c:sxwl("POST", "/userJob", body)
      assert.equal(400, response.status)
      assert.equal(0, #c.ledger:created "sxwl")
      return response.body
    end

    assert.same(400, json.decode(without_image "A").status)
    assert.equal('field "imagePath" is not set', without_image "B")
    assert.equal('{"message":"field \\"imagePath\\" is not set"}', without_image "B2")
  end)

  it("takes wrong JSON types with 200 and never starts the job", function()
    for field, value in pairs {
      gpuNumber = "1", ckptVol = 10000, modelVol = "10 GB", stopType = 0, stopTime = "5", env = { N = 3 },
      gpuType = 3090, runCommand = 1,
    } do
      local c = client.new()
      local id = finished(c, { [field] = value })
      assert.equal('{"url":"","status":"working"}', c:sxwl_status(id), field)
      assert.equal(1, #c.ledger:complaints(), field)
    end
  end)

  it("leaves a GPU type nobody has working for ever, and fails an unknown job type", function()
    local c = client.new()
    local waiting = finished(c, { gpuType = "NVIDIA-GeForce-RTX-3099" })
    local failing = finished(c, { jobType = "Horovod" })
    c.now = c.now + 1e7

    assert.equal('{"url":"","status":"working"}', c:sxwl_status(waiting))
    assert.equal('{"url":"","status":"fail"}', c:sxwl_status(failing))
  end)

  it("ends stopType 1 without stopTime at once, and counts a deadline as success for a GeneralJob only", function()
    local c = client.new { sxwl = { job_seconds = 3600 } }
    local at_once = c:sxwl_create { stopType = "1" }
    local at_once_status = c:sxwl_status(at_once)
    local general = c:sxwl_create { stopType = "1", stopTime = 5 }
    local mpi = c:sxwl_create { stopType = "1", stopTime = 5, jobType = "MPI" }
    c.now = c.now + 299
    local before = c:sxwl_status(general)
    c.now = c.now + 8

    assert.truthy(at_once_status:find('"status":"success"', 1, true))
    assert.truthy(before:find('"status":"working"', 1, true))
    assert.truthy(c:sxwl_status(general):find('"status":"success"', 1, true))
    assert.truthy(c:sxwl_status(mpi):find('"status":"fail"', 1, true))
  end)

  it("answers 404 in era C", function()
    local c = client.new { era = "C" }

    local _, response = c:sxwl_create()

    assert.equal(404, response.status)
    assert.equal(0, #c.ledger:created "sxwl")
  end)
end)

describe("emulated SXWL: status and stop", function()
  it("shows working, then success with a link: & as it is in A, as \\u0026 in B", function()
    local a, b = client.new { era = "A" }, client.new { era = "B" }
    local id_a, id_b = a:sxwl_create(), b:sxwl_create()
    local early_a, early_b = a:sxwl_status(id_a), b:sxwl_status(id_b)
    a.now, b.now = a.now + 1000, b.now + 1000

    assert.equal('{"status":"working"}', early_a)
    assert.equal('{"url":"","status":"working"}', early_b)
    assert.truthy(a:sxwl_status(id_a):find("&Expires=", 1, true))
    assert.truthy(b:sxwl_status(id_b):find("\\u0026Expires=", 1, true))
    assert.truthy(json.decode((b:sxwl_status(id_b))).url:find("&Expires=", 1, true))
  end)

  it("answers an unknown id with {} in A, with 400 and a text of the database in B", function()
    local a, b = client.new { era = "A" }, client.new { era = "B" }

    assert.equal("{}", (a:sxwl_status "ai0"))
    local text, response = b:sxwl_status "ai0"
    assert.same({ 400, "sql: no rows in result set" }, { response.status, text })
  end)

  it("stops anything with 200, as often as wanted: the status stays in A and is gone in B", function()
    for _, era in ipairs { "A", "B" } do
      local c = client.new { era = era }
      local id = c:sxwl_create()
      for _, target in ipairs { id, id, "ai0" } do
        local response = c:sxwl("POST", "/userJob/job_del", { job_id = target })
        assert.same({ 200, era == "A" and "" or '{"message":"delete job success"}' }, { response.status, response.body })
      end
      c.now = c.now + 1000
      local text, response = c:sxwl_status(id)
      assert.equal(era == "A" and 200 or 400, response.status)
      assert.equal(era == "A" and '{"status":"working"}' or "sql: no rows in result set", text)
      assert.equal(1, #c.ledger:list "stop")
    end
  end)

  it("lets a status go back under the fault, and come again", function()
    local c = client.new { faults = "sxwl.create_job:back(2)=1" }
    local id, seen = finished(c), {}

    for i = 1, 5 do
      seen[i] = json.decode((c:sxwl_status(id))).status
    end

    assert.same({ "success", "working", "working", "success", "success" }, seen)
  end)

  it("fails the first jobs under the fault, and the next one runs", function()
    local c = client.new { faults = "sxwl.create_job:fail=2" }

    local seen = {}
    for i = 1, 3 do
      seen[i] = json.decode((c:sxwl_status(finished(c)))).status
    end

    assert.same({ "fail", "fail", "success" }, seen)
  end)

  it("has success without a link: no url in A, a 400 in B", function()
    local a = client.new { era = "A", faults = "sxwl.create_job:no_url" }
    local b = client.new { era = "B", faults = "sxwl.create_job:no_url" }

    assert.equal('{"status":"success"}', a:sxwl_status(finished(a)))
    assert.equal(400, select(2, b:sxwl_status(finished(b))).status)
  end)
end)

describe("emulated SXWL: callbacks", function()
  local URL <const> = "http://127.0.0.1:9/cb/secret?z=1&a=2"

  it("come once, when the job ends, with the query sorted and either spelling of the id", function()
    local keys = {}
    for seed = 1, 12 do
      local c = client.new { seed = seed }
      local id = c:sxwl_create { callbackUrl = URL }
      local due = c.world.sxwl:next_callback()
      assert.same({}, c.world.sxwl:due_callbacks(due - 0.001))

      local callbacks = c.world.sxwl:due_callbacks(due)

      local body = json.decode(callbacks[1].body)
      assert.equal("http://127.0.0.1:9/cb/secret?a=2&z=1", callbacks[1].url)
      assert.same({ 1, id, "success" }, { #callbacks, body.jobId or body.job_id, body.status })
      assert.truthy(body.url:find("Expires", 1, true))
      keys[body.jobId and "jobId" or "job_id"] = true
      assert.same({}, c.world.sxwl:due_callbacks(due + 1e6))
    end
    assert.same({ jobId = true, job_id = true }, keys)
  end)

  it("of failures have no usable id", function()
    local bodies = {}
    for seed = 1, 12 do
      local c = client.new { seed = seed, faults = "sxwl.create_job:fail" }
      c:sxwl_create { callbackUrl = URL }
      bodies[c.world.sxwl:due_callbacks(c.now + 1000)[1].body] = true
    end

    assert.same({ ['{"jobId":"","status":"fail","url":""}'] = true, ['{"status":"fail"}'] = true }, bodies)
  end)

  it("come twice, early, late or never under the faults", function()
    local function times(fault)
      local c = client.new { faults = fault and "sxwl.create_job:" .. fault }
      local id = c:sxwl_create { callbackUrl = URL }
      local ends_at, list = c.world.sxwl.jobs[id].ends_at, {}
      while c.world.sxwl:next_callback() do
        local at = c.world.sxwl:next_callback()
        list[#list + 1] = at - ends_at
        c.world.sxwl:due_callbacks(at)
      end
      return list
    end

    assert.same({ 0 }, times())
    assert.same({ 0, 1 }, times "callback_twice")
    assert.is_true(times("callback_early")[1] < 0)
    assert.same({ 90 }, times "callback_late(90s)")
    assert.same({}, times "callback_never")
  end)

  it("do not come for a stopped job, in era C, or to a path segment that begins with a colon", function()
    local stopped = client.new()
    stopped:sxwl("POST", "/userJob/job_del", { job_id = stopped:sxwl_create { callbackUrl = URL } })
    local colon = client.new()
    colon:sxwl_create { callbackUrl = "http://127.0.0.1:9/cb/:key" }

    assert.same({}, stopped.world.sxwl:due_callbacks(stopped.now + 1e6))
    assert.same({}, colon.world.sxwl:due_callbacks(colon.now + 1e6))
  end)
end)

describe("emulated SXWL: the model", function()
  local function path_of(url)
    return url:match "^https://storage%.emulator%.example(/.*)$"
  end

  it("is fetched with the link alone, whole or from an offset on", function()
    local c = client.new()
    local url = json.decode((c:sxwl_status(finished(c)))).url

    local whole = c:send("GET", path_of(url))
    local rest = c:send("GET", path_of(url), nil, { range = "bytes=65000-" })
    local beyond = c:send("GET", path_of(url), nil, { range = "bytes=65536-" })
    local other = c:send("GET", path_of(url), nil, { range = "bytes=65000-", ["if-range"] = '"other"' })

    assert.same({ 200, 65536 }, { whole.status, #whole.body })
    assert.same({ 206, whole.body:sub(65001), "bytes 65000-65535/65536" },
      { rest.status, rest.body, rest.headers["content-range"] })
    assert.same({ 416, "bytes */65536" }, { beyond.status, beyond.headers["content-range"] })
    assert.equal(200, other.status)
    assert.equal(0, #c.ledger:complaints())
  end)

  it("is refused after Expires and with a changed link, and a token that came along is written down", function()
    local c = client.new()
    local path = path_of(json.decode((c:sxwl_status(finished(c)))).url)

    local forged = c:send("GET", (path:gsub("Expires=%d", "Expires=9")))
    c:send("GET", path, nil, { authorization = "Bearer x" })
    c.now = c.now + 31 * 86400
    local late = c:send("GET", path)

    assert.same({ 403, 403 }, { forged.status, late.status })
    assert.equal("a token came along to the download host", c.ledger:complaints()[1].text)
  end)
end)

describe("emulated SXWL: lists", function()
  it("shows jobs newest first, with the env they were made with", function()
    local c = client.new()
    c:sxwl_create { env = { PERIGEE_ID = "one" } }
    local id = c:sxwl_create { env = { PERIGEE_ID = "two" } }

    local page = json.decode(c:sxwl("GET", "/userJob?current=1&size=1").body)

    assert.same({ 2, 1, id }, { page.totalElements, #page.content, page.content[1].jobName })
    assert.equal("two", json.decode(page.content[1].jsonAll).env.PERIGEE_ID)
  end)

  it("shows GPU types with their price", function()
    local c = client.new { sxwl = { gpu_types = { ["NVIDIA-GeForce-RTX-3090"] = 7 } } }

    assert.equal('[{"amount":7,"gpuProd":"NVIDIA-GeForce-RTX-3090"}]', c:sxwl("GET", "/userJob/getGpuType").body)
  end)

  it("answers an unsupported method with an empty 405 in B", function()
    local c = client.new()
    local response = c:sxwl("PUT", "/userJob", wire.ordered {})

    assert.same({ 405, "" }, { response.status, response.body })
  end)
end)
