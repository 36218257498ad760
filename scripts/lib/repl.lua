-- perigee.repl: the prompt: reads a line, runs it, shows what came of it.  -- internal

local repl_session = require "perigee.repl_session"
local task = require "perigee.core.task"
local term = require "perigee.core.term"

local repl = {}

--- Runs one input as a task of its own, which may leave tasks behind. -> outcome, or nil and the error
local function run_input(session, text)
  local done = require("perigee.task").queue(1)
  task.detach(function()
    local ok, outcome = pcall(session.eval, session, text)
    done:put { ok = ok, outcome = outcome }
  end)
  local _, result = done:get()
  if result.ok then return result.outcome end
  return nil, result.outcome
end

--- Statements one after another as they become complete; the first error ends it. -> exit code
local function run_piped(session)
  local text
  for line in io.stdin:lines() do
    text = text and text .. "\n" .. line or line
    if not session:incomplete(text) then
      local outcome, err = run_input(session, text)
      text = nil
      if not outcome then error(err, 0) end
      term.write(outcome.ok and "out" or "err", outcome.text)
      if not outcome.ok then return require("perigee.report").exit_code(outcome.error) end
    end
  end
  if text then
    term.write("err", "perigee: the input ends in the middle of a statement: " .. term.escape(text:match "[^\n]*") .. "\n")
    return 1
  end
  return 0
end

--- The command. -> exit code
function repl.start(_)
  local session = repl_session.new {
    names = require("perigee.repl_names").new(),
    columns = term.columns,
    color = term.has_color "out",
  }
  return run_piped(session)
end

return repl
