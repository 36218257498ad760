-- perigee.daemon_journal: the journal at the start of a daemon: what passes is waited for, what does not is refused.  -- internal
--
-- A daemon that cannot read its jobs has nothing to watch. A full disk or a lock passes, and a restart every few seconds
-- helps nobody: it waits a minute, saying why, before it gives up (exit code 1, after which a service manager starts it
-- again). A file that is damaged, of a later version or not its user's alone is for a person (exit code 3).

local clock = require "perigee.core.task"
local errors = require "perigee.error"
local log = require "perigee.log"
local systemd = require "perigee.systemd"
local task = require "perigee.task"

local daemon_journal = {}

local PATIENCE <const>, AGAIN <const> = 60, 2 -- seconds
local FOR_A_PERSON <const> = { journal_corrupt = true, journal_newer = true, journal_open = true }
local PASSES <const> = { journal_full = true, journal_readonly = true, journal_locked = true, journal_io = true }

--- Opens it by a first write; raises why it cannot be used. call(verb, args): the journal's.
function daemon_journal.open(call)
  local deadline, told = clock.now() + PATIENCE, nil
  while true do
    local ok, err = pcall(call, "store.set", { space = "perigee.daemon", name = "started", value = tostring(os.time()) })
    if ok then return end
    if errors.is(err) and FOR_A_PERSON[err.code] then
      err.hint, err.code = "Mend it first: a start before that ends here again.", "config"
    end
    if not (errors.is(err) and PASSES[err.code]) or clock.now() >= deadline then error(err, 0) end
    if told ~= err.code then
      log.warn("daemon.waits", { why = err.message, seconds = PATIENCE })
      systemd.status("waits for the journal: " .. err.message)
      told = err.code
    end
    task.sleep(AGAIN)
  end
end

return daemon_journal
