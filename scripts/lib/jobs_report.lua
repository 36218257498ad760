-- jobs_report.lua - lists and single jobs as tables for people.  -- internal
--
-- Pure: documents in, text out.  The same documents go out as JSON.

local columns = require "perigee.columns"
local inspect = require "perigee.inspect"
local term = require "perigee.core.term"
local time = require "perigee.time"
local words = require "perigee.job_words"

local report = {}

local LEAST_NOTE <const> = 20 -- cells a note gets at least, however narrow the terminal

local function note_of(job)
  local text = job.reason and job.reason ~= "" and job.reason or type(job.error) == "table" and job.error.message or ""
  return (tostring(text):gsub("%s+", " "))
end

-- What is long is cut to the terminal; a pipe gets all of it.
local function fit(rows, width)
  if not width then return end
  local used, last = 0, #rows[1]
  for c = 1, last - 1 do
    local widest = 0
    for _, row in ipairs(rows) do widest = math.max(widest, term.width(tostring(row[c]))) end
    used = used + widest + 2
  end
  local left = math.max(width - used, LEAST_NOTE)
  for _, row in ipairs(rows) do
    row[last] = term.cut(row[last], left)
  end
end

--- A table of jobs.  options: now, width in cells (nil: not cut), empty: the line for none.
function report.list(jobs, options)
  options = options or {}
  local now = options.now or time.now()
  if #jobs == 0 then return (options.empty or "no jobs") .. "\n" end
  local keyed = false
  for _, job in ipairs(jobs) do keyed = keyed or job.key and job.key ~= "" end
  local rows = { { "ID", "NAME", "KEY", "SERVICE", "STATE", "SINCE", "MONEY", "NOTE" } }
  for i, job in ipairs(jobs) do
    rows[i + 1] = { words.short(job), job.name, job.key or "", job.service .. " " .. job.kind, words.state(job),
      words.ago(job.changed_at or job.created_at, now), words.money(job), note_of(job) }
  end
  if not keyed then
    for _, row in ipairs(rows) do table.remove(row, 3) end
  end
  fit(rows, options.width)
  return columns.render(rows)
end

local function fields_of(whole, now)
  local job, options = whole.job, whole.job.options or {}
  local rows = {}
  local function add(label, text)
    if text ~= nil and text ~= "" then rows[#rows + 1] = { label, tostring(text) } end
  end
  local function at(label, moment)
    add(label, moment and ("%s (%s)"):format(time.format(moment // 1), words.ago(moment, now)))
  end
  add("id", job.id)
  add("name", job.name)
  add("key", job.key)
  add("service", ("%s %s"):format(job.service, job.kind))
  add("state", words.state(job))
  add("reason", job.reason)
  add("remote id", job.remote_id)
  add("policy", job.policy)
  add("tags", job.tags and table.concat(job.tags, " "))
  add("price", job.price and "at most " .. tostring(job.price))
  add("cost", job.cost)
  add("max_cost", options.max_cost)
  at("created", job.created_at)
  at("started", job.started_at)
  at("ended", job.ended_at)
  at("deadline", options.deadline and options.deadline / 1000)
  if words.is_active(job.state) then
    at("next look", job.wake_at)
    add("looked after", whole.owner and ("by %s, process %s"):format(whole.owner.kind, whole.owner.pid) or "by nobody")
  end
  if type(job.error) == "table" then add("error", job.error.message or job.error.code or job.error.kind) end
  return rows
end

--- One job with its spec and result.
function report.show(whole, options)
  local now = options and options.now or time.now()
  local parts = { columns.render(fields_of(whole, now)), "spec ", inspect.text(whole.job.spec), "\n" }
  if whole.job.result then
    parts[#parts + 1] = ("result %s\n"):format(inspect.text(whole.job.result))
  end
  return table.concat(parts)
end

--- Paid work at the services that no job tracks.  result: {found = {{service, id, since, name, price}, …}, failures =
--- {{service, error}, …}}.
function report.sweep(result, options)
  local now = options and options.now or time.now()
  local parts = {}
  if #result.found == 0 then
    parts[1] = "no paid work that nobody tracks was found\n"
  else
    local rows = { { "SERVICE", "REMOTE ID", "NAME", "SINCE", "PRICE" } }
    for i, one in ipairs(result.found) do
      rows[i + 1] = { one.service, one.id, one.name or "", words.ago(one.since, now), one.price or "" }
    end
    parts[1] = columns.render(rows)
  end
  for _, failure in ipairs(result.failures or {}) do
    parts[#parts + 1] = ("%s could not be asked: %s\n"):format(failure.service, term.escape(failure.error))
  end
  return table.concat(parts)
end

return report
