-- journal_spec.lua - `perigee journal …`: the file that jobs and money stand in, looked after from the command line.
local fs = require "perigee.fs"
local helper = require "tests.helper"
local json = require "perigee.json"
local proc = require "perigee.proc"
local spawn = require "tests.support.spawn"

local WRITE <const> = [[
  local call = require("perigee.core.journal").call
  local id = ("0"):rep(31) .. "1"
  call("permit.reserve", { intent = id, operation = "create_job", service = "sxwl", price = "2 CNY",
    lines = { { budget = "团队", window = "day", number = 5, currency = "CNY" } } })
  call("permit.intent", { intent = id })
  call("permit.move", { intent = id, state = "settled", bucket = "spent", amount = "1.5 CNY" })
  for i = 1, 3 do
    call("job.submit", { id = "j" .. i, name = "训练", key = tostring(i), service = "sxwl", kind = "job", spec = "{}",
      hash = "h", state = "planned" })
  end
]]

describe("perigee journal", function()
  local folder, place

  local function journal(...)
    return spawn.run { "journal", "--state", place, ... }
  end

  before_each(function()
    folder = helper.tmpdir()
    place = folder .. "/state"
    assert.equal(0, spawn.run({ "run", "--state", place, "-e", WRITE }).status)
  end)

  it("verifies: exit code 0 and one sentence where all is well", function()
    local result = journal "verify"

    assert.equal(0, result.status, result.stderr)
    assert.equal("the journal is sound, and its sums agree with its permits\n", result.stdout)
  end)

  it("verifies: exit code 1 and each problem where sums do not agree", function()
    assert.equal(0, journal("backup", folder .. "/copy.db").status)
    -- a line whose figures were changed by hand, as far as the file can tell
    local text = fs.read(folder .. "/copy.db")
    local changed, count = text:gsub("CNY0 CNY0 CNY1%.5 CNY", "CNY0 CNY0 CNY9.5 CNY")
    assert.equal(1, count)
    for _, name in ipairs { "-wal", "-shm" } do os.remove(place .. "/journal.db" .. name) end
    fs.write(place .. "/journal.db", changed, { mode = "0600" })

    local result = journal "verify"
    local document = json.decode(journal("verify", "--json").stdout)

    assert.equal(1, result.status, result.stderr)
    assert.truthy(result.stdout:find("团队", 1, true), result.stdout)
    assert.truthy(result.stderr:find("1 problem", 1, true), result.stderr)
    assert.equal(1, document.schema_version)
    assert.is_false(document.ok)
    assert.equal(1, #document.problems)
  end)

  it("verifies a file that is no journal any more: exit code 1, not a crash", function()
    fs.write(place .. "/journal.db", ("these are no records\n"):rep(1000), { mode = "0600" })

    local result = journal("verify", "--json")

    assert.equal(1, result.status, result.stderr)
    assert.truthy(json.decode(result.stdout).problems[1]:find("damaged", 1, true))
  end)

  it("exports every record as a line of JSON, and all of them as one document", function()
    local result = journal "export"
    local document = json.decode(journal("export", "--json").stdout)

    local counts = {}
    for line in result.stdout:gmatch "[^\n]+" do
      local record = json.decode(line)
      counts[record.table] = (counts[record.table] or 0) + 1
    end
    assert.equal(3, counts.jobs)
    assert.equal(1, counts.permits)
    assert.equal(1, counts.lines)
    assert.equal("训练", document.tables.jobs[1].name)
    assert.equal(1, document.schema_version)
    assert.same({}, document.tables.outbox)
  end)

  it("makes a backup for its owner alone, which is a journal itself, and overwrites none", function()
    local path = folder .. "/backup/journal.db"
    fs.mkdir(folder .. "/backup")

    local result = journal("backup", path)
    local again = journal("backup", path)
    local restored = spawn.run { "journal", "verify", "--state", folder .. "/backup" }

    assert.equal(0, result.status, result.stderr)
    assert.equal("600", (proc.run { args = { "stat", "-c", "%a", path } }).stdout:match "%d+")
    assert.not_equal(0, again.status)
    assert.truthy(again.stderr:find("overwrites nothing", 1, true), again.stderr)
    assert.equal(0, restored.status, restored.stderr)
  end)

  it("compacts: what has ended goes, its money stays in the report", function()
    assert.equal(0, spawn.run({ "run", "--state", place, "-e", [[
      local call = require("perigee.core.journal").call
      local job = call("job.get", { id = "j1" })[1]
      call("job.claim", {})
      call("job.move", { id = "j1", fence = call("job.get", { id = "j1" })[1].fence, state = "stopped" })
    ]] }).status)
    local kept = json.decode(journal("compact", "--json").stdout)
    local later = spawn.run({ "journal", "compact", "--state", place, "--keep", "1d" },
      { env = { PERIGEE_VIRTUAL_TIME = tostring(os.time() + 3 * 86400) } })
    local report = json.decode(spawn.run({ "spend", "--state", place, "--json" }).stdout)

    assert.same({ 0, 0 }, { kept.jobs, kept.permits })
    assert.equal(0, later.status, later.stderr)
    assert.truthy(later.stdout:find("1 job, 1 permit and 0 decisions went", 1, true), later.stdout)
    assert.truthy(json.encode(report):find("1.5 CNY", 1, true))
    assert.equal(0, journal("verify").status)
  end)

  it("says which words there are, and that there is no journal", function()
    local wrong, none = journal "verfiy", spawn.run { "journal", "verify", "--json", "--state", folder .. "/none" }

    assert.equal(2, wrong.status)
    assert.truthy(wrong.stderr:find("did you mean verify?", 1, true), wrong.stderr)
    assert.equal(2, journal("backup").status)
    assert.equal(2, journal("verify", "--keep", "3d").status)
    assert.equal(3, none.status)
    assert.equal("no_journal", json.decode(none.stdout).error.code)
    assert.is_false(fs.exists(folder .. "/none"))
  end)
end)
