-- journal_spec.lua - the verbs of the journal as Lua calls them: one table of cases, every engine.
--
-- A process has one journal, so the cases of an engine run in a process of their own (journal_child.lua).
local cases = dofile "tests/services/journal_cases.lua"
local helper = require "tests.helper"
local json = require "perigee.json"
local spawn = require "tests.support.spawn"

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
