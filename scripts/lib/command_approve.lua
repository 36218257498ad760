-- perigee.command_approve: `perigee approve JOB`: a held job may go, now or with the next daemon.  -- internal

local answer = require "perigee.approval"

local command_approve = {}

function command_approve.start(host)
  return answer.give(host, "approve")
end

return command_approve
