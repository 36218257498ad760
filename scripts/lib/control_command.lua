-- perigee.control_command: what commands have in common, those that speak to a running daemon most of all.  -- internal

local control = require "perigee.control"
local errors = require "perigee.error"
local json = require "perigee.json"
local state = require "perigee.state"
local term = require "perigee.core.term"

local command = {}

command.NO_DAEMON = 3 -- exit code

--- Raises what is wrong with the command line: exit code 2.
function command.usage(message, ...)
  error(errors.new { kind = "invalid", code = "usage", message = message:format(...) }, 0)
end

--- Prints a line in which names and words of others may stand.
function command.say(text)
  print(term.escape(text))
end

--- Prints one JSON document: the fields, and the schema version.
function command.print_json(fields)
  fields.schema_version = control.SCHEMA_VERSION
  print(json.encode(fields))
end

--- A line on standard error, unless the command is to be quiet.
function command.notice(text)
  if not term.is_quiet() then term.write("err", text .. "\n", true) end
end

--- A client of the daemon and the directory; no client after it was said that none runs.
function command.daemon(options)
  local directory = state.directory()
  local client = control.reach(directory)
  if client then return client, directory end
  if options.json then command.print_json { running = false, directory = directory } end
  term.write("err", ("perigee: no daemon runs on %s\n"):format(directory), true)
  return nil, directory
end

--- Calls one verb of the daemon. say(result): what a person is told. Returns the exit code.
function command.run(host, verb, args, say)
  local client = command.daemon(host.options)
  if not client then return command.NO_DAEMON end
  local result = client:call(verb, args)
  if host.options.json then
    command.print_json { result = result == nil and json.null or result }
  else
    command.say(say(result))
  end
  return 0
end

--- Who asks, as the journal keeps it.
function command.who()
  local name = os.getenv "SUDO_USER" or os.getenv "USER" or os.getenv "LOGNAME"
  return name and name ~= "" and name or "somebody at the control socket"
end

return command
