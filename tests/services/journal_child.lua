-- journal_child.lua - runs the cases of journal_cases.lua on the state directory that it was started with, and prints a
-- line of JSON for each: {name, ok, message}.
local core = require "perigee.core.journal"
local clock = require "perigee.core.task"
local errors = require "perigee.error"
local json = require "perigee.json"

local j = { core = core, call = core.call }

local serial = 0

--- 32 hex digits that no other call gives.
function j.id()
  serial = serial + 1
  return ("%08x"):format(serial):rep(4)
end

--- The error of a call that must be refused with this code (nil: any).
function j.refused(code, ...)
  local ok, err = pcall(core.call, ...)
  assert(not ok, "the call went through")
  assert(errors.is(err, "invalid"), tostring(err))
  assert(code == nil or err.code == code, ("code %s, not %s: %s"):format(err.code, code, err.message))
  return err
end

--- A submitted job with a name of its own, and the fields it was submitted with.
function j.job(given)
  local id = j.id()
  local fields = { id = id, name = "job " .. id, key = "", service = "sxwl", kind = "job", spec = "{}", hash = "hash", state = "planned" }
  for name, value in pairs(given) do fields[name] = value end
  return core.call("job.submit", fields)[1], fields
end

function j.line(budget, window, number, limit, currency)
  return { budget = budget, window = window, number = number, currency = currency or "CCD", limit = limit }
end

--- Until the wall clock has gone on.
function j.wait_ms(ms)
  clock.sleep(ms / 1000)
end

for _, one in ipairs(require "journal_cases") do
  local ok, err = xpcall(one[2], debug.traceback, j)
  print(json.encode { name = one[1], ok = ok, message = not ok and tostring(err) or nil })
end
print(json.encode { engine = core.status().engine })
