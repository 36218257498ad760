-- supervisor_recover.lua - jobs whose process died, and creates that nobody answered.  -- internal
--
-- Running jobs are looked at again, never sent again.  A create that may have happened is looked for on the service
-- by its intent; what was found is adopted.  That it is not there is believed after two readings of the whole list, a
-- minute apart, and even then on_unknown or a policy decides.

local book = require "perigee.supervisor_book"
local clock = require "perigee.core.task"
local ending = require "perigee.supervisor_end"
local errors = require "perigee.error"
local journal = require "perigee.core.journal"
local spend = require "perigee.core.spend"
local task = require "perigee.task"

local recover = {}

local CLAIM <const> = 200 -- jobs taken over in one step
local ON_ITS_WAY <const> = 30 -- seconds in which a create that was sent and whose answer nobody waits for may still be executed
local FIRST_LOOK <const>, APART <const>, LAST_LOOK <const> = 5, 60, 600 -- seconds between looks for a lost create
local LONGEST_WAIT <const> = 30 * 86400 -- seconds between a job's submission and its last create
local decision, emit = book.decision, book.emit

-- ---- what was lost, found ---------------------------------------------------------------------------------------------

--- A remote job was found that belongs to the attempt: it is ours, and running as far as we know.
function recover.adopt(self, entry, row, remote_id, how)
  local permit = ending.permit(entry, row.intent)
  local state = permit and permit:state()
  if state == "unknown" or state == "sent" then permit:answered("created", remote_id) end
  local adopted = book.insist(self, entry, {
    state = "running", remote_id = remote_id, reason = "", error = "",
    attempts = { { attempt = row.attempt, state = "running", remote_id = remote_id } },
    decisions = { decision("adopt", ("%s is attempt %d: %s"):format(remote_id, row.attempt or 1, how), {
      remote_id = remote_id, intent = row.intent,
    }) },
  })
  entry.interval, entry.looked_for, entry.absent_since = nil, nil, nil
  self.adopted = self.adopted + 1
  emit(self, "job.adopted", adopted)
  return adopted
end

--- The create has certainly not happened: its money is free, and another attempt may follow.
function recover.again(self, entry, row, why)
  local permit = ending.permit(entry, row.intent)
  local state = permit and permit:state()
  if state == "unknown" or state == "sent" then permit:answered "none" end
  ending.close_permit(entry)
  local planned = book.insist(self, entry, {
    state = "planned", reason = "", wake_at = book.wall(),
    attempts = { { attempt = row.attempt, state = "refused", ended_at = book.wall() } },
    decisions = { decision("retry", why, { intent = row.intent }) },
  })
  entry.looked_for, entry.absent_since, entry.asked = nil, nil, nil
  self.retries = self.retries + 1
  emit(self, "job.retry", planned, { after = 0 })
  return planned
end

local function give_up(self, entry, row, why)
  ending.close_permit(entry) -- its money stays held as unknown, and counts as spent after a while
  local final = book.insist(self, entry, {
    state = "failed", reason = why, error = book.encoded {
      kind = "job_failed", code = "unknown", outcome = "unknown", message = why,
    },
    attempts = { { attempt = row.attempt, state = "failed", ended_at = book.wall() } },
    decisions = { decision("end", why, { intent = row.intent }) },
  })
  emit(self, "job.failed", final)
  return final
end

-- ---- reconcile ---------------------------------------------------------------------------------------------------------

-- "wait", "retry" or "fail", and who says so.
local function decide(self, row, options, attempts)
  local wish, who = options.on_unknown or "wait", "on_unknown"
  local verdict = book.consult(self, "job.unknown", book.view(row, attempts))
  if verdict and verdict.decision then
    wish = verdict.decision == "give_up" and "fail" or verdict.decision == "retry" and "retry" or "wait"
    who = verdict.policy and "policy " .. verdict.policy or "a policy"
  end
  return wish, who
end

-- The job that a callback of this attempt has named, once the service says that there is such a job; and true if a
-- callback came at all: whatever the list shows, the attempt was started then.
local function called(self, entry, row)
  local call = entry.called
  if not call or call.attempt ~= row.attempt then return nil, false end
  local driver = self:driver(row.service)
  if not call.remote_id or not driver.has or self.by_remote[row.service .. "|" .. call.remote_id] then return nil, true end
  local ok, there = pcall(driver.has, driver, call.remote_id)
  if not ok and errors.is(there, "cancelled") then error(there, 0) end
  return ok and there and call.remote_id or nil, true
end

-- Nothing was found.  certain: the list is complete and does not show it.
local function not_found(self, entry, row, attempts, how)
  local now = clock.now()
  if how == "absent" then
    entry.absent_since = entry.absent_since or now
  else
    entry.absent_since = nil
  end
  if how == "unreadable" then return nil end
  local certain = how == "absent" and now - entry.absent_since >= APART
  if not certain and how == "absent" then return nil end
  if entry.asked == (certain and "certain" or how) then return nil end
  local options = book.decoded(row.options) or {}
  local wish, who = decide(self, row, options, attempts)
  entry.asked = certain and "certain" or how
  if wish == "fail" then
    return give_up(self, entry, row, ("whether attempt %d was started is not known, and %s says to give up"):format(row.attempt, who))
  elseif wish == "retry" and certain then
    return recover.again(self, entry, row, ("two readings of the service's list, %d s apart, do not show attempt %d, and %s says to "
      .. "try again"):format(math.floor(now - entry.absent_since), row.attempt, who))
  end
  local words = certain and "the service's list does not show attempt %d; %s says to wait"
    or "the service shows nothing by which attempt %d could be found; its money stays held"
  book.note(entry, decision("reconcile", words:format(row.attempt, who), { found = how }))
  return nil
end

--- The step of an unknown job: looks for its create, then decides.
function recover.reconcile(self, entry, row)
  local attempts, present = book.attempts(row)
  present = present or { attempt = row.attempt, intent = row.intent, started_at = row.changed_at }
  local named, was_called = called(self, entry, row)
  if named then return recover.adopt(self, entry, row, named, "a callback of this attempt names it, and the service knows it") end
  local remote_id, how, err = self:driver(row.service):find(row, present, clock.now())
  if how == "absent" and was_called then how = "no_list" end
  if remote_id then return recover.adopt(self, entry, row, remote_id, how or "found on the service by its intent") end
  entry.unread = how == "unreadable"
  if err and errors.is(err, "auth") then self:login_refused(row.service, err) end
  if entry.deadline and book.wall() >= entry.deadline and how ~= "unreadable" then return ending.expire(self, entry, row) end
  local early = how == "absent" and book.wall() - (present.started_at or 0) < ON_ITS_WAY * 1000
  return not early and not_found(self, entry, row, attempts, how) or nil
end

-- Seconds until the second look at a list that did not show it, or nil.
local function second_look(entry)
  local rest = entry.absent_since and APART - (clock.now() - entry.absent_since)
  return rest and rest > 0 and rest or nil
end

--- Seconds until an unknown job is looked for again.  A list that could not be read says nothing, so it is asked for as
--- often as for what runs; a deadline is met.
function recover.pause(entry)
  local pause = second_look(entry)
  if not pause then
    pause = entry.looked_for and math.min(entry.looked_for * 2, entry.unread and APART or LAST_LOOK) or FIRST_LOOK
    entry.looked_for = pause
  end
  local left = entry.deadline and (entry.deadline - book.wall()) / 1000
  return left and left > 0 and math.min(pause, left) or pause
end

-- ---- after a crash -------------------------------------------------------------------------------------------------------

--- The step of a job that a dead process was submitting: its permit tells how far it had come.
function recover.submitting(self, entry, row)
  local permit = journal.call("permit.get", { intent = row.intent or "" })[1]
  if not permit or permit.state == "reserved" or permit.state == "released" then
    return book.move(self, entry, {
      state = "planned", reason = "", wake_at = book.wall(),
      attempts = { { attempt = row.attempt, state = "unsent" } },
      decisions = { decision("recover", ("attempt %d had not been sent when its process ended; it goes on"):format(row.attempt)) },
    })
  elseif permit.remote_id and (permit.state == "created" or permit.state == "settled") then
    return recover.adopt(self, entry, row, permit.remote_id, "its process ended between the answer and writing it down")
  end
  local unknown = book.move(self, entry, {
    state = "unknown", reason = "its process ended while the create was under way",
    attempts = { { attempt = row.attempt, state = "unknown" } },
    decisions = { decision("recover", ("the process ended while attempt %d was under way: it may have been started, and is looked for")
      :format(row.attempt), { intent = row.intent, permit = permit.state }) },
  })
  emit(self, "job.unknown", unknown)
  return unknown
end

-- A permit whose attempt was never written down was never sent: sending comes after that.
local function release_strays(row)
  local known = {}
  for _, one in ipairs(book.attempts(row)) do known[one.intent or ""] = true end
  for _, permit in ipairs(journal.call("permit.list", { job = row.id })) do
    if not known[permit.intent] and (permit.state == "unknown" or permit.state == "intent") then
      local taken = task.try(spend.take, permit.intent)
      if taken then
        if taken:state() == "unknown" then taken:answered "none" end
        taken:close()
      end
    end
  end
end

--- Takes a job into supervision whose row is ours now.
function recover.take(self, row)
  if not book.is_active(row.state) then return end
  local known = self.entries[row.id] ~= nil
  local entry = book.absorb(self, row)
  if known then return end
  if row.state == "planned" then
    local ok, err = task.try(release_strays, row)
    if not ok and err then self:report(entry, err) end
  end
  self:schedule(entry, row)
end

--- Takes over jobs of processes that have ended; id: that one only.  Returns their number.
function recover.claim(self, id)
  local count = 0
  repeat
    local rows = journal.call("job.claim", { limit = id and 1 or CLAIM, id = id })
    for _, row in ipairs(rows) do recover.take(self, row) end
    count = count + #rows
  until id or #rows < CLAIM
  return count
end

-- ---- sweep ---------------------------------------------------------------------------------------------------------------

-- True if a job of the journal has this remote id, or its intent.
local function tracked(known, one)
  return known[one.id] or (one.intent and known[one.intent])
end

-- Milliseconds: jobs that were submitted before cannot be the ones that were found; 0 if that is not known.
local function oldest_of(found)
  local oldest
  for _, one in ipairs(found) do
    if not one.since then return 0 end
    oldest = math.min(oldest or one.since, one.since)
  end
  return math.floor(math.max(0, (oldest or 0) - LONGEST_WAIT) * 1000)
end

-- Remote ids and intents of the jobs of a service that were submitted since then.
local function known_ids(name, since)
  local known, after = {}, nil
  repeat
    local rows = journal.call("job.list", { service = name, since = since, limit = 500, after = after })
    for _, row in ipairs(rows) do
      if row.remote_id then known[row.remote_id] = true end
      if row.intent then known[row.intent] = true end
      after = row.id
    end
  until #rows < 500
  return known
end

--- The id of the job of a service that has this remote id, or nil.
function recover.tracker(name, remote_id)
  local after
  repeat
    local rows = journal.call("job.list", { service = name, limit = 500, after = after })
    for _, row in ipairs(rows) do
      if row.remote_id == remote_id then return row.id end
      after = row.id
    end
  until #rows < 500
  return nil
end

--- Paid jobs in the services' lists that no job of the journal tracks: { {service, id, since, name, price} … }, and
--- what could not be asked: { {service, error} … }.
function recover.sweep(self)
  local found, failures = {}, {}
  for _, name in ipairs { "deai", "sxwl" } do
    local rows, err = task.try(function() return self:driver(name):sweep(clock.now()) end)
    if rows then
      local known = #rows > 0 and known_ids(name, oldest_of(rows)) or {}
      for _, one in ipairs(rows) do
        if not tracked(known, one) then
          found[#found + 1] = { service = name, id = one.id, since = one.since, name = one.name, price = one.price }
        end
      end
    else
      failures[#failures + 1] = { service = name, error = err and (err.message or tostring(err)) or "it offers no list of jobs" }
    end
  end
  if #found > 0 then emit(self, "sweep.found", nil, { found = found }) end
  return found, failures
end

return recover
