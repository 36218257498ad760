-- perigee.repl_reader: where the inputs of a prompt come from: the line editor, a dumb terminal, or a pipe.  -- internal
--
-- All have read{prompt=} -> text, or nil and "eof" or "interrupt"; ask{prompt=} -> text or nil; interrupt(); close().
-- Reading waits without holding up tasks.

local core = require "perigee.core.task"
local errors = require "perigee.error"
local term = require "perigee.core.term"

local reader = {}

-- ---- lines of standard input -----------------------------------------------------------------------------

local Lines = {}
Lines.__index = Lines

--- read(): pieces of text, nil at their end. -> an object whose next() gives lines without their ends, nil after the last.
function reader.lines(read)
  return setmetatable({ read = read, buffer = "", at = 1, ended = false }, Lines)
end

function Lines:next()
  while true do
    local last = self.buffer:find("\n", self.at, true)
    if last then
      local line = self.buffer:sub(self.at, last - 1)
      self.at = last + 1
      return (line:gsub("\r$", ""))
    end
    if self.ended then break end
    local piece = self.read()
    self.ended = piece == nil
    self.buffer, self.at = self.buffer:sub(self.at) .. (piece or ""), 1
  end
  local rest = self.buffer:sub(self.at)
  self.buffer, self.at = "", 1
  return rest ~= "" and rest or nil
end

-- ---- a terminal without an editor ------------------------------------------------------------------------

local Plain = {}
Plain.__index = Plain

-- One at a time: a line and a question never read at once.
local function next_line(self, prompt, is_question)
  local permit <close> = require("perigee.task").lock(self) -- luacheck: ignore 211
  term.write("out", prompt)
  local reading = core.spawn(Lines.next, self.lines)
  self.reading = { task = reading, is_question = is_question }
  local ok, line = pcall(reading.wait, reading)
  self.reading = nil
  self.lines.ended = false -- Ctrl-D at a terminal ends no more than this
  if ok and line == nil then term.write("out", "\n") end
  if ok then return line, "eof" end
  if not errors.is(line, "cancelled") or core.cancelled() then error(line, 0) end
  term.write("out", "\n")
  return nil, "interrupt"
end

function Plain:read(options)
  while true do
    local line, why = next_line(self, options.prompt, false)
    if line then return line end
    if why == "eof" or self.asking == 0 then return nil, why end
  end
end

--- A question comes before the line that is being read; that is asked for again afterwards.
function Plain:ask(options)
  self.asking = self.asking + 1
  if self.reading and not self.reading.is_question then self.reading.task:cancel "a question" end
  local ok, line = pcall(next_line, self, options.prompt, true)
  self.asking = self.asking - 1
  if not ok then error(line, 0) end
  return line
end

function Plain:interrupt()
  if self.reading then self.reading.task:cancel "interrupted" end
end

function Plain:close() end

--- read_input: host.read_input.
function reader.plain(read_input)
  return setmetatable({ lines = reader.lines(read_input), asking = 0 }, Plain)
end

-- ---- the line editor ---------------------------------------------------------------------------------------

local Editor = {}
Editor.__index = Editor

function Editor:read(options) return self.editor:read(options) end
function Editor:ask(options) return self.editor:ask(options) end
function Editor:interrupt() self.editor:interrupt() end
function Editor:clear() self.editor:clear() end

--- open(): a perigee.repl_history. It is called with the first use, by load_history at the latest.
function Editor:use_history(open) self.open_history = open end

function Editor:load_history()
  if self.history or not self.open_history then return end
  self.history = self.open_history()
  self.editor:set_history(self.history:list())
end

--- Keeps an input that is about to run, if it may be kept.
function Editor:add_history(text)
  self:load_history()
  if not self.history or self.history:add(text) then self.editor:add_history(text) end
end

--- When it has run: what turned out to hold a secret is forgotten.
function Editor:settle_history()
  if self.history and self.history:settle() then self.editor:set_history(self.history:list()) end
end

function Editor:close() self.editor:close() end

--- The line editor, or nil where this terminal has none.
function reader.editor()
  if not package.preload["perigee.core.editor"] then return nil end
  local ok, editor = pcall(require("perigee.core.editor").open, {})
  if ok then return setmetatable({ editor = editor }, Editor) end
  if errors.is(editor, "unavailable") and editor.code == "no_terminal" then return nil end
  error(editor, 0)
end

--- Answers Tab with complete(text, point), for as long as the task lives. before(): what stands in front of the line.
function Editor:serve_completions(complete, before)
  while true do
    local asked = self.editor:next_completion()
    local head = before()
    local ok, found = pcall(complete, head .. asked.text, #head + asked.point)
    if ok and found and found.from >= #head then
      self.editor:complete(asked.number, { from = found.from - #head, candidates = found.candidates })
    else
      if not ok and core.cancelled() then error(found, 0) end
      self.editor:complete(asked.number, { from = asked.point, candidates = {} })
    end
  end
end

return reader
