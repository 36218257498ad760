-- The terminal of the line editor: who may have it, and that it changes hands.
local editing = require "tests.support.editing"
local screen = require "tests.support.screen"
local spawn = require "tests.support.spawn"

local SHELL <const> = editing.SHELL
local shell, is_sane = editing.shell, editing.is_sane

local describe_screen = screen.describe(describe, pending)

describe_screen("the terminal", function()
  it("is given back when the process is stopped, and taken again", function()
    local s <close> = shell()
    s:type(spawn.program .. " run " .. SHELL .. "\n")
    s:wait_for "\n> *\n$"
    s:type "half a line"
    s:keys "C-z"
    s:wait_for "Stopped"
    is_sane(s)
    s:type "fg\n"
    s:wait_for "\n> half a line\n$"
    s:type "!\n"
    s:wait_for 'got "half a line!"'
    s:keys "C-d"
    s:wait_for "the end"
    is_sane(s)
  end)

  it("is left to others while the process goes on in the background", function()
    local s <close> = shell()
    s:type(spawn.program .. " run " .. SHELL .. "\n")
    s:wait_for "\n> *\n$"
    s:type "!kill 'STOP'\n"
    s:wait_for "Stopped"
    s:type "bg\n"
    s:wait_for "run [^\n]* &"
    s:type "clear; jobs; echo looked\n"
    assert.match("^%[1%]%+  Running", s:wait_for "(%[1%].-)\nlooked")
    s:type "fg\n"
    s:wait_for "\n> *\n$"
    s:type "back\n"
    s:wait_for 'got "back"'
  end)

  it("is put in order, and a redirected standard error gets nothing of that", function()
    local s <close> = shell()
    s:type("ulimit -c 0; err=$(mktemp); { " .. spawn.program .. " run " .. SHELL .. "; } 2>$err; echo ended with $?\n")
    s:wait_for "\n> *\n$"
    s:type "!kill 'QUIT'\n"
    s:wait_for("\nended with 131\n", { seconds = 40 })
    s:type "clear; grep -c $'\\e' $err; rm $err\n"
    s:wait_for "\n?0\n"
  end)
end)

describe("where lines cannot be edited", function()
  local OPEN <const> = [[local ok, err = pcall(require("perigee.core.editor").open); print(err.kind, err.code)]]

  it("says so without a terminal, and on a dumb one", function()
    assert.equal("unavailable\tno_terminal\n", spawn.script(OPEN).stdout)
    local dumb = spawn.script(OPEN, { columns = 80, env = { TERM = "dumb" } })
    assert.truthy(dumb.stdout:find "unavailable\tno_terminal")
  end)

  it("says that there is an editor already", function()
    local result = spawn.script([[local first = require("perigee.core.editor").open() ]] .. OPEN, { columns = 80 })
    assert.truthy(result.stdout:find "unavailable\tbusy", result.stdout)
  end)

  it("an editor that is closed says that, and another can be opened", function()
    local result = spawn.script([[
      local editor, task = require "perigee.core.editor", require "perigee.task"
      for i = 1, 3 do
        local ed = editor.open()
        local reader = task.spawn(function() return task.try(ed.read, ed) end)
        task.sleep(0)
        ed:close()
        local _, err = reader:wait()
        print(i, err.kind, select(2, pcall(ed.read, ed)).kind)
      end]], { columns = 80 })
    assert.truthy(result.stdout:find "3\tclosed\tclosed", result.stdout)
    assert.equal(3, select(2, result.stdout:gsub("\27%[%?2004l", "")))
  end)
end)
