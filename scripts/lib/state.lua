-- perigee.state: where the state directory is; opens and makes nothing.  -- internal

local config = require "perigee.config"
local errors = require "perigee.error"

local state = {}

--- The directory of --state, PERIGEE_STATE or the configuration file, else the user's own; ":memory:" if so named.
function state.directory()
  local named = config.option "state"
  if named then return named ~= "/" and named:gsub("/+$", "") or named end
  local base = os.getenv "XDG_STATE_HOME"
  if base and base:sub(1, 1) == "/" then return base .. "/perigee" end
  local home = os.getenv "HOME"
  if not home or home == "" then
    error(errors.new { kind = "invalid", code = "config",
      message = "there is no home directory to keep the state in: name a state directory with --state" }, 0)
  end
  return home .. "/.local/state/perigee"
end

return state
