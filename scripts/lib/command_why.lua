-- perigee.command_why: `perigee why JOB`: what was decided about a job, and why.  -- internal

local command = require "perigee.control_command"
local face = require "perigee.command_jobs"
local term = require "perigee.core.term"
local why = require "perigee.why"

local command_why = {}

--- Prints the story, or the document; 4: there is no such job.
function command_why.start(host)
  return face.with_journal(function()
    local whole = why.gather(face.job_of(host.options))
    if host.options.json then
      command.print_json(whole)
    else
      term.write("out", why.text(whole))
    end
    return 0
  end)
end

return command_why
