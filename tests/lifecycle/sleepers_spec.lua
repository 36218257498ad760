-- sleepers_spec.lua - a million tasks asleep at once, and what each takes.
local json = require "perigee.json"
local spawn = require "tests.support.spawn"

-- sanitizers keep what was freed, and watch each byte: there a tenth of it must do
local MODE <const> = json.decode(spawn.run({"--version", "--json"}).stdout).mode
local SANITIZED <const> = MODE == "asan" or MODE == "tsan"
local TASKS <const> = SANITIZED and 100000 or 1000000
local MOST_BYTES <const> = 1700

local SCRIPT <const> = [[
  local task = require "perigee.task"
  local function peak() -- bytes
    for line in io.lines "/proc/self/status" do
      local kilobytes = line:match "^VmHWM:%s*(%d+)"
      if kilobytes then return tonumber(kilobytes) * 1024 end
    end
  end
  local n, before, awake = tonumber(arg[1]), peak(), 0
  task.scope(function(scope)
    for _ = 1, n do
      scope:spawn(function() task.sleep(5) awake = awake + 1 end)
    end
  end)
  print(awake, (peak() - before) // n)]]

describe("a million tasks", function()
  it("sleep at once, wake, and take at most 1,700 bytes each", function()
    local result = spawn.run({"run", "-e", SCRIPT, tostring(TASKS)}, {timeout = 240})

    assert.equal(0, result.status, result.stderr)
    local awake, bytes = result.stdout:match "^(%d+)\t(%d+)"
    assert.equal(TASKS, tonumber(awake))
    if not SANITIZED then assert.is_true(tonumber(bytes) <= MOST_BYTES, bytes .. " bytes each") end
  end)
end)
