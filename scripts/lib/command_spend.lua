-- perigee.command_spend: `perigee spend`: what was spent, is held, is unknown; what the budgets leave.  -- internal
-- Only reads the journal, so it works beside a daemon and beside runs.

local command = require "perigee.control_command"
local fs = require "perigee.fs"
local report = require "perigee.spend_report"
local state = require "perigee.state"
local term = require "perigee.core.term"

local command_spend = {}

--- Prints the tables or the document; returns the exit code.
function command_spend.start(host)
  local options = host.options
  local asked = {
    by = options.by,
    since = report.moment("since", options.since),
    ["until"] = report.moment("until", options["until"]),
  }
  local directory = state.directory()
  if directory == ":memory:" or not fs.exists(directory .. "/journal.db") then
    if options.json then
      command.print_json { journal = false, directory = directory }
    else
      command.notice(("perigee: there is no journal in %s yet: nothing was paid with this state directory"):format(directory))
    end
    return 0
  end
  local data = report.collect(asked)
  if options.json then
    data.journal, data.directory = true, directory
    command.print_json(data)
  else
    term.write("out", report.render(data))
  end
  return 0
end

return command_spend
