-- tests.support.editing - what the specs of the line editor share: its program on a screen, and a shell around it.
local assert = require "luassert"
local lfs = require "lfs"
local screen = require "tests.support.screen"

local editing = {}

editing.SHELL = "tests/support/editor_shell.lua"

local HERE <const> = lfs.currentdir()

--- The program, at its first prompt. options: of screen.start.
function editing.start(options)
  options = options or {}
  options.cwd = HERE
  local s = screen.perigee({ "run", editing.SHELL }, options)
  s:wait_for "^>\n$"
  return s
end

--- A shell at its prompt, in the folder of the sources.
function editing.shell()
  local s = screen.start({ "bash", "--norc" }, { cwd = HERE, columns = 100, env = { PS1 = "$ ", HISTFILE = false } })
  s:wait_for "%$\n$"
  return s
end

--- The modes of that shell's terminal are those a shell leaves.
function editing.is_sane(s)
  s:type "clear; stty -a | grep -oE -e '-?(icanon|echo|icrnl|ixon)\\b'; echo done\n"
  assert.equal("icrnl\nixon\nicanon\necho", s:wait_for("(icrnl.-)\ndone"), s:text())
end

return editing
