-- What was typed, at a real terminal: there in the next session, without what must not be kept.
local fs = require "perigee.fs"
local helper = require "tests.helper"
local screen = require "tests.support.screen"

local describe = screen.describe(describe, pending)

describe("a prompt at a terminal", function()
  local folder

  local function start()
    return screen.perigee({ "repl", "--emulator", "--state", folder .. "/state" }, { columns = 100, rows = 30 })
  end

  before_each(function() folder = helper.tmpdir() end)

  it("offers what was typed in an earlier session, from its first line on", function()
    do
      local s <close> = start()
      s:wait_for "emulator>"
      s:type "first = 1\nfunction f()\nreturn 12\nend\n"
      s:type "second = 2\nprint(first + f())\n"
      s:wait_for "\n13"
      s:keys "C-d"
      s:wait_end()
    end
    assert.are.equal("first = 1\nfunction f()\\nreturn 12\\nend\nsecond = 2\nprint(first + f())\n",
      fs.read(folder .. "/state/repl_history"))
    local s <close> = start()
    s:wait_for "emulator>"
    -- the file is read beside the prompt: a key before that finds nothing yet; Up at the oldest entry stays there
    helper.eventually(function()
      s:keys("Up", "Up", "Up", "Up")
      return s:text():find("> first = 1", 1, true)
    end)
    s:keys("Down", "Down")
    s:wait_for "> second = 2"
    s:keys "Enter"
    s:keys("Up", "Up", "Up", "Up")
    s:wait_for "return 12"
    s:keys "Enter"
    s:type "print(f() + 1)\n"
    s:wait_for "\n13"
    s:keys "C-r"
    s:type "first ="
    s:wait_for "first = 1"
    s:keys("Enter", "C-d")
    s:wait_end()
  end)

  it("forgets what turns out to be a secret, and what is written out under the name of one", function()
    local s <close> = start()
    s:wait_for "emulator>"
    s:type "a = 1\nt = 'recall-later-secret'\nc = sxwl.client { token = t }\npassword = 'hunter2'\n hidden = 3\nprint(a + 11)\n"
    s:wait_for "\n12"
    helper.eventually(function()
      return fs.read(folder .. "/state/repl_history") == "a = 1\nc = sxwl.client { token = t }\nprint(a + 11)\n"
    end)
    s:keys("Up", "Up")
    s:wait_for "12\nemulator> c = sxwl"
    s:keys "Up"
    s:wait_for "12\nemulator> a = 1"
    s:keys "C-c"
    s:wait_for "%^C\nemulator>" -- with the signal the terminal drops what was typed before it
    s:keys "C-d"
    s:wait_end()
  end)
end)
