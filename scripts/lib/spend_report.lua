-- perigee.spend_report: what the journal knows of the money, as plain data and as text.  -- internal
--
-- `perigee spend` shows it, and the daemon answers its verb `spend` with the same data.  Only reads.  Held, unknown and
-- spent are never added up; derived and presumed are parts of spent, and stand beside it.

local amount = require "perigee.amount"
local budget = require "perigee.budget"
local columns = require "perigee.columns"
local errors = require "perigee.error"
local json = require "perigee.json"
local term = require "perigee.core.term"
local time = require "perigee.time"

local spend_report = {}

local BUDGET_SPACE <const> = "perigee.budgets" -- as perigee.budget has it
local MOST_BUDGETS <const>, MOST_NAMES <const> = 1000, 200
local SUMS <const> = { "spent", "held", "unknown", "derived", "presumed" }

spend_report.VIEWS = { "total", "policy", "job", "tag", "day", "service", "operation" }

-- ---- what is asked -----------------------------------------------------------------------------------------

--- Milliseconds since 1970 of "2026-11-01", of a time of ISO 8601 (both in UTC), or of an age such as "7d"; nil for nil.
function spend_report.moment(option, text)
  if text == nil then return nil end
  local ok, seconds = pcall(time.seconds, text)
  if ok then return math.floor((time.now() - seconds) * 1000) end
  local parsed, at = pcall(time.parse, text)
  if parsed then return math.floor(at * 1000) end
  error(errors.new { kind = "invalid", code = "usage",
    message = ("--%s takes a date such as 2026-11-01 (UTC) or an age such as 7d, not '%s'"):format(option, text) }, 0)
end

-- ---- the data ----------------------------------------------------------------------------------------------

local function journal()
  return require "perigee.core.journal"
end

local function groups_of(by, asked)
  local rows = journal().call("spend.report", { by = by, since = asked.since, ["until"] = asked["until"] })
  local list = json.array()
  for i, row in ipairs(rows) do
    list[i] = { group = by ~= "total" and row.group or nil, currency = row.currency, permits = row.permits or 0 }
    for _, sum in ipairs(SUMS) do list[i][sum] = row[sum] or "0 " .. row.currency end
  end
  return list
end

-- Jobs are known to people by name.
local function name_jobs(groups)
  for i, group in ipairs(groups) do
    if i > MOST_NAMES then return end
    local ok, rows = pcall(journal().call, "job.get", { id = group.group })
    local job = group.group and ok and rows[1]
    if job then group.name, group.key = job.name, job.key end
  end
end

-- Budgets of the configuration, and those that the journal knows: { {name=, options=, policy=, tag=}, … }
local function known_budgets()
  local list, seen = {}, {}
  for _, one in ipairs(require("perigee.budgets").all()) do
    list[#list + 1] = one
    seen[one.name] = true
  end
  for _, row in ipairs(journal().call("store.list", { space = BUDGET_SPACE, limit = MOST_BUDGETS })) do
    if not seen[row.name] then
      local ok, b = pcall(function() return budget.new(json.decode(row.value)) end)
      if ok then list[#list + 1] = { name = row.name, budget = b } end
    end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

local function share(part, whole)
  if whole:sign() == 0 then return nil end
  return tonumber(amount.ratio(part, whole))
end

local function budget_line(line)
  local out = { window = line.window, zone = line.zone, currency = line.spent:currency() }
  for _, sum in ipairs { "spent", "held", "unknown", "limit", "left" } do
    out[sum] = line[sum] and tostring(line[sum]) or nil
  end
  if line.limit then out.used = share(line.spent + line.held + line.unknown, line.limit) end
  return out
end

local function budgets_of()
  local list = json.array()
  for _, one in ipairs(known_budgets()) do
    local lines = json.array()
    for _, line in ipairs(one.budget:lines()) do lines[#lines + 1] = budget_line(line) end
    list[#list + 1] = { name = one.name, policy = one.policy, tag = one.tag, zone = one.budget:zone(), lines = lines }
  end
  return list
end

--- What was charged beside what was estimated: { {service=, model=, currency=, count=, estimate=, actual=, ratio=}, … }
function spend_report.ratios()
  local list = json.array()
  for _, row in ipairs(journal().call("ratio.list", {})) do
    list[#list + 1] = {
      service = row.service, model = row.model, currency = row.currency, count = row.count, estimate = row.estimate,
      actual = row.actual, ratio = share(amount(row.actual), amount(row.estimate)),
    }
  end
  return list
end

--- All of it as plain data. asked: {by=, since=, until=}, times in milliseconds since 1970.
function spend_report.collect(asked)
  asked = asked or {}
  local by = asked.by or "total"
  local known = false
  for _, view in ipairs(spend_report.VIEWS) do known = known or view == by end
  if not known then
    errors.invalid(("spend: by is one of %s, not %s"):format(table.concat(spend_report.VIEWS, ", "), tostring(by)))
  end
  local data = {
    by = by, since = asked.since, ["until"] = asked["until"],
    totals = groups_of("total", asked), budgets = budgets_of(), ratios = spend_report.ratios(),
  }
  data.groups = by == "total" and data.totals or groups_of(by, asked)
  if by == "job" then name_jobs(data.groups) end
  return data
end

-- ---- text --------------------------------------------------------------------------------------------------

local function digits(text)
  return (text:gsub(" %S+$", ""))
end

local function group_name(data, group)
  if group.name then return group.key and group.key ~= "" and group.name .. " " .. group.key or group.name end
  return group.group or ("no " .. data.by)
end

local function money_table(data, groups, first)
  local named = first ~= nil
  local rows = { { named and first or "", "currency", "spent", "derived", "presumed", "held", "unknown", "calls" } }
  for _, group in ipairs(groups) do
    rows[#rows + 1] = {
      named and group_name(data, group) or "all", group.currency, digits(group.spent), digits(group.derived),
      digits(group.presumed), digits(group.held), digits(group.unknown), tostring(group.permits),
    }
  end
  return columns.render(rows, { right = { [3] = true, [4] = true, [5] = true, [6] = true, [7] = true, [8] = true } })
end

local function percent(used)
  return used and ("%d %%"):format(math.floor(used * 100 + 0.5)) or ""
end

local function budget_table(list)
  local rows = { { "budget", "for", "window", "currency", "limit", "used", "left", "spent", "held", "unknown" } }
  for _, b in ipairs(list) do
    local whose = b.policy and "policy " .. b.policy or b.tag and "tag " .. b.tag or ""
    for _, line in ipairs(b.lines) do
      rows[#rows + 1] = {
        b.name, whose, line.zone and line.window .. ", " .. line.zone or line.window, line.currency,
        line.limit and digits(line.limit) or "none", percent(line.used), line.left and digits(line.left) or "",
        digits(line.spent), digits(line.held), digits(line.unknown),
      }
    end
  end
  return columns.render(rows, { right = { [5] = true, [6] = true, [7] = true, [8] = true, [9] = true, [10] = true } })
end

--- One line for each model, as people read it: "deai inference: charged 112.0 % of what was estimated (42 calls, …)".
function spend_report.ratio_lines(ratios)
  local lines = {}
  for _, row in ipairs(ratios) do
    if row.ratio then
      lines[#lines + 1] = term.escape(("%s%s: charged %.1f %% of what was estimated (%d call%s, %s of %s)"):format(row.service,
        row.model and " " .. row.model or "", 100 * row.ratio, row.count, row.count == 1 and "" or "s", row.actual, row.estimate))
    end
  end
  return lines
end

local function span(data)
  local since = data.since and time.format(data.since // 1000, "UTC")
  local last = data["until"] and time.format(data["until"] // 1000, "UTC")
  if since and last then return (" from %s to %s"):format(since, last) end
  return since and " since " .. since or last and " until " .. last or ""
end

--- The data as text for people.
function spend_report.render(data)
  local out = {}
  if #data.totals == 0 then
    out[#out + 1] = ("nothing was paid%s\n"):format(span(data))
  else
    out[#out + 1] = ("money%s; derived and presumed are parts of spent\n"):format(span(data))
    out[#out + 1] = money_table(data, data.totals)
    if data.by ~= "total" then
      out[#out + 1] = "\n" .. money_table(data, data.groups, data.by == "day" and "day (UTC)" or data.by)
    end
  end
  if #data.budgets > 0 then out[#out + 1] = "\n" .. budget_table(data.budgets) end
  local ratios = spend_report.ratio_lines(data.ratios)
  if #ratios > 0 then out[#out + 1] = "\n" .. table.concat(ratios, "\n") .. "\n" end
  return table.concat(out)
end

return spend_report
