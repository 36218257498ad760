-- Questions at a terminal, keys that end a line, and what else stands at the bottom of the screen.
local helper = require "tests.helper"
local editing = require "tests.support.editing"
local screen = require "tests.support.screen"

local start = editing.start

local describe_screen = screen.describe(describe, pending)

local function touch(path)
  assert(io.open(path, "w")):close()
end

describe_screen("a question", function()
  it("puts the line aside and gives it back with its cursor", function()
    local s <close> = start()
    s:type '=function on_tab() print("answer:", ed:ask { prompt = "Sure? " }) end\n'
    s:type "half a line"
    s:keys("Left", "Left", "Tab")
    s:wait_for "\nSure%?\n$"
    s:type "yes\n"
    s:wait_for "\nSure%? yes\nanswer: yes\n> half a line\n$"
    s:type "X\n"
    s:wait_for 'got "half a liXne"'
  end)

  it("is answered by nothing that was typed before it was seen", function()
    local s <close> = start()
    s:type '=task.sleep(0.5) print("answer:", ed:ask { prompt = "Sure? " })\nyes\n'
    s:wait_for "\nSure%?\n$"
    s:type "no\n"
    s:wait_for '\nSure%? no\nanswer: no\n> yes\ngot "yes"\n>\n$'
  end)

  it("waits for those before it", function()
    local s <close> = start()
    s:type('=function on_tab() for i = 1, 3 do task.detach(function() '
      .. 'print(i .. " got", ed:ask { prompt = i .. "? " }) end) end end\n')
    s:type "line"
    s:keys "Tab"
    for i = 1, 3 do
      s:wait_for("\n" .. i .. "%?\n$")
      s:type("a" .. i .. "\n")
      s:wait_for(i .. " got +a" .. i)
    end
    s:wait_for "\n> line\n$"
  end)

  it("is taken back with its task", function()
    local s <close> = start()
    local go = helper.tmpdir() .. "/go"
    s:type('=function on_tab() on_tab = nil local t = task.spawn(function() ed:ask { prompt = "Sure? " } end) '
      .. ('told %q t:cancel() end\n'):format(go))
    s:type "line"
    s:keys "Tab"
    s:wait_for "\nSure%?\n$"
    touch(go)
    s:wait_for "\n> line\n$"
    assert.is_nil(s:text():find "\nSure")
  end)
end)

describe_screen("keys that end a line", function()
  it("Ctrl-C leaves it on the screen and drops what was typed ahead", function()
    local s <close> = start()
    s:type "=function on_tab() ed:interrupt() end\n"
    s:type "some words"
    s:keys("Left", "Left", "Tab")
    s:wait_for "> some words%^C\nno line: +interrupt\n>\n$"
  end)

  it("Ctrl-C at a question ends the question only", function()
    local s <close> = start()
    local go = helper.tmpdir() .. "/go"
    s:type(('=function on_tab() task.detach(function() told %q ed:interrupt() end) '):format(go)
      .. 'print("answer:", ed:ask { prompt = "Sure? " }) end\n')
    s:type "half"
    s:keys("Tab")
    s:wait_for "\nSure%?\n$"
    touch(go)
    s:wait_for "Sure%? %^C\nanswer: nil +interrupt\n> half\n$"
  end)

  it("Ctrl-C drops what was typed ahead", function()
    local s <close> = start()
    s:type '=print "now" task.sleep(2) print("interrupted", ed:interrupt())\nahead\n'
    s:wait_for "interrupted +false\n>\n$"
    s:type "behind\n"
    s:wait_for '\n> behind\ngot "behind"\n'
    assert.is_nil(s:text():find "> ahead")
  end)

  it("Ctrl-D is the end on an empty line only", function()
    local s <close> = start()
    s:type "x"
    s:keys("C-d", "BSpace", "C-d")
    s:wait_for "the end"
    assert.equal(0, s:wait_end())
  end)
end)

describe_screen("what else stands at the bottom", function()
  it("a bar stays above the prompt, and goes on below a line that has ended", function()
    local s <close> = start { columns = 50 }
    s:type('!local bar = require "perigee.progress".new { label = "load", total = 1000 } '
      .. "for i = 1, 990 do bar:set(i) task.sleep(0.01) end\n")
    s:wait_for "\nload .*\n>\n$"
    s:type "some text that is wider than the screen is, so that it wraps"
    s:wait_for "\nload [^\n]*\n> some text[^\n]*\nhat it wraps\n$"
    s:keys "Enter"
    s:wait_for '> some text[^\n]*\nhat it wraps\ngot "some[^\n]*\n[^\n]*"\nload [^\n]*\n>\n$'
    local _, bars = s:text():gsub("\nload", "")
    assert.equal(1, bars)
  end)

  it("a line that was begun and not ended stays above the prompt, and is gone on with", function()
    local s <close> = start()
    s:type '!io.write "one, " task.sleep(0.5) io.write "two" task.sleep(0.2) print ", three"\n'
    s:wait_for "\none,\n>\n$"
    s:type "typing"
    s:wait_for "\none, two, three\n> typing\n$"
  end)

  it("Ctrl-L clears the screen and keeps the line", function()
    local s <close> = start()
    s:type "keep this"
    s:keys "C-l"
    s:wait_for "^> keep this\n$"
    s:keys("C-u", "a", "t", "C-l") -- at once
    s:wait_for "^> at\n$"
    s:type '\n!ed:clear()\n'
    s:wait_for "^>\n$"
  end)
end)
