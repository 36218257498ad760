-- supervisor_watch.lua - looks at the jobs that run.  -- internal
--
-- One task looks at all of them.  Where the service has a list, a page of it stands for many readings; what it says of
-- an end is a hint, and job_status has the last word.  What cannot be read changes nothing: unreachable is not failed.

local book = require "perigee.supervisor_book"
local clock = require "perigee.core.task"
local errors = require "perigee.error"
local log = require "perigee.log"
local service = require "perigee.service"

local watch = {}

local FIRST <const>, FACTOR <const>, LAST <const>, JITTER <const> = 2, 1.5, 60, 0.2 -- seconds between two looks
local LIST_FROM <const> = 4 -- as many due jobs are worth a page
local LIST_MANY <const> = 400 -- jobs from which on the readings of the list are spaced
local SINGLES <const> = 20 -- readings before others get their turn
local PER_SECOND <const> = 200 -- jobs for which a list is read each second, at most
local GONE_AFTER <const> = 600 -- seconds a job may be unknown to the service before that is believed
local MOST_HINTS <const> = 3 -- ends told by the list, and not by the service's status, that bring the next look soon
local PATIENCE <const> = 3600 -- seconds without a reading before somebody is told
local LOGIN_PAUSE <const> = 900 -- seconds a refused password rests
local ENOUGH <const> = 3 -- readings in a row that failed, after which the others are put off
local CONFIRM_AFTER <const> = 120 -- seconds after which what only the list says of a job is looked at
local WRONG <const>, DISTRUST <const> = 3, 600 -- contradictions in a row, and seconds for which the list is not asked then
local NOW <const> = -1 -- before everything else

-- ---- when next ---------------------------------------------------------------------------------------------------------

-- Seconds between two readings of the whole list: the more jobs, the fewer.
local function pace(self)
  return math.min(math.max(FIRST, self.looks.count / PER_SECOND), LAST)
end

--- When a job that was found at work is looked at again.
function watch.later(self, entry, now)
  local interval = math.max(entry.interval and math.min(entry.interval * FACTOR, LAST) or FIRST, pace(self))
  entry.interval = interval
  local wake = now + interval * (1 - JITTER * clock.random())
  if entry.deadline then wake = math.min(wake, math.max(now + 1, now + (entry.deadline - book.wall()) / 1000)) end
  if entry.due and entry.due - 1 > now then wake = math.min(wake, entry.due - 1) end -- to tell an end at the deadline
  self.looks:set(entry, wake)
end

--- A callback came, or somebody is in a hurry.
function watch.ring(self, entry)
  entry.interval = nil
  if entry.heap == self.looks and entry.wake > NOW then
    self.looks:set(entry, NOW)
    self.look_bell.ring()
  end
end

--- Jobs whose look was put off for long are due again.
function watch.resume(self)
  local now, late = clock.now(), {}
  for _, entry in pairs(self.entries) do
    if entry.heap == self.looks and entry.wake > now + LAST then late[#late + 1] = entry end
  end
  table.sort(late, function(a, b) return a.id < b.id end)
  for _, entry in ipairs(late) do self.looks:set(entry, now) end
  self.look_bell.ring()
end

-- ---- what could not be read ----------------------------------------------------------------------------------------------

-- A reading of this service has come through.
local function reached(self, name, entry)
  local state = self:service_state(name)
  if state.failing_since and state.told then log.info("supervisor.reachable", { service = name }) end
  state.failing_since, state.told, state.login_told = nil, nil, nil
  if entry then entry.failing_since, entry.told = nil, nil end
end

local function tell_service(self, name, state, err, now)
  if state.told or now - state.failing_since < (self.options.unreachable_after or PATIENCE) then return end
  state.told = true
  log.warn("supervisor.unreachable", { service = name, seconds = math.floor(now - state.failing_since), error = err.message })
  book.emit(self, "job.unreachable", nil, {
    service = name, since = book.wall() / 1000 - (now - state.failing_since), jobs = self.looks.count, error = err.message,
  })
end

local function tell_job(self, entry, err, now)
  local patience = entry.patience or self.options.unreachable_after or PATIENCE
  if entry.told or self:service_state(entry.service).told or now - entry.failing_since < patience then return end
  entry.told = true
  local row = book.row(entry.id)
  if not row then return end
  book.note(entry, book.decision("poll", ("its status could not be read for %.0f s; nothing is concluded from that"):format(
    now - entry.failing_since), { error = err.message }))
  book.emit(self, "job.unreachable", row, { error = err.message, since = book.wall() / 1000 - (now - entry.failing_since) })
end

-- A refused password is tried once in 15 minutes; the jobs stay watched.
local function block(self, name, err, now)
  self:service_state(name).blocked_until = now + LOGIN_PAUSE
  self:login_refused(name, err)
end

-- A reading that failed: of the list (entry nil) or of one job.
local function unread(self, name, entry, err)
  if not errors.is(err) or err.kind == "cancelled" then error(err, 0) end
  local now, state = clock.now(), self:service_state(name)
  state.failing_since = state.failing_since or now
  if entry and not entry.failing_since then -- the first of a row: one lost answer is not to cost a whole interval
    entry.failing_since, entry.interval = now, nil
  end
  log.debug("supervisor.unread", { service = name, job = entry and entry.id, kind = err.kind, error = err.message })
  if err.kind == "auth" then block(self, name, err, now) end
  tell_service(self, name, state, err, now)
  if entry then tell_job(self, entry, err, now) end
end

-- ---- one job -------------------------------------------------------------------------------------------------------------

local function to_end(self, entry, ended)
  entry.ended = ended
  self:wake_step(entry)
end

-- The service does not know the job: believed after a while.
local function missing(self, entry, now)
  entry.missing_since = entry.missing_since or now
  if now - entry.missing_since < GONE_AFTER then return watch.later(self, entry, now) end
  return to_end(self, entry, { status = "gone", at = book.wall() / 1000 - (now - entry.missing_since) })
end

local function still(self, entry)
  return self.entries[entry.id] == entry and entry.state == "running" and not entry.ended and entry.heap == self.looks
end

-- The list said a moment ago that a job works which has ended.  Once is a matter of time; again and again means that
-- its numbers stand for something else here.
local function contradicted(self, entry, now)
  local driver = self:driver(entry.service)
  if not entry.listed_at or now - entry.listed_at > FIRST then
    driver.contradictions = 0
    return
  end
  driver.contradictions = (driver.contradictions or 0) + 1
  if driver.contradictions < WRONG then return end
  driver.contradictions, driver.no_list_until = 0, now + DISTRUST
  log.warn("supervisor.list_distrusted", { service = entry.service, seconds = DISTRUST })
end

-- The list says that it has ended and its status does not, yet: statuses go back for a moment.
local function believes_hint(entry)
  local hinted = entry.hinted
  entry.hinted = nil
  if not hinted then return false end
  entry.hints = (entry.hints or 0) + 1
  return entry.hints <= MOST_HINTS
end

local function read_one(self, entry)
  local driver = self:driver(entry.service)
  service.take_turn(driver.client)
  if not still(self, entry) then return end
  self.readings = self.readings + 1
  local ok, seen = pcall(driver.status, driver, entry)
  if not still(self, entry) then
    if not ok and errors.is(seen, "cancelled") then error(seen, 0) end
    return
  end
  local now = clock.now()
  entry.seen_at, entry.asked_at = now, now
  if ok or (errors.is(seen) and seen.code == "not_found") then
    reached(self, entry.service, entry)
    if not ok then return missing(self, entry, now) end
    entry.missing_since = nil
    if seen.status == "success" or seen.status == "fail" then
      contradicted(self, entry, now)
      return to_end(self, entry, seen)
    end
    if seen.changed then self:wake_step(entry) end
    if seen.soon or believes_hint(entry) then entry.interval = nil end -- its cost is derived from when its end was seen
    return watch.later(self, entry, now)
  end
  if driver.is_answer and driver.is_answer(seen) then
    reached(self, entry.service, entry)
  else
    unread(self, entry.service, entry, seen)
  end
  return watch.later(self, entry, now)
end

--- Looks at one job: at its deadline it is ended, else its status is read.
function watch.look(self, entry)
  if entry.deadline and book.wall() >= entry.deadline then return to_end(self, entry, { status = "expired" }) end
  local ok, err = pcall(read_one, self, entry)
  if ok then return end
  if errors.is(err, "cancelled") then error(err, 0) end
  self:report(entry, err)
  if still(self, entry) then watch.later(self, entry, clock.now()) end
end

-- ---- many ----------------------------------------------------------------------------------------------------------------

-- Jobs of that service that are due now, the most urgent ones first.
local function due_jobs(self, name, now)
  local due, stack = {}, { 1 }
  while #stack > 0 do -- down the heap, as far as it is due
    local slot = table.remove(stack)
    local entry = self.looks[slot]
    if entry and entry.wake <= now then
      if entry.service == name then due[#due + 1] = entry end
      stack[#stack + 1], stack[#stack + 2] = slot * 2, slot * 2 + 1
    end
  end
  table.sort(due, function(a, b)
    if a.wake ~= b.wake then return a.wake < b.wake end
    return a.id < b.id
  end)
  return due
end

-- One row of the list.
local function apply(self, name, row, ended, now)
  local entry = self.by_remote[name .. "|" .. tostring(row.id)]
  if not entry or not still(self, entry) then return false end
  entry.seen_at = now
  if row.status == "working" and entry.wake > NOW and not (entry.deadline and book.wall() >= entry.deadline) then
    entry.failing_since, entry.told, entry.missing_since, entry.listed_at = nil, nil, nil, now
    watch.later(self, entry, now)
  else
    entry.hinted = row.status ~= "working"
    ended[#ended + 1] = entry
  end
  return true
end

-- Some of the jobs that the list says are at work, and that were not asked for long: what it says is a hint.
local function unconfirmed(self, due, started, singles)
  local list, now = {}, clock.now()
  for _, entry in ipairs(due) do
    local asked = entry.asked_at or entry.began or now
    if entry.listed_at and entry.listed_at >= started and now - asked >= CONFIRM_AFTER and still(self, entry) then
      list[#list + 1] = { entry, asked }
    end
  end
  table.sort(list, function(a, b)
    if a[2] ~= b[2] then return a[2] < b[2] end
    return a[1].id < b[1].id
  end)
  for i = 1, math.min(#list, 1 + #due // 20, SINGLES - #singles) do singles[#singles + 1] = list[i][1] end
end

-- Reads pages until all due jobs were seen; those to be asked singly.
local function read_list(self, driver, name, due)
  local started, left, singles = clock.now(), #due, {}
  local waiting = {}
  for _, entry in ipairs(due) do waiting[entry.id] = true end
  local most = 5 + 2 * math.ceil(self.looks.count / (driver.page_size or 100))
  local reading = driver.reading()
  for _ = 1, most do
    local first = self.looks:peek()
    if first and first.wake <= NOW then watch.look(self, first) end -- a callback does not wait for the whole list
    service.take_turn(driver.client)
    local ok, rows = pcall(driver.page, driver, reading, clock.now())
    if not ok then
      unread(self, name, nil, rows)
      return nil
    elseif not rows then
      return due -- not offered here
    end
    self.pages = self.pages + 1
    reached(self, name)
    for _, row in ipairs(rows) do
      apply(self, name, row, singles, clock.now())
      local entry = self.by_remote[name .. "|" .. tostring(row.id)]
      if entry and waiting[entry.id] then
        waiting[entry.id], left = nil, left - 1
      end
    end
    if reading.ended or left <= 0 then break end
  end
  for _, entry in ipairs(due) do
    if still(self, entry) and not (entry.seen_at and entry.seen_at >= started) then singles[#singles + 1] = entry end
  end
  unconfirmed(self, due, started, singles)
  return singles
end

-- A service that cannot be asked now: its due jobs wait.
local function put_off(self, due, now, until_)
  for _, entry in ipairs(due) do
    local wake = math.max(until_, now + FIRST)
    if entry.deadline then wake = math.min(wake, math.max(now + 1, now + (entry.deadline - book.wall()) / 1000)) end
    if entry.deadline and book.wall() >= entry.deadline then to_end(self, entry, { status = "expired" })
    else self.looks:set(entry, wake) end
  end
end

-- Many jobs are due, and the list was read a moment ago: they wait for its next reading, but for those in a hurry.
local function wait_for_list(self, due, next_list)
  for i, entry in ipairs(due) do
    if entry.wake <= NOW or (entry.deadline and book.wall() >= entry.deadline) then
      if i <= SINGLES and still(self, entry) then watch.look(self, entry) end
    else
      self.looks:set(entry, next_list)
    end
  end
end

--- One round: the service of the job that is due first.
function watch.round(self)
  local now = clock.now()
  local name = self.looks:peek().service
  local due = due_jobs(self, name, now)
  local state, ready, driver = self:service_state(name), pcall(self.driver, self, name)
  if not ready then
    unread(self, name, nil, driver)
    return put_off(self, due, now, now + LAST)
  elseif state.blocked_until and now < state.blocked_until then
    return put_off(self, due, now, state.blocked_until)
  end
  local singles = due
  local waits = state.next_list and now < state.next_list
  if driver.page and (#due >= LIST_FROM or waits) and driver:offers_list(now) then
    if waits then return wait_for_list(self, due, state.next_list) end
    local many = self.looks.count > LIST_MANY
    state.next_list = many and now + pace(self) or nil
    if many then due = due_jobs(self, name, now + pace(self) / 2) end -- those that would be due before the next reading
    singles = read_list(self, driver, name, due)
    if not singles then -- it is not read for a while; whether the service is down the next reading tells
      driver.no_list_until = now + LAST
      singles = due
    end
  end
  local failures = 0
  for i = 1, math.min(#singles, SINGLES) do
    if still(self, singles[i]) then
      watch.look(self, singles[i])
      failures = singles[i].failing_since and failures + 1 or 0
    end
    if failures >= ENOUGH or (state.blocked_until and clock.now() < state.blocked_until) then break end
  end
  if failures < ENOUGH then
    if failures == 0 then state.backoff = nil end
    return
  end
  state.backoff = math.min((state.backoff or FIRST) * FACTOR, LAST) -- it is down: few questions are enough
  local rest = {}
  for _, entry in ipairs(singles) do
    if still(self, entry) and entry.wake <= clock.now() then rest[#rest + 1] = entry end
  end
  put_off(self, rest, clock.now(), clock.now() + state.backoff)
end

--- The task that looks.
function watch.loop(self)
  while true do
    local first, now = self.looks:peek(), clock.now()
    if not first then
      self.look_bell.sleep(3600)
    elseif first.wake > now then
      self.look_bell.sleep(math.min(first.wake - now, LAST))
    else
      local ok, err = pcall(watch.round, self)
      if not ok then
        if errors.is(err, "cancelled") then error(err, 0) end
        self:report(nil, err)
        self.look_bell.sleep(FIRST)
      end
    end
  end
end

return watch
