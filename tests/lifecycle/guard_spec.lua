-- guard_spec.lua - runaway scripts are ended, whatever they do to avoid it, and only they are.
-- Each runs in a process of its own with a limit of half a second; the time allowed is many times that.
local spawn = require "tests.support.spawn"

local ALLOWED <const> = 60

local function run(code, options)
  local args = {"run", table.unpack(options or {"--max-step", "500ms"})}
  args[#args + 1] = "-e"
  args[#args + 1] = code
  return spawn.run(args, {timeout = ALLOWED})
end

-- main goes on after the runaway task has been ended, and says how it ended
local function runaway(body)
  return ([[
    local task = require "perigee.task"
    local child = task.spawn(function() %s end)
    local ok, err = pcall(child.wait, child)
    print("ended", ok, err.code)
    print("the loop goes on", pcall(task.sleep, 0.01))]]):format(body)
end

describe("the watchdog ends", function()
  for name, body in pairs {
    ["a busy loop"] = "while true do end",
    ["a loop of pcall around a busy loop"] = "while true do pcall(function() while true do end end) end",
    ["xpcall with a message handler that loops"] =
      "while true do xpcall(error, function() while true do end end, 'x') end",
    ["a comparator that loops"] = "table.sort({3, 2, 1}, function() while true do end end)",
    ["a comparator that loops, in a loop of pcall"] =
      "while true do pcall(table.sort, {3, 2, 1}, function() while true do end end) end",
    ["a busy loop inside a generator"] = "coroutine.wrap(function() while true do end end)()",
    ["a busy loop two generators deep"] =
      "coroutine.wrap(function() coroutine.wrap(function() while true do end end)() end)()",
    ["a busy loop in a <close> handler of the ended task"] =
      "local c <close> = setmetatable({}, {__close = function() while true do end end}) while true do end",
  } do
    it(name .. ", and the rest goes on", function()
      local result = run(runaway(body))

      assert.equal(0, result.status, result.stderr)
      assert.matches("ended\tfalse\trunaway", result.stdout, 1, true)
      assert.matches("the loop goes on\ttrue", result.stdout, 1, true)
    end)
  end

  it("a pattern that backtracks for ever with the process: 70, and a traceback", function()
    local result = run([[
      local function search() return (("a"):rep(40)):find(("a-"):rep(30) .. "b") end
      search()]])

    assert.equal(70, result.status, result.stderr)
    assert.matches("stuck in a C function", result.stderr, 1, true)
    assert.matches("stack traceback", result.stderr, 1, true)
  end)

  it("nothing that waits now and then", function()
    local result = run [[
      local task = require "perigee.task"
      local stop = task.now() + 1.2
      while task.now() < stop do
        for _ = 1, 1e5 do end
        task.sleep(0)
      end
      print "finished"]]

    assert.equal(0, result.status, result.stderr)
  end)
end)

describe("the memory limit ends", function()
  for name, body in pairs {
    ["string.rep"] = "local s = ('x'):rep(1e12)",
    ["concatenation"] = "local s = 'x' while true do s = s .. s end",
    ["gsub"] = "local s = ('x'):rep(1e6) while true do s = s:gsub('.', '%0%0') end",
    ["table.concat"] = "local t = {} for i = 1, 1e5 do t[i] = ('x'):rep(1e4) end local s = table.concat(t)",
    ["a growing table"] = "local t = {} while true do t[#t + 1] = {} end",
  } do
    it("a huge result of " .. name .. ", and the rest goes on", function()
      local result = run(([[
        local task = require "perigee.task"
        local child = task.spawn(function() %s end)
        print("ended", (pcall(child.wait, child)))
        print("the loop goes on", pcall(task.sleep, 0.01))]]):format(body), {"--max-memory", "128M", "--max-step", "30s"})

      assert.equal(0, result.status, result.stderr)
      assert.matches("ended\tfalse", result.stdout, 1, true)
      assert.matches("the loop goes on\ttrue", result.stdout, 1, true)
    end)
  end

  it("a task that catches the refusals and goes on", function()
    local result = run([[
      local task = require "perigee.task"
      local child = task.spawn(function() local t = {} while true do pcall(function() t[#t + 1] = ("x"):rep(1e6) .. #t end) end end)
      local ok, err = pcall(child.wait, child)
      print("ended", ok, err.code)]], {"--max-memory", "64M", "--max-step", "30s"})

    assert.equal(0, result.status, result.stderr)
    assert.matches("ended\tfalse\tmemory", result.stdout, 1, true)
  end)
end)

describe("scripts do without", function()
  it("hooks, the registry, other metatables, finalizers and calls that block the loop", function()
    assert.is_nil(debug.sethook)
    assert.is_nil(debug.getregistry)
    assert.is_nil(debug.setmetatable)
    assert.has_error(function() setmetatable({}, {__gc = print}) end)
    assert.has_error(function() os.execute "true" end)
    assert.has_error(function() os.setlocale "C" end)
    assert.has_error(function() io.popen "true" end)
  end)
end)
