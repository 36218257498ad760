-- perigee.daemon_lock: one daemon for each state directory.  -- internal
-- The lock is the system's (flock) and goes with the process that has it, however that ends. Beside it lies a note of
-- who has it, which is only believed while somebody does.

local errors = require "perigee.error"
local file_lock = require "perigee.core.lock"
local fs = require "perigee.fs"
local json = require "perigee.json"
local time = require "perigee.time"

local daemon_lock = {}

local function first_line(path)
  local file = io.open(path)
  local line = file and file:read "l"
  if file then file:close() end
  return line
end

--- The process this is: { pid=, host=, since= }.
function daemon_lock.myself()
  return {
    pid = math.tointeger(tonumber((first_line "/proc/self/stat" or ""):match "^%d+")),
    host = first_line "/proc/sys/kernel/hostname",
    since = math.floor(time.now()),
  }
end

local function holder_text(directory)
  local ok, text = pcall(fs.read, directory .. "/daemon.holder")
  local read, holder = pcall(json.decode, ok and text or "")
  if not read or type(holder) ~= "table" then return "another daemon" end
  return ("the daemon with process %s on %s, since %s"):format(
    tostring(holder.pid), tostring(holder.host), time.format(holder.since))
end

--- Takes the lock of the state directory, which is made if it is not there; a value for a <close> variable. Raises, naming
--- the holder, if another daemon has it.
function daemon_lock.take(directory)
  local made, problem = pcall(fs.mkdir, directory, { mode = "0700" })
  if not made then
    if errors.is(problem, "unavailable") then
      problem.message, problem.code = "the state directory: " .. problem.message, "config"
    end
    error(problem, 0)
  end
  local path = directory .. "/daemon.lock"
  fs.append(path, "", { mode = "0600" }) -- who can open it can hold it
  local ok, lock = pcall(file_lock.take, path)
  if not ok then
    if not errors.is(lock, "unavailable") or lock.code ~= "locked" then error(lock, 0) end
    error(errors.new {
      kind = "unavailable",
      code = "config",
      message = ("%s belongs to %s; one daemon works for each state directory: end that one, or name another with --state")
        :format(directory, holder_text(directory)),
    }, 0)
  end
  fs.write(directory .. "/daemon.holder", json.encode(daemon_lock.myself()), { mode = "0600" })
  return lock
end

return daemon_lock
