-- supervisor_book.lua - what a supervisor knows of its jobs, and how that is written down.  -- internal
--
-- The journal has everything that must survive.  In memory stands one small entry for each job that is supervised
-- here, with what can be read again: its fence, its remote id, when it wants to be looked at.  Every change goes
-- through move(), under the fence, with the decision that led to it.

local amount = require "perigee.amount"
local bells = require "perigee.bell"
local clock = require "perigee.core.task"
local errors = require "perigee.error"
local journal = require "perigee.core.journal"
local json = require "perigee.json"
local log = require "perigee.log"
local task = require "perigee.task"
local time = require "perigee.time"

local book = {}

local FIRST_PAUSE <const>, LAST_PAUSE <const> = 1, 30 -- seconds between tries to write what has happened already
local ACTIVE <const> = { planned = true, held = true, submitting = true, running = true, unknown = true }

--- Milliseconds since 1970.
function book.wall()
  return math.floor(time.now() * 1000)
end

--- Raises (timeout, code deadline) if a job's deadline, among its limits, has passed: nothing may be started then.
function book.check_in_time(limits)
  if not limits.deadline or book.wall() < limits.deadline then return end
  error(errors.new {
    kind = "timeout", code = "deadline", outcome = "none", retryable = false, message = "its deadline has passed",
  }, 0)
end

--- True for a state that is not the end of a job.
function book.is_active(state)
  return ACTIVE[state] or false
end

-- ---- rows and what people see of them ------------------------------------------------------------------------

local function decoded(text)
  if text == nil or text == "" then return nil end
  local ok, value = pcall(json.decode, text)
  return ok and value or nil
end
book.decoded = decoded

--- JSON of a table whose empty values are left out; nil for none.
function book.encoded(value)
  if value == nil or next(value) == nil then return nil end
  return json.encode(value)
end

local function seconds_of(ms)
  return ms and ms / 1000 or nil
end

--- A sum of amounts given as text, in one currency; nil if there is none.
function book.sum(list)
  local total
  for _, text in ipairs(list) do
    local value = amount(text)
    total = total and total + value or value
  end
  return total
end

local FREE <const> = { refused = true, unsent = true } -- attempts that certainly had no effect

--- What the attempts have cost, or may have: text of an amount, or nil.
function book.spent(attempts)
  local list = {}
  for _, attempt in ipairs(attempts) do
    local price = attempt.cost or not FREE[attempt.state] and attempt.price or nil
    if price then list[#list + 1] = price end
  end
  local total = book.sum(list)
  return total and tostring(total) or nil
end

--- A job as hooks and callers see it: plain data, secrets as references.  attempts: rows, if spent is wanted.
function book.view(row, attempts)
  local options, tags = decoded(row.options) or {}, decoded(row.tags)
  return {
    id = row.id, name = row.name, key = row.key, service = row.service, kind = row.kind, state = row.state,
    reason = row.reason ~= "" and row.reason or nil, spec = decoded(row.spec), hash = row.hash, options = options,
    tags = tags and next(tags) and tags or json.array(), policy = row.policy, attempt = row.attempt or 0,
    attempts = options.retry and options.retry.attempts or 1,
    price = row.price, cost = row.cost, spent = attempts and book.spent(attempts) or nil, error = decoded(row.error),
    result = decoded(row.result), remote_id = row.remote_id, intent = row.intent, process = row.process,
    created_at = seconds_of(row.created_at), changed_at = seconds_of(row.changed_at),
    started_at = seconds_of(row.started_at), ended_at = seconds_of(row.ended_at), wake_at = seconds_of(row.wake_at),
    expires_at = seconds_of(row.expires_at),
  }
end

--- The row of a job, or nil.
function book.row(id)
  return journal.call("job.get", { id = id })[1]
end

--- The attempts of a job, and the one that is going on.
function book.attempts(row)
  local list = journal.call("attempt.list", { job = row.id })
  local present
  for _, attempt in ipairs(list) do
    if attempt.attempt == row.attempt then present = attempt end
  end
  return list, present
end

-- ---- entries -------------------------------------------------------------------------------------------------

--- The entry of a job that is supervised here, made or brought up to date from its row.
function book.absorb(self, row)
  local entry = self.entries[row.id]
  if not entry then
    entry = { id = row.id, service = row.service, kind = row.kind }
    self.entries[row.id] = entry
  end
  if entry.remote_id and entry.remote_id ~= row.remote_id then self.by_remote[entry.service .. "|" .. entry.remote_id] = nil end
  if entry.state ~= row.state then
    self.counts[row.state] = (self.counts[row.state] or 0) + 1
    if entry.state then self.counts[entry.state] = self.counts[entry.state] - 1 end
  end
  if row.state ~= "running" then entry.began = nil elseif not entry.began then entry.began = clock.now() end
  entry.state, entry.fence, entry.remote_id = row.state, row.fence, row.remote_id
  if entry.remote_id then self.by_remote[entry.service .. "|" .. entry.remote_id] = entry end
  if not entry.options_read then
    local options = decoded(row.options) or {}
    entry.deadline, entry.patience, entry.options_read = options.deadline, options.unreachable_after_s, true
  end
  return entry
end

--- Forgets an entry: the job has ended, or is another process's.
function book.drop(self, entry)
  if self.entries[entry.id] ~= entry then return end
  self.entries[entry.id] = nil
  if entry.heap then entry.heap:remove(entry) end
  if entry.remote_id then self.by_remote[entry.service .. "|" .. entry.remote_id] = nil end
  self.counts[entry.state] = self.counts[entry.state] - 1
  if entry.permit then entry.permit:close() end
  entry.permit = nil
  book.tell(self, entry.id)
end

-- ---- who waits for a change ----------------------------------------------------------------------------------

--- Wakes who waits for a change of the job.
function book.tell(self, id)
  for _, bell in ipairs(self.waiters[id] or {}) do bell.ring() end
end

--- Sleeps until the job changes here, at most so long.
function book.await(self, id, seconds)
  local bell = bells.new()
  local all = self.waiters[id] or {}
  self.waiters[id] = all
  all[#all + 1] = bell
  local guard <close> = setmetatable({}, { __close = function() -- luacheck: ignore 211
    for i, other in ipairs(all) do
      if other == bell then table.remove(all, i) end
    end
    if #all == 0 and self.waiters[id] == all then self.waiters[id] = nil end
  end })
  return bell.sleep(seconds)
end

-- ---- writing -------------------------------------------------------------------------------------------------

--- A decision: what was decided, in a plain sentence, and the figures that led to it.
function book.decision(kind, text, data, policy)
  local plain
  for name, value in pairs(data or {}) do
    plain = plain or {}
    plain[name] = amount.is(value) and tostring(value) or value
  end
  return { kind = kind, text = text, data = plain and json.encode(plain), policy = policy }
end

--- True if the error says that the journal cannot be written now, which may pass.
function book.is_journal(err)
  return errors.is(err) and type(err.code) == "string" and err.code:find "^journal" ~= nil
end

--- Writes a change of a job and waits for its commit.  A job that another process has taken over is dropped here.
function book.move(self, entry, change)
  change.id, change.fence = entry.id, entry.fence
  local ok, rows = pcall(journal.call, "job.move", change)
  if not ok then
    if errors.is(rows) and (rows.code == "fenced" or rows.code == "not_found") then
      log.warn("job.taken_over", { job = entry.id, error = rows.message })
      book.drop(self, entry)
    end
    error(rows, 0)
  end
  local row, before = rows[1], entry.state
  book.absorb(self, row)
  if log.enabled "debug" then
    log.debug("job.move", { job = row.id, from = before, to = row.state, attempt = row.attempt, reason = row.reason })
  end
  book.tell(self, row.id)
  return row
end

--- The same for what has happened already: tried until it is written, as long as this process lives.
function book.insist(self, entry, change)
  local pause = FIRST_PAUSE
  while true do
    local ok, row = pcall(book.move, self, entry, change)
    if ok then return row end
    if not book.is_journal(row) then error(row, 0) end
    self.late[entry.id] = true
    self:unwritable(row)
    book.await(self, entry.id, pause)
    pause = math.min(pause * 2, LAST_PAUSE)
  end
end

--- Adds a decision that changes nothing.
function book.note(entry, decision)
  decision.id = entry.id
  journal.call("job.note", decision)
end

--- Asks the policies; nil for no verdict, and the error if they could not be asked.
function book.consult(self, event, view)
  if not self.options.ask then return nil end
  local verdict, err = task.try(self.options.ask, event, view)
  if err then log.error("supervisor.ask", { event = event, job = view.id, error = tostring(err) }) end
  return verdict, err
end

--- Tells the world: events, which never hold up the work.
function book.emit(self, event, row, more)
  local data = more or {}
  data.job = row and book.view(row) or nil
  log.debug("supervisor." .. event, { job = row and row.id, state = row and row.state })
  if not self.options.emit then return end
  local ok, err = task.try(self.options.emit, event, data)
  if not ok and err then log.warn("supervisor.emit", { event = event, error = tostring(err) }) end
end

return book
