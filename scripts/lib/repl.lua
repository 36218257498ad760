-- perigee.repl: the loop of a prompt: reads an input, runs it, shows what came of it.  -- internal
--
-- Works on a backend, which runs the inputs: perigee.repl_local (a session in this VM) or perigee.console_client (in a
-- daemon). A backend has: prompt() incomplete(text) run(text, running) complete(text, point) leaving() -> a text that
-- says what goes on, or nil; is_leaving() stay() set_reader(reader) background_error() finish() load_ahead().

local core = require "perigee.core.task"
local errors = require "perigee.error"
local term = require "perigee.core.term"

local repl = {}

-- ---- without a terminal ------------------------------------------------------------------------------------

local function show(outcome)
  if outcome.text == "" then return end
  term.write(outcome.ok and "out" or "err", outcome.text)
end

local function code_of(err)
  return errors.is(err) and require("perigee.report").exit_code(err) or 1
end

--- Runs statements one after another as they become complete, up to the first error. -> exit code
function repl.pipe(backend, read_input)
  local lines = require("perigee.repl_plain").lines(read_input)
  local text
  local is_first = true
  for line in function() return lines:next() end do
    if is_first then line = line:gsub("^#!.*", "") end -- the file may be a program
    is_first = false
    text = text and text .. "\n" .. line or line
    if not backend:incomplete(text) then
      local outcome = backend:run(text)
      show(outcome)
      if not outcome.ok then return code_of(outcome.error) end
      if backend:background_error() then return code_of(backend:background_error()) end
      if backend:is_leaving() then return 0 end
      text = nil
    end
  end
  if text then
    term.write("err", ("perigee: the input ends in the middle of a statement: %s\n"):format(text:match "[^\n]*"), true)
    return 1
  end
  backend:finish()
  return backend:background_error() and code_of(backend:background_error()) or 0
end

-- ---- at a terminal -----------------------------------------------------------------------------------------

local CONTINUED <const> = ".. "

local function painted(text)
  if not term.has_color "out" then return text end
  return "\27[1m" .. text .. "\27[0m"
end

-- Below the prompt's last column, so that the text of all lines begins in one.
local function continued(prompt)
  return (" "):rep(math.max(term.width(prompt) - #CONTINUED, 0)) .. CONTINUED
end

--- One whole input: text, or nil and why ("eof", "interrupt").
local function read_input(loop)
  local prompt = loop.backend:prompt()
  loop.text = ""
  local text, why = loop.reader:read { prompt = painted(prompt) }
  while text and loop.backend:incomplete(text) do
    loop.text = text .. "\n"
    local more
    more, why = loop.reader:read { prompt = painted(continued(prompt)) }
    text = more and text .. "\n" .. more
    if why == "eof" then why = "interrupt" end -- Ctrl-D inside a block leaves the block
  end
  loop.text = ""
  return text, why
end

local function run_input(loop, text)
  if loop.reader.add_history and text:find "%S" then loop.reader:add_history(text) end
  local outcome = loop.backend:run(text, function(running) loop.running = running end)
  if loop.reader.settle_history then loop.reader:settle_history() end
  -- After an io.write, say. Without an editor the prompt itself is such a line, and nobody knows of the return key.
  if outcome.text ~= "" and loop.reader.editor and not term.at_line_start() then term.write("out", "\n") end
  show(outcome)
  -- Such an end comes before the event of its Ctrl-C, which then is not meant for the prompt.
  loop.spent = errors.is(outcome.error, "cancelled") and outcome.error.code == "interrupted"
end

--- Asks when something goes on; true if the prompt is to be left. Ctrl-D once more means yes.
local function may_leave(loop)
  local goes_on = loop.backend:leaving()
  if not goes_on then return true end
  term.write("out", goes_on)
  local answer, why = loop.reader:read { prompt = "Leave all the same? [y/N] " }
  return why == "eof" or answer ~= nil and answer:find "^%s*[yY]" ~= nil
end

local function serve(loop)
  while true do
    local text, why = read_input(loop)
    if text then
      run_input(loop, text)
      if loop.backend:is_leaving() and may_leave(loop) then return end
      loop.backend:stay()
    elseif why == "eof" and may_leave(loop) then
      return
    end
  end
end

--- Each SIGINT: stops what runs, else clears the line. For a task of its own.
local function watch_interrupts(loop, next_interrupt)
  while true do
    next_interrupt()
    if loop.spent then
      loop.spent = false
    else
      if loop.running then loop.running:cancel "interrupted" end
      if loop.reader then loop.reader:interrupt() end -- also while something runs: what was typed ahead is dropped
    end
  end
end

local function watch_completions(loop)
  loop.reader:serve_completions(function(text, point) return loop.backend:complete(text, point) end,
    function() return loop.text end)
end

-- What the first input needs, while nobody has typed it.
local function load_ahead(loop)
  loop.reader:load_history()
  loop.backend:load_ahead()
end

--- options: host (read_input, next_interrupt), at_once (nothing is on the screen that the prompt must wait for),
--- history (function() -> a perigee.repl_history), banner. Returns when the prompt is left.
function repl.prompt(backend, options)
  local loop = { backend = backend, text = "" }
  local scope <close> = setmetatable({}, { -- luacheck: ignore 211
    __close = function()
      for _, one in ipairs(loop) do one:cancel "the prompt is left" end
      if loop.reader then loop.reader:close() end
    end,
  })
  loop[1] = core.detach(watch_interrupts, loop, options.host.next_interrupt)
  core.sleep(0) -- from its first wait on Ctrl-C is the prompt's
  if options.banner then term.write("out", options.banner) end
  local reader = require("perigee.repl_reader").open(options.host.read_input, options.at_once and painted(backend:prompt()) or nil)
  loop.reader = reader
  backend:set_reader(reader)
  if reader.serve_completions then
    loop[2] = core.detach(watch_completions, loop)
    reader:use_history(options.history)
    loop[3] = core.detach(load_ahead, loop) -- runs when the prompt is there
  end
  serve(loop)
end

return repl
