-- job_record.lua - jobs as the journal has them, read for people and machines.  -- internal
--
-- Reads only.  Gives plain documents: times in seconds since 1970, money as text, JSON columns decoded, secrets as
-- the references they are.

local amount = require "perigee.amount"
local book = require "perigee.supervisor_book"
local errors = require "perigee.error"
local journal = require "perigee.core.journal"
local json = require "perigee.json"

local record = {}

local function seconds(ms)
  return ms and ms / 1000 or nil
end

--- The row of the job that a person means: an id or its first digits, a name, a name and a key; nil if there is none.
--- Of several jobs of one name the newest.  Raises `invalid`/`ambiguous` for digits that fit several.
function record.find(word, key)
  if key then return journal.call("job.get", { name = word, key = key })[1] end
  local row = journal.call("job.get", { name = word, key = "" })[1]
  if not row and word:find "^%x+$" then row = journal.call("job.get", { id = word:lower() })[1] end
  return row or journal.call("job.list", { name = word, limit = 1 })[1]
end

--- The same, or `invalid`/`not_found`.
function record.need(word, key)
  local row = record.find(word, key)
  if row then return row end
  error(errors.new {
    kind = "invalid", code = "not_found", outcome = "none", retryable = false,
    message = ("there is no job %s%s: `perigee jobs list --all` shows what there is"):format(word, key and (" with key " .. key) or ""),
  }, 0)
end

local function attempt_of(row)
  return {
    attempt = row.attempt, state = row.state, intent = row.intent, remote_id = row.remote_id, price = row.price, cost = row.cost,
    derived = row.derived == 1 or nil, error = book.decoded(row.error), started_at = seconds(row.started_at),
    ended_at = seconds(row.ended_at),
  }
end

local function decision_of(row)
  return { at = seconds(row.at), kind = row.kind, text = row.text, data = book.decoded(row.data), policy = row.policy }
end

-- Sums of the job's permits for each currency; an amount counts in the bucket it stands in.
local function money_of(id)
  local sums, list = {}, {}
  for _, permit in ipairs(journal.call("permit.list", { job = id, limit = 1000 })) do
    local text = permit.amount or permit.price
    if text and permit.bucket ~= "none" then
      local value = amount(text)
      local currency = text:match "%S+$"
      local sum = sums[currency]
      if not sum then
        local zero = value - value
        sum = { currency = currency, held = zero, unknown = zero, spent = zero }
        sums[currency], list[#list + 1] = sum, sum
      end
      sum[permit.bucket] = sum[permit.bucket] + value
      sum.derived = sum.derived or permit.derived == 1 or nil
      sum.presumed = sum.presumed or permit.presumed == 1 or nil
    end
  end
  for _, sum in ipairs(list) do
    for _, bucket in ipairs { "held", "unknown", "spent" } do sum[bucket] = tostring(sum[bucket]) end
  end
  table.sort(list, function(a, b) return a.currency < b.currency end)
  return list
end

--- The process that has the job, {process, kind, host, pid, mine}, if it lives.
function record.owner(row)
  if not row.process or row.process == "" then return nil end
  for _, process in ipairs(journal.call "process.list") do
    if process.process == row.process and process.alive == 1 then
      return { process = process.process, kind = process.kind, host = process.host, pid = process.pid, mine = process.mine == 1 }
    end
  end
end

--- All that is known of a job: {job, attempts, decisions, money, owner}.
function record.whole(row)
  local rows = journal.call("attempt.list", { job = row.id })
  local whole = {
    job = book.view(row, rows), attempts = json.array(), decisions = json.array(), money = json.array(money_of(row.id)),
    owner = record.owner(row),
  }
  for i, one in ipairs(rows) do whole.attempts[i] = attempt_of(one) end
  for i, one in ipairs(journal.call("decision.list", { job = row.id, limit = 10000 })) do whole.decisions[i] = decision_of(one) end
  return whole
end

--- Jobs, newest first: {jobs}, and whether there are more.  filter: state service policy name; all: also those that
--- ended and were submitted more than `recent` seconds ago.
function record.list(filter, options)
  local limit, found, seen = options.limit, {}, {}
  local function take(more)
    local query = { limit = limit + 1 }
    for name, value in pairs(filter) do query[name] = value end
    for name, value in pairs(more) do query[name] = value end
    for _, row in ipairs(journal.call("job.list", query)) do
      if not seen[row.id] then found[#found + 1] = row end
      seen[row.id] = true
    end
  end
  if options.all or filter.state then
    take {}
  else
    take { active = 1 }
    take { since = book.wall() - options.recent * 1000 }
    table.sort(found, function(a, b)
      if a.created_at ~= b.created_at then return a.created_at > b.created_at end
      return a.id > b.id
    end)
  end
  local views, more = {}, #found > limit
  for i = 1, math.min(#found, limit) do views[i] = book.view(found[i]) end
  return views, more
end

return record
