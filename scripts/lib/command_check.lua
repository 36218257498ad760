-- internal: command_check.lua - `perigee check FILE…`: what is wrong with policies and the configuration, and when
-- schedules run next.  Everything is found out without the network, and no hook is called (scripts/lib/policy_load.lua).
--
-- Exit codes: 0 nothing is wrong, 1 something is, 2 wrong use of the command line.

local config = require "perigee.config"
local errors = require "perigee.error"
local policy_check = require "perigee.policy_check"
local term = require "perigee.core.term"
local time = require "perigee.time"
local usage = require("perigee.control_command").usage

local command = {}

-- ---- the configuration --------------------------------------------------------------------------------------------

-- A report like that of a policy; nil if there is no file and none was asked for.
local function check_config(reports, asked)
  local ok, file, path = pcall(config.file)
  if not ok then
    if not errors.is(file) then error(file, 0) end
    return { file = asked or "configuration", problems = { { message = file.message } } }
  end
  if not path then return nil end
  local report = { file = path, problems = {} }
  local function add(message, field)
    report.problems[#report.problems + 1] = { message = message, field = field }
  end
  for _, message in ipairs(config.problems()) do add(message) end
  local budgeted, bad = pcall(require("perigee.budgets").all)
  if not budgeted then add(bad.message, "budgets") end
  local priced, problem = pcall(require("perigee.sxwl_price").read_table, file.sxwl and file.sxwl.prices)
  if not priced then add(problem.message, "sxwl.prices") end
  local readable, wrong = pcall(require("perigee.notify_settings").read, file.notify or { command = { "none" } })
  if not readable then add(wrong.message, "notify") end
  local missing = readable and policy_check.webhook(file.notify)
  if missing then add(missing, "notify") end
  -- one file alone says nothing of the others
  for _, message in ipairs(asked and #reports > 0 and policy_check.budgets(file.budgets, reports) or {}) do add(message, "budgets") end
  return report
end

-- ---- text ---------------------------------------------------------------------------------------------------------

local function count(n, word)
  return ("%d %s%s"):format(n, word, n == 1 and "" or "s")
end

local function print_problems(report)
  for _, problem in ipairs(report.problems) do
    print(("  %s%s"):format(problem.line and ("line %d: "):format(problem.line) or "", term.escape(problem.message)))
  end
end

local function print_schedule(s, now_ms)
  print(("  schedule %s: %s"):format(s.name, s.words))
  for _, at in ipairs(s.next) do
    print(("    %s  in %s"):format(time.format(at / 1000, s.tz, "%a %Y-%m-%d %H:%M:%S %z"), time.words((at - now_ms) / 1000)))
  end
end

local function print_report(report, now_ms)
  local name = report.name and (" (%s)"):format(term.escape(report.name)) or ""
  local verdict = #report.problems == 0 and "fine" or count(#report.problems, "problem")
  print(("%s%s: %s"):format(term.escape(report.file), name, verdict))
  print_problems(report)
  for _, s in ipairs(report.schedules or {}) do print_schedule(s, now_ms) end
end

-- ---- JSON ---------------------------------------------------------------------------------------------------------

local function plain_report(report)
  local json = require "perigee.json"
  local schedules = {}
  for i, s in ipairs(report.schedules or {}) do
    local next_runs = {}
    for k, at in ipairs(s.next) do next_runs[k] = time.format(at / 1000, s.tz) end
    schedules[i] = { name = s.name, words = s.words, tz = s.tz, overlap = s.overlap, next = json.array(next_runs) }
  end
  return {
    file = report.file, name = report.name, ok = #report.problems == 0, problems = json.array(report.problems),
    schedules = report.schedules and json.array(schedules), hooks = report.hooks and json.array(report.hooks),
    helpers = report.helpers and json.array(report.helpers),
  }
end

local function print_json(reports, of_config, ok)
  local json = require "perigee.json"
  local files = {}
  for i, report in ipairs(reports) do files[i] = plain_report(report) end
  print(json.encode {
    schema_version = 1, ok = ok, files = json.array(files), config = of_config and plain_report(of_config),
  })
end

-- The files of the words, else the policies of the configuration, as the daemon takes them; and what is wrong with these.
local function files_of(host)
  local options = host.options
  if #options.args > 0 then return options.args end
  if not options.config then usage "check: name a policy file, or --config FILE" end
  if not pcall(config.file) then return {} end
  local ok, entries = pcall(require("perigee.daemon_settings").policies, host)
  if not ok and not errors.is(entries, "invalid") then error(entries, 0) end
  local files = {}
  for i, entry in ipairs(ok and entries or {}) do files[i] = entry.file end
  return files, not ok and entries.message or nil
end

--- The command; returns its exit code.
function command.start(host)
  local options = host.options
  local now_ms = math.floor(time.now() * 1000)
  local files, wrong = files_of(host)
  local reports = policy_check.files(files, now_ms)
  local of_config = check_config(reports, options.config)
  if wrong then table.insert(of_config.problems, { message = wrong, field = "policies" }) end
  local problems = of_config and #of_config.problems or 0
  for _, report in ipairs(reports) do problems = problems + #report.problems end
  if options.json then
    print_json(reports, of_config, problems == 0)
  else
    for _, report in ipairs(reports) do print_report(report, now_ms) end
    if of_config and (options.config or #of_config.problems > 0) then print_report(of_config, now_ms) end
  end
  return problems == 0 and 0 or 1
end

return command
