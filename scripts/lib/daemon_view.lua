-- perigee.daemon_view: what the daemon is and does, as documents for people and machines.  -- internal
-- Reads only: the policies and schedules it is given, the supervisor, the journal. perigee.status and perigee.metrics
-- make screens and figures of it.

local budgets = require "perigee.budgets"
local daemon_lock = require "perigee.daemon_lock"
local journal = require "perigee.core.journal"
local json = require "perigee.json"
local supervisor = require "perigee.supervisor"
local task = require "perigee.task"
local time = require "perigee.time"

local view = {}

local NEXT_RUNS <const> = 5 -- of a schedule that are shown

--- One row for each policy (perigee.daemon_policies, or nil before they are loaded) with its schedules.
function view.policies(policies, schedules)
  local by_policy = {}
  for _, row in ipairs(schedules and schedules:status(NEXT_RUNS) or {}) do
    by_policy[row.policy] = by_policy[row.policy] or {}
    table.insert(by_policy[row.policy], row)
  end
  local rows = policies and policies:status() or {}
  for _, row in ipairs(rows) do
    row.schedules = json.array()
    for i, schedule in ipairs(by_policy[row.name] or {}) do
      row.schedules[i] = { name = schedule.name, next = schedule.next[1], runs = schedule.next, when = schedule.when,
        running = schedule.running, waiting = schedule.waiting, stale = schedule.stale, done_at = schedule.done_at }
      if schedule.stale and row.state == "active" then
        row.state, row.why = "stale", schedule.name .. " misses its schedule"
      end
    end
  end
  return rows
end

-- Figures are shown without what cannot be read: the journal's state says why.
local function rows_of(f, ...)
  return task.try(f, ...) or {}
end

local function money_lines()
  local lines = {}
  for _, one in ipairs(budgets.all()) do
    for _, line in ipairs(one.budget:lines()) do
      lines[#lines + 1] = {
        budget = one.name,
        window = line.window,
        zone = line.zone,
        currency = line.spent:currency(),
        limit = line.limit and tostring(line.limit),
        held = tostring(line.held),
        unknown = tostring(line.unknown),
        spent = tostring(line.spent),
      }
    end
  end
  return lines
end

--- One row for each service that refuses the login or cannot be reached; figures: the supervisor's.
function view.services(figures)
  local rows, refused, told = {}, figures.refused or {}, figures.told or {}
  for name in pairs(refused) do
    rows[#rows + 1] = { service = name, ok = false, why = "the login is refused" }
  end
  for name, seconds in pairs(figures.unreachable or {}) do
    if not refused[name] then
      -- A reading that failed is no news; one service that is gone for long is.
      rows[#rows + 1] = { service = name, ok = not told[name], since = time.now() - seconds,
        why = "cannot be reached for " .. time.words(math.floor(seconds)) }
    end
  end
  table.sort(rows, function(a, b) return a.service < b.service end)
  return rows
end

--- Everything at once. source: policies, schedules, draining, problems, started_at, directory, addresses,
--- receiver, consoles. May wait.
function view.health(source)
  local figures = supervisor.figures() or {}
  local rows = view.policies(source.policies, source.schedules)
  local vms = {}
  for i, row in ipairs(rows) do vms[i] = { name = row.name, memory = row.memory, peak = row.peak } end
  for _, vm in ipairs(source.consoles) do vms[#vms + 1] = vm end
  return {
    version = require("perigee.core.metrics").build().version,
    directory = source.directory,
    addresses = source.addresses,
    pid = daemon_lock.myself().pid,
    started_at = source.started_at,
    draining = source.draining,
    jobs = rows_of(journal.call, "job.counts", {}),
    policies = rows,
    lines = rows_of(money_lines),
    spend = rows_of(journal.call, "spend.report", { by = "policy" }),
    journal = journal.status(),
    supervisor = figures,
    services = view.services(figures),
    callbacks = source.receiver,
    vms = vms,
    problems = source.problems,
  }
end

local ACTIVE <const> = { planned = true, held = true, submitting = true, running = true, unknown = true }

--- How many jobs have not ended; those of a journal that cannot be read count as none.
function view.active()
  local count = 0
  for _, row in ipairs(rows_of(journal.call, "job.counts", {})) do
    if ACTIVE[row.state] then count = count + row.count end
  end
  return count
end

return view
