-- tell.lua - usage: perigee run tests/soak/tell.lua REPORT
-- What virtual.lua has reported, for people; ends with exit code 1 if a day's memory grew by a megabyte after its
-- first hour, or if the audit found anything.
local fs = require "perigee.fs"
local json = require "perigee.json"

local MEGABYTE <const> = 1 << 20

local report = json.decode(fs.read(arg[1]))
local first, last = report.hours[1], report.hours[#report.hours]

local function growth(what)
  local most = 0
  for i = 2, #report.hours do most = math.max(most, report.hours[i][what] - first[what]) end
  return last[what] - first[what], most
end

local function tell_memory(what, words)
  local final, most = growth(what)
  print(("%-24s %.2f MB after an hour, %+.2f MB after %.0f hours, at most %+.2f MB between"):format(words, first[what] / MEGABYTE,
    final / MEGABYTE, last.hour, most / MEGABYTE))
  return most
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
