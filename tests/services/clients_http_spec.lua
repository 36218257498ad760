-- Both clients over real HTTP, against the emulator on a socket.
local callback = require "perigee.callback"
local deai = require "perigee.deai"
local emulator = require "perigee.emulator.server"
local helper = require "tests.helper"
local sxwl = require "perigee.sxwl"
local task = require "perigee.task"

local GPU <const> = "NVIDIA-GeForce-RTX-3090"

local function serve(options)
  options.speed = options.speed or 2000
  local server = emulator.serve(options)
  return setmetatable({
    server = server,
    deai = deai.client { email = server.email, password = server.password, base_url = server.deai_url, draft_rest = 0.1 },
    sxwl = function(more)
      local all = { token = server.token, base_url = server.sxwl_url, prices = { [GPU] = "7 CNY/h" } }
      for name, value in pairs(more or {}) do all[name] = value end
      return sxwl.client(all)
    end,
    count = function(kind, operation)
      local n = 0
      for _, entry in ipairs(server.ledger.entries) do
        if entry.kind == kind and (not operation or entry.operation == operation) then n = n + 1 end
      end
      return n
    end,
  }, { __close = function() server:close() end })
end

local function file(text)
  local path = helper.tmpdir() .. "/data.csv"
  local handle = assert(io.open(path, "wb"))
  handle:write(text)
  handle:close()
  return path
end

local function job(fields)
  local all = {
    gpuNumber = 1, gpuType = GPU, ckptPath = "/ckpt", ckptVol = 10, modelPath = "/model", modelVol = 20,
    imagePath = "image", jobType = "GeneralJob", stopType = "1", stopTime = 60,
  }
  for name, value in pairs(fields or {}) do all[name] = value end
  return all
end

describe("deai over HTTP", function()
  it("uploads, trains and infers", function()
    local here <close> = serve { seed = 5 }
    local client = here.deai

    local trained = client:train { model = "LSTM", jobName = "j", x_train = deai.file(file "1,2,3"), wait = true }
    local result = client:infer { jobID = trained.jobID, file = file "4,5,6", max_cost = "1 CCD" }

    assert.truthy(result.tx_hash)
    assert.equal(1, here.count "job")
    assert.equal(1, here.count "inference")
    assert.equal(0, here.count "complaint")
  end)

  it("sends neither a draft nor an upload nor a create twice when a kept-alive connection dies", function()
    local here <close> = serve {
      seed = 5,
      faults = "deai.upload:drop_after=#2, deai.estimate:drop_after=#2, deai.create_job:drop_after=#2, "
        .. "deai.start_inference:drop_after=#1",
    }
    local client = here.deai
    local path = client:upload(file "one")

    assert.equal("unknown", helper.error_of(client.upload, client, file "two").outcome)
    assert.equal(2, here.count "upload")
    local draft = { model = "LSTM", jobName = "j", x_train = path }
    client:estimate(draft)
    assert.equal("unknown", helper.error_of(client.estimate, client, draft).outcome)
    assert.equal(2, here.count("call", "estimate"))
    client:estimate(draft)
    local job_id = client:create_job { jobName = "j" }
    assert.equal("unknown", helper.error_of(client.create_job, client, { jobName = "j" }).outcome)
    assert.equal(2, here.count "job")
    client:wait_job(job_id)
    local err = helper.error_of(client.infer, client, { jobID = job_id, data_path = path })
    assert.equal("unknown", err.outcome)
    assert.equal(1, here.count "inference")
  end)

  it("streams an upload with progress", function()
    local here <close> = serve { seed = 5 }
    local sent, total

    here.deai:upload(file(("x"):rep(2000000)), { progress = function(a, b) sent, total = a, b end })

    assert.is_true(sent >= 2000000)
    assert.equal(total, sent)
  end)
end)

describe("sxwl over HTTP", function()
  it("runs a job and downloads its model, by job and by link", function()
    local here <close> = serve { seed = 5 }
    local client, folder = here.sxwl(), helper.tmpdir()

    local result = client:run(job())
    local by_job = client:download(result.job_id, folder .. "/a.bin")
    local by_link = client:download(result.url, folder .. "/b.bin")

    local a, b = assert(io.open(folder .. "/a.bin", "rb")):read "a", assert(io.open(folder .. "/b.bin", "rb")):read "a"
    assert.equal(#a, by_job.size)
    assert.equal(a, b)
    assert.equal(by_job.size, by_link.size)
    assert.is_nil(by_job.url:find("?", 1, true))
    assert.equal(0, here.count "complaint") -- the token has not gone to the other host
  end)

  it("asks for a fresh link when one is over, and goes on from the part", function()
    local here <close> = serve { seed = 5, faults = "sxwl.download:expired=1" }
    local client = here.sxwl()
    local result = client:run(job())

    local got = client:download(result.job_id, helper.tmpdir() .. "/a.bin", { resume = true })

    assert.is_true(got.size > 0)
    assert.equal(2, here.count("call", "download"))
  end)

  it("says so when there is no model yet", function()
    local here <close> = serve { seed = 5, faults = "sxwl.create_job:never" }
    local client = here.sxwl()
    local job_id = client:create_job(job())

    local err = helper.error_of(client.download, client, job_id, helper.tmpdir() .. "/a.bin")

    assert.same({ "unavailable", "no_model", job_id }, { err.kind, err.code, err.job_id })
  end)

  it("merges callback and polling: the callback ends the wait early", function()
    local here <close> = serve { seed = 5, speed = 300 }
    local receiver <close> = callback.receiver {}
    local client = here.sxwl { callbacks = receiver }
    local result = client:run(job())

    assert.equal("success", result.status)
    assert.is_true(here.count "callback" >= 1)
    assert.is_nil(next(receiver._by_key)) -- nothing is left registered
  end)

  it("is not harmed by callbacks that come early, twice, late or never", function()
    for _, fault in ipairs { "callback_early", "callback_twice", "callback_late(5s)", "callback_never" } do
      local here <close> = serve { seed = 5, faults = "sxwl.create_job:" .. fault }
      local receiver <close> = callback.receiver {}

      assert.equal("success", here.sxwl({ callbacks = receiver }):run(job()).status)
    end
  end)

  it("keeps to its rate of status reads with many jobs at once", function()
    local here <close> = serve { seed = 5, speed = 500 }
    local client = here.sxwl { status_rate = 20 }
    local jobs = {}
    for i = 1, 12 do jobs[i] = job() end
    local started = task.now()

    local results = task.map(jobs, function(fields) return client:run(fields) end)

    assert.equal(12, #results)
    local rate = here.count("call", "job_status") / (task.now() - started)
    assert.is_true(rate <= 20.5)
  end)
end)
