-- supervisor_attempt.lua - from planned to running: price, gate, reserve, send.  -- internal
--
-- The intent is in the journal, and the attempt with it, before a request leaves.  A request is sent once.  What
-- certainly had no effect goes back to planned, what may have had one becomes unknown.

local amount = require "perigee.amount"
local approval = require "perigee.supervisor_approval"
local balance = require "perigee.balance"
local book = require "perigee.supervisor_book"
local budgets = require "perigee.budgets"
local clock = require "perigee.core.task"
local errors = require "perigee.error"
local job_spec = require "perigee.job_spec"
local permits = require "perigee.permit"
local service = require "perigee.service"

local attempt = {}

local BASE <const>, CAP <const> = 2, 60 -- seconds before a request that had no effect is tried again
local LOGIN_PAUSE <const> = 900 -- seconds a refused password rests
local PATIENCE <const> = 3600 -- seconds without a start before somebody is told
local APPROVAL <const> = 24 * 3600 -- seconds a held job waits for its approval
local decision, emit = book.decision, book.emit

local function text_of(err)
  return errors.is(err) and err.message or tostring(err)
end

--- What the journal and hooks are told of an error.
function attempt.error_of(err)
  if not errors.is(err) then return { kind = "error", message = tostring(err) } end
  return { kind = err.kind, code = err.code, message = err.message, outcome = err.outcome, status = err.status }
end

-- ---- limits ----------------------------------------------------------------------------------------------------

local function denied(code, message)
  error(errors.new { kind = "denied", code = code, message = message, outcome = "none", retryable = false }, 0)
end

--- What the next attempt may cost and last: {left, seconds, max_cost, spent}; attempts that went before count.
function attempt.limits(options, attempts)
  local limits = { max_cost = options.max_cost, spent = book.spent(attempts) }
  local ok, left = pcall(function()
    local rest = options.max_cost and amount(options.max_cost)
    if rest and limits.spent then rest = amount.max(rest - amount(limits.spent), rest - rest) end
    local each = options.max_cost_per_attempt and amount(options.max_cost_per_attempt)
    return rest and each and amount.min(rest, each) or rest or each
  end)
  if not ok then denied("currency", "max_cost and what was spent are in different currencies: " .. text_of(left)) end
  limits.left = left or nil
  if options.deadline then
    limits.deadline, limits.seconds = options.deadline, math.max(0, (options.deadline - book.wall()) / 1000)
  end
  return limits
end

-- Budgets of the configuration and of policies for this job, and those it names itself.
local function budgets_of(row, options)
  return budgets.for_call { policy = row.policy, tags = book.decoded(row.tags), names = options.budget }
end

-- ---- what is not to be ---------------------------------------------------------------------------------------------

--- The job waits for `seconds` and is tried again.
function attempt.postpone(self, entry, row, err, seconds, tried)
  local reason = text_of(err)
  local change = { state = "planned", wake_at = book.wall() + math.floor(seconds * 1000), reason = reason }
  if row.reason ~= reason then
    change.decisions = { decision("wait", ("nothing was started: %s; it is tried again in %.0f s"):format(reason, seconds),
      attempt.error_of(err)) }
  end
  if tried then change.attempts = { { attempt = tried, state = "unsent", error = book.encoded(attempt.error_of(err)) } } end
  book.insist(self, entry, change)
end

local function deny(self, entry, row, err, verdicts)
  local decisions = verdicts or {}
  decisions[#decisions + 1] = decision("gate", "denied: " .. text_of(err), {
    code = err.code, price = err.price, limit = err.limit, left = err.left, budget = err.budget,
  })
  local denial = book.insist(self, entry, {
    state = "denied", reason = text_of(err), error = book.encoded(attempt.error_of(err)), decisions = decisions,
  })
  emit(self, "job.denied", denial, { reason = denial.reason, before = row.state })
end

-- How long to wait before a try that had no effect is repeated.
local function backoff(entry, err)
  if errors.is(err, "auth") and not err.renewed then return LOGIN_PAUSE end
  entry.refusals = (entry.refusals or 0) + 1
  local most = math.min(CAP, BASE * 2.0 ^ math.min(entry.refusals - 1, 10))
  local asked = errors.is(err) and tonumber(err.retry_after) or 0
  return math.max(most * (0.5 + 0.5 * clock.random()), math.min(asked, 300))
end

-- True for an error that says nothing against the job: it is tried again for as long as it takes.
local function passes(err)
  if not errors.is(err) then return false end
  if err.code == "not_offered" then return false end -- in this era of the service
  if err.kind == "auth" then return err.operation ~= nil end -- refused by the service, not missing here
  return err.renewed or (service.passes(err) and err.kind ~= "denied") or false
end

-- Nothing could be started for long: somebody is told, once.
local function tell_waiting(self, entry, row, err)
  local now = clock.now()
  entry.waiting_since = entry.waiting_since or now
  local patience = entry.patience or self.options.unreachable_after or PATIENCE
  if entry.told or now - entry.waiting_since < patience then return end
  entry.told = true
  emit(self, "job.unreachable", row, { error = text_of(err), since = book.wall() / 1000 - (now - entry.waiting_since) })
end

local function is_late(err)
  return errors.is(err, "timeout") and err.code == "deadline"
end

-- An error before or without any effect, of attempt `number`; tried: its row if money was reserved for it.
local function refused(self, entry, row, err, number, tried)
  if errors.is(err, "cancelled") then error(err, 0) end
  if is_late(err) then return require "perigee.supervisor_end".expire(self, entry, row) end
  if book.is_journal(err) then
    self:unwritable(err)
    return attempt.postpone(self, entry, row, err, 5, tried)
  end
  if passes(err) then
    if err.kind == "auth" and not err.renewed then self:login_refused(row.service, err) end
    tell_waiting(self, entry, row, err)
    return attempt.postpone(self, entry, row, err, backoff(entry, err), tried)
  end
  if (errors.is(err, "denied") or errors.is(err, "funds")) and number == 1 then return deny(self, entry, row, err) end
  if not errors.is(err) then self:report(entry, err) end
  return require "perigee.supervisor_end".failed(self, entry, row, { tried = tried, error = attempt.error_of(err), raised = err })
end

-- ---- the gate of the policies ------------------------------------------------------------------------------------

-- One decision for each verdict, in their order.
local function verdicts_of(verdict)
  local list = {}
  for _, one in ipairs(verdict.verdicts or {}) do
    list[#list + 1] = decision("gate", ("policy %s says %s%s"):format(one.policy or "?", one.decision or "nothing",
      one.why and ": " .. one.why or ""), nil, one.policy)
  end
  return list
end

local function hold(self, entry, verdict, price, decisions)
  local expires = book.wall() + (verdict.expires or self.options.approval_after or APPROVAL) * 1000
  decisions[#decisions + 1] = decision("gate", "held for approval: " .. (verdict.why or "a policy wants it"), {
    price = price, expires_at = expires,
  })
  local row = book.insist(self, entry, {
    state = "held", reason = verdict.why or "held by a policy", price = price and tostring(price), expires_at = math.floor(expires),
    decisions = decisions,
  })
  emit(self, "job.held", row, { expires_at = expires / 1000 })
end

-- Asks the policies; true if the job may go on.
local function pass_gate(self, entry, row, terms)
  if not self.options.ask then return true end
  local view = book.view(row)
  view.price = terms.price and tostring(terms.price)
  local verdict, err = book.consult(self, "job.submit", view)
  if err then verdict = { decision = "deny", why = "the policies could not be asked: " .. text_of(err) } end
  verdict = verdict or { decision = "allow" }
  local decisions = verdicts_of(verdict)
  table.insert(decisions, 1, decision("price", terms.text, { price = terms.price }))
  if verdict.decision == "deny" then
    deny(self, entry, row, errors.new {
      kind = "denied", code = "policy", message = verdict.why or "a policy denies it", outcome = "none", retryable = false,
    }, decisions)
    return false
  elseif verdict.decision == "hold" then
    hold(self, entry, verdict, terms.price, decisions)
    return false
  end
  for _, one in ipairs(#decisions > 1 and decisions or {}) do book.note(entry, one) end
  return true
end

-- The same for a job that a person has approved: for its price, or less.
local function pass_approved(self, entry, terms, approved)
  if approval.covers(approved, terms.price) then return true end
  hold(self, entry, { why = ("%s were approved, and by now it costs %s"):format(approved, tostring(terms.price)) }, terms.price, {
    decision("price", terms.text, { price = terms.price }),
  })
  return false
end

-- ---- one attempt ---------------------------------------------------------------------------------------------------

-- True for a job that is sent only with a yes to its price: one that was submitted at a prompt, and any that a
-- session's own supervisor sends.
local function asks(options)
  return options.confirmed ~= nil or permits.session() ~= nil
end

-- What a driver needs of us while it submits; `try.permit` is there once money is reserved.
local function new_try(self, entry, row, options, limits, number)
  local try = { number = number }
  function try.reserve(terms, call)
    book.check_in_time(limits)
    local list = budgets_of(row, options)
    balance.check(self:driver(row.service).client, call.operation, terms.price, list)
    try.permit = permits.request({
      service = row.service, operation = call.operation, account = call.account, key = call.key, price = terms.price,
      max_cost = limits.left, budgets = list, intent = call.intent,
      job = row.id, attempt = number, policy = row.policy, tags = row.tags, model = call.model,
    }, asks(options) and { confirmed = approval.agreed(row, options, terms.price) } or nil)
    local intent = try.permit:intent_id()
    local kept = book.encoded { terms = self:driver(row.service).terms_text(terms) }
    book.move(self, entry, {
      state = "submitting", attempt = number, intent = intent, price = tostring(terms.price), reason = "",
      attempts = { {
        attempt = number, intent = intent, state = "submitting", price = tostring(terms.price), spec = kept, started_at = book.wall(),
      } },
      decisions = {
        decision("price", terms.text, { price = terms.price }),
        decision("reserve", ("%s are held for attempt %d"):format(tostring(terms.price), number), {
          price = terms.price, left = limits.left, max_cost = limits.max_cost, spent = limits.spent, intent = intent,
        }),
      },
    })
    return try.permit
  end
  function try.url()
    return self.options.url_for and self.options.url_for(row.id, number) or nil
  end
  return try
end

local function is_running(self, entry, try, remote_id)
  entry.permit, entry.refusals, entry.waiting_since, entry.told = try.permit, nil, nil, nil
  local row = book.insist(self, entry, {
    state = "running", remote_id = remote_id, reason = "", error = "",
    attempts = { { attempt = try.number, state = "running", remote_id = remote_id } },
    decisions = { decision("create", ("%s has taken attempt %d as %s"):format(self:driver(entry.service).title, try.number, remote_id), {
      remote_id = remote_id,
    }) },
  })
  entry.interval, entry.fresh = nil, true
  emit(self, "job.running", row)
end

local function is_unknown(self, entry, try, err)
  entry.permit = try.permit
  local row = book.insist(self, entry, {
    state = "unknown", reason = text_of(err), error = book.encoded(attempt.error_of(err)),
    attempts = { { attempt = try.number, state = "unknown", error = book.encoded(attempt.error_of(err)) } },
    decisions = { decision("answer", ("whether attempt %d was started is not known: %s; its money stays held while it is looked for")
      :format(try.number, text_of(err)), attempt.error_of(err)) },
  })
  entry.looked_for = nil
  emit(self, "job.unknown", row)
end

-- A permit that nothing came of, closed by all means.
local function close(try)
  if try.permit then try.permit:close() end
end

--- Sends the next attempt of a planned job.
function attempt.begin(self, entry, row, options)
  local attempts, last = book.attempts(row)
  local number = last and last.state == "unsent" and row.attempt or (row.attempt or 0) + 1
  local ok, limits = pcall(attempt.limits, options, attempts)
  if not ok then return refused(self, entry, row, limits, number) end
  if number == 1 and not asks(options) then limits.left = approval.limit(approval.of(row), limits.left) end
  local try = new_try(self, entry, row, options, limits, number)
  self.sending = self.sending + 1
  local sent, remote_id = pcall(function()
    local driver = self:driver(row.service)
    return driver:submit(row, job_spec.resolve(row.spec), limits, try)
  end)
  self.sending = self.sending - 1
  if sent then return is_running(self, entry, try, tostring(remote_id)) end
  if try.permit and try.permit:state() == "unknown" then return is_unknown(self, entry, try, remote_id) end
  close(try)
  if self.entries[entry.id] ~= entry then return nil end
  if errors.is(remote_id, "denied") and remote_id.code == "not_confirmed" then
    return hold(self, entry, { why = remote_id.message }, remote_id.price, {})
  end
  local tried = entry.state == "submitting" and number or nil
  return refused(self, entry, row, remote_id, number, tried)
end

--- What an attempt of the job would cost if it were sent now, for a person who is asked: {price, text, max_cost,
--- limits}, amounts as text.  Raises `denied` for what a limit denies.  Nothing is held, and no estimate stays behind
--- but that of an inference's job.  attempts: those that went before.
function attempt.quote(self, row, attempts)
  local options = book.decoded(row.options) or {}
  local limits = attempt.limits(options, attempts)
  local driver = self:driver(row.service)
  local terms = driver:price(row, job_spec.resolve(row.spec), limits)
  local judged = permits.judge {
    service = row.service, operation = row.kind == "infer" and "start_inference" or "create_job", price = terms.price,
    max_cost = limits.left, budgets = budgets_of(row, options),
  }
  local shown = {}
  for i, one in ipairs(judged) do
    shown[i] = { budget = one.budget, window = one.window, zone = one.zone, limit = tostring(one.limit), left = tostring(one.left) }
  end
  return {
    price = tostring(terms.price), text = terms.text, max_cost = limits.left and tostring(limits.left) or nil, limits = shown,
  }
end

--- The step of a planned job: price and gate if it has not passed them, then an attempt.
function attempt.plan(self, entry, row)
  local options = book.decoded(row.options) or {}
  if options.deadline and book.wall() >= options.deadline then
    return require "perigee.supervisor_end".expire(self, entry, row)
  end
  if self.draining or (row.wake_at and row.wake_at > book.wall() + 20) then return nil end
  if self.options.ask and (row.attempt or 0) == 0 then
    local ok, passed = pcall(function()
      local approved = approval.of(row)
      local limits = attempt.limits(options, {})
      local terms = self:driver(row.service):price(row, job_spec.resolve(row.spec), limits)
      if approved then return pass_approved(self, entry, terms, approved) end
      return pass_gate(self, entry, row, terms)
    end)
    if not ok then return refused(self, entry, row, passed, 1) end
    if not passed then return nil end
  end
  return attempt.begin(self, entry, row, options)
end

return attempt
