-- watched_process.lua - a daemon as a child, and what it takes of the machine: from /proc.
local control = require "perigee.control"
local proc = require "perigee.core.proc"
local task = require "perigee.task"

local watched = {}
local methods = {}
methods.__index = methods

local TICKS <const> = 100 -- of the processor's time in a second, on every Linux that we know

local function environment(changes)
  local list = {}
  for name, value in pairs(proc.environ()) do
    if changes[name] == nil and not name:find "^PERIGEE_" then list[#list + 1] = name .. "=" .. value end
  end
  for name, value in pairs(changes) do list[#list + 1] = name .. "=" .. value end
  return list
end

--- Starts a daemon (the program PERIGEE names) on a state directory and waits until it is ready; env: variables.
function watched.start(state, env, limit)
  local began = task.now()
  local child = proc.spawn {
    args = { assert(os.getenv "PERIGEE", "PERIGEE names the program"), "daemon", "--state", state, "--log-format", "json",
      "--log-level", "info" },
    env = environment(env or {}), timeout = limit or 3600,
  }
  if not child:read_until('"event":"daemon.ready"', 60) then error("the daemon did not start: " .. select(2, child:output()), 0) end
  local self = setmetatable({ child = child, started_in = task.now() - began }, methods)
  self.pid = assert(control.reach(state), "no daemon answers"):call("status", {}).pid
  return self
end

local function read(pid, name)
  local file <close> = assert(io.open(("/proc/%d/%s"):format(pid, name)))
  return file:read "a"
end

--- Seconds of a processor that it has used.
function methods:processor()
  local fields = {}
  for word in read(self.pid, "stat"):gsub("^.*%) ", ""):gmatch "%S+" do fields[#fields + 1] = word end
  return (tonumber(fields[12]) + tonumber(fields[13])) / TICKS
end

--- Bytes in memory, and of these its own: without files, and what it shares.
function methods:memory()
  local text = read(self.pid, "status")
  return tonumber(text:match "VmRSS:%s*(%d+)") * 1024, tonumber(text:match "RssAnon:%s*(%d+)") * 1024
end

--- Ends it at once.
function methods:kill()
  self.child:kill "KILL"
  self.child:wait()
end

return watched
