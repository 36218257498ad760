-- report_spec.lua - the text of an uncaught error, for every kind.
local errors = require "perigee.error"
local report = require "perigee.report"

local KINDS <const> = { "network", "timeout", "tls", "http", "auth", "api", "parse", "invalid", "denied", "funds",
  "job_failed", "unavailable", "limit", "closed" }

local function sums(spent, held)
  local function cell(digits) return { text = digits .. " CCD", digits = digits, zero = digits == "0" } end
  return { { currency = "CCD", spent = cell(spent), held = cell(held), unknown = cell "0" } }
end

describe("report.render", function()
  it("says of a command of perigee's own no lines of Lua, and no money", function()
    local err = errors.new { kind = "unavailable", code = "journal_newer", message = "m" }
    local trace = "stack traceback:\n\tperigee/scripts/lib/command_jobs.lua:50: in function 'f'"
    assert.equal("perigee: unavailable: m\n  where  code journal_newer\n"
      .. "  do     Install the version that the message names, or a later one.\n",
      report.render(err, { traceback = trace, command = true }))
    assert.matches("command_jobs.lua:50", report.render(err, { traceback = trace }), 1, true)
    assert.matches("command_jobs.lua:50", report.render("a bug", { traceback = trace, command = true }), 1, true)
  end)

  it("has something to do for every kind of error", function()
    for _, kind in ipairs(KINDS) do
      local text = report.render(errors.new { kind = kind, message = "m" })
      assert.is_truthy(text:find "\n  do     %S", kind)
      assert.is_truthy(text:find "\n  money  %S", kind)
    end
  end)

  it("says what to do about a task that went on after it was cancelled", function()
    local text = report.render(errors.new { kind = "limit", code = "grace", message = "m" })

    assert.is_truthy(text:find("errors of kind cancelled", 1, true), text)
  end)

  it("says for each trouble of the journal what to do, and blames no service", function()
    for _, word in ipairs { "full", "readonly", "locked", "corrupt", "newer", "open", "io" } do
      local text = report.render(errors.new { kind = "unavailable", code = "journal_" .. word, message = "m" })
      assert.is_truthy(text:find "\n  do     %S")
      assert.is_falsy(text:find("The service", 1, true), text)
    end
  end)

  it("names ids, status and code", function()
    local text = report.render(errors.new { kind = "api", message = "m", service = "sxwl", operation = "stop_job",
      status = 400, code = "not_found", job_id = "abc" })
    assert.is_truthy(text:find("where  sxwl stop_job, HTTP 400, code not_found, job_id abc", 1, true))
  end)

  it("tells what the run has spent and holds", function()
    assert.is_truthy(report.render("x", { sums = sums("0.5", "2") }):find("has spent 0.5 CCD; 2 CCD is held.", 1, true))
    assert.is_truthy(report.render("x", { sums = sums("0", "0") }):find("has spent nothing.", 1, true))
  end)

  it("does not call it nothing when paid calls had no price", function()
    local text = report.render("x", { sums = sums("0", "0"), unpriced = 10 })

    assert.is_truthy(text:find("has spent an unknown sum; 10 paid calls had no price.", 1, true), text)
    assert.is_nil(text:find("nothing", 1, true))
  end)

  it("never says that an unknown outcome cost nothing", function()
    for _, kind in ipairs(KINDS) do
      local text = report.render(errors.new { kind = kind, outcome = "unknown", message = "m", service = "deai",
        operation = "create_job" })
      assert.is_nil(text:find("cost nothing", 1, true), kind)
    end
  end)

  it("does not speak of charges where none are made", function()
    local text = report.render(errors.new { kind = "network", outcome = "unknown", message = "m", service = "deai",
      operation = "upload" })
    assert.is_nil(text:find("may be charged", 1, true))
    assert.is_nil(text:find("Do not just run it again", 1, true))
  end)

  it("does not say that a job which goes on cost nothing", function()
    local text = report.render(errors.new { kind = "timeout", code = "wait", message = "m", service = "deai",
      operation = "wait_inference" })
    assert.is_nil(text:find("cost nothing", 1, true))
    assert.is_truthy(text:find("only the wait for it has ended", 1, true))
  end)

  it("says of a job that is waited for no longer, or was ended, what its state means for the money", function()
    local function money(t) return report.render(errors.new(t)):match "  money  ([^\n]*)" end
    assert.equal("Only the wait for it has ended; nothing of it is at the service now.",
      money { kind = "timeout", code = "wait", message = "m", service = "sxwl", state = "planned" })
    assert.equal("It was ended before anything of it was started: it cost nothing.",
      money { kind = "job_failed", code = "expired", message = "m", service = "sxwl" })
    assert.equal("What it used until it was ended is charged.",
      money { kind = "job_failed", code = "stopped", message = "m", service = "sxwl", cost = "1 CNY" })
  end)

  it("prefers the hint that the error brings", function()
    local text = report.render(errors.new { kind = "auth", message = "m", hint = "first\nsecond" })
    assert.is_truthy(text:find("  do     first\n         second\n", 1, true))
  end)

  it("takes errors of any type", function()
    for _, value in ipairs { 1, true, {}, print } do
      assert.is_truthy(report.render(value):find "^perigee: the script raised a ")
    end
  end)
end)

describe("report.weightiest", function()
  it("prefers unknown to partly done to denied to failed", function()
    assert.are.equal(5, report.weightiest { [1] = true, [4] = true, [5] = true, [6] = true })
    assert.are.equal(6, report.weightiest { [1] = true, [4] = true, [6] = true })
    assert.are.equal(4, report.weightiest { [1] = true, [4] = true })
    assert.are.equal(0, report.weightiest {})
  end)
end)
