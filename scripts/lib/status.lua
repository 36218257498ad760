-- perigee.status: what a daemon says of itself, as a document for machines and as a screen for people.  -- internal
--
-- The daemon gathers its data once, for this and for the metrics (perigee.metrics). `data` is a plain table:
--   version directory pid started_at draining
--   addresses { control = path, callbacks = url, admin = url }, as far as it is reached there
--   jobs      rows of the verb job.counts: state service policy count
--   policies  { name file state why schedules = { {name next} } last = {at hook outcome error} }; state: active,
--             paused, stale or failing; next and at: seconds since 1970
--   lines     rows of money: budget window zone currency held unknown spent limit, amounts as text
--   journal   status() of perigee.core.journal
--   services  { service ok why }: those whose login was refused, or that cannot be reached
--   problems  { at text }, newest first
-- What is not there is left out of the document.

local amount = require "perigee.amount"
local columns = require "perigee.columns"
local json = require "perigee.json"
local term = require "perigee.core.term"
local time = require "perigee.time"

local status = {}

status.SCHEMA_VERSION = 1

local STATES <const> = { "planned", "held", "submitting", "running", "unknown", "succeeded", "failed", "stopped",
  "expired", "denied" }
local MOST_PROBLEMS <const> = 8
local HANGS <const> = 20 -- seconds: longer than a writer of the journal waits for others, and for its turn

-- ---- the document ------------------------------------------------------------------------------------------

local function list(rows, each)
  local out = json.array()
  for i, row in ipairs(rows or {}) do out[i] = each(row) end
  return out
end

local function count_jobs(rows)
  local by_state = {}
  for _, state in ipairs(STATES) do by_state[state] = 0 end
  for _, row in ipairs(rows or {}) do by_state[row.state] = (by_state[row.state] or 0) + row.count end
  return by_state
end

--- What a line's limit leaves, or nil; what is unknown may have been charged, so it counts.
function status.left_of(line)
  if not line.limit then return nil end
  local left = amount(line.limit)
  for _, field in ipairs { "spent", "held", "unknown" } do
    if line[field] then left = left - amount(line[field]) end
  end
  return tostring(left)
end

local function money_line(line)
  return {
    budget = line.budget, window = line.window, zone = line.zone, currency = line.currency, limit = line.limit,
    spent = line.spent, held = line.held, unknown = line.unknown, left = status.left_of(line),
  }
end

local function policy_line(policy)
  return {
    name = policy.name, file = policy.file, state = policy.state, why = policy.why,
    schedules = list(policy.schedules, function(s) return { name = s.name, next = s.next } end),
    last = policy.last,
  }
end

--- Why the daemon is not ready to take work, as { {code=, text=}, … }; empty if it is.
function status.obstacles(data)
  local reasons = json.array()
  local function add(code, text) reasons[#reasons + 1] = { code = code, text = text } end
  if data.draining then add("draining", "the daemon is ending and takes no new work") end
  local journal = data.journal
  if journal and not journal.ok then
    add(journal.code or "journal", "the journal cannot be written: " .. (journal.message or "it has not answered"))
  elseif journal and (journal.queued or 0) > 0 and (journal.answered_ago or 0) > HANGS then
    add("journal", ("the journal has not answered for %s: its disk hangs"):format(time.words(math.floor(journal.answered_ago))))
  end
  for _, service in ipairs(data.services or {}) do
    if not service.ok then add("service", ("%s: %s"):format(service.service, service.why or "refused")) end
  end
  return reasons
end

--- The document of `perigee status --json`.
function status.document(data)
  local obstacles = status.obstacles(data)
  return {
    schema_version = status.SCHEMA_VERSION,
    running = true,
    ready = #obstacles == 0, obstacles = obstacles,
    version = data.version, directory = data.directory, pid = data.pid, addresses = data.addresses or {},
    started_at = data.started_at, uptime = data.started_at and math.max(0, time.now() - data.started_at) // 1 | 0 or nil,
    jobs = count_jobs(data.jobs),
    policies = list(data.policies, policy_line),
    money = list(data.lines, money_line),
    journal = data.journal,
    problems = list(data.problems, function(p) return { at = p.at, text = p.text } end),
  }
end

-- ---- the screen --------------------------------------------------------------------------------------------

local function words(seconds)
  return time.words(math.max(0, seconds // 1))
end

local function ago(at, now)
  return at and words(now - at) .. " ago" or ""
end

local function render_jobs(jobs)
  local parts = {}
  for _, state in ipairs(STATES) do
    if (jobs[state] or 0) > 0 then parts[#parts + 1] = ("%s %d"):format(state, jobs[state]) end
  end
  return "JOBS      " .. (parts[1] and table.concat(parts, "   ") or "none") .. "\n"
end

local function next_run(policy, now)
  local first
  for _, schedule in ipairs(policy.schedules) do
    if schedule.next and (not first or schedule.next < first.next) then first = schedule end
  end
  if not first then return "" end
  return ("in %s (%s)"):format(words(first.next - now), first.name or "schedule")
end

local function last_run(policy, now)
  local last = policy.last
  if not last then return "" end
  local text = ("%s %s"):format(last.outcome or "runs", ago(last.at, now))
  return last.error and text .. ": " .. last.error or text
end

local function render_policies(policies, now)
  if #policies == 0 then return "POLICIES  none\n" end
  local rows = { { "POLICY", "STATE", "NEXT", "LAST" } }
  for _, policy in ipairs(policies) do
    local state = policy.why and ("%s: %s"):format(policy.state, policy.why) or policy.state
    rows[#rows + 1] = { policy.name, state or "", next_run(policy, now), last_run(policy, now) }
  end
  return columns.render(rows)
end

local function render_money(lines)
  if #lines == 0 then return "MONEY     no budgets\n" end
  local rows = { { "BUDGET", "WINDOW", "SPENT", "HELD", "UNKNOWN", "LEFT", "LIMIT" } }
  for _, line in ipairs(lines) do
    local window = line.zone and ("%s, %s"):format(line.window, line.zone) or line.window
    rows[#rows + 1] = { line.budget, window, line.spent or "", line.held or "", line.unknown or "",
      line.left or "", line.limit or "none" }
  end
  return columns.render(rows, { right = { [3] = true, [4] = true, [5] = true, [6] = true, [7] = true } })
end

local function size_words(bytes)
  for _, unit in ipairs { { 1 << 30, "GB" }, { 1 << 20, "MB" }, { 1 << 10, "kB" } } do
    if bytes >= unit[1] then return ("%.1f %s"):format(bytes / unit[1], unit[2]) end
  end
  return ("%d bytes"):format(bytes)
end

local function render_journal(journal)
  if not journal then return "" end
  local state = journal.ok and "writable" or "NOT WRITABLE: " .. (journal.message or "no answer")
  local text = ("JOURNAL   %s, %s, %s"):format(journal.engine or "not open", size_words(journal.bytes or 0), state)
  if (journal.commits or 0) > 0 then
    text = text .. ("; a commit takes %s, at worst %s; %d waiting"):format(time.words((journal.mean_commit_ms or 0) / 1000),
      time.words((journal.worst_commit_ms or 0) / 1000), journal.queued or 0)
  end
  return text .. "\n"
end

local function render_problems(problems, now)
  if #problems == 0 then return "" end
  local rows = {}
  for i = 1, math.min(#problems, MOST_PROBLEMS) do
    rows[i] = { ago(problems[i].at, now), problems[i].text }
  end
  return "\nLAST PROBLEMS\n" .. columns.render(rows, { indent = "  ", right = { true } })
end

--- The screen of a document.
function status.render(document)
  local now = time.now()
  local lines = {
    ("perigee %s on %s, process %s%s\n"):format(document.version or "", document.directory or "?",
      tostring(document.pid or "?"), document.uptime and ", up " .. words(document.uptime) or ""),
  }
  for _, door in ipairs { "callbacks", "admin" } do
    local url = document.addresses[door]
    if url then lines[#lines + 1] = ("%-9s %s\n"):format(door:upper(), url) end
  end
  for _, reason in ipairs(document.obstacles) do lines[#lines + 1] = "NOT READY " .. reason.text .. "\n" end
  lines[#lines + 1] = "\n" .. render_jobs(document.jobs)
  lines[#lines + 1] = render_journal(document.journal)
  return table.concat {
    term.escape(table.concat(lines)), -- a service or the system worded some of it
    "\n", render_policies(document.policies, now),
    "\n", render_money(document.money),
    render_problems(document.problems, now),
  }
end

return status
