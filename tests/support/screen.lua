-- screen.lua - what a person at a terminal does and sees: a program in tmux, on a server of its own.
--
-- A screen owns a tmux server on a socket in a temporary folder. close() ends it (use `local s <close> =`); if this
-- process is killed instead, a shell that looks after it stops the server.
-- Nothing here sleeps for a while and hopes: wait_for() looks at the screen until it shows what is expected.
local core = require "perigee.core.task"
local lfs = require "lfs"
local proc = require "perigee.core.proc"
local spawn = require "tests.support.spawn"

local screen = {}
local methods = {}
methods.__index = methods

-- how long an expectation may take, in seconds: generous, since it costs nothing when all is well
local LIMIT <const> = 30
local LOOK_EVERY <const> = 0.02

-- $1 is the folder, the rest is for tmux. Leaves a shell that ends the server when we are gone, or when "alive" is: in a
-- session of its own, since what ends our group must not end it.
local START <const> = [[
  folder=$1; shift
  tmux -u -S "$folder/tmux" -f /dev/null "$@" || exit 1
  setsid sh -c '
    while kill -0 "$1" && [ -e "$2/alive" ] && tmux -S "$2/tmux" has-session; do sleep 1; done
    tmux -S "$2/tmux" kill-server
    rm -rf "$2"' sh "$PPID" "$folder" </dev/null >/dev/null 2>&1 &]]

-- What runs in the pane: the command, whose number and status are written to files (tmux loses the status at times).
-- The shell outlives a Ctrl-C, and its traps are not those of the command.
local PANE <const> = [[
  folder=$1; shift
  trap : INT QUIT
  sh -c 'echo $$ >"$0/pid"; exec "$@"' "$folder" "$@"
  echo $? >"$folder/status"]]

--- What stands for busted's describe in specs of screens: one pending spec that says why where there is no tmux.
function screen.describe(describe, pending)
  local ok, result = pcall(proc.run, { args = { "tmux", "-V" }, timeout = 30 })
  if ok and result.status == 0 then return describe end
  return function(name) pending(name .. " (tmux is not installed: make deps)") end
end

local function tmux(self, ...)
  local result = proc.run { args = { "tmux", "-u", "-S", self.socket, ... }, timeout = LIMIT, env = self.environment }
  if result.status ~= 0 then
    error(("tmux %s: status %d: %s"):format((...), result.status, result.stderr), 3)
  end
  return result.stdout
end

local function rows_of(text)
  local rows = {}
  for row in text:gmatch "([^\n]*)\n" do rows[#rows + 1] = (row:gsub("%s+$", "")) end
  while rows[#rows] == "" do rows[#rows] = nil end
  return rows
end

--- Starts a command (a list of words) on a screen. options: columns (80), rows (24), cwd; env: variables to add, false
--- takes one away; TERM is screen-256color and the locale UTF-8 unless it says otherwise.
function screen.start(command, options)
  options = options or {}
  local env = { LC_ALL = "C.UTF-8", TMUX = false, TMUX_PANE = false, ESCDELAY = false }
  for name, value in pairs(options.env or {}) do env[name] = value end
  local term = env.TERM or "screen-256color"
  env.TERM = "screen-256color" -- of the server; what runs in it gets default-terminal
  local folder = os.tmpname()
  assert(os.remove(folder) and lfs.mkdir(folder))
  local self = setmetatable({ folder = folder, socket = folder .. "/tmux", environment = spawn.environment(env) }, methods)
  assert(io.open(folder .. "/alive", "w")):close()
  local words = { "sh", "-c", START, "sh", folder }
  for _, word in ipairs {
    "set-option", "-g", "remain-on-exit", "on", ";", "set-option", "-g", "remain-on-exit-format", "", ";",
    "set-option", "-g", "status", "off", ";", "set-option", "-g", "history-limit", "50000", ";",
    "set-option", "-s", "escape-time", "0", ";", "set-option", "-g", "default-terminal", term, ";",
    "set-option", "-g", "default-size", ("%dx%d"):format(options.columns or 80, options.rows or 24), ";",
    "new-session", "-d", "-x", tostring(options.columns or 80), "-y", tostring(options.rows or 24),
    "-c", options.cwd or folder, "--", "sh", "-c", PANE, "sh", folder, table.unpack(command),
  } do
    words[#words + 1] = word
  end
  local result = proc.run { args = words, env = self.environment, timeout = LIMIT }
  if result.status ~= 0 then
    self:close()
    error("tmux did not start: " .. result.stderr, 2)
  end
  return self
end

--- Starts the program under test: screen.start with its words.
function screen.perigee(args, options)
  return screen.start({ spawn.program, table.unpack(args) }, options)
end

--- Types text as it is. A line feed is the return key.
function methods:type(text)
  for line, feed in text:gmatch "([^\n]*)(\n?)" do
    -- tmux takes a semicolon at the end of a word as the end of its command
    if line ~= "" then tmux(self, "send-keys", "-l", "--", (line:gsub(";$", "\\;"))) end
    if feed ~= "" then tmux(self, "send-keys", "Enter") end
  end
end

--- Presses keys by tmux's names: "C-c", "Tab", "Up", "Enter", "BSpace", "Escape", "M-b".
function methods:keys(...)
  tmux(self, "send-keys", ...)
end

--- Pastes text as a terminal does: marked as pasted where the program has asked for that, line feeds as returns.
function methods:paste(text)
  local result = proc.run { args = { "tmux", "-u", "-S", self.socket, "load-buffer", "-" }, stdin = text,
    timeout = LIMIT, env = self.environment }
  assert(result.status == 0, result.stderr)
  tmux(self, "paste-buffer", "-p", "-d")
end

--- The rows that are seen, from the top, without blanks at their ends and without empty rows at the bottom.
function methods:rows()
  return rows_of(tmux(self, "capture-pane", "-p"))
end

--- All that was ever shown, rows that left at the top as well; rows that one line wrapped into are joined.
function methods:text()
  return table.concat(rows_of(tmux(self, "capture-pane", "-p", "-J", "-S", "-")), "\n") .. "\n"
end

--- The rows that are seen, with their escape sequences for colours.
function methods:colours()
  return tmux(self, "capture-pane", "-p", "-e")
end

--- A variable of tmux's format language, "cursor_x" for one.
function methods:variable(name)
  return (tmux(self, "display-message", "-p", "#{" .. name .. "}"):gsub("\n$", ""))
end

--- Row and column of the cursor, both from 1.
function methods:cursor()
  local x, y = self:variable "cursor_x},#{cursor_y":match "^(%d+),(%d+)$"
  return tonumber(y) + 1, tonumber(x) + 1
end

-- The number in a file that the pane writes, or nil.
local function number_in(self, name)
  local file = io.open(self.folder .. "/" .. name)
  local text = file and file:read "a"
  if file then file:close() end
  return text and tonumber(text:match "^(%d+)\n$")
end

--- The number of the process of the command.
function methods:pid()
  local deadline = core.now() + LIMIT
  repeat
    local pid = number_in(self, "pid")
    if pid then return pid end
    core.sleep(LOOK_EVERY)
  until core.now() > deadline
  error("the command was never started; the screen shows:\n" .. self:text(), 2)
end

local function matches(text, what, plain)
  if type(what) == "function" then return what(text) end
  local first, last, capture = text:find(what, 1, plain)
  return first and (capture or text:sub(first, last))
end

--- Waits until the screen shows `what`: a Lua pattern, or a function of the text that gives something true. Gives the
--- match (its first capture if it has one). options: plain; seconds; all: looks at what has left the screen as well;
--- fails with what the screen showed instead.
function methods:wait_for(what, options)
  options = options or {}
  local deadline = core.now() + (options.seconds or LIMIT)
  local text
  repeat
    if text then core.sleep(LOOK_EVERY) end
    text = options.all and self:text() or table.concat(self:rows(), "\n") .. "\n"
    local found = matches(text, what, options.plain)
    if found then return found end
  until core.now() > deadline
  error(("the screen never showed %s; it shows:\n%s"):format(
    type(what) == "string" and ("%q"):format(what) or options.name or "it", text), 2)
end

--- Waits until the cursor is at the left: the line that was typed has been taken, and runs. A key before that would be
--- the line's.
function methods:wait_running()
  local deadline = core.now() + LIMIT
  repeat
    if self:variable "cursor_x" == "0" then return end
    core.sleep(LOOK_EVERY)
  until core.now() > deadline
  error("the line was never taken; the screen shows:\n" .. self:text(), 2)
end

--- Waits for the end of the command. Gives its status, for a signal 128 and its number as in a shell.
function methods:wait_end(seconds)
  local deadline = core.now() + (seconds or LIMIT)
  repeat
    local status = number_in(self, "status")
    if status then return status end
    core.sleep(LOOK_EVERY)
  until core.now() > deadline
  error("the command did not end; the screen shows:\n" .. self:text(), 2)
end

--- Gives the screen another size.
function methods:resize(columns, rows)
  tmux(self, "resize-window", "-x", tostring(columns), "-y", tostring(rows))
end

--- Ends the server and what runs in it. Called by `local s <close>`.
function methods:close()
  os.remove(self.folder .. "/alive") -- what follows cannot be done in a task that was cancelled: then the shell does it
  if not pcall(tmux, self, "kill-server") then return end
  for _, name in ipairs { "tmux", "pid", "status" } do os.remove(self.folder .. "/" .. name) end
  lfs.rmdir(self.folder)
end
methods.__close = methods.close

return screen
