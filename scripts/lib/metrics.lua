-- perigee.metrics: the daemon's figures as Prometheus reads them (text format 0.0.4).  -- internal
--
-- `data` is the table of perigee.status, with these as well; what is not there makes no lines:
--   spend      rows of the verb spend.report by policy: group currency held unknown spent
--   callbacks  a receiver of perigee.callbacks
--   vms        { name memory peak }: bytes
--   supervisor figures() of perigee.supervisor
-- What the engines count (calls, retries, loop lag, memory) is read here.

local amount = require "perigee.amount"
local core = require "perigee.core.metrics"
local status = require "perigee.status"

local metrics = {}

--- The media type of the text.
metrics.MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

-- ---- the format --------------------------------------------------------------------------------------------

local ESCAPES <const> = { ["\\"] = "\\\\", ["\n"] = "\\n", ['"'] = '\\"' }

-- A label's value; bytes that are no UTF-8 would make a reader refuse the whole page.
local function label_value(value)
  local text = tostring(value)
  if not utf8.len(text) then text = text:gsub("[\128-\255]", "?") end
  return (text:gsub('[\\\n"]', ESCAPES))
end

local function number_text(value)
  if type(value) == "string" then return value end -- exact money
  if value ~= value then return "NaN" end
  if value == math.huge then return "+Inf" end
  if value == -math.huge then return "-Inf" end
  return math.type(value) == "integer" and ("%d"):format(value) or ("%.17g"):format(value)
end

-- The labels in the order of their names.
local function labels_text(labels)
  local names = {}
  for name in pairs(labels or {}) do names[#names + 1] = name end
  table.sort(names)
  local parts = {}
  for i, name in ipairs(names) do parts[i] = ('%s="%s"'):format(name, label_value(labels[name])) end
  return #parts > 0 and "{" .. table.concat(parts, ",") .. "}" or ""
end

local Page = {}
Page.__index = Page

function Page:_head(name, kind, help)
  self[#self + 1] = ("# HELP %s %s\n# TYPE %s %s\n"):format(name, help, name, kind)
end

-- Samples of one name: { {labels, value}, … }. Rows with the same labels are added up: a name and its labels may
-- stand on the page once.
function Page:family(name, kind, help, samples)
  local texts, sums = {}, {}
  for _, sample in ipairs(samples) do
    local text = labels_text(sample[1])
    if sums[text] == nil then
      texts[#texts + 1], sums[text] = text, sample[2]
    else
      sums[text] = sums[text] + sample[2]
    end
  end
  if #texts == 0 then return end
  self:_head(name, kind, help)
  table.sort(texts)
  for _, text in ipairs(texts) do self[#self + 1] = ("%s%s %s\n"):format(name, text, number_text(sums[text])) end
end

function Page:one(name, kind, help, value)
  if value == nil then return end
  if type(value) == "boolean" then value = value and 1 or 0 end
  self:family(name, kind, help, { { {}, value } })
end

-- A histogram with its buckets added up, as the format has them.
function Page:histogram(name, help, h)
  self:_head(name, "histogram", help)
  local sum = 0
  for i, count in ipairs(h.counts) do
    sum = sum + count
    self[#self + 1] = ('%s_bucket{le="%s"} %d\n'):format(name, h.bounds[i] and ("%.12g"):format(h.bounds[i]) or "+Inf", sum)
  end
  self[#self + 1] = ("%s_sum %s\n%s_count %d\n"):format(name, number_text(h.sum), name, sum)
end

-- ---- the figures -------------------------------------------------------------------------------------------

local function rows(list, each)
  local samples = {}
  for _, row in ipairs(list or {}) do
    local labels, value = each(row)
    if labels and value ~= nil then samples[#samples + 1] = { labels, value } end
  end
  return samples
end

local function digits(text)
  return text and amount(text):decimal()
end

local function put_process(page, data)
  local resident, own = core.memory()
  local build = core.build()
  page:family("perigee_build_info", "gauge", "Version and mode of the program; always 1.",
    { { { version = build.version, mode = build.mode, lua = _VERSION }, 1 } })
  page:one("process_start_time_seconds", "gauge", "Start of the daemon, seconds since 1970.", data.started_at)
  page:one("process_resident_memory_bytes", "gauge", "Memory of the process.", resident)
  local memory, peaks = { { { vm = "supervisor" }, own } }, {}
  for _, vm in ipairs(data.vms or {}) do
    memory[#memory + 1] = { { vm = vm.name }, vm.memory }
    if vm.peak then peaks[#peaks + 1] = { { vm = vm.name }, vm.peak } end
  end
  page:family("perigee_vm_memory_bytes", "gauge", "Memory of each Lua state.", memory)
  page:family("perigee_vm_peak_memory_bytes", "gauge", "The most memory that each Lua state has had.", peaks)
  page:histogram("perigee_loop_lag_seconds", "How late timers fire: how long the loop had no time.", core.loop_lag())
end

local function put_jobs(page, data)
  page:family("perigee_jobs", "gauge", "Jobs in the journal.", rows(data.jobs, function(row)
    return { state = row.state, service = row.service, policy = row.policy or "" }, row.count
  end))
  local figures = data.supervisor
  if not figures then return end
  page:one("perigee_status_reads_total", "counter", "Looks at remote jobs.", figures.readings)
  page:one("perigee_list_pages_total", "counter", "Pages of job lists that were read in place of single jobs.", figures.pages)
  page:one("perigee_job_retries_total", "counter", "Attempts of jobs after their first.", figures.retries)
  page:one("perigee_jobs_adopted_total", "counter", "Jobs whose create was lost and found again.", figures.adopted)
  local unreachable = {}
  for service, seconds in pairs(figures.unreachable or {}) do unreachable[#unreachable + 1] = { { service = service }, seconds } end
  page:family("perigee_service_unreachable_seconds", "gauge", "For how long a service could not be read.", unreachable)
end

local MONEY <const> = {
  { "spent", "charged, as reported or derived" }, { "held", "reserved for calls that are under way" },
  { "unknown", "of calls whose outcome is unknown" },
}

local function put_money(page, data)
  for _, field in ipairs(MONEY) do
    page:family("perigee_budget_" .. field[1], "gauge", ("Money %s, by budget and window."):format(field[2]),
      rows(data.lines, function(line)
        return { budget = line.budget, window = line.window, currency = line.currency }, digits(line[field[1]])
      end))
    page:family("perigee_" .. field[1], "gauge", ("Money %s, by policy."):format(field[2]),
      rows(data.spend, function(row) return { policy = row.group or "", currency = row.currency }, digits(row[field[1]]) end))
  end
  for _, field in ipairs { { "limit", "What a budget allows in its window." }, { "left", "What a budget has left in its window." } } do
    page:family("perigee_budget_" .. field[1], "gauge", field[2], rows(data.lines, function(line)
      local value = line[field[1]]
      if field[1] == "left" then value = status.left_of(line) end
      return { budget = line.budget, window = line.window, currency = line.currency }, digits(value)
    end))
  end
end

local function put_calls(page)
  page:family("perigee_calls_total", "counter", "Requests to services, by operation and outcome.", rows(core.calls(), function(c)
    return { service = c.service, operation = c.operation, outcome = c.outcome }, c.n
  end))
  page:family("perigee_call_errors_total", "counter", "Requests to services that failed, by kind of error.",
    rows(core.call_errors(), function(c) return { service = c.service, kind = c.kind }, c.n end))
  page:family("perigee_retries_total", "counter", "Requests that were tried again, by kind of error.",
    rows(core.retries(), function(c) return { kind = c.kind }, c.n end))
end

local function put_callbacks(page, data)
  local receiver = data.callbacks
  if not receiver then return end
  local samples = {}
  for _, result in ipairs { "received", "duplicate", "refused" } do
    samples[#samples + 1] = { { result = result }, receiver.figures[result] }
  end
  page:family("perigee_callbacks_total", "counter", "Requests to the receiver: for a job, more during one look, not ours.", samples)
  page:histogram("perigee_callback_lag_seconds", "From the first callback of a job until its end was known.", receiver.lag)
end

-- Whatever else is wrong with it.
local function is_stale(policy)
  local stale = policy.state == "stale"
  for _, schedule in ipairs(policy.schedules or {}) do stale = stale or schedule.stale end
  return stale
end

local function put_policies(page, data)
  local function flags(is_set)
    return rows(data.policies, function(policy) return { policy = policy.name }, is_set(policy) and 1 or 0 end)
  end
  page:family("perigee_policy_paused", "gauge", "1: the policy rests, by hand or because it failed again and again.",
    flags(function(policy) return policy.state == "paused" end))
  page:family("perigee_policy_stale", "gauge", "1: the policy misses its own schedule.", flags(is_stale))
  local nexts = {}
  for _, policy in ipairs(data.policies or {}) do
    for _, schedule in ipairs(policy.schedules or {}) do
      if schedule.next then nexts[#nexts + 1] = { { policy = policy.name, schedule = schedule.name or "" }, schedule.next } end
    end
  end
  page:family("perigee_policy_next_run_seconds", "gauge", "When a schedule runs next, seconds since 1970.", nexts)
end

local function put_journal(page, data)
  local journal = data.journal
  if not journal then return end
  local function seconds(ms) return ms and ms / 1000 end
  page:one("perigee_journal_ok", "gauge", "1: the last commit went through.", journal.ok)
  page:one("perigee_journal_bytes", "gauge", "Size of the journal and its log.", journal.bytes)
  page:one("perigee_journal_queued", "gauge", "Calls that wait for their commit.", journal.queued)
  page:one("perigee_journal_calls_total", "counter", "Calls of the journal.", journal.calls)
  page:one("perigee_journal_commit_worst_seconds", "gauge", "The longest commit.", seconds(journal.worst_commit_ms))
  if not journal.commits then return end
  page:_head("perigee_journal_commit_seconds", "summary", "How long commits take.")
  page[#page + 1] = ("perigee_journal_commit_seconds_sum %s\nperigee_journal_commit_seconds_count %d\n"):format(
    number_text((seconds(journal.mean_commit_ms) or 0) * journal.commits), journal.commits)
end

--- The page. data may be an empty table: then it has what the process itself knows.
function metrics.render(data)
  local page = setmetatable({}, Page)
  put_process(page, data)
  if data.journal then
    page:one("perigee_ready", "gauge", "1: the daemon takes work.", #status.obstacles(data) == 0)
  end
  put_jobs(page, data)
  put_money(page, data)
  put_calls(page)
  put_callbacks(page, data)
  put_policies(page, data)
  put_journal(page, data)
  return table.concat(page)
end

return metrics
