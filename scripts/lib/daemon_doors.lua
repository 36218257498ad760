-- perigee.daemon_doors: where the daemon is reached and what it reaches people by.  -- internal
-- Control socket, callbacks, admin server, messages, the service manager's watchdog: opened after the policies are
-- loaded, closed last. Each is a module of its own that knows nothing of the daemon; here they are given what they need.

local errors = require "perigee.error"
local journal = require "perigee.core.journal"
local notify = require "perigee.notify"
local supervisor = require "perigee.supervisor"
local systemd = require "perigee.systemd"
local task = require "perigee.task"

local doors = {}

local servers = {} -- in the order in which they were opened
local addresses = {} -- what is open, by name: control, callbacks, admin
local receiver -- of callbacks; nil without --listen
local consoles -- perigee.console; nil without a control socket

--- The callback URL of an attempt, or nil without a public address.
function doors.url_for(job_id, attempt)
  return receiver and receiver:url_for(job_id, attempt)
end

--- Where the daemon is reached: { control = path, callbacks = url, admin = url }, as far as it is.
function doors.addresses()
  return addresses
end

--- The receiver of callbacks, or nil without --listen.
function doors.receiver()
  return receiver
end

local function open_control(settings, daemon)
  if settings.directory == ":memory:" then return end
  local control = require "perigee.control"
  addresses.control = settings.directory .. "/" .. control.SOCKET
  consoles = require "perigee.console"
  consoles.start {
    directory = settings.directory,
    surroundings = daemon.surroundings,
    verbs = function() return daemon.verbs end,
  }
  servers[#servers + 1] = control.serve { path = addresses.control, verbs = daemon.verbs, console = consoles }
  daemon.subscribe(consoles.event)
end

-- Events that say how a job has ended, which is what its callback announces.
local ENDS <const> = { ["job.succeeded"] = true, ["job.failed"] = true, ["job.stopped"] = true, ["job.retry"] = true }

local function open_callbacks(settings, daemon)
  if not settings.listen then return end
  receiver = require("perigee.callbacks").serve {
    listen = settings.listen,
    public_url = settings.public_url,
    directory = settings.directory,
    ring = function(job_id, hint)
      supervisor.ring(job_id, hint)
      daemon.emit("callback", { job_id = job_id, attempt = hint.attempt, claims = hint.status })
    end,
  }
  servers[#servers + 1] = receiver
  addresses.callbacks = receiver.url
  daemon.subscribe(function(event, data)
    if ENDS[event] and receiver then receiver:ended(data.job.id) end
  end)
end

local function open_admin(settings, daemon)
  if not settings.admin_listen then return end
  local server = require("perigee.admin").serve { listen = settings.admin_listen, data = daemon.health, state = daemon.state }
  servers[#servers + 1] = server
  addresses.admin = server.url
end

-- Any answer of the journal will do, an error as well.
local function ping()
  journal.call("store.get", { space = "perigee.daemon", name = "ping" })
end

-- An address that cannot be had is told with the option that named it.
local function opened(option, f, ...)
  local ok, err = pcall(f, ...)
  if ok then return end
  if errors.is(err) then
    err.message = ("%s: %s"):format(option, err.message)
    err.hint = "Name another address, or end the program that listens there."
  end
  error(err, 0)
end

--- Opens what settings ask for (perigee.daemon_settings); daemon: perigee.daemon.
function doors.open(settings, daemon)
  open_control(settings, daemon)
  opened("listen", open_callbacks, settings, daemon)
  opened("admin-listen", open_admin, settings, daemon)
  notify.start { policies = daemon.notify_of }
  daemon.subscribe(notify.event)
  task.detach(systemd.feed, ping)
end

--- Sends the messages that wait.
function doors.flush()
  notify.flush()
end

--- The VMs of consoles, for the status: { {name=, memory=, peak=}, … }.
function doors.console_vms()
  return consoles and consoles.status() or {}
end

--- Ends the consoles; no others begin.
function doors.stop_consoles()
  if consoles then consoles.stop() end
end

--- Closes what was opened.
function doors.close()
  for i = #servers, 1, -1 do
    pcall(servers[i].close, servers[i])
    servers[i] = nil
  end
  receiver, addresses = nil, {}
end

return doors
