-- audit.lua - what an emulator's ledger says was created and billed, against what a journal says of it.
--
-- The ledger knows what no client whose reply was lost can know.  So this is the other side of each promise about
-- money: no create without an intent, none twice for one intent, and money in the journal for each.

local amount = require "perigee.amount"
local base_units = require("perigee.core.amount").base

local audit = {}

local COUNTS <const> = { held = true, unknown = true, spent = true }
local ROUNDING <const> = 1 -- a started minute counts in full: two clocks that start apart may differ by one

local function check(problems, ok, text, ...)
  if not ok then problems[#problems + 1] = text:format(...) end
end

local function intent_of(entry)
  if entry.service == "sxwl" then return entry.intent end
  return entry.jobName and entry.jobName:match "(%x+)$"
end

local function by(list, field)
  local map = {}
  for _, row in ipairs(list) do
    if row[field] then map[row[field]] = row end
  end
  return map
end

-- What the service has counted for a job at this moment.
local function price_of(book, minutes)
  return amount((book.hourly:gsub("%s*/h$", ""))) * minutes / 60
end

-- A charge that was reported is booked as it is; before that, and where none is ever reported, at least the estimate.
local function check_deai(problems, permit, entry, booked, what)
  if entry.kind == "inference" and permit.state == "settled" and permit.derived ~= 1 then
    local charge = amount.ccd(entry.ccd_cost)
    return check(problems, booked == charge, "%s: %s stand in the journal, and %s were charged", what, tostring(booked),
      tostring(charge))
  end
  local least = base_units(entry.estimate, "CCD")
  check(problems, booked >= least, "%s: %s stand in the journal for %s", what, tostring(booked), tostring(least))
end

-- What a job has cost is derived from how long it was seen: never less than was counted, and not more than the time
-- between two looks allows.
local function check_sxwl(problems, book, permit, entry, booked, what)
  local minutes = book.gpu_minutes[entry.job_id]
  if not minutes then return end -- made since they were asked for
  local counted = price_of(book, minutes)
  check(problems, booked >= counted, "%s: %s stand in the journal, and the service counts %s", what, tostring(booked),
    tostring(counted))
  if not book.poll or permit.state ~= "settled" then return end
  local most = price_of(book, minutes + (math.ceil(book.poll / 60) + ROUNDING) * entry.gpuNumber)
  check(problems, booked <= most, "%s: %s stand in the journal, and with the time between two looks it is %s at most", what,
    tostring(booked), tostring(most))
end

local function check_money(problems, book, permit, entry, what)
  check(problems, COUNTS[permit.bucket], "%s was created, and nothing stands for it: permit %s is %s, bucket %s", what,
    permit.intent, permit.state, tostring(permit.bucket))
  local text = permit.amount or permit.price
  if not text or not COUNTS[permit.bucket] then return end
  if entry.service == "deai" then return check_deai(problems, permit, entry, amount(text), what) end
  return check_sxwl(problems, book, permit, entry, amount(text), what)
end

local function check_job(problems, book, entry, intents, seen)
  local intent = intent_of(entry)
  local permit = intent and intents[intent]
  local what = entry.service .. " job " .. (entry.job_id or entry.jobID)
  check(problems, intent, "%s was created without an intent", what)
  check(problems, not intent or permit, "%s carries intent %s, which the journal does not know", what, tostring(intent))
  check(problems, not intent or not seen[intent], "%s is the second for intent %s", what, tostring(intent))
  if intent then seen[intent] = true end
  if permit then check_money(problems, book, permit, entry, what) end
end

-- Starts whose answer was lost: in doubt, or found in the list by their time.
local function starts_in_doubt(permits)
  local count = 0
  for _, permit in ipairs(permits) do
    local named = permit.remote_id and permit.remote_id:find "^%d+$"
    if permit.operation == "start_inference" and not named and COUNTS[permit.bucket] then count = count + 1 end
  end
  return count
end

--- What is wrong: a list of sentences, empty if all is well.  book: entries of the ledger, permits of the journal (read
--- after them), gpu_minutes by job_id (read before the permits), hourly (the price of a GPU), poll (seconds between two
--- looks at a job that runs; nil: derived costs are not compared with it).
function audit.compare(book)
  local problems, seen, unmatched = {}, {}, 0
  local intents, remotes = by(book.permits, "intent"), by(book.permits, "remote_id")
  for _, entry in ipairs(book.entries) do
    if entry.kind == "job" then
      check_job(problems, book, entry, intents, seen)
    elseif entry.kind == "inference" then
      local permit = remotes[tostring(entry.infer_id)]
      if permit then check_money(problems, book, permit, entry, "inference " .. entry.infer_id) else unmatched = unmatched + 1 end
    end
  end
  local open = starts_in_doubt(book.permits)
  check(problems, unmatched <= open, "%d inferences were started that the journal does not know; %d starts are in doubt",
    unmatched, open)
  return problems
end

return audit
