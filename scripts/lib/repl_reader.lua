-- perigee.repl_reader: where the inputs of a prompt come from: the line editor, or a dumb terminal (perigee.repl_plain).  -- internal
--
-- Both have read{prompt=} -> text, or nil and "eof" or "interrupt"; ask{prompt=} -> text or nil; interrupt(); close().

local core = require "perigee.core.task"
local errors = require "perigee.error"

local reader = {}

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

-- The line editor, or nil where this terminal has none.
local function open_editor(first_prompt)
  local ok, editor = pcall(require("perigee.core.editor").open, { first_prompt = first_prompt })
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

--- The best there is for this terminal. read_input: host.read_input; first_prompt: what the first read begins with, if it
--- may be shown before the editor is ready.
function reader.open(read_input, first_prompt)
  return open_editor(first_prompt) or require("perigee.repl_plain").open(read_input)
end

return reader
