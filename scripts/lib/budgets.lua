-- perigee.budgets: the budgets of the configuration, and which calls each is for.  -- internal
--
-- One without policy and tag is for all calls of the process: install() makes it a default of the kernel.  The others
-- are handed to the calls of their policy or tag, with for_call, as are the budgets of policies' own tables.  All of them
-- are durable.

local budget = require "perigee.budget"
local config = require "perigee.config"
local errors = require "perigee.error"

local budgets = {}

local made -- { {budget=, name=, policy=, tag=}, … }, once they were read
local declared = {} -- policy -> the budget of its table

local function make(entry, path)
  local options = {}
  for field, value in pairs(entry) do
    if field ~= "policy" and field ~= "tag" then options[field] = value end
  end
  local ok, b = pcall(budget.new, options)
  if ok then return b end
  error(errors.new {
    kind = "invalid",
    code = "config",
    message = ("%s: budget %s: %s"):format(path, entry.name, errors.is(b) and b.message or tostring(b)),
  }, 0)
end

local function read()
  local entries, path = config.budgets()
  local list = {}
  for i, entry in ipairs(entries) do
    list[i] = { budget = make(entry, path), name = entry.name, policy = entry.policy, tag = entry.tag }
  end
  return list
end

local function all()
  made = made or read()
  return made
end

--- All of them, as { {budget=, name=, policy=, tag=}, … }, those of policies' files included.
function budgets.all()
  local list, policies = table.move(all(), 1, #all(), 1, {}), {}
  for policy in pairs(declared) do policies[#policies + 1] = policy end
  table.sort(policies)
  for _, policy in ipairs(policies) do
    list[#list + 1] = { budget = declared[policy], name = declared[policy]:name(), policy = policy }
  end
  return list
end

local function each_default(list, f)
  for _, one in ipairs(list) do
    if not one.policy and not one.tag then f(one.budget) end
  end
end

--- The budgets for all calls, which the kernel adds to each by itself.
function budgets.defaults()
  local list = {}
  each_default(all(), function(b) list[#list + 1] = b end)
  return list
end

local installed = false

--- Makes those for all calls defaults of the process; once, however often it is called.
function budgets.install()
  if installed then return end
  each_default(all(), require("perigee.core.spend").add_default_budget)
  installed = true
end

--- The budget that a policy's table asks for: durable, under a name of its own unless it has one.
function budgets.of_policy(policy, options)
  local named = { name = "policy " .. policy }
  for field, value in pairs(options) do
    named[field] = value
  end
  return budget.new(named)
end

--- Has the budget of a policy's table count for the calls of its jobs; nil: it has none.
function budgets.declare(policy, options)
  declared[policy] = options and budgets.of_policy(policy, options) or nil
end

--- Reads them anew, after the configuration was (config.reload). Raises if one is wrong; else a function that puts them
--- in the place of those before.
function budgets.reload()
  local new = read()
  return function()
    local spend = require "perigee.core.spend"
    if installed then
      each_default(made or {}, spend.remove_default_budget)
      each_default(new, spend.add_default_budget)
    end
    made = new
  end
end

local function by_name(name)
  for _, one in ipairs(budgets.all()) do
    if one.name == name then return one.budget end
  end
  local found = budget.find(name)
  if found then return found end
  return error(errors.new {
    kind = "denied",
    code = "no_budget",
    message = ("no budget is named %s: neither the configuration nor the journal knows it"):format(name),
  }, 0)
end

--- The budgets for calls of that policy, or of a job with these tags; those for all calls are not among them, since the
--- kernel adds them to each call.  call: {policy=, tags=, names=}; names: of durable budgets, each of which must be
--- known to the configuration or the journal, else `denied`.
function budgets.for_call(call)
  local tagged = {}
  for _, tag in ipairs(call.tags or {}) do
    tagged[tag] = true
  end
  local list = {}
  for _, one in ipairs(budgets.all()) do
    if (one.policy and one.policy == call.policy) or (one.tag and tagged[one.tag]) then list[#list + 1] = one.budget end
  end
  for _, name in ipairs(call.names or {}) do
    list[#list + 1] = by_name(name)
  end
  return list
end

return budgets
