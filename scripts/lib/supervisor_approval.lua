-- supervisor_approval.lua - what a person has approved for a job that was held, and what is asked again.  -- internal
--
-- An approval is for the price that was shown.  It stands among the job's decisions, so that it outlives a request that
-- had no effect, and the process.

local amount = require "perigee.amount"
local book = require "perigee.supervisor_book"
local journal = require "perigee.core.journal"
local permit = require "perigee.permit"

local approval = {}

--- The decision of who approves or denies a held job.
function approval.decision(row, approved, who, why)
  local text = ("%s by %s%s"):format(approved and "approved" or "denied", who, why and ": " .. why or "")
  return book.decision("gate", text, { who = who, approved = approved and (row.price or "any price") or nil }), text
end

--- The price that was approved for the first attempt, as text; nil if nothing was, or the gate has been passed anew.
function approval.of(row)
  if not row.price and row.reason ~= "approved" then return nil end -- it was never held
  local approved
  for _, one in ipairs(journal.call("decision.list", { job = row.id })) do
    if one.kind == "gate" then
      local data = book.decoded(one.data)
      if data or not one.policy then approved = data and data.approved end
    end
  end
  return approved
end

--- What a person has agreed to pay for this attempt of a job: for one that was submitted or is sent at a prompt, the
--- text of an amount, "any" or "none"; nil for others.  The price is that of the attempt.
function approval.agreed(row, options, price)
  local agreed
  for _, one in ipairs(journal.call("decision.list", { job = row.id })) do
    local data = book.decoded(one.data)
    if one.kind == "retry" then
      agreed = data and data.confirmed
    elseif one.kind == "gate" and (data or not one.policy) then
      agreed = data and data.approved
    end
  end
  if agreed == "any price" then return "any" end
  if agreed and (agreed == "none" or permit.is_confirmed(agreed, price)) then return agreed end
  return options.confirmed or agreed
end

--- Whether the price is within what was approved; false for other currencies.
function approval.covers(approved, price)
  if approved == "any price" or price == nil then return true end
  local ok, within = pcall(function() return price <= amount(approved) end)
  return ok and within
end

--- A limit no higher than what was approved.
function approval.limit(approved, limit)
  if not approved or approved == "any price" then return limit end
  return limit and amount.min(limit, amount(approved)) or amount(approved)
end

return approval
