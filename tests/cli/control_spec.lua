-- control_spec.lua - the commands that speak to a daemon: what they ask, print and return, with one and without.
local control = require "perigee.control"
local errors = require "perigee.error"
local helper = require "helper"
local json = require "perigee.json"
local spawn = require "tests.support.spawn"

describe("a command to the daemon", function()
  local directory, asked, verbs

  before_each(function()
    directory, asked, verbs = helper.tmpdir(), {}, {}
  end)

  -- A verb that remembers its arguments.
  local function verb(name, result)
    verbs[name] = function(args)
      asked[name] = args
      if type(result) == "function" then return result(args) end
      return result
    end
  end

  local function perigee(...)
    local args = table.pack(...)
    args[#args + 1] = "--state"
    args[#args + 1] = directory
    return spawn.run(args, { env = { USER = "eve", SUDO_USER = false } })
  end

  local function with_daemon(f)
    return function()
      local _ <close> = control.serve { path = directory .. "/" .. control.SOCKET, verbs = verbs }
      f()
    end
  end

  it("says that no daemon runs, and where it looked, with exit code 3", function()
    for _, words in ipairs { { "status" }, { "reload" }, { "pause", "p" }, { "resume", "p" }, { "log-level", "info" } } do
      local result = perigee(table.unpack(words))
      assert.equal(3, result.status)
      assert.equal("", result.stdout)
      assert.equal(("perigee: no daemon runs on %s\n"):format(directory), result.stderr)
    end
    local result = perigee("status", "--json")
    assert.equal(3, result.status)
    assert.same({ running = false, directory = directory, schema_version = 1 }, json.decode(result.stdout))
  end)

  it("shows the state as a screen, and as one JSON document", with_daemon(function()
    verb("status", require("perigee.status").document { version = "9", directory = directory, pid = 7,
      jobs = { { state = "running", service = "sxwl", count = 12 } } })

    local screen, document = perigee "status", perigee("status", "--json")

    assert.equal(0, screen.status)
    assert.truthy(screen.stdout:find("running 12", 1, true))
    assert.equal("", screen.stderr)
    assert.equal(1, json.decode(document.stdout).schema_version)
    assert.equal(12, json.decode(document.stdout).jobs.running)
  end))

  it("passes on the words of the command line, wherever the options stand", with_daemon(function()
    verb("reload", { policies = json.array { "a", "b" } })
    verb "policy.pause"
    verb "policy.resume"
    verb "log.level"
    verb("jobs.approve", { id = "abc1" })
    verb("jobs.deny", { id = "abc1" })

    assert.equal("the policies were read again: a, b\n", perigee("reload").stdout)
    assert.truthy(perigee("pause", "nightly").stdout:find "^nightly is paused")
    assert.equal("nightly is active again\n", perigee("resume", "nightly").stdout)
    assert.equal("the log level is now debug\n", perigee("log-level", "debug").stdout)
    assert.truthy(perigee("approve", "abc").stdout:find "^job abc1 is approved")
    assert.truthy(perigee("deny", "--quiet", "abc", "too", "dear").stdout:find "^job abc1 is denied")

    assert.same({ policy = "nightly", who = "eve" }, asked["policy.pause"])
    assert.same({ policy = "nightly", who = "eve" }, asked["policy.resume"])
    assert.same({ level = "debug" }, asked["log.level"])
    assert.same({ id = "abc", who = "eve" }, asked["jobs.approve"])
    assert.same({ id = "abc", who = "eve", why = "too dear" }, asked["jobs.deny"])
    assert.same({ result = { id = "abc1" }, schema_version = 1 }, json.decode(perigee("approve", "abc", "--json").stdout))
  end))

  it("reports what the daemon refuses, with the exit code that it means", with_daemon(function()
    verb("reload", function()
      error(errors.new { kind = "invalid", code = "config", message = "p.lua:3: unknown field cronn; did you mean cron?" }, 0)
    end)

    local result = perigee "reload"

    assert.equal(3, result.status)
    assert.truthy(result.stderr:find("p.lua:3: unknown field cronn", 1, true))
  end))

  it("says what went wrong in words, and as a document for machines", with_daemon(function()
    verb("policy.pause", function() errors.invalid 'there is no policy "nigtly", did you mean "nightly"?' end)
    verb("jobs.approve", function() error(errors.new { kind = "invalid", code = "not_found", message = "there is no job abc" }, 0) end)

    local paused, approved = perigee("pause", "nigtly"), perigee("approve", "abc", "--json")

    assert.equal(1, paused.status)
    assert.equal('perigee: there is no policy "nigtly", did you mean "nightly"?\n', paused.stderr)
    assert.equal(4, approved.status)
    assert.same({ error = { kind = "invalid", code = "not_found", message = "there is no job abc" }, schema_version = 1 },
      json.decode(approved.stdout))
  end))

  it("makes no journal where it only looks for one", function()
    for _, words in ipairs { { "approve", "abc" }, { "deny", "abc" }, { "jobs" }, { "why", "abc" }, { "spend" }, { "status" } } do
      perigee(table.unpack(words))
      assert.same({}, require("perigee.fs").list(directory), words[1])
    end
    assert.equal(3, perigee("approve", "abc").status)
  end)

  it("says of a daemon that does not answer what is the matter, and what to do", function()
    local child <close> = spawn.start { "daemon", "--state", directory }
    helper.eventually(function() return control.reach(directory) end, 20)
    child:kill "STOP"

    local result = perigee "status"

    child:kill "CONT"
    assert.equal(1, result.status)
    assert.truthy(result.stderr:find("a daemon listens on " .. directory .. "/control.sock, and has not answered", 1, true))
    assert.truthy(result.stderr:find("kill -USR1", 1, true))
    assert.is_nil(result.stderr:find("traceback", 1, true))
    child:kill "KILL"
  end)

  it("refuses a level that is none, and words that are missing or too many, before it asks anybody", function()
    for _, words in ipairs { { "log-level", "loud" }, { "pause" }, { "status", "now" }, { "approve", "a", "b" } } do
      assert.equal(2, perigee(table.unpack(words)).status)
    end
  end)

  it("leaves the answer for a held job in the journal where no daemon runs, and refuses others", function()
    local submit = [[
      local call = require("perigee.core.journal").call
      for _, job in ipairs { { "aa11", "held" }, { "bb22", "planned" } } do
        call("job.submit", { id = job[1], name = job[1], key = "", service = "sxwl", kind = "job", spec = "{}", hash = "h",
          state = job[2] })
      end]]
    local made = spawn.run { "run", "--state", directory, "-e", submit }
    assert.equal(0, made.status, made.stderr)
    local function request_of(id)
      local code = ('print(require("perigee.core.journal").call("job.get", {id = %q})[1].request)'):format(id)
      return spawn.run({ "run", "--state", directory, "-e", code }).stdout
    end

    local approved, denied = perigee("approve", "aa"), perigee("deny", "aa11", "too", "dear")

    assert.equal(0, approved.status, approved.stderr)
    assert.equal("job aa11 is approved; no daemon runs, so the next one acts on it\n", approved.stdout)
    assert.equal(0, denied.status)
    assert.same({ verb = "deny", who = "eve", why = "too dear" }, json.decode(request_of "aa11"))
    local other = perigee("approve", "bb22")
    assert.equal(1, other.status)
    assert.truthy(other.stderr:find("job bb22 is planned: only a held job waits for an answer", 1, true))
    assert.truthy(perigee("approve", "cc").stderr:find("there is no job cc", 1, true))
  end)
end)
