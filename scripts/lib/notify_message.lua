-- internal: notify_message.lua - an event as a message: one sentence for people, plain fields for machines, without secrets.

local amount = require "perigee.amount"
local config = require "perigee.config"
local errors = require "perigee.error"
local fs = require "perigee.fs"
local json = require "perigee.json"
local time = require "perigee.time"

local message = {}

local DEEPEST <const> = 6
local LARGEST <const> = 32 * 1024 -- bytes of a message's data
local MOST_LISTED <const> = 20 -- messages that one that stands for many lists
local MOST_SAID <const> = 3 -- that its sentence quotes
local JOB_FIELDS <const> = { "id", "name", "key", "service", "kind", "state", "attempt", "price", "cost", "spent", "policy", "reason",
  "remote_id", "error" }

-- These repeat after a restart; one a day for each subject is enough.
local DAILY <const> = { ["budget.low"] = true, ["login.refused"] = true, ["sweep.found"] = true }

-- ---- plain fields -----------------------------------------------------------------------------------------------

local plain

local function plain_table(value, depth)
  if errors.is(value) then return { kind = value.kind, code = value.code, message = value.message } end
  local copy, list = {}, #value > 0
  for key, one in pairs(value) do
    local name = list and math.type(key) == "integer" and key or tostring(key)
    if not list or math.type(key) == "integer" then copy[name] = plain(one, depth + 1) end
  end
  return copy
end

-- What JSON can say; anything else as its text, and functions not at all.
function plain(value, depth)
  if amount.is(value) then return tostring(value) end
  local kind = type(value)
  if kind == "string" then return utf8.len(value) and value or nil end
  if kind == "number" then return value == value and math.abs(value) < math.huge and value or nil end
  if kind == "boolean" then return value end
  if errors.is(value) then return plain_table(value, depth) end
  if kind == "table" and depth < DEEPEST then return plain_table(value, depth) end
  if kind == "userdata" then return tostring(value) end
end

local function job_fields(job)
  if type(job) == "string" then return { id = job } end
  if type(job) ~= "table" then return nil end
  local fields = {}
  for _, name in ipairs(JOB_FIELDS) do fields[name] = plain(job[name], 1) end
  return fields
end

-- ---- sentences --------------------------------------------------------------------------------------------------

local function called(job)
  local text = job.name and ('job "%s"'):format(job.name) or "job"
  if job.key and job.key ~= "" then text = ('%s, key "%s"'):format(text, job.key) end
  return job.id and ("%s (%s)"):format(text, job.id:sub(1, 8)) or text
end

local function because(why)
  return why and why ~= "" and ": " .. tostring(why) or ""
end

local function failure_of(job, data)
  return because(type(job.error) == "table" and job.error.message or job.reason or data.why)
end

local sentences = {
  ["job.failed"] = function(data, job)
    return ("%s failed after %d attempt%s%s"):format(called(job), job.attempt or 1, (job.attempt or 1) == 1 and "" or "s",
      failure_of(job, data)) .. (job.cost and ("; it cost %s"):format(job.cost) or "")
  end,
  ["job.held"] = function(data, job)
    return ("%s waits for a person%s; perigee approve %s, or perigee deny %s"):format(called(job), because(data.why or job.reason),
      (job.id or ""):sub(1, 8), (job.id or ""):sub(1, 8))
  end,
  ["job.unknown"] = function(_, job)
    return ("%s may have been created and billed: the reply was lost%s; its price stays held"):format(called(job),
      job.price and (", " .. job.price) or "")
  end,
  ["approval.expiring"] = function(data, job)
    local left = type(data.expires_at) == "number" and data.expires_at - time.now()
    return ("%s waits for a person and will be denied %s; perigee approve %s"):format(called(job),
      left and left > 0 and "in " .. time.words(left) or "soon", (job.id or ""):sub(1, 8))
  end,
  ["budget.low"] = function(data)
    return ('budget "%s" is low: %s of %s are used%s'):format(data.budget or "?", data.used or "?", data.limit or "?",
      data.window and " this " .. data.window or "")
  end,
  ["policy.paused"] = function(data) return ('policy "%s" is paused%s'):format(data.policy or "?", because(data.why)) end,
  ["policy.stale"] = function(data) return ('policy "%s" does not keep its schedule%s'):format(data.policy or "?", because(data.why)) end,
  ["login.refused"] = function(data)
    return ("%s refuses the login%s; jobs there are watched as unreachable"):format(data.service or "a service",
      because(data.why or data.error))
  end,
  ["journal.unwritable"] = function(data)
    return "the journal cannot be written" .. because(data.why or data.error) .. "; new paid work is denied"
  end,
  ["daemon.crashed"] = function(data) return "the daemon was started again after it had not ended in order" .. because(data.why) end,
  ["sweep.found"] = function(data)
    local count = #(data.found or {})
    return ("%d remote job%s that nobody tracks; perigee jobs sweep shows them"):format(count, count == 1 and "" or "s")
  end,
}

-- ---- messages ---------------------------------------------------------------------------------------------------

-- What makes this message the same as an earlier one.
local function subject(event, data, job, at, text)
  if job and job.id then -- a job that is held once more is another question
    local held = job.state == "held" and data.expires_at
    return { job.id, job.state or text, tostring(job.attempt or ""), held and tostring(held) or nil }
  end
  local about = { data.policy or "", data.schedule or "", data.budget or "", data.window or "", data.limit or "", data.service or "" }
  for i, part in ipairs(about) do about[i] = tostring(part) end
  about[#about + 1] = DAILY[event] and time.format(at, nil, "%Y-%m-%d") or ("%.3f"):format(at)
  return about
end

local function identity(event, parts, target)
  return fs.sha256_text(table.concat({ event, target, table.unpack(parts) }, "\0")):sub(1, 32)
end

--- A message about an event: { event, text, at, policy, job, data } and subject, from which ids are made.
function message.new(event, data, text)
  data = data or {}
  local at = time.now()
  local job = job_fields(data.job)
  local rest = {}
  for key, value in pairs(data) do
    if key ~= "job" then rest[key] = value end
  end
  local sentence = text or sentences[event] and sentences[event](rest, job or {}) or event
  return {
    event = event, text = sentence, at = at, job = job, policy = data.policy or job and job.policy, data = plain(rest, 0),
    subject = subject(event, data, job, at, sentence),
  }
end

--- Its id for one target: the same event, job and state have the same.
function message.id(m, target)
  return identity(m.event, m.subject, target)
end

--- The JSON to send, secrets blanked.
function message.body(m, id)
  local document = {
    schema_version = 1, id = id, event = m.event, text = m.text, at = time.format(math.floor(m.at)), policy = m.policy, job = m.job,
    data = m.data and next(m.data) and m.data or nil,
  }
  local text = json.encode(document)
  if #text > LARGEST then
    document.data, document.text = { left_out = ("%d bytes"):format(#text) }, document.text:sub(1, 1000)
    text = json.encode(document)
  end
  return config.redact(text)
end

--- One body for many of the same event.
function message.merged(bodies)
  local list, said = json.array(), {}
  for i = 1, math.min(#bodies, MOST_LISTED) do list[i] = json.decode(bodies[i]) end
  for i = 1, math.min(#bodies, MOST_SAID) do said[i] = list[i].text end
  local more = #bodies > MOST_SAID and ("; and %d more"):format(#bodies - MOST_SAID) or ""
  return json.encode {
    schema_version = 1, id = list[1].id, event = list[1].event, at = list[1].at, count = #bodies, messages = list,
    text = ("%d messages since %s: %s%s"):format(#bodies, list[1].at, table.concat(said, "; "), more),
  }
end

return message
