-- console_terminal_spec.lua - `perigee repl --attach` at a terminal: into a daemon that works, from several places at once.
local helper = require "tests.helper"
local proc = require "perigee.core.proc"
local screen = require "tests.support.screen"
local support = require "tests.support.daemon"
local describe = screen.describe(describe, pending)

-- A policy that prints a hundred lines a second for as long as it lives.
local CHATTER <const> = [[
  local task = require "perigee.task"
  return { name = "chatter", schedules = { { name = "talk", every = "1s", run = function()
    for i = 1, 100 do task.sleep(0.005) print("line " .. i .. " of a hundred") end
  end } } }]]

-- A daemon with this policy. The caller closes it.
local function daemon_with(policy)
  local world = support.world()
  world:emulator()
  world.child = world:start { "--config", world:config(), world:policy("talker", policy) }
  return world
end

local function console(world, words, options)
  local env = { PERIGEE_CONFIG = world.folder .. "/config.lua", NO_COLOR = "1" }
  for name, value in pairs(world.env) do env[name] = value end
  local all = { columns = 100, rows = 24, env = env }
  for name, value in pairs(options or {}) do all[name] = value end
  local s = screen.perigee({ "repl", "--attach", "--state", world.state, table.unpack(words or {}) }, all)
  s:wait_for("daemon[>!] *\n$", { all = true })
  return s
end

local function ticks(world)
  local _, n = support.log(world.child):gsub("VERSION ticked", "")
  return n
end

describe("A console at a terminal", function()
  it("shows the daemon's log as it comes, and keeps the line that is typed", function()
    local world = daemon_with(CHATTER)
    finally(function() world:close() end)
    local s <close> = console(world)
    s:wait_for("line 50 of a hundred", { all = true })
    for _, piece in ipairs { "'typed ", "while the ", "daemon ", "works'" } do s:type(piece) end
    s:wait_for "\ndaemon> 'typed while the daemon works'\n$"
    s:keys "Enter"
    s:wait_for('\n"typed while the daemon works"\n', { all = true })
    -- each line whole, none twice
    for line in s:text():gmatch "[^\n]*of a hundred[^\n]*" do
      assert.is_truthy(line:find "^%S+ info +policy%.print policy=chatter text=\"line %d+ of a hundred\"$", line)
    end
    s:keys "C-d"
    assert.are.equal(0, s:wait_end())
  end)

  it("is one of several, each with names of its own", function()
    local world = daemon_with(support.TICKER)
    finally(function() world:close() end)
    local one <close> = console(world)
    local two <close> = console(world)
    one:type "mine = 'of one'\n"
    two:type "mine = 'of two'\n"
    one:type "mine\n"
    two:type "mine\n"
    one:wait_for('\n"of one"\n', { all = true })
    two:wait_for('\n"of two"\n', { all = true })
    one:wait_for("VERSION ticked", { all = true })
    two:wait_for("VERSION ticked", { all = true })
  end)

  it("leaves nothing behind when it is killed in the middle of a call", function()
    local world = daemon_with(support.TICKER)
    finally(function() world:close() end)
    local other <close> = console(world)
    for _, call in ipairs { "while true do end", "task.sleep(1000)" } do
      local s <close> = console(world)
      s:type(call .. "\n")
      s:wait_for(call:gsub("%p", "%%%0") .. "\n", { all = true })
      assert.are.equal(0, proc.run({ args = { "sh", "-c", "kill -KILL " .. s:pid() }, timeout = 30 }).status)
      assert.are.equal(137, s:wait_end())
      local before = ticks(world)
      helper.eventually(function() return ticks(world) >= before + 2 end, 30)
    end
    other:type "'still here'\n"
    other:wait_for('\n"still here"\n', { all = true })
    helper.eventually(function()
      local log = support.log(world.child)
      return select(2, log:gsub('"console%.closed"', "")) == 2 and select(2, log:gsub('"console%.open"', "")) == 3
    end, 30)
  end)

  it("stops a call with Ctrl-C in the daemon too, and goes on", function()
    local world = daemon_with(support.TICKER)
    finally(function() world:close() end)
    local s <close> = console(world)
    for _, call in ipairs { "task.sleep(1000)", "while true do task.sleep(0) end" } do
      s:type(call .. "\n")
      s:wait_for(call:gsub("%p", "%%%0") .. "\n", { all = true })
      s:wait_running()
      s:keys "C-c"
      s:type "'next'\n"
      s:wait_for('daemon> \'next\'\n"next"\n', { all = true })
      s:type ":clear\n"
    end
  end)

  it("only looks, whatever is tried", function()
    local world = daemon_with(support.TICKER)
    finally(function() world:close() end)
    local mark = world.folder .. "/mark"
    local s <close> = console(world)
    for i, try in ipairs {
      ("os.execute('touch %s')"):format(mark), ("io.open('%s', 'w')"):format(mark), ("io.popen('touch %s')"):format(mark),
      ("require('perigee.fs').write('%s', 'x')"):format(mark), ("os.rename('/dev/null', '%s')"):format(mark),
      ("require('perigee.proc').run { args = { 'touch', '%s' } }"):format(mark),
      "jobs.submit { service = 'sxwl', name = 'x', spec = {} }", "require('perigee.store').open('x'):set('a', 1)",
      "require('perigee.sxwl').client():jobs():all()", "require('perigee.http').get('http://127.0.0.1:1/')",
      "load('\\27Lua')()", "debug.getregistry()", "package.loadlib('libc.so.6', '*')", "getmetatable('').__index.rep = print",
    } do
      s:type(try .. "\n")
      s:type(("'after %d'\n"):format(i))
      s:wait_for(('\n"after %d"\n'):format(i), { all = true })
    end
    assert.is_nil(require("lfs").attributes(mark))
    local shown = s:text()
    assert.are.equal(0, select(2, shown:gsub("\ntrue\n", "")))
    s:type "('x'):rep(3)\n"
    s:wait_for('\n"xxx"\n', { all = true })
  end)

  it("says so and leaves when the daemon ends", function()
    local world = daemon_with(support.TICKER)
    finally(function() world:close() end)
    local s <close> = console(world)
    s:type "'half a li"
    world.child:kill "TERM"
    assert.are.equal(1, s:wait_end())
    s:wait_for("the daemon [^\n]*end", { all = true })
  end)

  it("tells when there is no daemon", function()
    local s <close> = screen.perigee({ "repl", "--attach", "--state", helper.tmpdir() }, { columns = 100 })
    assert.are.equal(1, s:wait_end())
    s:wait_for "no daemon"
  end)
end)
