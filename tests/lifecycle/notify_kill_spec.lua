-- notify_kill_spec.lua - a process is killed around the sending of a message: the next one sends it, and only then.
local fs = require "perigee.fs"
local helper = require "tests.helper"
local http = require "perigee.http"
local json = require "perigee.json"
local spawn = require "tests.support.spawn"

local SEND <const> = [[
  local notify = require "perigee.notify"
  print(notify.send { event = "e", text = "look at it", job = { id = "1a2b", state = "failed" } })]]
local FLUSH <const> = [[print(require("perigee.notify").flush())]]

-- A webhook, and runs on one state directory: run(code, crash) -> the result.
local function world()
  local ids, dir = {}, helper.tmpdir()
  local server = http.serve {
    handler = function(request)
      ids[#ids + 1] = json.decode(request.body).id
      return { status = 200 }
    end,
  }
  finally(function() server:close() end)
  local config = dir .. "/config.lua"
  fs.write(config, ("return { notify = { webhook = %q, min_interval = 0 } }"):format(server.url .. "/hook"), { mode = "0600" })
  return ids, function(code, crash)
    return spawn.run({ "run", "--state", dir .. "/state", "-e", code }, { env = { PERIGEE_CONFIG = config, PERIGEE_CRASH = crash } })
  end
end

local function killed(result)
  assert.equal(9, result.signal, result.stderr)
end

describe("a process that is killed", function()
  it("before the message is in the journal leaves nothing behind", function()
    local ids, run = world()
    killed(run(SEND, "outbox.put:before"))
    assert.equal(0, run(FLUSH).status)
    assert.equal(0, #ids)
  end)

  it("between writing and sending leaves it to the next one, which sends it once", function()
    local ids, run = world()
    killed(run(SEND, "outbox.put:after"))
    assert.equal(0, #ids)
    assert.equal("true\n", run(FLUSH).stdout)
    assert.equal(1, #ids)
    assert.equal("true\n", run(FLUSH).stdout)
    assert.equal("known\n", run(SEND).stdout)
    assert.equal(1, #ids)
  end)

  it("between sending and noting it has it sent again, under the same id", function()
    local ids, run = world()
    killed(run(SEND, "outbox.done:before"))
    assert.equal(1, #ids)
    assert.equal("true\n", run(FLUSH).stdout)
    assert.equal(2, #ids)
    assert.equal(ids[1], ids[2])
  end)

  it("after noting it has it sent no more", function()
    local ids, run = world()
    killed(run(SEND, "outbox.done:after"))
    assert.equal("true\n", run(FLUSH).stdout)
    assert.equal(1, #ids)
  end)
end)
