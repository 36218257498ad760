-- perigee.command_reload: `perigee reload`: the policies are read again, all of them or none.  -- internal

local command = require "perigee.control_command"

local command_reload = {}

local function say(result)
  local policies = type(result) == "table" and result.policies
  if type(policies) ~= "table" then return "the policies were read again" end
  return ("the policies were read again: %s"):format(#policies > 0 and table.concat(policies, ", ") or "none")
end

--- Raises what the daemon says if a file is bad: the old policies then go on.
function command_reload.start(host)
  return command.run(host, "reload", {}, say)
end

return command_reload
