-- perigee.approval: the answer to a job that waits for one: told to the daemon, or left in the journal.  -- internal
--
-- Without a daemon the answer is a request in the journal (job.ask), which whoever owns the job next acts on:
-- {"verb":"approve"|"deny","who":…,"why":…}.

local command = require "perigee.control_command"
local control = require "perigee.control"
local errors = require "perigee.error"
local json = require "perigee.json"
local state = require "perigee.state"

local approval = {}

local WORDS <const> = {
  approve = { now = "is approved: it is submitted as soon as its budget allows", kept = "is approved" },
  deny = { now = "is denied: nothing of it is submitted", kept = "is denied" },
}

local function invalid(code, ...)
  error(errors.new { kind = "invalid", code = code, message = string.format(...) }, 0)
end

local function through_journal(verb, args)
  local call = require("perigee.core.journal").call
  local job = call("job.get", { id = args.id })[1]
  if not job then invalid("not_found", "there is no job %s in %s", args.id, state.directory()) end
  if job.state ~= "held" then
    invalid("order", "job %s is %s: only a held job waits for an answer", job.id, job.state)
  end
  call("job.ask", { id = job.id, request = json.encode { verb = verb, who = args.who, why = args.why } })
  return { id = job.id, name = job.name, durable = true }
end

--- Gives the answer `verb` (approve, deny) to the job named by the first word. Returns the exit code.
function approval.give(host, verb, why)
  local args = { id = host.options.args[1], who = command.who(), why = why }
  local client = control.reach(state.directory())
  local result
  if client then
    result = client:call("jobs." .. verb, args)
  else
    result = require("perigee.command_jobs").with_journal(function() return through_journal(verb, args) end)
  end
  if host.options.json then
    command.print_json { result = result == nil and json.null or result }
    return 0
  end
  local id = type(result) == "table" and result.id or args.id
  if client then
    command.say(("job %s %s"):format(id, WORDS[verb].now))
  else
    command.say(("job %s %s; no daemon runs, so the next one acts on it"):format(id, WORDS[verb].kept))
  end
  return 0
end

return approval
