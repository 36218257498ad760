-- perigee.command_deny: `perigee deny JOB [WHY…]`: a held job is not to be submitted.  -- internal

local answer = require "perigee.approval"

local command_deny = {}

function command_deny.start(host)
  local words = host.options.args
  local why = table.concat(words, " ", 2)
  return answer.give(host, "deny", why ~= "" and why or nil)
end

return command_deny
