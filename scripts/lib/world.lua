-- world.lua - which services, money and jobs a set of these modules works on: the real ones, or an emulator's.  -- internal
--
-- A session can have a second set of modules beside the first (perigee.repl_world), so that it rehearses without touching
-- anything real.  What a line has kept of one set must not be used while the session works on the other: here is where
-- that is noticed.  A line and all it starts stay where the session was when the line began.

local errors = require "perigee.error"
local task = require "perigee.core.task"

local world = {
  id = nil, -- of this set of modules; nil: the real ones
  base = nil, -- the one address that clients of this set speak to
}

--- Raises `invalid` if the calling line works on other services than this set of modules.  what: "this client".
function world.check(what)
  local locals = task.locals()
  if not locals or locals["perigee.session"] == nil or locals["perigee.world"] == world.id then return end
  local message = world.id and "%s is the emulator's, and this line works on the real services"
    or "%s is of the real services, and this line works on the emulator"
  error(errors.new {
    kind = "invalid", code = "other_services", outcome = "none", retryable = false, message = message:format(what),
    hint = world.id and "Use `deai`, `sxwl`, `jobs` as they are at the prompt now, or :emulator on."
      or "Use `deai`, `sxwl`, `jobs` as they are at the prompt now, or go back with :emulator off.",
  }, 0)
end

--- Raises `invalid` for an address that is not the emulator's, where there is one.
function world.check_address(url)
  if world.base == nil or url:sub(1, #world.base) == world.base then return end
  errors.invalid(("a client of %s cannot be made while the session is on the emulator: go back with :emulator off"):format(url))
end

return world
