-- internal: policy_check.lua - everything `perigee check` finds out about one policy file, as data.
--
-- The table is judged by perigee.policy; here is what needs more than the table: syntax, helpers, secrets and
-- credentials that are not there, prices, budgets that nothing counts against.  Nothing is sent, no hook is called.

local config = require "perigee.config"
local errors = require "perigee.error"
local load_file = require "perigee.policy_load"
local policy = require "perigee.policy"
local schedule = require "perigee.schedule"
local source = require "perigee.policy_source"

local policy_check = {}

local RUNS_SHOWN <const> = 5
local CREDENTIALS <const> = { deai = { "deai.email", "deai.password" }, sxwl = { "sxwl.token" } }
local VARIABLES <const> = { ["deai.email"] = "DEAI_EMAIL", ["deai.password"] = "DEAI_PASSWORD", ["sxwl.token"] = "SXWL_TOKEN" }

local function text_of(err)
  return errors.is(err) and err.message or tostring(err)
end

-- A problem of the file: line and field where they are known.
local function add(report, message, where)
  where = where or {}
  report.problems[#report.problems + 1] = { message = message, line = where.line, field = where.field }
end

-- "jobs.lua:12: unexpected symbol" as message and line, if it is about this file.
local function place(message, path)
  local line, rest = message:sub(#path + 1):match "^:(%d+): (.*)$"
  if line and message:sub(1, #path) == path then return rest, tonumber(line) end
  return message
end

-- ---- running it -------------------------------------------------------------------------------------------------

-- A bare name is a policy that comes with the program, as it is for the daemon.
local function ready_policy(path)
  local ready = not path:find "[/.]" and package.searchers[2]("perigee.policies." .. path)
  return type(ready) == "function" and ready or nil
end

local function read_text(report, path)
  if ready_policy(path) then return 'local spends = require "perigee.jobs"' end
  local file, problem = io.open(path, "rb")
  local text = file and file:read "a"
  if file then file:close() end
  if not text then add(report, ("it cannot be read: %s"):format(problem or "it is no file")) end
  return text
end

local function load_table(report, path, text)
  local function chunk_of(env)
    if ready_policy(path) then return ready_policy(path) end
    local chunk, problem = load(text:gsub("^#[^\n]*", "", 1), "@" .. path, "t", env)
    if not chunk then error(problem, 0) end
    return chunk
  end
  local ok, result, files = pcall(load_file.run, chunk_of, path)
  if ok then
    report.helpers = files
    return true, result
  end
  if errors.is(result, "cancelled") then error(result, 0) end
  local message, line = place(text_of(result), path)
  if errors.is(result, "timeout") then message = "loading it takes too long: what waits belongs into a hook, a schedule or run" end
  add(report, message, { line = line })
  return false
end

-- ---- what the text names --------------------------------------------------------------------------------------------

local function check_helpers(report, found, folder)
  for _, use in ipairs(found.requires) do
    if not use.name:find "^perigee%." and not package.loaded[use.name] and not load_file.find(use.name, folder) then
      add(report, ("it needs %q, and there is no such helper in %s or the Lua path"):format(use.name, folder), { line = use.line })
    end
  end
end

-- helper: the path of the file that names them, if it is not the policy's own.
local function check_secrets(report, found, helper)
  local secret, seen = require "perigee.secret", {}
  for _, use in ipairs(found.secrets) do
    local key = use.how .. ":" .. use.name
    local ok, err = pcall(secret[use.how], use.name)
    local prefix = helper and ("%s:%d: "):format(helper, use.line) or ""
    if not ok and not seen[key] then
      add(report, ('%ssecret.%s "%s": %s'):format(prefix, use.how, use.name, text_of(err)), { line = not helper and use.line or nil })
    end
    seen[key] = true
  end
end

-- Services that the file calls itself, and the line that says so.
local function services_of(found)
  local lines = {}
  for _, use in ipairs(found.requires) do
    local name = use.name:match "^perigee%.(%w+)$"
    if CREDENTIALS[name or ""] then lines[name] = lines[name] or use.line end
  end
  for _, use in ipairs(found.has_jobs and found.services or {}) do
    if CREDENTIALS[use.name] then lines[use.name] = lines[use.name] or use.line end
  end
  return lines
end

local function check_credentials(report, services)
  for _, service in ipairs { "deai", "sxwl" } do
    for _, name in ipairs(services[service] and CREDENTIALS[service] or {}) do
      local ok, value = pcall(config.get, name)
      if not ok then
        add(report, text_of(value))
      elseif value == nil then
        add(report, ("it uses %s, and %s is not set (nor %s in the configuration)"):format(service, VARIABLES[name], name),
          { line = services[service] })
      end
    end
  end
end

-- SXWL tells no prices; what nobody can price is denied where a budget or max_cost applies.
local function check_prices(report, found, services)
  local ok, prices = pcall(config.get, "sxwl.prices")
  if not services.sxwl or found.has_prices or not ok then return end
  if type(prices) ~= "table" or next(prices) == nil then
    return add(report, 'it uses sxwl, and there are no prices: governed calls are denied; set sxwl.prices in the configuration',
      { line = services.sxwl })
  end
  for _, use in ipairs(found.gpu_types) do
    if prices[use.name] == nil then
      local known = {}
      for name in pairs(prices) do known[#known + 1] = name end
      table.sort(known)
      local near = errors.nearest(use.name, known)
      add(report, ("sxwl.prices has no %q: governed calls for it are denied%s"):format(use.name,
        near and ('; did you mean "%s"?'):format(near) or ""), { line = use.line })
    end
  end
end

--- What is wrong with the secret that a `notify` names, or nil.
function policy_check.webhook(t)
  local reference = type(t) == "table" and t.webhook
  if type(reference) ~= "string" or not reference:find "^%l+:[^/]" and not reference:find "^file:/" then return nil end
  local ok, err = pcall(require("perigee.secret").from, reference)
  return not ok and ('notify.webhook "%s": %s'):format(reference, text_of(err)) or nil
end

-- What helpers name counts as well.
local function check_its_helpers(report, found)
  for _, use in ipairs(found.requires) do
    found.has_jobs = found.has_jobs or use.name:find "^perigee%.policies%." ~= nil
  end
  for _, path in ipairs(report.helpers) do
    local file <close> = io.open(path, "rb")
    local named = source.read(file and file:read "a" or "")
    found.has_jobs = found.has_jobs or named.has_jobs or next(services_of(named)) ~= nil
    check_secrets(report, named, path)
  end
end

-- A policy's budget counts what it submits itself; one that only decides about the jobs of others never spends.
local function check_budget(report, t, spends)
  if t.budget == nil or spends and (t.run or t.schedules or t.on) then return end
  add(report, "the budget is never used: no hook, schedule or run of this policy submits anything; one for the jobs of others stands "
    .. "in the configuration (budgets)", { field = "budget" })
end

-- ---- schedules --------------------------------------------------------------------------------------------------------

local function list_schedules(report, t, now_ms)
  for i, entry in ipairs(type(t.schedules) == "table" and t.schedules or {}) do
    local ok, s = pcall(schedule.parse, entry, ("schedules[%d]"):format(i))
    if ok then
      report.schedules[#report.schedules + 1] = {
        name = s.name, words = s:words(), tz = s.tz, overlap = s.overlap, next = s:runs(now_ms, RUNS_SHOWN),
      }
    end
  end
end

local function list_hooks(report, t)
  for event in pairs(type(t.on) == "table" and t.on or {}) do report.hooks[#report.hooks + 1] = tostring(event) end
  table.sort(report.hooks)
end

--- What can be said of the file: { file, name, problems = { {message, line, field} }, schedules = { {name, words, tz,
--- overlap, next = ms} }, hooks, helpers, tags }.
function policy_check.file(path, now_ms)
  local report = { file = path, problems = {}, schedules = {}, hooks = {}, helpers = {}, tags = {} }
  local text = read_text(report, path)
  if not text then return report end
  local found = source.read(text)
  report.tags = found.tags
  local loaded, t = load_table(report, path, text)
  if loaded then
    for _, problem in ipairs(policy.check(t)) do add(report, problem.message, { field = problem.field }) end
  end
  if loaded and type(t) == "table" then
    report.name = type(t.name) == "string" and t.name or nil
    local missing = policy_check.webhook(t.notify)
    if missing then add(report, missing, { field = "notify" }) end
    list_schedules(report, t, now_ms)
    list_hooks(report, t)
  end
  if loaded then check_helpers(report, found, path:match "^(.*)/[^/]*$" or ".") end
  local services = services_of(found)
  check_secrets(report, found)
  check_its_helpers(report, found)
  check_credentials(report, services)
  check_prices(report, found, services)
  if loaded and type(t) == "table" then check_budget(report, t, found.has_jobs or next(services) ~= nil) end
  return report
end

-- ---- all of them together -----------------------------------------------------------------------------------------------

local function check_names(reports)
  local taken = {}
  for _, report in ipairs(reports) do
    local name = report.name
    if name and taken[name] then
      add(report, ("its name %q is that of %s too: each policy needs its own"):format(name, taken[name]), { field = "name" })
    end
    if name then taken[name] = taken[name] or report.file end
  end
end

--- Budgets of the configuration that name a policy or a tag which none of the files has: a list of messages.
function policy_check.budgets(budgets, reports)
  local names, tags, problems = {}, {}, {}
  for _, report in ipairs(reports) do
    names[#names + 1] = report.name
    for tag in pairs(report.tags) do tags[#tags + 1] = tag end
  end
  table.sort(names)
  table.sort(tags)
  for i, one in ipairs(type(budgets) == "table" and budgets or {}) do
    for _, what in ipairs { "policy", "tag" } do
      local known = what == "policy" and names or tags
      local word, found = one[what], false
      for _, name in ipairs(known) do found = found or name == word end
      if word ~= nil and not found then
        local near = errors.nearest(tostring(word), known)
        problems[#problems + 1] = ("budgets[%d] is never used: none of the files has the %s %q%s"):format(i, what, tostring(word),
          near and ('; did you mean "%s"?'):format(near) or "")
      end
    end
  end
  return problems
end

--- Reports of all files, also on what only shows when they are looked at together.
function policy_check.files(paths, now_ms)
  local reports = {}
  for i, path in ipairs(paths) do reports[i] = policy_check.file(path, now_ms) end
  check_names(reports)
  return reports
end

return policy_check
