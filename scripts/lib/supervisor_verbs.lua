-- supervisor_verbs.lua - what can be asked of a supervisor: plain data in and out.  -- internal
--
-- A job that another living process owns is asked through the journal; one that nobody has is taken over first.

local approval = require "perigee.supervisor_approval"
local attempt = require "perigee.supervisor_attempt"
local book = require "perigee.supervisor_book"
local clock = require "perigee.core.task"
local ending = require "perigee.supervisor_end"
local errors = require "perigee.error"
local job_spec = require "perigee.job_spec"
local journal = require "perigee.core.journal"
local json = require "perigee.json"
local recover = require "perigee.supervisor_recover"
local secret = require "perigee.core.server".secret

local verbs = {}

local ID_LENGTH <const> = 12 -- hex digits of a job's id: short enough to type
local FIRST_LOOK <const>, LAST_LOOK <const> = 0.2, 2 -- seconds between looks at a job of another process
local FINISHED_RETRY <const> = { failed = true, stopped = true, expired = true, denied = true }

local function invalid(code, message, ...)
  error(errors.new { kind = "invalid", code = code, message = message:format(...), outcome = "none", retryable = false }, 0)
end

local function id_of(what)
  return type(what) == "table" and what.id or what
end

-- The row of a job named by id (or its beginning), or by {name =, key =}; raises for none.
local function find(what)
  local rows
  if type(what) == "table" and what.name then
    rows = journal.call("job.get", { name = what.name, key = what.key or "" })
  else
    rows = journal.call("job.get", { id = id_of(what) })
  end
  if not rows[1] then
    invalid("not_found", "there is no job %s", type(what) == "table" and what.name and ("%q"):format(what.name) or tostring(id_of(what)))
  end
  return rows[1]
end

local function who_of(origin)
  return origin and (origin.who or origin.policy and "policy " .. origin.policy) or "somebody"
end

-- Leaves a request for the process that has the job.
local function ask_owner(row, origin, request)
  request.who = who_of(origin)
  journal.call("job.ask", { id = row.id, request = json.encode(request) })
  local view = book.view(row)
  view.asked = true
  return view
end

-- f(entry, row) for a job of ours, under its lock; for one that is nobody's after taking it.  Asks another process.
local function on_own(self, what, origin, request, f)
  local row = find(what)
  if not book.is_active(row.state) then invalid("ended", "job %s has ended: it is %s", row.id, row.state) end
  if not self.entries[row.id] then recover.claim(self, row.id) end
  if not self.entries[row.id] then
    return ask_owner(row, origin, request)
  end
  local result
  do
    local lock <close> = self.lock(row.id) -- luacheck: ignore 211
    local entry = self.entries[row.id]
    row = book.row(row.id)
    if not entry or not book.is_active(row.state) then invalid("ended", "job %s has ended: it is %s", row.id, row.state) end
    result = f(entry, row)
    entry.ended = nil
    self:schedule(entry)
  end
  return book.view(result or book.row(row.id))
end

-- ---- the verbs -----------------------------------------------------------------------------------------------------------

local function submit(self, prepared, origin)
  if self.draining then
    error(errors.new {
      kind = "unavailable", code = "draining", message = "the program is about to end and takes no more jobs", outcome = "none",
      retryable = true,
    }, 0)
  end
  local row = journal.call("job.submit", {
    id = secret():sub(1, ID_LENGTH), name = prepared.name, key = prepared.key, service = prepared.service, kind = prepared.kind,
    spec = prepared.spec, hash = prepared.hash, state = "planned", options = prepared.options, policy = prepared.policy or
    (origin and origin.policy), tags = prepared.tags, attach = prepared.attach,
  })[1]
  local ours = row.process == nil or row.process == journal.process_id()
  if row.created == 1 then
    local entry = book.absorb(self, row)
    book.note(entry, book.decision("submit", ("submitted by %s"):format(who_of(origin)), nil, origin and origin.policy))
    book.emit(self, "job.submitted", row)
    self:schedule(entry, row)
  elseif ours and book.is_active(row.state) and not self.entries[row.id] then
    recover.take(self, row)
  end
  local view = book.view(row)
  view.created = row.created == 1
  return view
end

local function wait(self, what, seconds)
  local row = find(what)
  local deadline = seconds and clock.now() + seconds
  local pause = FIRST_LOOK
  while book.is_active(row.state) do
    local left = deadline and deadline - clock.now() or math.huge
    if left <= 0 then break end
    if not self.entries[row.id] and not row.process and not self.draining then recover.claim(self, row.id) end
    if self.entries[row.id] then
      book.await(self, row.id, math.min(left, 60))
    else
      book.await(self, row.id, math.min(left, pause))
      pause = math.min(pause * 1.5, LAST_LOOK)
    end
    row = book.row(row.id) or row
  end
  return book.view(row)
end

-- The spec of a job with these fields in place of its own; nil for none.
local function changed_spec(row, fields)
  if not fields then return nil end
  local all = json.decode(row.spec)
  for name, value in pairs(fields) do all[name] = value end
  return (job_spec.plain(all, { service = row.service, kind = row.kind, name = row.name, bounded = true }))
end

-- A finished job is planned anew, and is this process's from then on, whoever had it.
local function again(self, row, change, origin)
  local options = book.decoded(row.options) or {}
  if options.deadline and book.wall() >= options.deadline then invalid("deadline", "the deadline of job %s has passed", row.id) end
  local confirmed = change and change.confirmed
  change = changed_spec(row, change and change.spec)
  local moved = journal.call("job.move", {
    id = row.id, fence = row.fence, state = "planned", wake_at = book.wall(), reason = "", spec = change,
    decisions = { book.decision("retry", ("%s wants another attempt"):format(who_of(origin)), confirmed and { confirmed = confirmed },
      origin and origin.policy) },
  })[1]
  if moved.process ~= journal.process_id() then recover.claim(self, row.id) else recover.take(self, moved) end
  return book.view(moved)
end

-- What a job would cost if it were sent now: a prepared one, or another attempt of one that is there.
local function quote(self, asked, origin)
  if not asked.id then
    return attempt.quote(self, {
      id = secret():sub(1, ID_LENGTH), name = asked.name, service = asked.service, kind = asked.kind, spec = asked.spec,
      options = asked.options, tags = asked.tags, policy = asked.policy or (origin and origin.policy),
    }, {})
  end
  local row = find(asked.id)
  local copy = {}
  for name, value in pairs(row) do copy[name] = value end
  copy.spec = changed_spec(row, asked.spec) or row.spec
  return attempt.quote(self, copy, (book.attempts(row)))
end

local function stop(self, what, origin)
  return on_own(self, what, origin, { verb = "stop" }, function(entry, row)
    return ending.stop(self, entry, row, who_of(origin))
  end)
end

local function retry(self, what, change, origin)
  local row = find(what)
  if FINISHED_RETRY[row.state] then return again(self, row, change, origin) end
  if row.state == "unknown" then
    invalid("unknown", "whether job %s was started is not known: a retry might pay twice. Adopt it (perigee jobs adopt) or forget it first",
      row.id)
  end
  return invalid("order", "job %s is %s: only one that has ended without success can be retried", row.id, row.state)
end

local function adopt(self, what, given, origin)
  local remote_id = type(what) == "table" and what.remote_id or given and given.remote_id
  if type(remote_id) ~= "string" or remote_id == "" then invalid("remote_id", "adopt: remote_id is missing") end
  return on_own(self, what, origin, { verb = "adopt", remote_id = remote_id }, function(entry, row)
    if row.state ~= "unknown" then invalid("order", "job %s is %s: only an unknown one can be adopted", row.id, row.state) end
    local other = recover.tracker(row.service, remote_id)
    if other then invalid("taken", "adopt: %s is tracked already, by job %s: one remote job cannot be two of ours", remote_id, other) end
    return recover.adopt(self, entry, row, remote_id, who_of(origin) .. " says so")
  end)
end

local function forget(self, what, origin)
  return on_own(self, what, origin, { verb = "forget" }, function(entry, row)
    local text = ("forgotten: %s says that it is not to be supervised any more"):format(who_of(origin))
    local permit = row.intent and ending.permit(entry, row.intent)
    local state = permit and permit:state()
    if row.state == "unknown" then
      text = ("forgotten: %s says that attempt %d was not started; its money is free"):format(who_of(origin), row.attempt or 1)
      if state == "unknown" then permit:answered "none" end
    elseif state == "created" then
      permit:settle(nil, true)
    end
    ending.close_permit(entry)
    local attempts = row.attempt and row.intent and { { attempt = row.attempt, state = "stopped", ended_at = book.wall() } } or nil
    local final = book.insist(self, entry, {
      state = "stopped", reason = text, attempts = attempts, decisions = { book.decision("forget", text) },
    })
    book.emit(self, "job.stopped", final)
    return final
  end)
end

local function answer_hold(self, what, origin, verb, given)
  local why, price = given.why, given.price
  return on_own(self, what, origin, { verb = verb, why = why, price = price }, function(entry, row)
    if row.state ~= "held" then invalid("order", "job %s is %s: only a held one waits for approval", row.id, row.state) end
    local approved = verb == "approve"
    if approved and price and row.price ~= price then
      invalid("other_price", "job %s costs %s by now, and not %s", row.id, tostring(row.price), price)
    end
    local answer, text = approval.decision(row, approved, who_of(origin), why)
    local moved = book.move(self, entry, {
      state = approved and "planned" or "denied", reason = approved and "approved" or text, wake_at = approved and book.wall() or nil,
      decisions = { answer },
    })
    if not approved then book.emit(self, "job.denied", moved, { reason = text, before = "held" }) end
    return moved
  end)
end

local LIST_FIELDS <const> = { "state", "active", "service", "policy", "name", "mine", "orphan", "since", "limit", "after" }

local function list(filter)
  local given = {}
  for _, name in ipairs(LIST_FIELDS) do given[name] = filter and filter[name] end
  local views = json.array()
  for i, row in ipairs(journal.call("job.list", given)) do views[i] = book.view(row) end
  return views
end

local function why(what)
  return require "perigee.why".gather(find(what))
end

-- `who` of approve and deny is a name or an origin; of deny also a table with the reason, `why`.
local function origin_of(who)
  return type(who) == "string" and { who = who } or who
end

--- The verbs of a supervisor.
function verbs.new(self)
  return {
    submit = function(prepared, origin) return submit(self, prepared, origin) end,
    get = function(what)
      local ok, row = pcall(find, what)
      if ok then return book.view(row, book.attempts(row)) end
      if errors.is(row) and row.code == "not_found" then return nil end
      error(row, 0)
    end,
    list = list,
    wait = function(what, seconds) return wait(self, what, seconds) end,
    stop = function(what, args, origin) return stop(self, what, origin or args) end,
    retry = function(what, change, origin) return retry(self, what, change, origin) end,
    quote = function(asked, origin) return quote(self, asked, origin) end,
    adopt = function(what, given, origin) return adopt(self, what, given, origin or given) end,
    forget = function(what, args, origin) return forget(self, what, origin or args) end,
    approve = function(what, who, origin)
      return answer_hold(self, what, origin or origin_of(who), "approve", type(who) == "table" and who or {})
    end,
    deny = function(what, who, origin)
      return answer_hold(self, what, origin or origin_of(who), "deny", type(who) == "table" and who or {})
    end,
    why = why,
    sweep = function()
      local found, failures = recover.sweep(self)
      return { found = json.array(found), failures = json.array(failures) }
    end,
  }
end

return verbs
