-- daemon_callback_spec.lua - a service tells the daemon of the end of a job, and the daemon looks at once.
local daemon = require "tests.support.daemon"
local helper = require "helper"
local http = require "perigee.http"
local prometheus = require "tests.support.prometheus"

local POLICY <const> = [[
  return {
    name = "trainer",
    on = { ["job.succeeded"] = function(job) print("succeeded " .. job.name) end },
    schedules = { { name = "train", every = "1s", run = function(ctx)
      ctx.jobs.submit { service = "sxwl", name = "one", key = "k", max_cost = "20 CNY", attach = "finished", spec = {
        gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "registry.example/digits:1.4", jobType = "GeneralJob",
        ckptPath = "/ckpt", ckptVol = 10000, modelPath = "/model", modelVol = 10000, runCommand = "python train.py" } }
    end } } }]]

local CONFIG <const> = [[return { sxwl = { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" } } }]]

-- One that was free a moment ago: the address must be known before the daemon starts.
local function free_port()
  local server = http.serve { handler = function() return {} end }
  local port = server.port
  server:close()
  return port
end

describe("a callback", function()
  it("reaches the daemon at the URL that the job was submitted with, and its end is known soon", function()
    local world = daemon.world()
    finally(function() world:close() end)
    world:emulator("--speed", "600")
    local config = world.folder .. "/config.lua"
    require("perigee.core.fs").write(config, CONFIG, { mode = "0600" })
    local address = "127.0.0.1:" .. free_port()

    local child = world:start { "--config", config, "--listen", address, "--public-url", "http://" .. address, "--admin-listen", "0",
      world:policy("trainer", POLICY) }

    assert.is_true(child:read_until "succeeded one", daemon.log(child))
    local admin = world:call("status").addresses.admin
    local page
    helper.eventually(function()
      page = prometheus.read(http.get(admin .. "/metrics").body)
      return prometheus.value(page, "perigee_callback_lag_seconds_count", {}) == 1
    end)
    assert.equal(1, prometheus.value(page, "perigee_callbacks_total", { result = "received" }))
    assert.is_true(prometheus.value(page, "perigee_callback_lag_seconds_sum", {}) < 5)
    assert.truthy(prometheus.value(page, "perigee_calls_total", { service = "sxwl", operation = "create_job", outcome = "ok" }))
    assert.equal(1, prometheus.value(page, "perigee_jobs", { state = "succeeded", service = "sxwl", policy = "trainer" }))
  end)
end)
