-- The emulator on sockets: what server.lua adds to the services it serves.

local helper = require "tests.helper"
local http = require "perigee.http"
local json = require "perigee.json"
local server = require "perigee.emulator.server"
local wire = require "perigee.emulator.wire"

local function with_server(options, f)
  local emulator = server.serve(options)
  local ok, err = pcall(f, emulator)
  emulator:close()
  if not ok then
    error(err, 0)
  end
end

local function post(url, body, headers)
  headers = headers or {}
  headers["Content-Type"] = "application/json"
  return http.post(url, { body = wire.encode(body), headers = headers })
end

local function status_of(emulator, job_id)
  return post(emulator.sxwl_url .. "/userJob/job_status", { job_id = job_id }, {
    Authorization = "Bearer " .. emulator.token,
  })
end

local JOB <const> = {
  gpuNumber = 1, gpuType = "NVIDIA-GeForce-RTX-3090", ckptPath = "/ckpt", ckptVol = "1", modelPath = "/model",
  modelVol = "1", imagePath = "i", jobType = "GeneralJob", stopType = "0",
}

local function create(emulator, fields)
  local body = {}
  for _, source in ipairs { JOB, fields or {} } do
    for name, value in pairs(source) do
      body[name] = value
    end
  end
  local reply = post(emulator.sxwl_url .. "/userJob", body, { Authorization = "Bearer " .. emulator.token })
  return json.decode(reply.body).job_id
end

describe("emulator.serve", function()
  it("serves both services on a free port, with the account it names", function()
    with_server({ seed = 3 }, function(emulator)
      local reply = post(emulator.deai_url .. "/user/genToken", { email = emulator.email, passwd = emulator.password })

      assert.equal(200, json.decode(reply.body).code)
      assert.equal(400, status_of(emulator, "ai0").status)
      assert.equal(1, emulator.ledger:executions("deai", "login"))
    end)
  end)

  it("shows the ledger, which is the one in its hands", function()
    with_server({}, function(emulator)
      create(emulator)

      local summary = json.decode(http.get(emulator.url .. "/__ledger").body)

      assert.equal(1, #summary.sxwl.jobs)
      assert.equal(emulator.ledger:created("sxwl")[1].job_id, summary.sxwl.jobs[1].job_id)
    end)
  end)

  it("executes the second request of a kept connection and closes it without a reply", function()
    with_server({ faults = "sxwl.stop_job:drop_after=#2" }, function(emulator)
      local function stop()
        return post(emulator.sxwl_url .. "/userJob/job_del", { job_id = "ai0" }, {
          Authorization = "Bearer " .. emulator.token,
        })
      end
      stop()

      local err = helper.error_of(stop)

      assert.equal("network", err.kind)
      assert.equal("unknown", err.outcome)
      assert.equal(2, emulator.ledger:executions("sxwl", "stop_job"))
      assert.equal(1, emulator.ledger:replies("sxwl", "stop_job"))
    end)
  end)

  it("lets a delayed reply come late", function()
    with_server({ faults = "sxwl.job_status:delay(150ms)" }, function(emulator)
      local started = require("perigee.task").now()
      status_of(emulator, "ai0")

      assert.is_true(require("perigee.task").now() - started >= 0.15)
    end)
  end)

  it("posts a callback when its job ends, once", function()
    local seen = {}
    local receiver = http.serve {
      handler = function(request)
        seen[#seen + 1] = { path = request.path, body = request:json() }
        return { status = 200 }
      end,
    }
    with_server({ speed = 400 }, function(emulator)
      local job_id = create(emulator, { callbackUrl = receiver.url .. "/cb/secret" })

      helper.eventually(function()
        return #seen > 0 and json.decode(status_of(emulator, job_id).body).status == "success"
      end)

      assert.equal("/cb/secret", seen[1].path)
      assert.equal("success", seen[1].body.status)
      assert.equal(1, #seen)
    end)
    receiver:close()
  end)

  it("serves models from another origin, and no services there", function()
    with_server({ speed = 400 }, function(emulator)
      local job_id, reply = create(emulator), nil
      helper.eventually(function()
        reply = json.decode(status_of(emulator, job_id).body)
        return reply.status == "success"
      end)

      local model = http.get(reply.url)

      assert.equal(emulator.storage_url, reply.url:sub(1, #emulator.storage_url))
      assert.not_equal(emulator.url, emulator.storage_url)
      assert.same({ 200, 65536 }, { model.status, #model.body })
      assert.equal(403, http.get(emulator.storage_url .. "/api/userJob").status)
    end)
  end)

  it("leaves nothing behind when it is closed before a callback is due", function()
    with_server({}, function(emulator)
      create(emulator, { callbackUrl = "http://127.0.0.1:9/never" })
    end)
  end)
end)
