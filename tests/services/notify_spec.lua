-- notify_spec.lua - perigee.notify: what is sent and how, that each message is sent once, and what becomes of it when the
-- other side, the journal or the process fails.
local config = require "perigee.config"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local http = require "perigee.http"
local journal = require "perigee.core.journal"
local json = require "perigee.json"
local message = require "perigee.notify_message"
local notify = require "perigee.notify"
local read_settings = require "perigee.notify_settings".read
local spawn = require "tests.support.spawn"
local worker = require "perigee.notify_worker"

-- A webhook: what it got, decoded; .status: what it answers with.
local function open_webhook()
  local hook = { got = {}, status = 200, headers = {} }
  hook.server = http.serve {
    handler = function(request)
      hook.got[#hook.got + 1] = json.decode(request.body)
      hook.request = { method = request.method, type = request.headers["content-type"], path = request.path }
      return { status = hook.status, headers = hook.headers, body = "" }
    end,
  }
  hook.url = hook.server.url
  return hook
end

-- The program's configuration has this notify.
local function configure(t)
  local real = config.file
  config.file = function() return { notify = t }, "config.lua" end -- luacheck: ignore 122
  return function() config.file = real end -- luacheck: ignore 122
end

local function with_webhook(t)
  local hook = open_webhook()
  t = t or { min_interval = 0 }
  t.webhook = hook.url .. (t.webhook or "/hook")
  local restore = configure(t)
  finally(function()
    restore()
    hook.server:close()
  end)
  return hook
end

local function job(changes)
  local t = { id = ("%08x"):format(math.random(0, 0xffffffff)) .. "0123456789abcdef01234567", name = "nightly", key = "k",
    state = "failed", attempt = 2,
    cost = "1.4 CNY", spec = { secret = 1 }, error = { kind = "job_failed", message = "the image cannot be pulled" } }
  for name, value in pairs(changes or {}) do t[name] = value end
  return t
end

local function refusal(t)
  return helper.error_of(read_settings, t).message
end

describe("a message", function()
  it("goes to a webhook as one JSON document with a sentence", function()
    local hook, failed = with_webhook(), job()
    notify.event("job.failed", { job = failed })
    worker.look()

    assert.equal(1, #hook.got)
    local m = hook.got[1]
    assert.equal(1, m.schema_version)
    assert.equal("job.failed", m.event)
    assert.equal(('job "nightly", key "k" (%s) failed after 2 attempts: the image cannot be pulled; it cost 1.4 CNY'):format(
      failed.id:sub(1, 8)), m.text)
    assert.equal("1.4 CNY", m.job.cost)
    assert.is_nil(m.job.spec)
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT", m.at)
    assert.same({ method = "POST", type = "application/json", path = "/hook" }, hook.request)
  end)

  it("goes to a command on its standard input, with no shell in between", function()
    local dir = helper.tmpdir()
    local restore = configure { command = { "/bin/sh", "-c", 'cat > "$1"', "x", dir .. "/a b;c" }, min_interval = 0 }
    finally(restore)
    notify.event("policy.paused", { policy = "p", why = "it failed 5 times" })
    worker.look()

    assert.equal('policy "p" is paused: it failed 5 times', json.decode(fs.read(dir .. "/a b;c")).text)
  end)

  it("does not give the services' credentials to a command", function()
    local result = spawn.run({ "run", "-e", [[
      local ok, why = require "perigee.notify_worker".send({ command = { "/bin/sh", "-c",
        "test -n \"$HOME\" -a -z \"$SXWL_TOKEN$DEAI_PASSWORD\"" } }, "command", "{}")
      print(ok, why, os.getenv "SXWL_TOKEN")]] }, { env = { SXWL_TOKEN = "not-for-others", DEAI_PASSWORD = "nor-this" } })

    assert.equal("true\tnil\tnot-for-others\n", result.stdout, result.stderr)
  end)

  it("has a sentence for every event there is", function()
    for _, event in ipairs(require("perigee.notify_settings").EVENTS) do
      local text = message.new(event, {
        job = job(), policy = "p", budget = "team", used = "8 CCD", limit = "10 CCD", found = { {}, {} }, why = "why",
      }).text
      assert.is_true(#text > 20 and not text:find("?", 1, true), event .. ": " .. text)
    end
  end)

  it("shows no secret, and takes what JSON cannot say", function()
    local hook = with_webhook()
    require("perigee.secret").of "hunter2-hunter2"
    notify.event("policy.paused", {
      policy = "p", why = "the token hunter2-hunter2 was refused", f = print, nan = 0 / 0, bytes = "\xff",
      price = require("perigee.amount") "1 CCD", err = require("perigee.error").new { kind = "auth", message = "no" },
    })
    worker.look()

    local m = hook.got[#hook.got]
    assert.is_nil(json.encode(m):find("hunter2", 1, true))
    assert.equal("1 CCD", m.data.price)
    assert.equal("auth", m.data.err.kind)
    assert.is_nil(m.data.f)
  end)

  it("that is too long loses its data, not its sentence", function()
    local hook = with_webhook()
    notify.event("policy.paused", { policy = "p", why = "short", blob = ("x"):rep(50000) })
    worker.look()
    assert.matches("short", hook.got[#hook.got].text, 1, true)
    assert.matches("bytes", hook.got[#hook.got].data.left_out, 1, true)
  end)
end)

describe("each message", function()
  it("is sent once for an event, a job and its state", function()
    local hook, failed = with_webhook(), job()
    for _ = 1, 3 do notify.event("job.failed", { job = failed }) end
    worker.look()
    notify.event("job.failed", { job = failed })
    worker.look()
    assert.equal(1, #hook.got)

    failed.attempt = 3
    notify.event("job.failed", { job = failed })
    worker.look()
    assert.equal(2, #hook.got)
  end)

  it("about a low budget is sent once a day for each budget", function()
    local hook = with_webhook()
    local low = { budget = "team", window = "day", used = "8 CCD", limit = "10 CCD" }
    for _ = 1, 2 do
      notify.event("budget.low", low)
      worker.look()
    end
    assert.equal(1, #hook.got)
    assert.equal('budget "team" is low: 8 CCD of 10 CCD are used this day', hook.got[1].text)
  end)

  it("that comes again within min_interval is kept, and sent as one with a count", function()
    local hook = with_webhook { min_interval = "1h" }
    notify.event("job.held", { job = job { state = "held", reason = "dear" } })
    worker.look()
    local first = #hook.got
    for _ = 1, 25 do notify.event("job.held", { job = job { state = "held", reason = "dear" } }) end
    worker.look()
    assert.equal(first, #hook.got)
    notify.event("job.unknown", { job = job { state = "unknown" } })
    worker.look()
    assert.equal(first + 1, #hook.got) -- another event does not wait for it

    configure { webhook = hook.url .. "/hook", min_interval = 0 }
    worker.look()
    local m = hook.got[#hook.got]
    assert.equal(25, m.count)
    assert.equal(20, #m.messages)
    assert.equal("job.held", m.messages[20].event)
    assert.matches("^25 messages since", m.text)
    assert.matches("; and 22 more$", m.text)
    worker.look()
    assert.equal(first + 2, #hook.got)
  end)

  it("is wanted only where `on` names its event", function()
    local hook = with_webhook { min_interval = 0, on = { "job.failed", ["budget.low"] = true, ["job.held"] = false } }
    notify.event("job.held", { job = job() })
    notify.event("policy.stale", { policy = "p" })
    worker.look()
    assert.equal(0, #hook.got)
    notify.event("budget.low", { budget = "other", window = "day" })
    worker.look()
    assert.equal(1, #hook.got)
  end)

  it("about a policy goes where the policy says, if its `on` names the event", function()
    local hook, own = with_webhook(), open_webhook()
    worker.use_policies(function(name)
      if name == "mine" then return { webhook = own.url .. "/own", on = { "policy.stale" }, min_interval = 0 } end
    end)
    notify.event("policy.stale", { policy = "mine", why = "a" })
    notify.event("policy.paused", { policy = "mine", why = "b" })
    notify.event("policy.stale", { policy = "other", why = "c" })
    worker.look()
    worker.use_policies(function() return nil end)
    own.server:close()

    assert.equal(1, #own.got)
    assert.equal(2, #hook.got)
    assert.matches("mine", own.got[1].text, 1, true)
  end)
end)

describe("a message that does not arrive", function()
  local function row_of(event)
    for _, row in ipairs(journal.call("outbox.list", { limit = 50 })) do
      if row.event == event and row.target == "webhook" then return row end
    end
  end

  it("is kept and tried again later, ever later", function()
    local hook = with_webhook()
    hook.status = 500
    notify.event("policy.stale", { policy = "later" })
    local before = os.time() * 1000
    worker.look()

    local row = row_of "policy.stale"
    assert.is_nil(row.outcome)
    assert.equal(1, row.tries)
    assert.equal("the webhook answers with 500", row.error)
    assert.is_true(row.not_before >= before + 9000 and row.not_before <= before + 12000)
    worker.look()
    assert.equal(1, #hook.got)
    journal.call("outbox.later", { id = row.id, not_before = 0 })
    hook.status = 204
    worker.look()
    assert.equal("sent", row_of("policy.stale").outcome)
    assert.equal(2, #hook.got)
    assert.equal(hook.got[1].id, hook.got[2].id)
  end)

  it("does not hold up those of another way, and is not sent to a redirect", function()
    local hook, dir = with_webhook(), helper.tmpdir()
    configure { webhook = hook.url, command = { "/bin/sh", "-c", "cat > " .. dir .. "/out" }, min_interval = 0 }
    hook.status, hook.headers = 307, { Location = hook.url .. "/other" }
    notify.event("policy.stale", { policy = "redirect" })
    worker.look()

    assert.equal(1, #hook.got)
    assert.matches("redirect, which is not followed", row_of("policy.stale").error or "", 1, true)
    assert.is_true(fs.exists(dir .. "/out"))
  end)

  it("says how a command failed, without secrets, and bounds it", function()
    local ok, why = worker.send({ command = { "/bin/sh", "-c", "echo hunter2-hunter2 is wrong >&2; exit 3" } }, "command", "{}")
    assert.is_nil(ok)
    assert.matches("/bin/sh exits with 3: %[secret%]", (why:gsub("hunter2%-hunter2", "LEAK")))
    ok, why = worker.send({ command = { "/bin/sh", "-c", "printf 'bad \\377 %0600d' 1 >&2; exit 1" } }, "command", "{}")
    assert.is_nil(ok)
    assert.is_truthy(utf8.len(why))
    assert.is_true(#why <= 500)
    ok, why = worker.send({ command = { "/nonexistent" } }, "command", "{}")
    assert.is_nil(ok)
    assert.matches("nonexistent", why, 1, true)
  end)

  it("is given up after a day", function()
    local real, time = journal.call, require "perigee.time"
    local hook = with_webhook()
    hook.status = 500
    notify.event("policy.stale", { policy = "old" })
    journal.call = function(verb, args) -- luacheck: ignore 122
      local rows = real(verb, args)
      if verb == "outbox.due" then
        for _, row in ipairs(rows) do row.put_at = math.floor((time.now() - 86401) * 1000) end
      end
      return rows
    end
    local ok, err = pcall(worker.look)
    journal.call = real -- luacheck: ignore 122

    assert.is_true(ok, tostring(err))
    assert.equal("given_up", row_of("policy.stale").outcome)
  end)
end)

describe("a look at the outbox", function()
  it("writes nothing while there is nothing to send, or everything waits for its interval", function()
    local hook = with_webhook { min_interval = "1h" }
    notify.event("policy.paused", { policy = "quiet" })
    worker.look()
    notify.event("policy.paused", { policy = "quiet" })
    local real, verbs = journal.call, {}
    journal.call = function(verb, args) -- luacheck: ignore 122
      verbs[#verbs + 1] = verb
      return real(verb, args)
    end
    local ok, err = pcall(worker.look)
    journal.call = real -- luacheck: ignore 122

    assert.is_true(ok, tostring(err))
    assert.same({ "outbox.due" }, verbs)
    configure { webhook = hook.url, min_interval = 0 }
    worker.look()
  end)
end)

describe("when the journal cannot be written", function()
  it("says so at once, once, and loses what else there was", function()
    local hook, real = with_webhook(), journal.call
    journal.call = function() -- luacheck: ignore 122
      error(require("perigee.error").new { kind = "unavailable", code = "journal_full", message = "the disk is full" }, 0)
    end
    local ok, err = pcall(function()
      notify.event("job.failed", { job = job() })
      notify.event("journal.unwritable", { why = "the disk is full" })
      notify.event("policy.stale", { policy = "p" })
    end)
    journal.call = real -- luacheck: ignore 122

    assert.is_true(ok, tostring(err))
    assert.equal(1, #hook.got)
    assert.equal("journal.unwritable", hook.got[1].event)
    assert.matches("the disk is full", hook.got[1].text, 1, true)
  end)
end)

describe("notify.send", function()
  it("sends at once and says what became of it", function()
    local hook = with_webhook { on = { "job.failed" }, min_interval = 0 }
    assert.equal("sent", notify.send { text = "done", event = "training.done", data = { accuracy = 0.97 } })
    assert.equal(0.97, hook.got[1].data.accuracy)
    assert.equal("sent", notify.send { text = "done", event = "training.done" })
    hook.status = 503
    assert.equal("queued", notify.send { text = "again" })
  end)

  it("sends what is about a job once in each state", function()
    local hook, one = with_webhook(), job()
    assert.equal("sent", notify.send { text = "look at it", job = one })
    assert.equal("known", notify.send { text = "look at it", job = one })
    one.state = "running"
    assert.equal("sent", notify.send { text = "look at it", job = one })
    assert.equal(2, #hook.got)
  end)

  it("refuses what is wrong, and a message that would go nowhere", function()
    local function send(t) return helper.error_of(notify.send, t).message end
    assert.matches("needs a text", send {}, 1, true)
    assert.matches('did you mean "text"?', send { txt = "x" }, 1, true)
    assert.matches("event is a word", send { text = "x", event = "two words" }, 1, true)
    finally(configure(nil))
    assert.matches("nothing is configured", send { text = "x" }, 1, true)
    assert.matches("nothing is configured", helper.error_of(notify.test).message, 1, true)
  end)
end)

describe("the table notify", function()
  for _, case in ipairs {
    { {}, "neither webhook nor command" },
    { { webhok = "x" }, 'did you mean "webhook"?' },
    { { webhook = "example.org" }, "webhook is a URL" },
    { { webhook = "ftp://example.org" }, "webhook is a URL" },
    { { command = "mail me" }, "no shell reads it" },
    { { command = {} }, "command is a list of words" },
    { { command = { "x" }, on = { "job.fialed" } }, 'did you mean "job.failed"?' },
    { { command = { "x" }, on = { ["job.failed"] = 1 } }, "is true or false" },
    { { command = { "x" }, on = "job.failed" }, "on is a list of events" },
    { { command = { "x" }, min_interval = "soon" }, "min_interval is a time" },
  } do
    it("is refused with the right word: " .. case[2], function() assert.matches(case[2], refusal(case[1]), 1, true) end)
  end

  it("means every event unless it names some, and all others if it only takes away", function()
    assert.is_true(read_settings({ command = { "x" } }).on["sweep.found"])
    local some = read_settings({ command = { "x" }, on = { ["policy.stale"] = false } }).on
    assert.is_false(some["policy.stale"])
    assert.is_true(some["job.failed"])
    assert.is_nil(read_settings({ command = { "x" }, on = { "job.held" } }).on["job.failed"])
  end)
end)

describe("perigee notify test", function()
  local function run(notify_text, words, env)
    local path = helper.tmpdir() .. "/config.lua"
    fs.write(path, "return { notify = " .. notify_text .. " }", { mode = "0600" })
    local args = { "notify", "test", "--config", path, "--state", helper.tmpdir() }
    for _, word in ipairs(words or {}) do args[#args + 1] = word end
    return spawn.run(args, { env = env })
  end

  it("sends in each way and shows the outcome", function()
    local hook = open_webhook()
    finally(function() hook.server:close() end)
    local result = run('{ webhook = "env:HOOK", command = { "/bin/false" } }', nil, { HOOK = hook.url .. "/a" })

    assert.equal(1, result.status, result.stderr)
    assert.matches("webhook  sent, in %d", result.stdout)
    assert.matches("command  failed: /bin/false exits with 1", result.stdout, 1, true)
    assert.equal("test", hook.got[1].event)
    result = run('{ command = { "/bin/true" } }', { "--json" })
    assert.equal(0, result.status, result.stderr)
    local document = json.decode(result.stdout)
    assert.is_true(document.ok)
    assert.equal("command", document.results[1].way)
  end)

  it("tells wrong use from a wrong configuration", function()
    assert.equal(2, spawn.run({ "notify", "tset" }).status)
    assert.equal(2, spawn.run({ "notify" }).status)
    local result = run("nil")
    assert.equal(3, result.status)
    assert.matches("nothing is configured", result.stderr, 1, true)
    assert.matches('did you mean "webhook"?', run('{ webhok = "x" }').stderr, 1, true)
  end)
end)
