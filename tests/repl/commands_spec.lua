-- commands_spec.lua - what begins with a colon at the prompt: what each command says, and what it says to wrong words.
local commands = require "perigee.repl_commands"
local helper = require "tests.helper"
local repl_session = require "perigee.repl_session"
local spawn = require "tests.support.spawn"
local task = require "perigee.task"

-- A session; told: what it says by itself.
local function new_session(options)
  local told = {}
  local all = { say = function(text) told[#told + 1] = text end }
  for name, value in pairs(options or {}) do all[name] = value end
  return repl_session.new(all), told
end

local function ok(session, text)
  local outcome = session:eval(text)
  assert(outcome.ok, outcome.text)
  return outcome.text
end

local function wrong(session, text)
  local outcome = session:eval(text)
  assert.is_false(outcome.ok)
  assert.equal("invalid", outcome.error.kind)
  return outcome.error
end

-- A line that runs as a task of its own until it has begun to wait.
local function in_background(session, text)
  local running = task.detach(function() session:eval(text) end)
  helper.eventually(function() return session.entries[#session.entries] and session.entries[#session.entries].text == text end)
  return running
end

describe("commands", function()
  it("are found by name and short name; a wrong name is answered with the nearest", function()
    assert.equal("quit", commands.find("q").name)
    local command, near = commands.find "jbos"
    assert.is_nil(command)
    assert.equal("jobs", near)
  end)

  it("each have a usage and a summary, and stand in the overview", function()
    local overview = commands.overview()
    for _, command in ipairs(commands.list) do
      assert.equal(":" .. command.name, command.usage:match "^:%a+")
      assert.truthy(overview:find(command.usage, 1, true))
      assert.truthy(overview:find(command.summary, 1, true))
    end
  end)

  it("answer a wrong argument with the usage and the nearest right word", function()
    local session = new_session()
    for line, near in pairs {
      [":spend by jib"] = "job", [":spend buy day"] = "by", [":log worn"] = "warn", [":yes onn"] = "on", [":emulator rest"] = "reset",
    } do
      local err = wrong(session, line)
      assert.truthy(err.message:find("did you mean " .. near .. "?", 1, true), line .. ": " .. err.message)
      assert.truthy(err.hint:find("usage: " .. line:match "^:%a+", 1, true))
    end
    for _, line in ipairs { ":tasks x",
      ":quit now", ":clear all", ":time", ":save", ":load", ":why", ":cancel", ":cancel 7", ":log tail 0" } do
      assert.truthy(wrong(session, line).hint:find("usage: " .. line:match "^:%a+", 1, true))
    end
  end)

  it("of a console are those that only look, and take what it reports", function()
    local subset = commands.for_console()
    assert.is_nil((subset.find "save"))
    local asked
    local session = new_session { commands = subset }
    session.reports = { spend = function(what) asked = what; return "money\n" end,
      jobs = function(word) return "jobs " .. word .. "\n" end }
    assert.equal("money\n", ok(session, ":spend by day"))
    assert.equal("day", asked.by)
    assert.equal("jobs running\n", ok(session, ":jobs running"))
  end)
end)

describe(":tasks and :cancel", function()
  it("name what runs, and stop it by its number", function()
    local session = new_session()
    local running = in_background(session, "task = require 'perigee.task' task.sleep(3600)")
    local text = ok(session, ":tasks")
    local label = text:match "\n(#%d+)"
    assert.truthy(text:find("waits in task.sleep", 1, true))
    assert.truthy(wrong(session, ":cancel #0").message:find("no task #0 runs", 1, true))
    assert.equal(("task %s is cancelled\n"):format(label), ok(session, ":cancel " .. label))
    pcall(running.wait, running)
    assert.equal("cancelled", running:status())
    assert.equal("no tasks\n", ok(session, ":tasks"))
    assert.is_true(session.entries[1].cancelled)
  end)

  it("know the tasks that a line has started by itself, and none of another session", function()
    local session, other = new_session(), (new_session())
    local running = in_background(session, "t = require 'perigee.task' t.spawn(t.sleep, 3600) t.spawn(t.sleep, 1800)")
    helper.eventually(function() return #commands.tasks_of(session) == 2 end)
    assert.equal("no tasks\n", ok(other, ":tasks"))
    assert.equal("2 tasks are cancelled\n", ok(session, ":cancel all"))
    pcall(running.wait, running)
  end)
end)

describe(":time", function()
  it("runs the line in the session and tells its time and calls", function()
    local session = new_session()
    local text = ok(session, ":time 20 + 1")
    assert.truthy(text:find "^21\ntook [%d.]+ ms, 0 calls\n$", text)
    assert.equal(21, session:value "_")
  end)

  it("tells them of a line that fails, too, and fails as the line does", function()
    local session, told = new_session()
    local outcome = session:eval ":time error 'nothing'"
    assert.is_false(outcome.ok)
    assert.truthy(table.concat(told):find "^took ")
  end)
end)

describe(":log", function()
  local core = require "perigee.core.log"
  local log = require "perigee.log"
  local level = core.level()

  after_each(function()
    core.keep("off", 0)
    core.set_level(level)
  end)

  it("shows the last lines, also those that were not shown as they came", function()
    local session = new_session()
    core.keep("off", 0)
    commands.keep_log()
    for i = 1, 30 do log.info("spec.kept", { i = i }) end
    local lines = {}
    for line in ok(session, ":log tail 3"):gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.equal(3, #lines)
    assert.truthy(lines[3]:find("spec.kept i=30", 1, true))
  end)

  it("keeps no more than it is told, and lines of a level from then on", function()
    core.keep("off", 0)
    core.keep("warn", 5)
    for i = 1, 9 do log.warn("spec.ring", { i = i }) end
    log.info "spec.info"
    local kept, last = core.kept()
    assert.equal(5, #kept)
    assert.equal(9, last)
    assert.equal(5, kept[1].number)
    assert.equal(2, #core.kept(8))
    core.keep("info", 5)
    assert.equal(5, #core.kept(), "what was kept stays when only the level changes")
  end)

  it("sets the level from which lines are shown", function()
    local session = new_session()
    ok(session, ":log error")
    assert.equal("error", core.level())
    assert.truthy(ok(session, ":log"):find("shown from level error on", 1, true))
  end)
end)

describe(":yes, :quit and :clear", function()
  it("change the session", function()
    local cleared
    local session = new_session { ask = function() return "no" end }
    session.clear = function() cleared = true end
    ok(session, ":yes on")
    assert.is_true(session.yes)
    ok(session, ":yes off")
    assert.is_false(session.yes)
    ok(session, ":clear")
    assert.is_true(cleared)
    ok(session, ":q")
    assert.is_true(session.leaving)
  end)

  it("does not turn questions off where nobody can be asked", function()
    local session = new_session()
    assert.truthy(wrong(session, ":yes on").message:find("--yes", 1, true))
    assert.is_false(session.yes)
    assert.is_true(new_session({ yes = true }).yes)
    ok(session, ":yes off")
  end)
end)

describe(":load", function()
  local function file_with(text)
    local path = helper.tmpdir() .. "/plan.lua"
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
    return path
  end

  it("runs the statements of a file as if they were typed: names, locals and values stay", function()
    local session, told = new_session()
    local path = file_with "#!/usr/bin/env perigee\nlocal a = 4\nfunction double(n)\n  return n * 2\nend\na + 1\ndouble(a)\n"
    local text = ok(session, ":load " .. path)
    assert.equal("8\n", text)
    assert.equal("5\n", table.concat(told))
    assert.equal(4, (session:value "a"))
    assert.equal(5, #session.entries) -- the command and four statements
  end)

  it("stops at the first error and says where that is", function()
    local session, told = new_session()
    local path = file_with "x = 1\n\nerror 'enough'\nx = 2\n"
    local outcome = session:eval(":load " .. path)
    assert.is_false(outcome.ok)
    assert.truthy(table.concat(told):find(path .. ":3: failed; 1 statement ran before it", 1, true))
    assert.equal(1, (session:value "x"))
  end)

  it("says that a file ends in the middle of a statement, and that there is none", function()
    local session = new_session()
    assert.truthy(wrong(session, ":load " .. file_with "x = 1\nif x then\n").message:find("begins in line 2", 1, true))
    assert.truthy(wrong(session, ":load /nowhere.lua").message:find("there is no file", 1, true))
  end)
end)

describe("commands of the program", function()
  it("work without a terminal, and one that is wrong ends the input", function()
    local result = spawn.run({ "repl", "--emulator" }, { stdin = "x = 2\n:time x * 21\n:jobs\n:spend\n:tasks\n:jbos\nprint 'not run'\n" })
    assert.equal(1, result.status)
    assert.truthy(result.stdout:find("42\ntook ", 1, true))
    assert.truthy(result.stdout:find("no jobs that are active", 1, true))
    assert.truthy(result.stdout:find("nothing was paid", 1, true))
    assert.truthy(result.stderr:find("did you mean :jobs?", 1, true))
    assert.falsy(result.stdout:find("not run", 1, true))
  end)
end)
