-- retry_log_spec.lua - every repeat says why, in the log of a run.
local helper = require "tests.helper"
local fs = require "perigee.fs"
local json = require "perigee.json"
local proc = require "perigee.proc"

local SCRIPT = [[
local errors, retry = require "perigee.error", require "perigee.retry"
pcall(function()
  retry.new({ attempts = 3, base = 0, service = "sxwl" }):run(function(try)
    error(errors.new { kind = "unavailable", code = "busy", retryable = true, message = "busy " .. try.attempt }, 0)
  end)
end)
]]

it("a retry logs each attempt with its reason, and why it gave up", function()
  local path = helper.tmpdir() .. "/script.lua"
  fs.write(path, SCRIPT)

  local result = proc.run {
    args = { os.getenv "PERIGEE", "run", "--log-format", "json", path }, timeout = 30,
  }

  local events = {}
  for line in result.stderr:gmatch "[^\n]+" do
    local ok, event = pcall(json.decode, line)
    if ok then events[#events + 1] = event end
  end
  assert.equal(3, #events, result.stderr)
  for i = 1, 2 do
    assert.equal("retry", events[i].event)
    assert.equal(i, events[i].attempt)
    assert.equal("busy " .. i, events[i].error)
    assert.equal("unavailable", events[i].kind)
    assert.equal("sxwl", events[i].service)
  end
  assert.equal("retry.stop", events[3].event)
  assert.equal("all 3 attempts are used", events[3].why)
end)
