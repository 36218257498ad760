-- perigee.command_log_level: `perigee log-level LEVEL`: what a running daemon logs from now on.  -- internal

local command = require "perigee.control_command"

local command_log_level = {}

local LEVELS <const> = { "debug", "info", "warn", "error", "off" }

local function check(level)
  for _, known in ipairs(LEVELS) do
    if level == known then return end
  end
  command.usage("log-level: %q is no level; %s is", level, table.concat(LEVELS, ", "))
end

--- Holds until the daemon ends: the next one starts with its own --log-level.
function command_log_level.start(host)
  local level = host.options.args[1]
  check(level)
  return command.run(host, "log.level", { level = level }, function() return "the log level is now " .. level end)
end

return command_log_level
