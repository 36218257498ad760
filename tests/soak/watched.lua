-- watched.lua - usage: perigee run tests/soak/watched.lua JOBS SECONDS
--
-- So many jobs run for ever on an emulator in this process, and one daemon (PERIGEE) watches them all for that long.
-- Prints its share of a core, its memory, how often it asked, and how long the job that it looked at least often went
-- without a look: by the rows and answers it was given.
local fs = require "perigee.fs"
local http = require "perigee.http"
local journal = require "perigee.core.journal"
local json = require "perigee.json"
local task = require "perigee.task"
local time = require "perigee.time"
local watched = require "tests.soak.watched_process"
local world = require "perigee.emulator.world"

local JOBS <const> = math.tointeger(tonumber(arg[1] or "10000"))
local SECONDS <const> = tonumber(arg[2] or "180")
local GPU <const> = "NVIDIA-GeForce-RTX-3090"
local MEGABYTE <const> = 1 << 20
local CLAIMING <const>, SETTLING <const> = 60, 30 -- seconds that the start may take

local emulated = world.new { seed = 1, faults = "sxwl.create_job:never" }
local calls, seen_at, worst = {}, {}, {}
local opened = task.now()

-- ---- the service ------------------------------------------------------------------------------------------------------

local function look(id)
  local now = task.now()
  worst[id] = math.max(worst[id] or 0, now - (seen_at[id] or opened))
  seen_at[id] = now
end

-- Which jobs a reply has told of.
local function note(request, response)
  local name = request.path:match "([^/]*)$"
  calls[name] = (calls[name] or 0) + 1
  if name == "job_status" then
    look(json.decode(request.body).job_id)
  elseif name == "userJob" and response.body then
    for id in response.body:gmatch '"jobName":"([^"]+)"' do look(id) end
  end
end

local function serve()
  return http.serve {
    host = "127.0.0.1", port = 0,
    handler = function(request)
      local response = emulated:handle(request, os.time())
      note(request, response)
      return { status = response.status, headers = response.headers, body = response.body }
    end,
  }
end

local function create(i)
  local intent = ("%032x"):format(i)
  local response = emulated:handle({
    method = "POST", path = world.SXWL_PATH .. "/userJob", query = {}, headers = { authorization = "Bearer " .. emulated.sxwl.token },
    body = json.encode {
      gpuNumber = 1, gpuType = GPU, ckptPath = "/ckpt", ckptVol = "10", modelPath = "/model", modelVol = "10", imagePath = "image",
      jobType = "GeneralJob", stopType = "1", stopTime = 100000, env = { PERIGEE_INTENT = intent },
    },
  }, os.time())
  return intent, json.decode(response.body).job_id
end

-- ---- the journal --------------------------------------------------------------------------------------------------------

-- As a daemon leaves a running job that was ended suddenly.
local function put_job(i)
  local intent, remote = create(i)
  local id, spec = ("%032x"):format(i), json.encode { gpuNumber = 1, gpuType = GPU, imagePath = "image", jobType = "GeneralJob" }
  local row = journal.call("job.submit", {
    id = id, name = "watched", key = tostring(i), service = "sxwl", kind = "job", spec = spec, hash = intent, state = "planned",
  })[1]
  local attempt = { attempt = 1, intent = intent, price = "10000 CNY", started_at = math.floor(time.now() * 1000) }
  journal.call("permit.reserve", {
    intent = intent, operation = "create_job", service = "sxwl", price = attempt.price, job = id, attempt = 1, lines = {},
  })
  journal.call("permit.intent", { intent = intent })
  attempt.state = "submitting"
  journal.call("job.move", { id = id, fence = row.fence, state = "submitting", attempt = 1, intent = intent, attempts = { attempt } })
  journal.call("permit.move", { intent = intent, state = "sent", bucket = "held" })
  journal.call("permit.move", { intent = intent, state = "created", bucket = "held", remote_id = remote })
  attempt.state, attempt.remote_id = "running", remote
  journal.call("job.move", { id = id, fence = row.fence, state = "running", remote_id = remote, attempts = { attempt } })
end

local function fill()
  local list = {}
  for i = 1, JOBS do list[i] = i end
  task.map(list, put_job, { concurrency = 200 })
end

-- ---- the measure ----------------------------------------------------------------------------------------------------------

local function main()
  local folder = os.tmpname() .. ".watched"
  fs.mkdir(folder)
  fs.write(folder .. "/config.lua", ('return { sxwl = { prices = { [%q] = "6 CNY/h" } } }'):format(GPU), { mode = "0600" })
  local state = folder .. "/state"
  journal.place { state = state, kind = "run" }
  fill()
  journal.call("job.release", {})
  local server <close> = serve()
  local daemon = watched.start(state, {
    PERIGEE_CONFIG = folder .. "/config.lua", SXWL_BASE_URL = server.url .. world.SXWL_PATH, SXWL_TOKEN = emulated.sxwl.token,
  })
  local claimed = task.now() + CLAIMING
  while journal.call("job.list", { orphan = 1, limit = 1 })[1] and task.now() < claimed do task.sleep(0.5) end
  task.sleep(SETTLING)

  opened, seen_at, worst, calls = task.now(), {}, {}, {}
  local before = daemon:processor()
  task.sleep(SECONDS)
  local share = (daemon:processor() - before) / SECONDS
  local resident, own = daemon:memory()
  local longest, looked_at = 0, 0
  for id, gap in pairs(worst) do
    longest, looked_at = math.max(longest, gap, task.now() - seen_at[id]), looked_at + 1
  end
  local asked, names = 0, {}
  for name, count in pairs(calls) do
    asked = asked + count
    names[#names + 1] = ("%s %d"):format(name, count)
  end
  daemon:kill()
  fs.remove(folder, { recursive = true })
  print(("%d jobs watched   %.2f %% of a core, %.1f MB (%.1f MB its own), %.2f requests/s (%s), %d looked at, longest gap %.0f s"):format(
    JOBS, share * 100, resident / MEGABYTE, own / MEGABYTE, asked / SECONDS, table.concat(names, ", "), looked_at, longest))
  local ok = share < 0.02 and resident < 150 * MEGABYTE and asked / SECONDS <= 5 and looked_at == JOBS and longest <= 120
  os.exit(ok and 0 or 1, true)
end

main()
