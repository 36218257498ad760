-- perigee.command_pause: `perigee pause POLICY`.  -- internal

local command = require "perigee.control_command"

local command_pause = {}

--- Raises `invalid` with the nearest name if there is no such policy.
function command_pause.start(host)
  local name = host.options.args[1]
  return command.run(host, "policy.pause", { policy = name, who = command.who() }, function()
    return ("%s is paused: its hooks and schedules rest, its jobs go on; perigee resume %s"):format(name, name)
  end)
end

return command_pause
