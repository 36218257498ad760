-- perigee.budget: how much may be spent, for how long, and what stands against it.
-- The figures and the decision are the spend kernel's (host/spend); here is how budgets are written, and how
-- they reach the calls made in a scope.

local amount = require "perigee.amount"
local core = require "perigee.core.budget"
local errors = require "perigee.error"
local check_options = require "perigee.options".check
local task = require "perigee.task"

local budget = {}

local WINDOWS = { "total", "hour", "day", "week", "month" }
local FIELDS = { "total", "hour", "day", "week", "month", "name", "warn", "utc_offset" }
local LOCAL = "perigee.budget"

-- One limit, or a list of them in several currencies.
local function add_limits(limits, window, value, what)
  local list = value
  if type(value) ~= "table" then list = { value } end
  if #list == 0 then errors.invalid(what .. " is an empty list") end
  for _, one in ipairs(list) do
    if type(one) == "number" then
      errors.invalid(("%s is a Lua number, which is never money: write \"%s CCD\""):format(what, one))
    end
    limits[#limits + 1] = { window = window, amount = type(one) == "string" and amount(one) or one }
  end
end

-- "+08:00" -> 480
local function read_offset(text)
  if text == nil then return 0 end
  local sign, hours, minutes = tostring(text):match "^([+-])(%d%d):(%d%d)$"
  if not sign or tonumber(minutes) > 59 then
    errors.invalid('budget.new: utc_offset is written "+08:00" or "-03:30"')
  end
  local offset = tonumber(hours) * 60 + tonumber(minutes)
  return sign == "-" and -offset or offset
end

local function read_warn(share)
  if share == nil then return 0 end
  if type(share) ~= "number" or share < 0 or share > 1 then
    errors.invalid "budget.new: warn is a share between 0 and 1, such as 0.8"
  end
  return math.floor(share * 100 + 0.5)
end

--- A new budget.  At least one limit; every limit must hold.
function budget.new(options)
  if type(options) ~= "table" then errors.invalid 'budget.new takes a table, such as { total = "20 CCD" }' end
  check_options("budget.new", options, FIELDS)
  local limits = {}
  for _, window in ipairs(WINDOWS) do
    if options[window] ~= nil then add_limits(limits, window, options[window], "budget.new: " .. window) end
  end
  if #limits == 0 then
    errors.invalid 'budget.new: name at least one limit, such as total = "20 CCD" or day = "5 CCD"'
  end
  return core.new {
    name = options.name,
    limits = limits,
    offset_minutes = read_offset(options.utc_offset),
    warn_percent = read_warn(options.warn),
  }
end

--- Bounds the sum of all attempts of one piece of work: denies with code max_cost.
function budget.group(max_cost)
  local limits = {}
  add_limits(limits, "total", max_cost, "max_cost")
  return core.new { limits = limits, group = true }
end

budget.is_budget = core.is_budget

-- Appends a budget or a list of budgets to the list.
local function append(list, value, what)
  if value == nil then return end
  if core.is_budget(value) then
    list[#list + 1] = value
  elseif type(value) == "table" then
    for _, one in ipairs(value) do append(list, one, what) end
  else
    errors.invalid(("%s takes a budget, and this is a %s: write budget.new{ total = \"5 CCD\" }, or max_cost"):format(
      what, type(value)))
  end
end

--- The budgets that govern calls made here, outermost first.
function budget.current()
  local list = {}
  append(list, task.get_local(LOCAL), "budget.current")
  return list
end

--- Calls f(…): every paid call in it, and in the tasks it spawns, counts against the budget (or list of
--- budgets) too.
function budget.with(b, f, ...)
  local outer = task.get_local(LOCAL)
  local list = budget.current()
  append(list, b, "budget.with")
  task.set_local(LOCAL, list)
  local restore <close> = setmetatable({}, { -- luacheck: ignore restore
    __close = function() task.set_local(LOCAL, outer) end,
  })
  return f(...)
end

--- All budgets of one call, for the makers of service clients: the call's own, its client's, the scope's.
function budget.collect(of_call, of_client)
  local list = {}
  append(list, of_call, "budget")
  append(list, of_client, "budget")
  append(list, task.get_local(LOCAL), "budget")
  return list
end

return budget
