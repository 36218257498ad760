-- daemon_doors_spec.lua - how a real daemon is reached: control, callbacks, health and metrics, each where it belongs.
local helper = require "helper"
local http = require "perigee.http"
local json = require "perigee.json"
local prometheus = require "tests.support.prometheus"
local spawn = require "tests.support.spawn"

describe("a daemon", function()
  local directory, daemon

  local function perigee(...)
    local words = { ... }
    table.move({ "--state", directory }, 1, 2, #words + 1, words)
    return spawn.run(words)
  end

  local function status()
    local result = spawn.run { "status", "--json", "--state", directory }
    return result.status == 0 and json.decode(result.stdout) or nil
  end

  before_each(function()
    directory = helper.tmpdir() .. "/state"
  end)

  local function with_daemon(f)
    return function()
      local log = directory .. ".log"
      local child <close> = spawn.start { "daemon", "--emulator", "--state", directory, "--listen", "127.0.0.1:0", "--public-url",
        "https://hooks.example.org", "--admin-listen", "0", "--log-file", log, "--log-level", "info", "cost_gate" }
      helper.eventually(status, 20)
      daemon = child
      f(status(), log)
      child:kill "TERM"
      assert.equal(0, child:wait().status)
    end
  end

  it("says where it is reached, is ready, and serves figures that can be read", with_daemon(function(document)
    local admin = document.addresses.admin
    assert.truthy(admin:find "^http://127%.0%.0%.1:%d+$")
    assert.equal("ok\n", http.get(admin .. "/healthz").body)
    assert.equal("ready\n", http.get(admin .. "/readyz").body)
    local page = prometheus.read(http.get(admin .. "/metrics").body)
    assert.equal(1, prometheus.value(page, "perigee_ready", {}))
    assert.equal(1, prometheus.value(page, "perigee_journal_ok", {}))
    assert.equal(0, prometheus.value(page, "perigee_policy_paused", { policy = "cost_gate" }))
    assert.truthy(prometheus.value(page, "perigee_vm_memory_bytes", { vm = "cost_gate" }) > 10000)
  end))

  it("serves nothing but callbacks where those come in, and callbacks nowhere else", with_daemon(function(document)
    local outside, admin = document.addresses.callbacks, document.addresses.admin

    for _, path in ipairs { "/metrics", "/healthz", "/v1/status", "/" } do
      assert.equal(404, http.get(outside .. path).status)
    end
    assert.equal(404, http.post(admin .. "/cb/x.1-" .. ("0"):rep(32), { body = "{}" }).status)
    assert.equal(404, http.post(admin .. "/v1/status", { body = "{}" }).status)
    assert.equal(404, http.post(outside .. "/cb/x.1-" .. ("0"):rep(32), { body = "{}" }).status)
    local page = prometheus.read(http.get(admin .. "/metrics").body)
    assert.equal(5, prometheus.value(page, "perigee_callbacks_total", { result = "refused" }))
  end))

  it("is paused, resumed, reloaded and made to log more from outside", with_daemon(function(_, log)
    assert.equal(0, perigee("pause", "cost_gate").status)
    assert.equal("paused", status().policies[1].state)
    assert.equal(0, perigee("resume", "cost_gate").status)
    assert.equal("active", status().policies[1].state)
    assert.equal("the policies were read again: cost_gate\n", perigee("reload").stdout)
    assert.truthy(perigee("pause", "cost_gat").stderr:find("cost_gate", 1, true))

    local file <close> = assert(io.open(log))
    assert.is_nil(file:read("a"):find(" debug ", 1, true))
    assert.equal(0, perigee("log-level", "debug").status)
    helper.eventually(function() return (file:read "a"):find(" debug ", 1, true) end)
  end))

  it("leaves no socket behind, and the next one finds a dead one's and goes on", with_daemon(function()
    daemon:kill "KILL"
    daemon:wait()
    local socket = directory .. "/control.sock"
    assert.equal("socket", require("lfs").symlinkattributes(socket, "mode"))
    assert.equal(3, perigee("status").status)

    daemon = spawn.start { "daemon", "--emulator", "--state", directory }
    local child <close> = daemon
    helper.eventually(status, 20)
    child:kill "TERM"
    assert.equal(0, child:wait().status)
    assert.is_nil(require("lfs").symlinkattributes(socket))
  end))
end)
