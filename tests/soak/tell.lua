-- tell.lua - usage: perigee run tests/soak/tell.lua REPORT
-- What virtual.lua has reported, for people; ends with exit code 1 if memory grew by a megabyte after the first hour,
-- or if the audit found anything.  A reading goes up and down by some hundred kB with the work that is under way: what
-- has grown is the median of the last readings beside the first.
local fs = require "perigee.fs"
local json = require "perigee.json"

local MEGABYTE <const> = 1 << 20

local report = json.decode(fs.read(arg[1]))
local first, last = report.hours[1], report.hours[#report.hours]

local LAST <const> = 7 -- readings

-- The median of the last readings and the most of all, both over the first.
local function growth(what)
  local most, tail = 0, {}
  for i = 2, #report.hours do
    local more = report.hours[i][what] - first[what]
    most = math.max(most, more)
    if i > #report.hours - LAST then tail[#tail + 1] = more end
  end
  table.sort(tail)
  return tail[#tail // 2 + 1] or 0, most
end

local function tell_memory(what, words)
  local grown, most = growth(what)
  print(("%-24s %.2f MB after an hour, %+.2f MB after %.0f hours, at most %+.2f MB between"):format(words, first[what] / MEGABYTE,
    grown / MEGABYTE, last.hour, most / MEGABYTE))
  return grown
end

local process = tell_memory("process", "process, its own memory")
local supervisor = tell_memory("supervisor", "VM of the supervisor")
local names = {}
for name in pairs(first.vms) do names[#names + 1] = name end
table.sort(names)
for _, name in ipairs(names) do
  print(("%-24s %.2f MB after an hour, %.2f MB at the end"):format("VM of policy " .. name, first.vms[name] / MEGABYTE,
    (last.vms[name] or 0) / MEGABYTE))
end
local states = {}
for state in pairs(report.states) do states[#states + 1] = state end
table.sort(states)
for i, state in ipairs(states) do states[i] = ("%s %d"):format(state, report.states[state]) end
print(("%-24s %s; %d not at their end"):format("jobs", table.concat(states, ", "), report.active))
print(("%-24s %.1f MB at the end"):format("journal", last.journal / MEGABYTE))
for _, problem in ipairs(report.problems) do print("audit: " .. problem) end
os.exit(process < MEGABYTE and supervisor < MEGABYTE and #report.problems == 0 and report.active == 0 and 0 or 1, true)
