-- supervisor_end.lua - how an attempt ends, what it has cost, and whether there is another.  -- internal
--
-- The permit is settled first, by the charge the service reports or by what was seen; then the policies are asked,
-- then the job's own retry decides.  What all attempts may cost together is a sum over the journal's rows.

local amount = require "perigee.amount"
local book = require "perigee.supervisor_book"
local clock = require "perigee.core.task"
local core = require "perigee.core.time"
local errors = require "perigee.error"
local journal = require "perigee.core.journal"
local json = require "perigee.json"
local log = require "perigee.log"
local retry = require "perigee.retry"
local spend = require "perigee.core.spend"
local task = require "perigee.task"

local ending = {}

local STOP_AGAIN <const> = 60 -- seconds until a stop that did not reach the service is tried again
local FINAL <const> = { success = "succeeded", fail = "failed", gone = "failed", stopped = "stopped", expired = "expired" }
local decision, emit = book.decision, book.emit

-- ---- money ---------------------------------------------------------------------------------------------------------

--- The permit of a job's present attempt: held here, or taken back from the journal; nil if there is none to have.
function ending.permit(entry, intent)
  if entry.permit then return entry.permit end
  if not intent then return nil end
  local permit, err = task.try(spend.take, intent)
  if not permit and err then log.debug("supervisor.permit", { job = entry.id, intent = intent, error = tostring(err) }) end
  entry.permit = permit
  return permit
end

--- Lets go of it.
function ending.close_permit(entry)
  if entry.permit then entry.permit:close() end
  entry.permit = nil
end

-- Books the charge of an attempt; text of what it cost, or nil, and whether that is derived.  What the journal has in
-- the end counts: a run that died may have settled it already, and the kernel's own record may have been lost while
-- the journal could not be written.
local function settle(entry, attempt, charge, derived)
  local permit = ending.permit(entry, attempt.intent)
  local state = permit and permit:state()
  local ours = state == "created" or state == "unknown"
  if ours then permit:settle(charge, derived) end
  ending.close_permit(entry)
  local kept = attempt.intent and journal.call("permit.get", { intent = attempt.intent })[1]
  if kept and kept.state == "settled" then
    if not ours then charge, derived = kept.amount, kept.derived == 1 end
  elseif kept and charge then
    journal.call("permit.move", {
      intent = attempt.intent, state = "settled", bucket = "spent", amount = charge, derived = derived,
    })
  end
  return charge and tostring(charge) or nil, derived
end

-- At least the time since it was seen first here counts, whatever the wall clock did meanwhile.
local function charge_of(self, entry, row, attempt, ended)
  if ended.charge then return ended.charge, false end
  local least = entry.began and not ended.at and clock.now() - entry.began or 0
  return self:driver(row.service).cost(attempt, ended.at, least)
end

-- ---- another attempt -------------------------------------------------------------------------------------------------

-- Why there is no other attempt by the job's own rules, or nil, the seconds to wait and a sentence.
local function own_retry(row, options, err, number)
  local rules = options.retry
  if not rules then return "no retry was asked for" end
  local policy = retry.new {
    attempts = rules.attempts, base = rules.base, cap = rules.cap, jitter = rules.jitter, elapsed = rules.elapsed,
    on = rules.on or { "job_failed", "retryable" },
  }
  if not policy.wants(err, number) then return ("an error of kind %s is not to be repeated"):format(err.kind) end
  if number >= policy.attempts then return ("all %d attempts are used"):format(policy.attempts) end
  local delay = policy:delay(number, err)
  if rules.elapsed and (book.wall() - row.created_at) / 1000 + delay > rules.elapsed then
    return ("another attempt would start later than %g s after the job was submitted"):format(rules.elapsed)
  end
  return nil, delay, ("attempt %d of %d follows in %.0f s"):format(number + 1, policy.attempts, delay)
end

-- The spec of another recovery: the fields a policy names, over those of the job.
local function changed_spec(row, spec)
  local all = json.decode(row.spec)
  for name, value in pairs(spec) do all[name] = value end
  return (require "perigee.job_spec".plain(all, { service = row.service, kind = row.kind, name = row.name, bounded = true }))
end

-- Why the limits allow no other attempt, or nil.
local function out_of_limits(options, attempts, delay)
  if options.deadline and book.wall() + delay * 1000 >= options.deadline then return "its deadline comes before another attempt" end
  local spent = options.max_cost and book.spent(attempts)
  if spent and amount(spent) >= amount(options.max_cost) then
    return ("its attempts have cost %s, and max_cost is %s"):format(spent, options.max_cost)
  end
  return nil
end

-- {after, spec, text, policy} for another attempt, or nil and why there is none.
local function another(self, row, options, attempts, failure, number)
  local view = book.view(row, attempts)
  view.error, view.attempt = failure.error, number
  local verdict = book.consult(self, "job.failed", view)
  local after, text, spec
  if verdict and verdict.decision == "give_up" then
    return nil, ("a policy gives up%s"):format(verdict.why and ": " .. verdict.why or ""), verdict.policy
  elseif verdict and verdict.decision == "retry" then
    local ok, seconds = pcall(core.seconds, verdict.after or 0)
    after, spec = ok and seconds or 0, verdict.spec
    text = ("a policy wants attempt %d in %.0f s%s"):format(number + 1, after, spec and ", with other fields" or "")
  else
    local err = failure.raised or errors.new {
      kind = failure.error.kind, code = failure.error.code, message = failure.error.message, outcome = "none", retryable = false,
    }
    local why
    why, after, text = own_retry(row, options, err, number)
    if why then return nil, why end
  end
  local why = out_of_limits(options, attempts, after)
  if why then return nil, why end
  return { after = after, spec = spec, text = text, policy = verdict and verdict.policy }
end

-- Writes the retry down; nil and why if the other spec is none.
local function plan_again(self, entry, row, next_one, change)
  if next_one.spec then
    local ok, text = pcall(changed_spec, row, next_one.spec)
    if not ok then return nil, "the fields a policy wants are not right: " .. (errors.is(text) and text.message or tostring(text)) end
    change.spec = text
  end
  change.state, change.wake_at = "planned", book.wall() + math.floor(next_one.after * 1000)
  table.insert(change.decisions, decision("retry", next_one.text, { after = next_one.after, spec = next_one.spec }, next_one.policy))
  local planned = book.insist(self, entry, change)
  self.retries = self.retries + 1
  emit(self, "job.retry", planned, { after = next_one.after })
  return planned
end

-- ---- failed ----------------------------------------------------------------------------------------------------------

-- The row of attempt `number` among rows that are about to be written: with what is to change.
local function with_changes(attempts, number, fields)
  for _, one in ipairs(attempts) do
    if one.attempt == number then
      for name, value in pairs(fields) do one[name] = value end
    end
  end
end

--- An attempt has failed, or could not be made: another one, or the end.  failure: {error, raised, tried = number of
--- the attempt whose row is there, cost, derived, decisions, state of the attempt's row}.
function ending.failed(self, entry, row, failure)
  local options = book.decoded(row.options) or {}
  local number = failure.tried or (row.attempt or 0) + (failure.cost == nil and row.state == "planned" and 1 or 0)
  local attempts = book.attempts(row)
  local change = { reason = failure.error.message, error = book.encoded(failure.error), decisions = failure.decisions or {} }
  if failure.tried then
    local fields = {
      attempt = failure.tried, state = failure.state or "refused", cost = failure.cost, derived = failure.derived,
      error = change.error, ended_at = book.wall(),
    }
    change.attempts = { fields }
    with_changes(attempts, failure.tried, fields)
  end
  change.cost = book.spent(attempts)
  local next_one, why, policy = another(self, row, options, attempts, failure, number)
  if next_one then
    local planned, wrong = plan_again(self, entry, row, next_one, change)
    if planned then return planned end
    why = wrong
  end
  change.state = "failed"
  table.insert(change.decisions, decision("end", ("failed: %s; %s"):format(failure.error.message, why), { attempts = number },
    policy))
  local final = book.insist(self, entry, change)
  emit(self, "job.failed", final)
  return final
end

-- ---- ended -----------------------------------------------------------------------------------------------------------

local SENTENCES <const> = {
  success = "%s says that the job has succeeded", fail = "%s says that the job has failed",
  gone = "%s does not know the job any more: it was deleted there, or ended without a model",
  stopped = "stopped on %s as asked", expired = "its deadline has passed; it was stopped on %s",
}

local function failure_error(title, ended)
  return ended.error or {
    kind = "job_failed", code = ended.status == "gone" and "not_found" or "fail", outcome = "none",
    message = SENTENCES[ended.status]:format(title),
  }
end

--- The end of a running attempt was seen or made: {status = success | fail | gone | stopped | expired, url, charge,
--- result, left (it goes on remotely)}.
function ending.finish(self, entry, row, ended)
  entry.ended = nil
  local driver = self:driver(row.service)
  local attempts, present = book.attempts(row)
  present = present or { attempt = row.attempt, intent = row.intent, price = row.price, started_at = row.started_at }
  local charge, derived = charge_of(self, entry, row, present, ended)
  if ended.left then charge = present.price and amount(present.price) end
  local cost
  cost, derived = settle(entry, present, charge, derived)
  local decisions = {
    decision("poll", ended.text or SENTENCES[ended.status]:format(driver.title), { status = ended.status, remote_id = row.remote_id }),
  }
  if cost then
    local words = derived and driver.derived_words
      or "attempt %d cost %s, as the service reports"
    decisions[2] = decision("settle", words:format(present.attempt, cost), {
      cost = cost, price = present.price, derived = derived,
      seconds = present.started_at and (book.wall() - present.started_at) / 1000,
    })
  end
  local state = FINAL[ended.status]
  if state == "failed" then
    return ending.failed(self, entry, row, {
      error = failure_error(driver.title, ended), tried = present.attempt, cost = cost, derived = derived, decisions = decisions,
      state = "failed",
    })
  end
  local fields = { attempt = present.attempt, state = state, cost = cost, derived = derived, ended_at = book.wall() }
  with_changes(attempts, present.attempt, fields)
  local result = ended.result or driver.result(entry, ended, present)
  local final = book.insist(self, entry, {
    state = state, cost = book.spent(attempts), attempts = { fields }, decisions = decisions,
    result = state == "succeeded" and book.encoded(result) or nil, reason = state ~= "succeeded" and decisions[1].text or "",
  })
  emit(self, "job." .. state, final)
  return final
end

-- ---- deadlines and stops ------------------------------------------------------------------------------------------------

-- Ends a job of which nothing runs remotely, as far as is known.
local function end_idle(self, entry, row, state, text)
  local change = { state = state, reason = text, decisions = { decision(state == "expired" and "expire" or "stop", text) } }
  if row.state == "unknown" then
    change.attempts = { { attempt = row.attempt, state = state, ended_at = book.wall() } }
    ending.close_permit(entry) -- stays held as unknown, and counts as spent after a while
  end
  local final = book.insist(self, entry, change)
  emit(self, "job." .. state, final)
  return final
end

-- The remote job is stopped, or left where that cannot be.
local function end_running(self, entry, row, status)
  local driver = self:driver(row.service)
  local left = not driver.can_stop
  if not left then driver:stop(row.remote_id) end
  local text = left and ("%s cannot be stopped: its supervision ends, it goes on there and stays billed"):format(driver.title) or nil
  return ending.finish(self, entry, row, { status = status, left = left, text = text })
end

--- Ends a job as somebody asks; raises where that is not possible.
function ending.stop(self, entry, row, who)
  if row.state == "running" then
    book.note(entry, decision("stop", ("%s asks to stop it"):format(who or "somebody")))
    return end_running(self, entry, row, "stopped")
  elseif row.state == "unknown" then
    return end_idle(self, entry, row, "stopped",
      "stopped while unknown: if it was started it goes on, and its money stays held as unknown")
  end
  return end_idle(self, entry, row, "stopped", ("stopped before it was started, by %s"):format(who or "somebody"))
end

-- What the service says of a job at its deadline, or nil: one that has ended by itself is not expired.
local function last_reading(self, entry)
  local driver = self:driver(entry.service)
  local ok, seen
  repeat
    ok, seen = pcall(driver.status, driver, entry)
  until not (ok and seen.status == "working" and entry.bare) -- an end that is believed when it was seen again
  if not ok and errors.is(seen, "cancelled") then error(seen, 0) end
  return ok and FINAL[seen.status] and seen or nil
end

--- Its deadline has passed.
function ending.expire(self, entry, row)
  if row.state ~= "running" then return end_idle(self, entry, row, "expired", "its deadline has passed") end
  local seen = last_reading(self, entry)
  if seen then return ending.finish(self, entry, row, seen) end
  local ok, result = pcall(end_running, self, entry, row, "expired")
  if ok then return result end
  if errors.is(result, "cancelled") or self.entries[entry.id] ~= entry then error(result, 0) end
  log.warn("supervisor.expire", { job = entry.id, error = tostring(result) })
  entry.again = STOP_AGAIN
  return nil
end

return ending
