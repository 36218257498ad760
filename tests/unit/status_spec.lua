-- status_spec.lua - what a daemon says of itself: the document, the reasons not to be ready, the screen.
local json = require "perigee.json"
local status = require "perigee.status"
local time = require "perigee.time"

local function data(changes)
  local now = time.now()
  local all = {
    version = "1.2.3", directory = "/var/lib/perigee", pid = 42, started_at = now - 7265, draining = false,
    jobs = {
      { state = "running", service = "sxwl", policy = "nightly", count = 3 },
      { state = "running", service = "deai", count = 2 },
      { state = "held", service = "sxwl", count = 1 },
    },
    policies = {
      { name = "nightly", file = "n.lua", state = "active", last = { at = now - 60, hook = "run", outcome = "done" },
        schedules = { { name = "late", next = now + 9000.5 }, { name = "soon", next = now + 90.9 } } },
      { name = "täglich", file = "t.lua", state = "paused", why = "3 failures in a row",
        last = { at = now - 5, outcome = "failed", error = "boom" } },
    },
    lines = {
      { budget = "team", window = "day", currency = "CCD", limit = "5 CCD", spent = "1.5 CCD", held = "0.25 CCD", unknown = "1 CCD" },
      { budget = "free", window = "total", currency = "CNY", spent = "3 CNY", held = "0 CNY", unknown = "0 CNY" },
    },
    journal = { engine = "sqlite", ok = true, open = true, bytes = 3 * 1024 * 1024, commits = 9, queued = 0,
      mean_commit_ms = 3.0, worst_commit_ms = 12.0 },
    services = { { service = "deai", ok = true } },
    problems = {},
  }
  for name, value in pairs(changes or {}) do all[name] = value end
  return all
end

describe("the status document", function()
  it("counts the jobs of each state over services and policies, and names those of none", function()
    local document = status.document(data())

    assert.equal(5, document.jobs.running)
    assert.equal(1, document.jobs.held)
    assert.equal(0, document.jobs.failed)
  end)

  it("says what each limit leaves, with what is held and what is in doubt taken off", function()
    local document = status.document(data())

    assert.equal("2.25 CCD", document.money[1].left)
    assert.is_nil(document.money[2].left)
  end)

  it("is ready, or lists every obstacle", function()
    assert.is_true(status.document(data()).ready)

    local document = status.document(data {
      draining = true, journal = { ok = false, code = "journal_full", message = "no space left on the disk" },
      services = { { service = "deai", ok = false, why = "the password was refused" } },
    })

    assert.is_false(document.ready)
    local codes = {}
    for i, reason in ipairs(document.obstacles) do codes[i] = reason.code end
    assert.same({ "draining", "journal_full", "service" }, codes)
    assert.truthy(document.obstacles[2].text:find("no space left", 1, true))
    assert.equal("deai: the password was refused", document.obstacles[3].text)
  end)

  it("is JSON with lists that stay lists when empty", function()
    local text = json.encode(status.document(data { policies = {}, lines = {}, jobs = {} }))

    for _, part in ipairs { '"policies":[]', '"money":[]', '"problems":[]', '"obstacles":[]', '"schema_version":1' } do
      assert.truthy(text:find(part, 1, true), part)
    end
  end)
end)

describe("the status screen", function()
  it("shows uptime, jobs, policies with their next run, money, journal and problems", function()
    local screen = status.render(json.decode(json.encode(status.document(data {
      problems = { { at = time.now() - 180.1, text = "sxwl: 503" } },
    }))))

    for _, part in ipairs {
      "perigee 1.2.3 on /var/lib/perigee, process 42, up 2h1m", "JOBS      held 1   running 5\n",
      "sqlite, 3.0 MB, writable; a commit takes 3ms, at worst 12ms; 0 waiting", "in 1m30s (soon)",
      "paused: 3 failures in a row", "failed 5s ago: boom", "3m ago  sxwl: 503",
    } do
      assert.truthy(screen:find(part, 1, true), ("%q is not in\n%s"):format(part, screen))
    end
    assert.is_nil(screen:find("NOT READY", 1, true))
  end)

  it("lines up columns by what is seen, not by bytes", function()
    local screen = status.render(status.document(data()))
    local nightly, daily = screen:match "\n(nightly.-)\n", screen:match "\n(täglich.-)\n"

    assert.equal(nightly:find("active", 1, true), daily:find("paused", 1, true) - 1) -- one byte more for the ä
    assert.truthy(screen:find "team    day     1%.5 CCD  0%.25 CCD    1 CCD  2%.25 CCD  5 CCD")
  end)

  it("says first of all what keeps it from being ready, and shows no control characters", function()
    local screen = status.render(status.document(data {
      draining = true, problems = { { at = 0, text = "bad \27[31mred" } },
      services = { { service = "sxwl", ok = false, why = "bad \27[31mred" } },
      journal = { ok = false, message = "bad \27[31mred", code = "journal_io" },
    }))

    assert.truthy(screen:find "^[^\n]+\nNOT READY the daemon is ending")
    assert.is_nil(screen:find("\27", 1, true))
  end)

  it("says so where there are no jobs, policies or budgets", function()
    local screen = status.render(status.document(data { policies = {}, lines = {}, jobs = {} }))

    for _, part in ipairs { "JOBS      none", "POLICIES  none", "MONEY     no budgets" } do
      assert.truthy(screen:find(part, 1, true), part)
    end
  end)
end)
