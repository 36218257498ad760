-- editor_shell.lua - a program for the specs of the line editor: reads lines and says what it got.
--
-- A line that begins with "=" is Lua, run before the next line is read; one with "!" is Lua run beside it. Tab
-- completes from `words`, or calls `on_tab()` where that is set. Ctrl-D ends it.
local editor = require "perigee.core.editor"
local fs = require "perigee.fs"
local proc = require "perigee.core.proc"
local task = require "perigee.task"

-- Sends itself signals, from outside, one after the other, and waits for what they do.
local function kill(...)
  local script = "for signal in " .. table.concat({ ... }, " ") .. "; do kill -$signal $PPID; sleep 0.5; done"
  local child <close> = proc.spawn { args = { "sh", "-c", script }, timeout = 30 } -- luacheck: ignore
  for _ = 2, select("#", ...) do pcall(task.sleep, 5) end
  task.sleep(5)
end

-- Waits until the spec has made that file: it has seen on the screen what it waited for.
local function told(path)
  while not fs.stat(path) do task.sleep(0.02) end
end

local ed <close> = editor.open()
local world = setmetatable({ ed = ed, task = task, kill = kill, told = told, prompt = "> ", words = {} }, { __index = _G })

local function answer(request)
  if world.on_tab then return world.on_tab() end
  local from = #request.text:sub(1, request.point):match "^(.-)[%w_é]*$"
  local typed, candidates = request.text:sub(from + 1, request.point), {}
  for _, word in ipairs(world.words) do
    if word:sub(1, #typed) == typed then candidates[#candidates + 1] = { text = word } end
  end
  if world.pause then task.sleep(world.pause) end
  if world.slow then
    print("asked about " .. request.text)
    task.sleep(world.slow)
  end
  ed:complete(request.number, { from = from, candidates = candidates })
  if world.slow then print "answered" end
end

task.detach(function()
  while true do
    local request = ed:next_completion()
    task.detach(function() answer(request) end)
  end
end)

while true do
  local text, why = ed:read { prompt = world.prompt, initial = world.initial, hidden = world.hidden }
  world.initial, world.hidden = nil, nil
  local mark, code = (text or ""):match "^([=!])(.*)$"
  if why == "eof" then break end
  if not text then
    print("no line:", why)
  elseif mark == "!" then
    task.detach(assert(load(code, "=beside", "t", world)))
  elseif mark == "=" then
    assert(load(code, "=first", "t", world))()
  else
    print(("got %q"):format(text))
    if text ~= "" then ed:add_history(text) end
  end
end
print "the end"
