-- sxwl_price.lua - what an SXWL job may cost, from the user's own price table.  -- internal
--
-- The service has no price, charge or balance in its contract.  Worst case = gpuNumber × stopTime × price; what a
-- job cost in the end is derived from the minutes seen, never more than the worst case.

local amount = require "perigee.amount"
local errors = require "perigee.error"

local price = {}

local MINUTES <const> = 60

--- "1 GPU", "8 GPUs"
function price.gpus(count)
  return count == 1 and "1 GPU" or count .. " GPUs"
end

--- {["GPU"] = "7 CNY/h"} or amounts for an hour -> {["GPU"] = amount for an hour}.
function price.read_table(prices)
  if prices == nil then return {} end
  if type(prices) ~= "table" then
    errors.invalid 'sxwl.client: prices must be a table such as {["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h"}'
  end
  local names, exact = {}, {}
  for name in pairs(prices) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    local value = prices[name]
    local text = type(value) == "string" and value:match "^%s*(.-)%s*/%s*h%s*$"
    local ok, hourly = pcall(amount, text or value)
    if type(name) ~= "string" or (type(value) == "string" and not text) or not ok then
      errors.invalid(('sxwl.client: prices[%q] must be an amount for an hour, such as "7 CNY/h"'):format(tostring(name)))
    end
    exact[name] = hourly
  end
  return exact
end

--- What `gpus` GPUs cost for `minutes`.
function price.of(hourly, gpus, minutes)
  return hourly * (gpus * minutes) / MINUTES
end

--- The worst case of exact create_job fields: an amount, or nil and why there is none ("price", "bound").
function price.worst_case(prices, fields)
  local hourly = prices[fields.gpuType]
  if fields.stopType ~= "1" then return nil, "bound" end
  if not hourly then return nil, "price" end
  return price.of(hourly, fields.gpuNumber, fields.stopTime)
end

local LONGEST <const> = 2147483647 -- minutes: what the field takes

--- The longest stopTime, in whole minutes, whose worst case is within max_cost; 0 if not even one minute is.
function price.longest(hourly, gpus, max_cost)
  local an_hour = price.of(hourly, gpus, MINUTES)
  if not an_hour:decimal():find "[1-9]" then return LONGEST end
  local hours = amount.ratio(max_cost, an_hour, "down")
  if #hours:match "^%d*" > 8 then return LONGEST end
  local minutes = math.tointeger(tonumber(((amount.of(hours, "CNY") * MINUTES):decimal():match "^%d+")))
  while minutes > 0 and price.of(hourly, gpus, minutes) > max_cost do minutes = minutes - 1 end
  while minutes < LONGEST and price.of(hourly, gpus, minutes + 1) <= max_cost do minutes = minutes + 1 end
  return math.min(minutes, LONGEST)
end

--- What a job seen for `seconds` cost at most: started minutes, and never more than the worst case.
function price.derived(hourly, gpus, seconds, worst)
  if not hourly then return nil end
  local cost = price.of(hourly, gpus, math.max(1, math.ceil(seconds / 60)))
  return worst and amount.min(cost, worst) or cost
end

return price
