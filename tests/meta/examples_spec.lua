-- examples_spec.lua - every script of scripts/examples runs against the emulator, as a user would run it.
--
-- An example that is meant to end otherwise than well says so in its opening comment: "Exit code: 4".
local lfs = require "lfs"
local proc = require "perigee.core.proc"
local task = require "perigee.task"

local folder = "scripts/examples"
local LONGEST, SHORTEST = 40, 5
local SECONDS = 55

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local examples = {}
for entry in lfs.dir(folder) do
  if entry:find "%.lua$" then examples[#examples + 1] = entry end
end
table.sort(examples)

-- They mostly wait, so they run all at once, when the first result is asked for.
local results
local function result_of(index)
  results = results or task.map(examples, function(name)
    return proc.run {
      args = { os.getenv "PERIGEE", "run", "--emulator", "--seed", "1", folder .. "/" .. name },
      timeout = SECONDS,
    }
  end)
  return results[index]
end

describe("scripts/examples", function()
  it("holds examples", function()
    assert.is_true(#examples > 0)
  end)

  for index, name in ipairs(examples) do
    local path = folder .. "/" .. name
    local text = read(path)

    it(name .. " runs with --emulator and ends as it says", function()
      local expected = tonumber(text:match "Exit code: (%d+)") or 0

      local result = result_of(index)

      assert.is_false(result.timed_out, path .. " took more than a minute")
      assert.are.equal(expected, result.status, result.stdout .. result.stderr)
    end)

    it(name .. " is short enough to be read at once", function()
      local _, lines = text:gsub("\n", "")
      assert.is_true(lines >= SHORTEST and lines <= LONGEST, path .. " has " .. lines .. " lines")
    end)
  end
end)
