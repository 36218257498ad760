-- However a program that edits lines ends, the terminal is as it was.
local editing = require "tests.support.editing"
local screen = require "tests.support.screen"
local spawn = require "tests.support.spawn"

local SHELL <const> = editing.SHELL
local shell, is_sane = editing.shell, editing.is_sane

local describe_screen = screen.describe(describe, pending)

describe_screen("the terminal", function()
  for _, way in ipairs {
    { "an error", "=error 'broken'\n", 1 },
    { "os.exit", "=os.exit(3)\n", 3 },
    { "SIGTERM", "=kill 'TERM'\n", 143 },
    { "two SIGINT", "=kill('INT', 'INT')\n", 130 },
    { "SIGQUIT", "=kill 'QUIT'\n", 131 },
    { "SIGABRT at the prompt", "!kill 'ABRT'\n", 134 },
    { "a step that cannot be ended", "=string.find(('a'):rep(40), ('a-'):rep(30) .. 'b')\n", 70 },
  } do
    it("is given back after " .. way[1], function()
      local s <close> = shell()
      s:type("ulimit -c 0; " .. spawn.program .. " run --max-step 1s " .. SHELL .. "; echo ended with $?\n")
      s:wait_for "\n> *\n$"
      s:type(way[2])
      s:wait_for("\nended with " .. way[3] .. "\n", { seconds = 40 })
      is_sane(s)
    end)
  end
end)
