-- perigee.daemon: what `perigee daemon` does from its start to its end; the VM of the supervisor.  -- internal
-- Order of the start: lock, journal, policies, supervisor, schedules, doors (control, callbacks, admin), ready. Of the
-- end: no new work, sends in flight, hooks, messages, VMs, doors. What happens to jobs is perigee.supervisor's.

local budgets = require "perigee.budgets"
local config = require "perigee.config"
local core_task = require "perigee.core.task"
local daemon_book = require "perigee.daemon_book"
local daemon_doors = require "perigee.daemon_doors"
local daemon_journal = require "perigee.daemon_journal"
local daemon_lock = require "perigee.daemon_lock"
local daemon_policies = require "perigee.daemon_policies"
local daemon_schedules = require "perigee.daemon_schedules"
local daemon_settings = require "perigee.daemon_settings"
local daemon_upkeep = require "perigee.daemon_upkeep"
local errors = require "perigee.error"
local job_backend = require "perigee.job_backend"
local journal = require "perigee.core.journal"
local json = require "perigee.json"
local log = require "perigee.log"
local service = require "perigee.service"
local spend = require "perigee.core.spend"
local supervisor = require "perigee.supervisor"
local systemd = require "perigee.systemd"
local task = require "perigee.task"
local term = require "perigee.core.term"
local time = require "perigee.time"
local view = require "perigee.daemon_view"

local daemon = {}

local MOST_PROBLEMS <const> = 20
local RESTART <const> = 5 -- seconds until a task of the daemon's own that failed is started again
local FLUSH <const> = 5 -- seconds for messages at the end
local STOPPING <const> = 10 -- seconds for letting go of the jobs

-- What has to be known all over this file; one daemon for a process.
local host -- what host/run.c gives
local settings, book, policies, schedules
local started_at, working, draining = nil, false, false -- working: the supervisor has started
local problems, subscribers = {}, {}
local waits = {} -- tasks that wait for a job on behalf of somebody

local function wall()
  return math.floor(time.now() * 1000)
end

-- ---- events --------------------------------------------------------------------------------------------------

-- Events a person wants to see in `perigee status`, and what they say.
local WORTH_TELLING <const> = {
  ["daemon.crashed"] = "the daemon before this one did not end in order",
  ["policy.paused"] = "policy paused",
  ["policy.stale"] = "a schedule is not kept",
  ["job.unknown"] = "outcome of a create unknown",
  ["job.unreachable"] = "a job cannot be looked at",
  ["login.refused"] = "a login was refused",
  ["journal.unwritable"] = "the journal cannot be written",
  ["budget.low"] = "a budget is low",
  ["sweep.found"] = "paid work that nobody tracks",
}

local function keep_problem(event, data)
  local words = WORTH_TELLING[event]
  if not words then return end
  local about = data.policy or data.job and (data.job.name or data.job.id) or data.budget or data.service
  local text = words .. (about and ": " .. tostring(about) or "") .. (data.why and " (" .. tostring(data.why) .. ")" or "")
  table.insert(problems, 1, { at = math.floor(time.now()), text = text })
  problems[MOST_PROBLEMS + 1] = nil
end

--- Calls f(event, data) for every event from now on.
function daemon.subscribe(f)
  subscribers[#subscribers + 1] = f
end

--- Tells an event to policies, messages and everybody who has subscribed. Does not wait.
function daemon.emit(event, data)
  data = data or {}
  log.info("daemon.event", { what = event, job = data.job and data.job.id, about = data.policy })
  keep_problem(event, data)
  if policies then policies:tell(event, data) end
  for _, f in ipairs(subscribers) do
    task.detach(function()
      local ok, err = pcall(f, event, data)
      if not ok then log.error("daemon.subscriber_failed", { what = event, why = tostring(err) }) end
    end)
  end
end

--- The table `notify` of a policy, or nil.
function daemon.notify_of(name)
  return policies and policies:notify_of(name)
end

-- ---- policies and their schedules ------------------------------------------------------------------------------

local function refuse_new(name)
  local why = draining and "the daemon is ending and takes no new jobs"
    or not working and "no job is submitted while policies are loaded: do that in a hook or a schedule"
  if why and name == "jobs.submit" then
    error(errors.new { kind = "unavailable", code = draining and "draining" or "loading", message = why }, 0)
  end
end

-- Waits for jobs end when the daemon does: jobs take hours, and the next daemon sees them through.
local function waiting(f, args)
  local me = task.current()
  waits[me] = true
  local ended <close> = setmetatable({}, { __close = function() waits[me] = nil end }) -- luacheck: ignore 211
  local ok, result = pcall(f, args)
  if ok then return result end
  if draining and errors.is(result, "cancelled") then
    error(errors.new { kind = "unavailable", code = "draining", message = "the daemon is ending; the job goes on" }, 0)
  end
  error(result, 0)
end

-- The verbs of jobs, each with one table, for somebody: origin = { policy=, who= }.
local function job_verbs(origin)
  local verbs = {}
  for name, f in pairs(job_backend.handlers(supervisor.verbs, origin)) do
    verbs[name] = function(args)
      refuse_new(name)
      if name == "jobs.wait" then return waiting(f, args) end
      return f(args)
    end
  end
  return verbs
end

-- What a policy may do to jobs; approving what waits for a person is not among it.
local POLICY_VERBS <const> = { "submit", "get", "list", "wait", "stop", "retry", "why" }

-- The functions a policy's VM may call here: jobs, in the policy's own name.
local function serve_policy(name)
  local all, served = job_verbs { policy = name, who = "policy " .. name }, {}
  for _, verb in ipairs(POLICY_VERBS) do served["jobs." .. verb] = all["jobs." .. verb] end
  return served
end

local function surroundings()
  local all = daemon_settings.for_policies(host)
  all.serve = serve_policy
  return all
end

--- What an open VM of the daemon is told of the program's settings (perigee.daemon_settings).
function daemon.surroundings()
  return daemon_settings.for_policies(host)
end

local function policies_changed()
  if schedules then schedules:sync(policies:schedules(), wall()) end
end

local function new_policies()
  return daemon_policies.new {
    book = book,
    emit = daemon.emit,
    surroundings = surroundings(),
    now = core_task.now,
    max_failures = daemon_policies.MOST_FAILURES,
    changed = policies_changed,
  }
end

-- A moment as the key of the jobs that its run submits.
local function key_of(at)
  return time.format(at / 1000, "UTC", "%Y-%m-%dT%H:%M:%SZ")
end

local function note_skipped(entry, at, why)
  log.info("schedule.skipped", { policy = entry.policy, schedule = entry.name, at = key_of(at), why = why })
  task.detach(function()
    pcall(function()
      book:finish(book:begin(entry.policy, "schedule:" .. entry.name, { scheduled_at = at }), "skipped", why)
    end)
  end)
end

local function new_schedules()
  return daemon_schedules.new {
    run = function(entry, at)
      local ok, outcome = pcall(policies.run_schedule, policies, entry.policy, entry.schedule, at, key_of(at))
      if ok then return outcome end
      if core_task.cancelled() then error(outcome, 0) end
      log.error("schedule.failed", { policy = entry.policy, schedule = entry.name, why = tostring(outcome) })
      return "failed"
    end,
    skipped = note_skipped,
    stale = function(entry)
      daemon.emit("policy.stale", {
        policy = entry.policy,
        schedule = entry.name,
        why = ("%s: no run was done for %d moments in a row"):format(entry.name, entry.missed),
      })
    end,
    may_run = function(entry) return policies:may_run(entry.policy) end,
  }
end

-- The watchdog's note of a VM that it could not end alone: that policy is not even loaded, it may get stuck again.
local function read_stuck_note()
  local path = settings.note
  local file = path and io.open(path)
  if not file then return {} end
  local stuck = file:read "l"
  file:close()
  os.remove(path)
  for _, entry in ipairs(daemon_settings.policies(host)) do
    if entry.file == stuck then
      local name = book:name_of(stuck) or stuck
      book:set_paused(name, {
        why = "it was stuck in a C function such as a pattern, and the whole daemon had to be ended (exit code 70)",
        by = "daemon",
        at = math.floor(time.now()),
      })
      return { [stuck] = name }
    end
  end
  log.error("daemon.was_stuck", { vm = stuck })
  return {}
end

local function report_last_end(stuck)
  local last = journal.call("process.last", { kind = "daemon" })[1]
  if not last or last.clean == 1 then return end
  local interrupted = book:interrupted()
  local names = {}
  for i, row in ipairs(interrupted) do names[i] = row.policy .. " " .. row.hook end
  daemon.emit("daemon.crashed", {
    since = last.begun_at and last.begun_at // 1000,
    last_seen = last.beat_at and last.beat_at // 1000,
    interrupted = names,
    why = #names > 0 and "interrupted: " .. table.concat(names, ", ") or nil,
  })
  for _, name in pairs(stuck) do
    daemon.emit("policy.paused", { policy = name, why = book:paused(name).why, hint = "mend it, then: perigee resume " .. name })
  end
end

-- ---- what people and machines ask ----------------------------------------------------------------------------------

--- What says whether the daemon takes work. Does not wait: a journal that hangs must not hide why.
function daemon.state()
  return { draining = draining, journal = journal.status(), services = view.services(supervisor.figures() or {}) }
end

--- What the daemon is and does, as perigee.status and perigee.metrics read it. May wait.
function daemon.health()
  return view.health {
    policies = policies, schedules = schedules, draining = draining, problems = problems, started_at = started_at,
    directory = settings.directory, addresses = daemon_doors.addresses(), receiver = daemon_doors.receiver(),
    consoles = daemon_doors.console_vms(),
  }
end

local function policy_argument(args)
  local name = args.policy
  if type(name) ~= "string" or name == "" then errors.invalid "policy: name the policy" end
  return name
end

--- Reads configuration and policies anew, all of them or none: raises what is wrong, and the old ones go on.
function daemon.reload()
  local permit <close> = task.lock "perigee.daemon.reload" -- luacheck: ignore 211
  systemd.reloading()
  local back <close> = setmetatable({}, { __close = function() systemd.ready(daemon.words()) end }) -- luacheck: ignore 211
  local undo, use_budgets = config.reload(), nil
  local ok, err = pcall(function()
    daemon_settings.check_messages()
    use_budgets = budgets.reload()
    policies:load(daemon_settings.policies(host), nil, surroundings())
  end)
  if not ok then
    undo()
    error(err, 0)
  end
  use_budgets()
  supervisor.reload()
  local names = json.array()
  for i, row in ipairs(policies:status()) do names[i] = row.name end
  collectgarbage() -- what the old ones left here
  log.info("daemon.reloaded", { policies = table.concat(names, " ") })
  return { policies = names }
end

-- The same without anybody who waits for the answer.
local function reload_and_log(why)
  local ok, err = pcall(daemon.reload)
  if ok then return end
  local text = errors.is(err) and err.message or tostring(err)
  log.error("daemon.reload_failed", { why = text, after = why, now = "the old policies go on" })
  table.insert(problems, 1, { at = math.floor(time.now()), text = "not reloaded, the old policies go on: " .. text })
  problems[MOST_PROBLEMS + 1] = nil
end

--- One line for the service manager.
function daemon.words()
  local rows = policies and policies:status() or {}
  local paused = 0
  for _, row in ipairs(rows) do paused = paused + (row.state == "paused" and 1 or 0) end
  return ("%d %s%s"):format(#rows, #rows == 1 and "policy" or "policies", paused > 0 and (", %d paused"):format(paused) or "")
end

--- The functions of the control socket, by name; each takes one table and returns plain data.
daemon.verbs = {
  status = function() return require("perigee.status").document(daemon.health()) end,
  policies = function() return { policies = json.array(view.policies(policies, schedules)) } end,
  ["policy.pause"] = function(args)
    local name = policy_argument(args)
    policies:pause(name, args.why or "paused by hand", args.who or "somebody")
    return { policy = name, state = "paused" }
  end,
  ["policy.resume"] = function(args)
    local name = policy_argument(args)
    policies:resume(name)
    return { policy = name, state = "active" }
  end,
  reload = function() return daemon.reload() end,
  ["log.level"] = function(args)
    require("perigee.core.log").set_level(args.level)
    return { level = args.level }
  end,
  ["notify.test"] = function() return require("perigee.notify").test() end,
  spend = function(args) return require("perigee.spend_report").collect(args) end,
}

local function add_job_verbs()
  for name, f in pairs(job_verbs { who = "control" }) do daemon.verbs[name] = f end
end

-- ---- start and end ---------------------------------------------------------------------------------------------------

local function start_policies()
  book = daemon_book.open(journal.call)
  policies = new_policies()
  local stuck = read_stuck_note()
  local ok, err = pcall(policies.load, policies, daemon_settings.policies(host), stuck)
  if not ok then
    policies:stop(true)
    if errors.is(err) then err.code = "config" end
    error(err, 0)
  end
  return stuck
end

-- Limits that are nearly used up become events.
local function watch_budgets()
  while true do
    local low = spend.next_low()
    low.used, low.limit = tostring(low.used), tostring(low.limit)
    low.why = ("%s of %s are used (%s%s)"):format(low.used, low.limit, low.window, low.zone and ", " .. low.zone or "")
    daemon.emit("budget.low", low)
  end
end

local function watched_files()
  local files = policies:files()
  local _, path = config.file()
  if path then files[path] = true end
  return files
end

-- A task for as long as the daemon runs: a mistake in it is told, and it goes on.
local function keep_running(what, f, ...)
  local args = table.pack(...)
  task.detach(function()
    while true do
      local _, err = task.try(f, table.unpack(args, 1, args.n))
      if draining then return end
      log.error("daemon.failed", { what = what, why = tostring(err) })
      task.sleep(RESTART)
    end
  end)
end

local function start_work()
  supervisor.start {
    daemon = true,
    ask = function(event, job) return policies:ask(event, job) end,
    emit = daemon.emit,
    url_for = daemon_doors.url_for,
  }
  working = true
  schedules = new_schedules()
  schedules:sync(policies:schedules(), wall())
  keep_running("schedules", schedules.run, schedules, wall)
  keep_running("budgets", watch_budgets)
  keep_running("upkeep", daemon_upkeep.run, {
    call = journal.call, now = wall, sweep = function() return supervisor.verbs.sweep() end, keep_days = settings.keep_days,
  })
  if settings.watch then
    local watch = require "perigee.daemon_watch"
    keep_running("watch", watch.run, watched_files, function() reload_and_log "a file has changed" end, nil, watch.look(watched_files()))
  end
end

-- SIGTERM and SIGINT end the daemon; the second of them ends the process at once (host/run.c).
local function wait_for_the_end()
  while true do
    local signal = host.next_signal()
    log.info("daemon.signal", { signal = signal })
    if signal == "TERM" or signal == "INT" then return end
    if signal == "HUP" then reload_and_log "SIGHUP" end
  end
end

local function within(seconds, what, f, ...)
  local ok, err = pcall(task.deadline, seconds, f, ...)
  if not ok then log.warn("daemon.drain", { what = what, why = tostring(err) }) end
end

local function wait_for_hooks()
  while policies:busy() > 0 do task.sleep(0.05) end
end

local function drain()
  draining = true
  systemd.stopping("draining", settings.grace)
  local deadline = core_task.now() + settings.grace
  local function left() return math.max(0.1, deadline - core_task.now()) end
  daemon_doors.stop_consoles()
  schedules:stop()
  policies:prepare_end()
  for waiter in pairs(waits) do waiter:cancel "the daemon is ending" end
  -- Requests that are still out then are cancelled, and those that create something go on waiting for their answer.
  within(left() + STOPPING, "jobs", supervisor.drain, math.max(0, left() - service.bound_answers(settings.grace)))
  policies:stop(false)
  within(left(), "hooks", wait_for_hooks)
  within(math.min(FLUSH, left()), "messages", daemon_doors.flush)
  policies:stop(true)
  daemon_doors.close()
end

-- Somebody at a terminal sees more than log lines.
local function notice(text, ...)
  if term.is_tty "err" and not term.is_quiet() then term.write("err", "perigee: " .. text:format(...) .. "\n", true) end
end

--- Runs until SIGTERM or SIGINT; returns the exit code. given: the table of host/run.c.
function daemon.run(given)
  host = given
  settings = daemon_settings.read(host)
  daemon_settings.check_messages()
  local lock <close> = settings.directory ~= ":memory:" and daemon_lock.take(settings.directory) or nil -- luacheck: ignore 211
  if settings.directory ~= ":memory:" then
    settings.note = settings.directory .. "/daemon.stuck"
    host.note_stuck(settings.note)
  end
  started_at = math.floor(time.now())
  daemon_journal.open(journal.call)
  service.bound_answers(settings.grace)
  spend.require_budget()
  budgets.install()
  add_job_verbs()
  local stuck = start_policies()
  daemon_doors.open(settings, daemon)
  start_work()
  report_last_end(stuck)
  collectgarbage() -- what the start has left
  systemd.ready(daemon.words())
  log.info("daemon.ready", { directory = settings.directory, policies = #policies.slots })
  local place = settings.directory == ":memory:" and "in memory only" or "in " .. settings.directory
  notice("supervising with %s, state %s; Ctrl-C ends it in order", daemon.words(), place)
  wait_for_the_end()
  notice "ending in order; Ctrl-C again ends at once"
  drain()
  local active = view.active()
  if active > 0 then notice("jobs that have not ended: %d; the next daemon takes them up", active) end
  return 0
end

return daemon
