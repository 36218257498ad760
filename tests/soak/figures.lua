-- figures.lua - usage: perigee run tests/soak/figures.lua [FINISHED]
--
-- What a daemon takes that has nothing to do, how soon it is ready with and without a past of FINISHED jobs, and how
-- many reservations a second become durable.  PERIGEE names the program whose daemon is started.
local fs = require "perigee.fs"
local journal = require "perigee.core.journal"
local task = require "perigee.task"
local watched = require "tests.soak.watched_process"

local FINISHED <const> = math.tointeger(tonumber(arg[1] or "100000"))
local MEGABYTE <const> = 1 << 20
local IDLE <const> = 30 -- seconds
local STARTS <const> = 5
local RESERVATIONS <const> = 5000
local failed = false

local function tell(what, limit, ok, ...)
  failed = failed or not ok
  print(("%-24s %-16s %s%s"):format(what, limit, string.format(...), ok and "" or "   MISSED"))
end

local function median(list)
  table.sort(list)
  return list[#list // 2 + 1]
end

local function starts(state, env)
  local times = {}
  for i = 1, STARTS do
    local daemon = watched.start(state, env)
    times[i] = daemon.started_in
    daemon:kill()
  end
  return median(times)
end

local function idle(state, env)
  local daemon = watched.start(state, env)
  task.sleep(5)
  local before = daemon:processor()
  task.sleep(IDLE)
  local share = (daemon:processor() - before) / IDLE
  local resident, own = daemon:memory()
  daemon:kill()
  tell("idle daemon, memory", "under 15 MB", resident < 15 * MEGABYTE, "%.1f MB (%.1f MB its own)", resident / MEGABYTE, own / MEGABYTE)
  tell("idle daemon, processor", "", true, "%.2f %% of a core", share * 100)
end

local function put_finished(i)
  local id = ("%032x"):format(i)
  local intent = ("%032x"):format(i + (1 << 40))
  local row = journal.call("job.submit", {
    id = id, name = "past", key = tostring(i), service = "sxwl", kind = "job", spec = '{"gpuNumber":1,"gpuType":"NVIDIA-GeForce-RTX-3090"}',
    hash = id, state = "planned",
  })[1]
  journal.call("job.move", {
    id = id, fence = row.fence, state = "failed", attempt = 1, intent = intent, reason = "SXWL says that the job has failed",
    attempts = { { attempt = 1, intent = intent, state = "failed", price = "1 CNY", cost = "0.5 CNY", started_at = 1, ended_at = 2 } },
    decisions = { { kind = "end", text = "failed: SXWL says that the job has failed; no retry was asked for" } },
  })
end

local function count_to(n)
  local list = {}
  for i = 1, n do list[i] = i end
  return list
end

local function reserve(i)
  journal.call("permit.reserve", {
    intent = ("%032x"):format(i + (1 << 44)), operation = "create_job", service = "sxwl", price = "1 CNY", governed = 1,
    lines = { { budget = "bench", window = "total", number = 0, currency = "CNY", limit = "1000000 CNY" } },
  })
end

local function main()
  local folder = os.tmpname() .. ".figures"
  fs.mkdir(folder)
  fs.write(folder .. "/config.lua", "return {}", { mode = "0600" })
  local env = { PERIGEE_CONFIG = folder .. "/config.lua" }
  tell("daemon ready", "", true, "%.0f ms after its start, with an empty journal", starts(folder .. "/empty", env) * 1000)
  idle(folder .. "/empty", env)

  journal.place { state = folder .. "/full", kind = "run" }
  local began = task.now()
  task.map(count_to(RESERVATIONS), reserve, { concurrency = 256 })
  tell("durable reservations", "", true, "%.0f/s, 256 at once", RESERVATIONS / (task.now() - began))
  began = task.now()
  for i = 1, 200 do reserve(RESERVATIONS + i) end
  tell("", "", true, "%.1f ms for one alone", (task.now() - began) / 200 * 1000)
  task.map(count_to(FINISHED), put_finished, { concurrency = 512 })
  local seconds = starts(folder .. "/full", env)
  tell("daemon ready", "under 1 s", seconds < 1, "%.0f ms after its start, with %d finished jobs (%.0f MB)", seconds * 1000, FINISHED,
    (journal.status().bytes or 0) / MEGABYTE)
  fs.remove(folder, { recursive = true })
  os.exit(failed and 1 or 0, true)
end

main()
