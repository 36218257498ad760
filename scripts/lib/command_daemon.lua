-- perigee.command_daemon: `perigee daemon`.  -- internal

local command_daemon = {}

--- Exit code 0 after SIGTERM or SIGINT; 3 for a wrong configuration, a bad policy, or a state directory that another
--- daemon has.
function command_daemon.start(host)
  return require("perigee.daemon").run(host)
end

return command_daemon
