-- perigee.budget: how much may be spent, for how long, and what stands against it.
-- The figures and the decision are the spend kernel's (host/spend); here is how budgets are written, and how
-- they reach the calls made in a scope.  One with a name stands in the journal and is shared under it.

local amount = require "perigee.amount"
local core = require "perigee.core.budget"
local errors = require "perigee.error"
local check_options = require "perigee.options".check
local task = require "perigee.task"

local budget = {}

local WINDOWS = { "total", "hour", "day", "week", "month" }
local FIELDS = { "total", "hour", "day", "week", "month", "name", "warn", "tz", "utc_offset", "check_balance" }
local SPACE <const> = "perigee.budgets" -- of the journal's values, as host/spend_journal.h has it
local WARN <const> = 0.8
local DAY <const> = 86400
-- A zone's changes are looked up from a year ago to ten years from now: longer than any process runs.
local PAST <const>, FUTURE <const>, STRIDE <const> = 366 * DAY, 3653 * DAY, 7 * DAY
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

-- ---- time zones --------------------------------------------------------------------------------------------

-- The moment in (from, to] at which the offset of the zone becomes another.
local function change_between(zone, from, to)
  local before = zone.at(from)
  while to - from > 1 do
    local middle = (from + to) // 2
    if zone.at(middle) == before then from = middle else to = middle end
  end
  return to
end

local known_offsets = {}

-- { {from=, offset=}, … }, in seconds
local function offsets_of(zone)
  local list = known_offsets[zone.name]
  if list then return list end
  local now = require("perigee.core.time").now() // 1 | 0
  local at = now - PAST
  list = { { from = at, offset = zone.at(at) } }
  while at < now + FUTURE do
    local next_at = at + STRIDE
    if zone.at(next_at) ~= zone.at(at) then
      local change = change_between(zone, at, next_at)
      list[#list + 1] = { from = change, offset = zone.at(change) }
    end
    at = next_at
  end
  known_offsets[zone.name] = list
  return list
end

-- The zone of the options: its name for people, and its offsets.
local function read_zone(options)
  if options.tz ~= nil and options.utc_offset ~= nil then
    errors.invalid "budget.new: give tz or utc_offset, not both"
  end
  local name = options.tz
  if options.utc_offset ~= nil then
    name = tostring(options.utc_offset)
    local hours, minutes = name:match "^[+-](%d%d):(%d%d)$"
    if not hours or hours * 60 + minutes > 840 or minutes // 1 > 59 then
      errors.invalid('budget.new: utc_offset is written "+08:00" or "-03:30", at most 14 hours')
    end
  end
  if name == nil or name == "UTC" then return "UTC", {} end
  local zone = require("perigee.time_zone").get(name)
  return options.utc_offset and "UTC" .. name or name, offsets_of(zone)
end

local function read_warn(share)
  if share == nil then share = WARN end
  if type(share) ~= "number" or share < 0 or share > 1 then
    errors.invalid "budget.new: warn is a share between 0 and 1, such as 0.8"
  end
  return math.floor(share * 100 + 0.5)
end

-- ---- making one --------------------------------------------------------------------------------------------

-- What the journal keeps of a durable budget, so that `perigee spend` can show it: options of budget.new.
local function definition(options, limits)
  local kept = {
    name = options.name, tz = options.tz, utc_offset = options.utc_offset, warn = options.warn,
    check_balance = options.check_balance,
  }
  for _, limit in ipairs(limits) do
    local list = kept[limit.window] or {}
    list[#list + 1] = tostring(limit.amount)
    kept[limit.window] = list
  end
  return require("perigee.json").encode(kept)
end

local definitions = setmetatable({}, { __mode = "k" }) -- of durable budgets
local checked = setmetatable({}, { __mode = "k" }) -- budgets that want the balance looked at

local function make(options, durable)
  if type(options) ~= "table" then errors.invalid 'budget.new takes a table, such as { total = "20 CCD" }' end
  check_options("budget.new", options, FIELDS)
  local limits = {}
  for _, window in ipairs(WINDOWS) do
    if options[window] ~= nil then add_limits(limits, window, options[window], "budget.new: " .. window) end
  end
  if #limits == 0 then
    errors.invalid 'budget.new: name at least one limit, such as total = "20 CCD" or day = "5 CCD"'
  end
  if options.check_balance ~= nil and type(options.check_balance) ~= "boolean" then
    errors.invalid "budget.new: check_balance is true or false"
  end
  local zone, offsets = read_zone(options)
  local text = durable and definition(options, limits) or nil
  local b = core.new {
    name = options.name,
    limits = limits,
    zone = zone,
    offsets = offsets,
    warn_percent = read_warn(options.warn),
    durable = durable,
    definition = text,
  }
  definitions[b] = text
  if options.check_balance then checked[b] = true end
  return b
end

--- A new budget.  At least one limit; every limit must hold.  With a name it stands in the journal: all budgets
--- of that name, in every process of the state directory, are one.
function budget.new(options)
  return make(options, type(options) == "table" and options.name ~= nil and options.name ~= "")
end

--- A budget of this process alone, whose name is for people.
function budget.own(options)
  return make(options, false)
end

--- Has the journal know what the budget is, so that other processes and VMs can find it by its name.  Waits.
function budget.keep(b)
  if not core.is_budget(b) then errors.invalid "budget.keep takes a budget" end
  if not definitions[b] then errors.invalid "budget.keep: a budget without a name is nothing to others" end
  require("perigee.core.journal").call("store.set", { space = SPACE, name = b:name(), value = definitions[b] })
end

--- The durable budget of that name, as the journal knows it, or nil.  Waits.
function budget.find(name)
  local row = require("perigee.core.journal").call("store.get", { space = SPACE, name = name })[1]
  return row and budget.new(require("perigee.json").decode(row.value)) or nil
end

--- Whether one of the budgets asks for a look at the balance before a paid call.
function budget.checks_balance(list)
  for _, b in ipairs(list) do
    if checked[b] then return true end
  end
  return false
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
