-- prompt.lua - how long it takes from the start of a process to the prompt, beside `curl -V` from start to end.
--
--   perigee run --quiet prompt.lua PROGRAM PAIRS
--
-- Both get a terminal of their own from the same parent, in turns, so that both see the same disturbance; on core 1,
-- since what goes on behind the prompt must not keep the parent from seeing it. Prints a line of medians: of the times, and
-- of the ratio in each pair. The first pair, which reads the programs from the disk, does not count.
local core = require "perigee.core.task"
local proc = require "perigee.core.proc"

local program, pairs_wanted = arg[1], tonumber(arg[2])

local function seconds_of(args, prompt)
  local started = core.now()
  local child <close> = proc.spawn { args = args, columns = 80, timeout = 60 }
  if prompt then
    assert(child:read_until(prompt), "no prompt came")
  else
    child:wait()
  end
  return core.now() - started
end

local function median(list)
  table.sort(list)
  local middle = #list // 2
  return #list % 2 == 1 and list[middle + 1] or (list[middle] + list[middle + 1]) / 2
end

local prompts, curls, ratios = {}, {}, {}
for i = 0, pairs_wanted do
  prompts[i] = seconds_of({ "taskset", "-c", "1", program, "repl", "--state", ":memory:" }, "perigee> ")
  curls[i] = seconds_of { "taskset", "-c", "1", "curl", "-V" }
  ratios[i] = prompts[i] / curls[i]
end
print(("perigee repl %.0f µs, curl -V %.0f µs, ratio %.2f"):format(median(prompts) * 1e6, median(curls) * 1e6, median(ratios)))
