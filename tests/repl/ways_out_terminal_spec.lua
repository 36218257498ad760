-- ways_out_terminal_spec.lua - the prompt inside a shell: whichever way it ends, the terminal is as it was before.
local helper = require "tests.helper"
local proc = require "perigee.core.proc"
local screen = require "tests.support.screen"
local spawn = require "tests.support.spawn"
local describe = screen.describe(describe, pending)

-- A shell with job control in which the prompt was started with these words.
local function shell(words)
  local folder = helper.tmpdir()
  local s = screen.start({ "bash", "--norc", "--noprofile" }, { columns = 100, rows = 30, cwd = folder, env = {
    PS1 = "$ ", HISTFILE = "", PATH = spawn.program:match "^(.*)/" .. ":" .. os.getenv "PATH" } })
  s:wait_for "%$\n$"
  s:type "stty -g >before\n"
  s:wait_for "before\n%$\n$"
  if words then
    s:type("perigee repl --state :memory: " .. words .. "\n")
    s:wait_for "perigee>\n$"
  end
  return s
end

-- The shell's prompt is there; the terminal has the settings of before, shows what is typed, and its lines begin at the left.
local function check_restored(s, status)
  s:wait_for "\n%$\n$"
  s:type "echo status=$? $(stty -g | cmp - before && echo as-before)\n"
  local shown = s:wait_for "\nstatus=([^\n]*)\n%$\n$"
  assert.are.equal(status .. " as-before", shown)
  -- no bracketed paste is left on: a pasted text must not show its marks
  s:paste "echo pasted"
  s:keys "Enter"
  s:wait_for "%$ echo pasted\npasted\n%$\n$"
end

-- The program in the foreground of the shell.
local function child_of(s)
  local file <close> = assert(io.open(("/proc/%d/task/%d/children"):format(s:pid(), s:pid())))
  return assert(file:read("a"):match "%d+", "the shell has no child")
end

local function signal(s, name)
  assert.are.equal(0, proc.run({ args = { "sh", "-c", ("kill -%s %s"):format(name, child_of(s)) }, timeout = 30 }).status)
end

describe("The terminal is as it was before", function()
  -- a name, what is done, the status of the shell
  for _, way in ipairs {
    { "Ctrl-D", function(s) s:keys "C-d" end, 0 },
    { ":quit", function(s) s:type ":quit\n" end, 0 },
    { "os.exit", function(s) s:type "os.exit(7)\n" end, 7 },
    { "os.exit of a task while a line is typed",
      function(s) s:type "task.sleep(0.3); os.exit(7) &\nhalf a li" end, 7 },
    { "SIGTERM while a line is typed", function(s)
      s:type "half a line"
      s:wait_for "half a line\n$"
      signal(s, "TERM")
    end, 143 },
    { "SIGHUP while a call runs", function(s)
      s:type "task.sleep(1000)\n"
      s:wait_for "sleep%(1000%)\n$"
      signal(s, "HUP")
    end, 129 },
    { "an abort while a line is typed", function(s)
      s:type "half a line"
      s:wait_for "half a line\n$"
      signal(s, "ABRT")
    end, 134 },
  } do
    it("after " .. way[1], function()
      local s <close> = shell ""
      way[2](s)
      check_restored(s, way[3])
    end)
  end

  it("after the watchdog has ended a pattern that never ends", function()
    local s <close> = shell "--max-step 500ms"
    s:type "(('a'):rep(40)):find(('a?'):rep(40) .. ('a'):rep(40) .. 'b')\n"
    check_restored(s, 70)
  end)

  it("after a script has failed whose prompt was left", function()
    local s <close> = shell()
    s:type "echo 'local x = 1; repl(); error \"later\"' >script.lua; perigee run script.lua\n"
    s:wait_for "repl>\n$"
    s:type "x + 1\n"
    s:wait_for "\n2\nrepl>\n$"
    s:keys "C-d"
    check_restored(s, 1)
  end)
end)

describe("Ctrl-Z", function()
  it("gives the shell its terminal, and fg comes back to the half-typed line", function()
    local s <close> = shell ""
    s:type "for i = 1, 1000 do task.sleep(0.05) counted = i end &\n"
    s:wait_for "%[1%] started.*perigee>\n$"
    s:type "counted > 0 and 'half"
    s:wait_for "'half\n$"
    s:keys "C-z"
    s:wait_for "Stopped.*\n%$\n$"
    s:type "echo $(stty -g | cmp - before && echo as-before)\n"
    s:wait_for "\nas%-before\n%$\n$"
    s:type "fg\n"
    s:wait_for "perigee> counted > 0 and 'half\n$"
    s:type " typed'\n"
    s:wait_for '\n"half typed"\nperigee>\n$'
  end)
end)
