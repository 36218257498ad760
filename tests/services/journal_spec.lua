-- journal_spec.lua - the verbs of the journal as Lua calls them: one table of cases, every engine.
--
-- A process has one journal, so the cases of an engine run in a process of their own (journal_child.lua).
local cases = dofile "tests/services/journal_cases.lua"
local errors = require "perigee.error"
local helper = require "tests.helper"
local json = require "perigee.json"
local spawn = require "tests.support.spawn"
local task = require "perigee.task"

local function run_cases(state)
  local child = spawn.run { "run", "--state", state, "tests/services/journal_child.lua" }
  local results = {}
  for line in child.stdout:gmatch "[^\n]+" do
    local result = json.decode(line)
    results[result.name or "engine"] = result.name and result or result.engine
  end
  results.stderr = child.stderr
  return results
end

local engines = {
  { "memory", function() return ":memory:" end },
  { "sqlite", function() return helper.tmpdir() end },
}

for _, engine in ipairs(engines) do
  local name, place = table.unpack(engine)
  describe("the verbs of the journal on " .. name, function()
    local results
    local function result_of(case)
      results = results or run_cases(place())
      return results[case]
    end

    it("are answered by that engine", function()
      assert.equal(name, result_of "engine", results.stderr)
    end)

    for _, one in ipairs(cases) do
      it(one[1], function()
        local result = assert(result_of(one[1]), results.stderr)
        assert.is_true(result.ok, result.message)
      end)
    end
  end)
end

describe("random calls", function()
  local CALLS <const> = 1500

  local function start(state, seed)
    return spawn.start { "run", "--state", state, "tests/services/journal_random.lua", tostring(CALLS), tostring(seed) }
  end

  local function lines_of(child)
    local result, lines = child:wait(), {}
    for line in result.stdout:gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.equal(CALLS, #lines, result.stderr)
    return lines
  end

  for seed = 1, 3 do
    it(("are answered the same by both engines, seed %d"):format(seed), function()
      local memory, sqlite = start(":memory:", seed), start(helper.tmpdir(), seed)
      memory, sqlite = lines_of(memory), lines_of(sqlite)
      for i = 1, CALLS do
        assert.equal(sqlite[i], memory[i], "call " .. i)
        assert.falsy(memory[i]:find("problem", 1, true), memory[i])
      end
    end)
  end
end)

describe("the journal of this process", function()
  local core = require "perigee.core.journal"

  local function refused(f, ...)
    local err = helper.error_of(f, ...)
    assert.is_true(errors.is(err, "invalid"), tostring(err))
    return err
  end

  it("stays where it is once it is open", function()
    core.call "process.list"
    local place = core.status().directory
    core.place { state = place, kind = "run" }
    assert.equal("placed", refused(core.place, { state = place .. "/other" }).code)
    refused(core.place, {})
    refused(core.place, { stat = place })
    assert.equal(place, core.status().directory)
  end)

  it("tells how it is and who it is", function()
    local before = core.status().calls
    core.call("store.set", { space = "spec", name = "status", value = "1" })
    local status = core.status()
    assert.equal("sqlite", status.engine)
    assert.is_true(status.ok and status.open)
    assert.is_nil(status.code or status.message)
    assert.equal(before + 1, status.calls)
    assert.equal(0, status.queued)
    assert.truthy(status.last_commit_ms > 0 and status.mean_commit_ms <= status.worst_commit_ms)
    assert.truthy(status.answered_ago < 60 and status.bytes > 0)
    assert.truthy(core.process_id():match("^" .. ("%x"):rep(32) .. "$"))
  end)

  it("does what was asked, also when the one who asked is cancelled", function()
    local asked = task.spawn(core.call, "store.set", { space = "spec", name = "cancelled", value = "1" })
    task.sleep(0)
    asked:cancel "enough"
    pcall(asked.wait, asked)
    assert.equal("1", core.call("store.get", { space = "spec", name = "cancelled" })[1].value)
  end)

  it("frees a lock when its object is closed or collected, and leaves the note", function()
    local function take() return core.call("lock.take", { name = "spec" })[1] end
    assert.equal(1, take().taken)
    assert.equal(0, take().taken)
    local lock = core.lock "spec"
    lock:note "left"
    lock:close()
    lock:close()
    local again = take()
    assert.equal(1, again.taken)
    assert.equal("left", again.note)
    lock = core.lock "spec" -- luacheck: ignore 311
    lock = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    again = take()
    assert.equal(1, again.taken)
    assert.is_nil(again.note)
    core.lock "spec":close()
  end)
end)
