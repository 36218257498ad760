-- perigee.command_status: `perigee status`: what the daemon does, has, and complains of.  -- internal

local command = require "perigee.control_command"
local status = require "perigee.status"
local term = require "perigee.core.term"

local command_status = {}

--- Prints the screen or the document; exit code 0, or 3 without a daemon.
function command_status.start(host)
  local client = command.daemon(host.options)
  if not client then return command.NO_DAEMON end
  local document = client:call "status"
  if host.options.json then
    command.print_json(document)
  else
    term.write("out", status.render(document))
  end
  return 0
end

return command_status
