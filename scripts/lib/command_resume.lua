-- perigee.command_resume: `perigee resume POLICY`.  -- internal

local command = require "perigee.control_command"

local command_resume = {}

--- Raises `invalid` with the nearest name if there is no such policy.
function command_resume.start(host)
  local name = host.options.args[1]
  return command.run(host, "policy.resume", { policy = name, who = command.who() }, function()
    return ("%s is active again"):format(name)
  end)
end

return command_resume
