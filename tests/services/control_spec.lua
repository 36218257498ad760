-- control_spec.lua - the daemon's control socket: verbs, errors both ways, limits, many clients at once.
local control = require "perigee.control"
local errors = require "perigee.error"
local helper = require "helper"
local http = require "perigee.http"
local json = require "perigee.json"
local task = require "perigee.task"

describe("control", function()
  local directory, server, verbs

  before_each(function()
    directory = helper.tmpdir()
    verbs = {}
  end)

  local function with_server(f)
    return function()
      server = control.serve { path = directory .. "/" .. control.SOCKET, verbs = verbs }
      local _ <close> = server
      f(assert(control.reach(directory)))
    end
  end

  local function raw(options)
    options.unix_socket = server.url:match "^unix:(.*)$"
    local reply = http.request(options)
    return reply.status, json.decode(reply.body)
  end

  it("finds no daemon where none runs, and none where one was killed", function()
    assert.is_nil(control.reach(directory))
    assert.is_nil(control.reach ":memory:")
    assert.is_nil(control.reach(directory .. "/nowhere"))
  end)

  it("carries plain data both ways", with_server(function(client)
    verbs["policy.pause"] = function(args) return { seen = args, list = json.array(), n = 9007199254740993 } end

    local result = client:call("policy.pause", { policy = "täglich", deep = { a = { 1, 2 } }, yes = true })

    assert.same({ policy = "täglich", deep = { a = { 1, 2 } }, yes = true }, result.seen)
    assert.is_true(json.is_array(result.list))
    assert.equal(9007199254740993, result.n)
  end))

  it("gives nil for a verb without a result, and an empty table to one without arguments", with_server(function(client)
    local seen
    verbs.reload = function(args) seen = args end

    assert.is_nil(client:call "reload")
    assert.same({}, seen)
    assert.is_nil(client:call("reload", {}))
  end))

  it("raises the verb's error as it was, with what belongs to it", with_server(function(client)
    verbs["jobs.approve"] = function()
      error(errors.new { kind = "denied", code = "budget", message = "over the cap", outcome = "none", job_id = "j1",
        hidden = {} }, 0)
    end

    local err = helper.error_of(client.call, client, "jobs.approve", { id = "j1" })

    assert.is_true(errors.is(err, "denied"))
    assert.equal("budget", err.code)
    assert.equal("over the cap", err.message)
    assert.equal("j1", err.job_id)
    assert.is_nil(err.hidden)
    assert.equal(403, (raw { url = "http://localhost/v1/jobs.approve", method = "POST" }))
  end))

  it("keeps the daemon's own mistakes in its log, and goes on", with_server(function(client)
    verbs.broken = function() error "a path /home/x and a reason" end
    verbs.fine = function() return "ok" end

    local err = helper.error_of(client.call, client, "broken")

    assert.equal("unavailable", err.kind)
    assert.equal("internal", err.code)
    assert.is_nil(err.message:find("/home/x", 1, true))
    assert.equal("ok", client:call "fine")
  end))

  it("names the verb that was meant, and lists them all", with_server(function(client)
    verbs.status, verbs.reload = function() end, function() end

    local err = helper.error_of(client.call, client, "statsu")

    assert.equal("unknown_verb", err.code)
    assert.truthy(err.message:find("status", 1, true))
    assert.same({ "reload", "status" }, client:verbs())
  end))

  it("answers every refusal as one JSON document with a schema version", with_server(function()
    verbs.status = function() return {} end
    local url = "http://localhost/v1/status"
    for _, case in ipairs {
      { 405, { url = url } },
      { 400, { url = url, method = "POST", body = "{" } },
      { 400, { url = url, method = "POST", body = "[1]" } },
      { 400, { url = url, method = "POST", body = "[]" } },
      { 400, { url = url, method = "POST", body = "3" } },
      { 404, { url = "http://localhost/v2/status", method = "POST" } },
      { 404, { url = "http://localhost/v1/none", method = "POST" } },
    } do
      local status, document = raw(case[2])
      assert.equal(case[1], status)
      assert.equal(1, document.schema_version)
      assert.equal("invalid", document.error.kind)
    end
  end))

  it("refuses a body over a megabyte", with_server(function()
    verbs.status = function() error "never called" end

    local reply = http.post("http://localhost/v1/status", { unix_socket = directory .. "/" .. control.SOCKET,
      body = ('"%s"'):format(("x"):rep(1024 * 1024)) })

    assert.equal(413, reply.status)
  end))

  it("serves many clients at once, while verbs wait", with_server(function(client)
    local running, most = 0, 0
    verbs.wait = function(args)
      running = running + 1
      most = math.max(most, running)
      helper.eventually(function() return most >= 20 end)
      running = running - 1
      return args.n
    end
    local numbers = {}
    for i = 1, 20 do numbers[i] = i end

    local results = task.map(numbers, function(n) return client:call("wait", { n = n }) end, { concurrency = 20 })

    assert.equal(20, results.n)
    for i = 1, 20 do assert.equal(i, results[i]) end
  end))

  it("says of a daemon that ends while it works, or takes too long, that nobody knows", with_server(function(client)
    verbs.sleep = function() task.sleep(30) end
    verbs.stop = function() task.detach(function() server:close() end) task.sleep(30) end

    for _, call in ipairs { { "sleep", { timeout = 0.1 } }, { "stop" } } do
      local err = helper.error_of(client.call, client, call[1], nil, call[2])

      assert.equal("daemon_lost", err.code)
      assert.equal("unknown", err.outcome)
      assert.truthy(err.message:find("perigee status", 1, true))
    end
    assert.equal("control", helper.error_of(client.call, client, "stop").code)
  end))
end)
