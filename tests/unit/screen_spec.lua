-- screen_spec.lua - the terminal that other specs drive: what is typed arrives, what is shown is seen, nothing stays.
local helper = require "tests.helper"
local lfs = require "lfs"
local proc = require "perigee.core.proc"
local screen = require "tests.support.screen"
local spawn = require "tests.support.spawn"
local describe = screen.describe(describe, pending)

local function is_alive(pid)
  return proc.run({ args = { "sh", "-c", "kill -0 " .. pid } }).status == 0
end

local BARS <const> = [[
  local progress, task = require "perigee.progress", require "perigee.task"
  local bar <close> = progress.new { label = "训练", total = 3 }
  for i = 1, 3 do bar:add() print("line " .. i) task.sleep(0.01) end
  print "all done"
  task.sleep(1000)]]

describe("A screen of the specs", function()
  it("types text, semicolons, quotes and Chinese included, and shows the answer", function()
    local s <close> = screen.start({ "cat" }, { columns = 60, rows = 10 })
    s:type "one; two 'three' \"four\" $HOME #{x} ~ -l 训练;\n"
    s:wait_for "训练;\n.*训练;\n"
    s:type "next\n"
    s:wait_for "\nnext\nnext\n"
    assert.are.same({ "one; two 'three' \"four\" $HOME #{x} ~ -l 训练;", "one; two 'three' \"four\" $HOME #{x} ~ -l 训练;",
      "next", "next" }, s:rows())
    assert.are.same({ 5, 1 }, { s:cursor() })
    s:type "训a"
    s:wait_for "训a"
    assert.are.same({ 5, 4 }, { s:cursor() })
    s:keys("Enter", "C-d")
    assert.are.equal(0, s:wait_end())
  end)

  it("presses keys, resizes, pastes, and tells status and signal of the end", function()
    local s <close> = screen.start({ "bash", "--norc", "--noprofile" }, { env = { PS1 = "ready> " } })
    s:wait_for "ready>\n$"
    s:resize(50, 12)
    s:paste "stty size\necho pasted"
    s:keys "Enter"
    s:wait_for "12 50\npasted\n"
    s:type "exec sh -c 'kill -TERM $$'\n"
    assert.are.equal(143, s:wait_end())
  end)

  it("joins what wrapped and keeps what has left at the top", function()
    local s <close> = screen.start({ "sh", "-c", "seq 100; printf '%0120d\\n' 7; cat" }, { columns = 50, rows = 6 })
    s:wait_for "7\n$"
    assert.is_truthy(s:text():find("^1\n2\n3\n.*\n100\n0+7\n$"))
    assert.is_nil(s:wait_for("0000\n"):find "^1\n")
  end)

  it("says what it showed when an expectation fails", function()
    local s <close> = screen.start { "sh", "-c", "echo this instead; exec cat" }
    s:wait_for "instead"
    local message = tostring(helper.error_of(s.wait_for, s, "never so", { seconds = 0 }))
    assert.is_truthy(message:find('never showed "never so"; it shows:\nthis instead', 1, true), message)
  end)

  it("shows the program itself, a bar below the lines it prints", function()
    local s <close> = screen.perigee({ "run", "-e", BARS }, { columns = 70, rows = 12, env = { NO_COLOR = "1" } })
    s:wait_for "line 1\nline 2\nline 3\nall done\n"
    assert.is_truthy(s:text():find "all done\n训练.* 3 of 3")
    s:keys "C-c"
    assert.are.equal(130, s:wait_end())
  end)

  it("leaves neither server nor program nor folder", function()
    local s = screen.start { "sleep", "1000" }
    local pid, folder = s:pid(), s.folder
    assert.is_true(is_alive(pid))
    s:close()
    helper.eventually(function() return not is_alive(pid) end)
    assert.is_nil(lfs.attributes(folder))
  end)

  it("leaves nothing in a task that was cancelled and may not wait any more", function()
    local core = require "perigee.core.task"
    local pid
    local waiting = core.spawn(function()
      local s <close> = screen.start { "sleep", "1000" }
      pid = s:pid()
      pcall(s.wait_for, s, "never so")
      while pcall(core.sleep, 1) do end -- until the grace is over
    end)
    helper.eventually(function() return pid ~= nil end, 30)
    waiting:cancel "the time is up"
    pcall(waiting.wait, waiting)
    helper.eventually(function() return not is_alive(pid) end, 30)
  end)

  it("leaves nothing when the process that drives it is killed", function()
    local driver = spawn.start { "run", "-e", [[
      local s = require "tests.support.screen".start { "sleep", "1000" }
      print(("pid=%d."):format(s:pid()))
      require "perigee.task".sleep(1000)]] }
    driver:read_until "."
    local pid = driver:output():match "pid=(%d+)%."
    assert.is_true(is_alive(pid))
    driver:kill "KILL"
    helper.eventually(function() return not is_alive(pid) end, 30)
    driver:close()
  end)
end)
