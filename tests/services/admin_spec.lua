-- admin_spec.lua - /healthz, /readyz and /metrics: who is told what, and that Prometheus can read it.
local admin = require "perigee.admin"
local errors = require "perigee.error"
local helper = require "helper"
local histogram = require "perigee.histogram"
local http = require "perigee.http"
local metrics = require "perigee.metrics"
local prometheus = require "tests.support.prometheus"
local task = require "perigee.task"

local function data(changes)
  local lag = histogram.new { 0.01, 0.1, 1 }
  for _, value in ipairs { 0.001, 0.01, 0.5, 7 } do lag:observe(value) end
  local all = {
    started_at = 1700000000, draining = false,
    jobs = {
      { state = "running", service = "sxwl", policy = "nightly", count = 3 },
      { state = "running", service = "sxwl", policy = 'we"ird\\\n', count = 2 },
      { state = "held", service = "deai", count = 1 },
    },
    policies = {
      { name = "nightly", state = "active", schedules = { { name = "late", next = 1700003600 } } },
      { name = "bad\255name", state = "paused", schedules = {} },
      { name = "slow", state = "failing", schedules = { { name = "late", stale = true } } },
    },
    lines = {
      { budget = "team", window = "day", currency = "CCD", limit = "5 CCD", spent = "1.5 CCD",
        held = "0.000000000000000001 CCD", unknown = "0 CCD" },
      { budget = "free", window = "total", currency = "CNY", spent = "3 CNY", held = "0 CNY", unknown = "0 CNY" },
    },
    spend = { { group = "nightly", currency = "CCD", spent = "1.5 CCD", held = "0.25 CCD", unknown = "0 CCD" } },
    journal = { engine = "sqlite", ok = true, open = true, bytes = 4096, commits = 10, calls = 30, queued = 2, mean_commit_ms = 2.5,
      worst_commit_ms = 12.0 },
    supervisor = { readings = 7, pages = 2, retries = 1, adopted = 0, unreachable = { deai = 12.5 } },
    callbacks = { figures = { received = 4, refused = 9, duplicate = 1 }, lag = lag },
    vms = { { name = "nightly", memory = 1000, peak = 2000 } },
  }
  for name, value in pairs(changes or {}) do all[name] = value end
  return all
end

describe("the metrics", function()
  it("can be read by a strict reader, and say what the daemon knows", function()
    local page = prometheus.read(metrics.render(data()))
    local function value(...) return prometheus.value(page, ...) end

    assert.equal(3, value("perigee_jobs", { state = "running", service = "sxwl", policy = "nightly" }))
    assert.equal(2, value("perigee_jobs", { state = "running", service = "sxwl", policy = 'we"ird\\\n' }))
    assert.equal(1, value("perigee_jobs", { state = "held", service = "deai", policy = "" }))
    assert.equal(1.5, value("perigee_budget_spent", { budget = "team", window = "day", currency = "CCD" }))
    assert.equal(5 - 1.5, value("perigee_budget_left", { budget = "team", window = "day", currency = "CCD" }))
    assert.is_nil(value("perigee_budget_left", { budget = "free", window = "total", currency = "CNY" }))
    assert.equal(0.25, value("perigee_held", { policy = "nightly", currency = "CCD" }))
    assert.equal(4, value("perigee_callbacks_total", { result = "received" }))
    assert.equal(2, value("perigee_callback_lag_seconds_bucket", { le = "0.01" }))
    assert.equal(4, value("perigee_callback_lag_seconds_count", {}))
    assert.equal(1, value("perigee_policy_paused", { policy = "bad?name" }))
    assert.equal(0, value("perigee_policy_paused", { policy = "nightly" }))
    assert.equal(1, value("perigee_policy_stale", { policy = "slow" }))
    assert.equal(0, value("perigee_policy_stale", { policy = "nightly" }))
    assert.equal(1700003600, value("perigee_policy_next_run_seconds", { policy = "nightly", schedule = "late" }))
    assert.equal(12.5, value("perigee_service_unreachable_seconds", { service = "deai" }))
    assert.equal(0.025, value("perigee_journal_commit_seconds_sum", {}))
    assert.equal(1, value("perigee_ready", {}))
    assert.equal(1000, value("perigee_vm_memory_bytes", { vm = "nightly" }))
    assert.equal(require("perigee.core.metrics").build().version, page.perigee_build_info.samples[1].labels.version)
  end)

  it("keep the digits of money", function()
    local line = 'perigee_budget_held{budget="team",currency="CCD",window="day"} 0.000000000000000001\n'
    assert.truthy(metrics.render(data()):find(line, 1, true))
  end)

  it("stay readable when two rows have the same labels, when there is nothing, and when no data can be had", function()
    local twice = { { state = "held", service = "deai", count = 1 }, { state = "held", service = "deai", policy = "", count = 4 } }

    local page = prometheus.read(metrics.render(data { jobs = twice, policies = {}, lines = {}, spend = {}, vms = {} }))
    local bare = prometheus.read(metrics.render {})

    assert.equal(5, prometheus.value(page, "perigee_jobs", { state = "held", service = "deai", policy = "" }))
    assert.truthy(bare.process_resident_memory_bytes.samples[1].value > 1e6)
    assert.truthy(bare.perigee_loop_lag_seconds)
    assert.is_nil(bare.perigee_ready)
  end)

  it("count calls of services by operation and outcome, errors and retries by kind", function()
    local closed = http.serve { handler = function() return {} end }
    local url = closed.url
    closed:close()
    local client = require("perigee.sxwl").client { token = "t", base_url = url }
    local function calls(outcome)
      return prometheus.value(prometheus.read(metrics.render {}), "perigee_calls_total",
        { service = "sxwl", operation = "gpu_types", outcome = outcome }) or 0
    end
    local before = calls "none"

    pcall(task.deadline, 1, client.gpu_types, client)

    assert.is_true(calls "none" > before)
    local page = prometheus.read(metrics.render {})
    assert.truthy(prometheus.value(page, "perigee_call_errors_total", { service = "sxwl", kind = "network" }))
  end)

  it("have a line each on the page for whoever runs the daemon, whose alerts name none that is not there", function()
    local file <close> = assert(io.open "docs/running-the-daemon.md")
    local page = file:read "a"
    local families = prometheus.read(metrics.render(data()))
    for name in pairs(families) do
      local named = page:find("`" .. name .. "`", 1, true) or page:find("`_" .. name:match "_([^_]+)$" .. "`", 1, true)
        or page:find("`_" .. name:match "_([^_]+_[^_]+)$" .. "`", 1, true)
        or page:find("`_" .. (name:match "_([^_]+_[^_]+_[^_]+)$" or "") .. "`", 1, true)
      assert.truthy(named, name .. " is not on the page")
    end
    local alerts = page:match "\n```yaml\n(.-)\n```"
    for name in alerts:gmatch "perigee_[%l_]+" do
      local family = name:gsub("_bucket$", "")
      assert.truthy(families[family], name .. " is in an alert, and nowhere else")
    end
  end)

  it("show that the loop was kept from turning", function()
    local function late()
      local h = require("perigee.core.metrics").loop_lag()
      local n = 0
      for i, count in ipairs(h.counts) do
        if (h.bounds[i] or math.huge) > 0.05 then n = n + count end
      end
      return n
    end
    local before = late()
    local timer = task.spawn(task.sleep, 0.01)
    task.sleep(0)

    local began = task.now()
    while task.now() - began < 0.12 do end -- luacheck: ignore 542
    timer:wait()

    assert.equal(before + 1, late())
  end)
end)

describe("the admin server", function()
  local present, asked

  local function get(server, path, options)
    return http.get(server.url .. path, options)
  end

  local function serve(f)
    return admin.serve { listen = "127.0.0.1:0", data = f or function()
      asked = asked + 1
      return present
    end }
  end

  before_each(function() present, asked = data(), 0 end)

  it("answers /healthz while the loop turns, without asking for anything", function()
    local server <close> = serve(function() error "never asked" end)

    local reply = get(server, "/healthz")

    assert.equal(200, reply.status)
    assert.equal("ok\n", reply.body)
  end)

  it("answers /readyz with 200, or with 503 and every reason", function()
    local server <close> = serve()
    assert.equal("ready\n", get(server, "/readyz").body)
    local document = get(server, "/readyz", { headers = { Accept = "application/json" } })
    assert.equal('{"obstacles":[],"ready":true,"schema_version":1}', document.body)

    present = data { draining = true, journal = { ok = false, code = "journal_full", message = "no space left" } }
    local other <close> = serve()
    local reply = get(other, "/readyz")

    assert.equal(503, reply.status)
    assert.equal("the daemon is ending and takes no new work\nthe journal cannot be written: no space left\n", reply.body)
    document = get(other, "/readyz", { headers = { Accept = "application/json" } }):json()
    assert.equal("journal_full", document.obstacles[2].code)
  end)

  it("answers /metrics as the format asks, gathering once for many who ask at once", function()
    local server <close> = serve(function()
      asked = asked + 1
      task.sleep(0.02)
      return present
    end)

    local pages = task.map({ 1, 2, 3, 4, 5, 6, 7, 8 }, function() return get(server, "/metrics") end, { concurrency = 8 })

    assert.equal("text/plain; version=0.0.4; charset=utf-8", pages[1].headers["content-type"])
    assert.equal(1, prometheus.value(prometheus.read(pages[8].body), "perigee_ready", {}))
    assert.equal(1, asked)
  end)

  it("says that it is not ready when the data cannot be had, and still shows what the process knows", function()
    local server <close> = serve(function()
      error(errors.new { kind = "unavailable", code = "journal_io", message = "disk error" }, 0)
    end)

    assert.equal(503, get(server, "/readyz").status)
    assert.truthy(get(server, "/readyz").body:find("disk error", 1, true))
    local page = get(server, "/metrics")
    assert.equal(200, page.status)
    assert.truthy(prometheus.read(page.body).perigee_loop_lag_seconds)
  end)

  it("looks at the loop all the time, also while nothing else happens", function()
    local core = require "perigee.core.metrics"
    local server <close> = serve() -- luacheck: ignore 211
    local before = core.loop_lag().count

    task.sleep(0.4) -- itself one

    assert.is_true(core.loop_lag().count - before >= 4)
  end)

  it("has nothing else, and changes nothing", function()
    local server <close> = serve()

    assert.equal(404, get(server, "/v1/status").status)
    assert.equal(404, get(server, "/cb/x").status)
    assert.equal(405, http.post(server.url .. "/metrics", { body = "x" }).status)
    assert.equal(200, http.request({ method = "HEAD", url = server.url .. "/metrics" }).status)
    assert.equal("config", helper.error_of(admin.serve, { listen = "nowhere", data = print }).code)
  end)
end)
