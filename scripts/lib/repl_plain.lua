-- perigee.repl_plain: inputs from where there is no line editor: a pipe, a file, a dumb terminal.  -- internal
-- Reading waits without holding up tasks.

local core = require "perigee.core.task"
local errors = require "perigee.error"
local term = require "perigee.core.term"

local plain = {}

-- ---- lines of standard input -----------------------------------------------------------------------------

local Lines = {}
Lines.__index = Lines

--- read(): pieces of text, nil at their end. -> an object whose next() gives lines without their ends, nil after the last.
function plain.lines(read)
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

--- A reader that prints its prompt and reads on. read_input: host.read_input.
function plain.open(read_input)
  return setmetatable({ lines = plain.lines(read_input), asking = 0 }, Plain)
end

return plain
