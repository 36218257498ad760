-- virtual.lua - usage: PERIGEE_VIRTUAL_TIME=… perigee run --state DIR tests/soak/virtual.lua HOURS SEED
--
-- A whole daemon in this process, on virtual time: policies in their VMs, schedules, hooks, messages, the SQLite journal
-- with its commits inline.  The services are another process (service.lua), so that the memory measured here is the
-- daemon's.  Jobs come all the time, under every fault, an hour without any service, clocks that jump, reloads, forged
-- callbacks.  Prints one JSON document: memory of each VM and of the process for each hour, and what the audit found.
local audit = require "tests.survival.audit"
local core = require "perigee.core.task"
local fs = require "perigee.fs"
local http = require "perigee.http"
local journal = require "perigee.core.journal"
local json = require "perigee.json"
local metrics = require "perigee.core.metrics"
local proc = require "perigee.core.proc"
local task = require "perigee.task"
local time = require "perigee.time"

local HOURS <const> = tonumber(arg[1] or "1")
local SEED <const> = arg[2] or "1"
local HOURLY <const> = "6 CNY"
local SERVICE_SPEED <const> = "0.2" -- a job of SXWL takes about ten minutes
local LAST_JOBS <const> = 4 -- hours for the last jobs to end
local SETTLED <const> = 3 -- readings of the memory, of which the least counts
local HISTORY <const> = 500 -- jobs that were finished long ago, of 6 kB each

local report = { hours = {}, problems = {} }
local started = task.now()

local function hour() return (task.now() - started) / 3600 end

-- ---- the services ----------------------------------------------------------------------------------------------------

-- What goes wrong when: minutes of each hour, so that an hour has everything.
local STORMS <const> = {
  { 0, "sxwl.create_job:fail=10%,sxwl.create_job:callback_twice=20%,sxwl.create_job:callback_early=20%" },
  { 10, table.concat({ "*.*:drop_before=3%,*.*:error(503)=3%,*.*:transient=2%,*.*:rate_limit(2s)=3%,*.*:delay(4s)=10%",
    "sxwl.create_job:drop_after=10%,sxwl.create_job:fail=10%,sxwl.create_job:back(2)=20%,sxwl.create_job:callback_late(90s)=30%",
    "deai.create_job:drop_after=10%,deai.create_job:no_id=5%,deai.start_inference:drop_after=5%" }, ",") },
  { 25, "deai.*:expired=5%,sxwl.job_status:garbage=5%,sxwl.jobs:garbage=5%,deai.inference:garbage=5%,sxwl.create_job:callback_never=50%" },
  { 35, "sxwl.create_job:error_after(502)=10%,sxwl.create_job:garbage=5%,sxwl.create_job:never=2%,sxwl.create_job:no_url=5%,"
    .. "deai.create_job:never=5%,deai.start_inference:error_after(502)=5%" },
  { 45, "" },
}
local OUTAGE <const> = { from = 5, to = 6 } -- hours: nothing answers
local SKEW <const> = { { 8, 9, 3600 }, { 10, 11, -3600 } } -- hours, seconds: the service's clock is beside ours

local service = { down = false }

function service.clock()
  local now, h = time.now(), hour()
  for _, skew in ipairs(SKEW) do
    if h >= skew[1] and h < skew[2] then return now + skew[3] end
  end
  return now
end

function service.start()
  local child = proc.spawn {
    args = { assert(os.getenv "PERIGEE"), "run", "tests/soak/service.lua", SEED, SERVICE_SPEED },
    env = service.environment(), timeout = 365 * 86400, -- of our clock
  }
  assert(child:read_until "}", "the service did not start")
  service.child, service.place = child, json.decode((child:output()))
end

-- That process lives in real time.
function service.environment()
  local list = {}
  for name, value in pairs(proc.environ()) do
    if name ~= "PERIGEE_VIRTUAL_TIME" then list[#list + 1] = name .. "=" .. value end
  end
  return list
end

function service.ask(method, path, body, headers)
  local all = { ["x-now"] = ("%.3f"):format(service.clock()) }
  for name, value in pairs(headers or {}) do
    if name:lower() ~= "content-length" and name:lower() ~= "host" then all[name] = value end
  end
  return http.request { method = method, url = service.place.url .. path, body = body, headers = all, timeout = 60 }
end

-- The transport of the clients: passes each request on to that process, and waits as long as it says, on our clock.
local function pass_on(transport, number, request)
  if service.down then return transport:reply(number, { drop = true, status = 0 }) end
  local reply = service.ask(request.method, request.url:match "^%w+://[^/]+(.*)$", request.body, request.headers)
  local headers = {}
  for name in reply.headers["x-names"]:gmatch "%S+" do headers[name] = reply.headers["x-of-" .. name] end
  transport:reply(number, {
    status = math.tointeger(tonumber(reply.headers["x-status"])), headers = headers, body = reply.body,
    delay = tonumber(reply.headers["x-delay"]), drop = reply.headers["x-drop"] ~= nil,
  })
end

local function use_transport()
  local transport = require "perigee.core.local".new()
  task.detach(function()
    while true do
      local number, request = transport:next()
      if number then task.detach(pass_on, transport, number, request) end
    end
  end)
  local place = service.place
  local sxwl, deai = require "perigee.sxwl", require "perigee.deai"
  local new_sxwl, new_deai = sxwl.client, deai.client
  function sxwl.client(options)
    options.transport, options.token, options.base_url = transport, place.token, "http://sxwl" .. place.sxwl
    options.prices = { ["NVIDIA-GeForce-RTX-3090"] = HOURLY .. "/h" }
    return new_sxwl(options)
  end
  function deai.client(options)
    options.transport, options.email, options.password = transport, place.email, place.password
    options.base_url = "http://deai" .. place.deai
    return new_deai(options)
  end
  return deai
end

-- ---- the daemon's doors, without sockets (waiting at one would stop a virtual clock) -------------------------------------

local receivers = {}

local function use_doors()
  package.loaded["perigee.http_serve"] = {
    serve = function(options)
      receivers[#receivers + 1] = options.handler
      return { port = 1, url = "http://door", close = function() end }
    end,
  }
  http.serve = package.loaded["perigee.http_serve"].serve
  require("perigee.config").fix("listen", "127.0.0.1:1")
  require("perigee.config").fix("public_url", "http://door")
end

local function knock(path, body)
  for _, handler in ipairs(receivers) do
    local ok, answer = pcall(handler, { method = "POST", path = path, body = body, headers = {}, query = {}, remote = "" })
    if ok and answer and (answer.status or 200) == 200 and path:find "^/cb/" then return end
  end
end

local function deliver_callbacks()
  while true do
    task.sleep(10)
    if not service.down then
      for _, callback in ipairs(json.decode(service.ask("GET", "/__callbacks").body)) do
        local path = callback.url:match "^%w+://[^/]+(.*)$"
        knock(path, callback.body)
        knock(path:gsub("%x%x%x%x$", "0000"), callback.body) -- forged
      end
    end
  end
end

-- ---- the policies ----------------------------------------------------------------------------------------------------------

local POLICIES <const> = {
  cloud = [[
    local policy = require "perigee.policy"
    return {
      name = "cloud", budget = { day = "100000 CNY", month = "2000000 CNY" },
      retry = { attempts = 3, base = "10s", cap = "1m", on = { "job_failed", "retryable" }, service = "sxwl" },
      on = {
        ["job.unknown"] = function() return policy.retry {} end,
        ["callback"] = function() end,
        ["job.succeeded"] = function(job)
          require "perigee.store".update("succeeded", function(n) return (n or 0) + 1 end)
        end,
      },
      schedules = { {
        name = "submit", every = "2m", jitter = "20s", overlap = "skip",
        run = function(ctx)
          if require "perigee.fs".exists "$stop" then return end
          for i = 1, 3 do
            ctx.jobs.submit { service = "sxwl", kind = "job", name = "cloud", key = ("%d-%d"):format(ctx.scheduled_at, i),
              max_cost = "30 CNY", on_unknown = "retry", deadline = "3h", tags = { "night" },
              spec = { gpuNumber = 1, gpuType = "NVIDIA-GeForce-RTX-3090", ckptPath = "/ckpt", ckptVol = 10, modelPath = "/model",
                modelVol = 10, imagePath = "image", jobType = "GeneralJob", stopTime = 60 } }
          end
        end,
      } },
    }]],
  trainings = [[
    return {
      name = "trainings", budget = { day = "4000 CCD" }, on = { ["job.running"] = function() end },
      schedules = { {
        name = "submit", cron = "*/15 * * * *", tz = "Europe/Berlin", overlap = "skip", catchup = "1h",
        run = function(ctx)
          if require "perigee.fs".exists "$stop" then return end
          ctx.jobs.submit { service = "deai", kind = "train", name = "train", max_cost = "10 CCD", on_unknown = "retry", deadline = "3h",
            spec = { model = "LSTM", jobName = "soak", epoch = 2, x_train = "$data", train_shard = 0.8 } }
        end,
      } },
    }]],
  inferences = [[
    local policy = require "perigee.policy"
    local n = 0
    return {
      name = "inferences", budget = { total = "100000 CCD" },
      on = {
        ["job.submit"] = function(job)
          if job.service ~= "deai" then return policy.allow() end
          n = n + 1
          if n % 13 == 0 then error "a gate that fails is a denial" end
          if n % 6 == 0 then return policy.hold "somebody should look" end
          return policy.allow()
        end,
      },
      schedules = { {
        name = "submit", every = "5m",
        run = function(ctx)
          if require "perigee.fs".exists "$stop" then return end
          ctx.jobs.submit { service = "deai", kind = "infer", name = "infer", max_cost = "10 CCD", on_unknown = "fail", deadline = "3h",
            spec = { jobID = "$job", data_path = "$data" } }
        end,
      } },
    }]],
}

local function write_policies(folder, names)
  local files = {}
  for _, name in ipairs { "cloud", "trainings", "inferences" } do
    files[#files + 1] = ("%s/%s.lua"):format(folder, name)
    fs.write(files[#files], (POLICIES[name]:gsub("%$(%a+)", names)))
  end
  return files
end

-- SQLite keeps up to 2 MB of the pages it has read.  A journal with a past, read once, fills that at the beginning:
-- what grows after it is not this.
local function fill_journal()
  for i = 1, HISTORY do
    local id = ("%032x"):format(i)
    local row = journal.call("job.submit", {
      id = id, name = "past", key = tostring(i), service = "sxwl", kind = "job", spec = ("x"):rep(6000), hash = id, state = "planned",
    })[1]
    journal.call("job.move", { id = id, fence = row.fence, state = "stopped",
      decisions = { { kind = "stop", text = ("stopped long ago "):rep(20) } } })
  end
  for _, row in ipairs(journal.call("journal.verify", {})) do error(row.problem, 0) end
end

-- ---- what is measured --------------------------------------------------------------------------------------------------------

-- Bytes that are this process's own, files and what it shares left out.
local function own_bytes()
  local file <close> = assert(io.open "/proc/self/status")
  return tonumber(file:read "a":match "RssAnon:%s*(%d+)") * 1024
end

local function measure(daemon)
  local row = { hour = math.floor(hour() * 10 + 0.5) / 10, vms = {} }
  for _ = 1, SETTLED do -- between two jobs, not in the middle of one
    collectgarbage()
    collectgarbage()
    local _, here = metrics.memory()
    row.supervisor = math.min(row.supervisor or math.huge, here)
    row.process = math.min(row.process or math.huge, own_bytes())
    task.sleep(7)
  end
  for _, vm in ipairs(daemon.health().vms) do row.vms[vm.name] = vm.memory end
  row.tasks = core.counts().tasks
  row.journal = journal.status().bytes
  report.hours[#report.hours + 1] = row
end

local function active_jobs()
  local count = 0
  for _, row in ipairs(journal.call("job.counts", {})) do
    if ({ planned = 1, held = 1, submitting = 1, running = 1, unknown = 1 })[row.state] then count = count + row.count end
  end
  return count
end

-- Faults, the outage, reloads, approvals and measures, by the hour.
local function conduct(daemon, signals, stop)
  local every = HOURS < 1.5 and 1 / 6 or 1
  local storm, measured = nil, 0
  while true do
    task.sleep(30)
    local h = hour()
    local minute = (h * 60) % 60
    local outage = h >= OUTAGE.from and h < OUTAGE.to
    if outage ~= service.down then service.down = outage end
    local due
    for _, one in ipairs(STORMS) do if minute >= one[1] then due = one[2] end end
    if h >= HOURS then due = "" end
    if due ~= storm and not service.down then
      storm = due
      service.ask("POST", "/__faults", due)
    end
    for _, job in ipairs(journal.call("job.list", { state = "held", limit = 20 })) do
      task.try(daemon.verbs["jobs.approve"], { id = job.id, who = "the soak" })
    end
    knock("/metrics", "")
    if h >= measured + every then
      measured = measured + every
      signals[#signals + 1] = "HUP" -- new VMs for the policies: what they had not collected yet is no growth
      task.sleep(20)
      measure(daemon)
    end
    if h >= HOURS and not fs.exists(stop) then fs.write(stop, "") end
    if h >= HOURS and (active_jobs() == 0 or h > HOURS + LAST_JOBS) then
      signals[#signals + 1] = "TERM"
      return
    end
  end
end

-- ---- the end -------------------------------------------------------------------------------------------------------------------

local function rows_of(name)
  local list, after = {}, nil
  repeat
    local rows = journal.call("journal.export", { table = name, limit = 500, after = after })
    for _, row in ipairs(rows) do
      local record = json.decode(row.line)
      record = record.record or record
      for field, value in pairs(record) do if value == json.null then record[field] = nil end end
      list[#list + 1], after = record, row.key
    end
  until #rows < 500
  return list
end

local function finish()
  local entries = {}
  for line in service.ask("GET", "/__ledger?entries=1").body:gmatch "[^\n]+" do
    local entry = json.decode(line)
    if entry.seq > report.begun_at then entries[#entries + 1] = entry end
  end
  report.problems = audit.compare { entries = entries, permits = rows_of "permits", gpu_minutes = {}, hourly = HOURLY }
  report.states = {}
  for _, job in ipairs(rows_of "jobs") do
    local key = job.name .. " " .. job.state
    if job.name ~= "past" then report.states[key] = (report.states[key] or 0) + 1 end
  end
  report.active = active_jobs()
  report.entries = #entries
end

local function main()
  service.start()
  local deai = use_transport()
  use_doors()
  local folder = os.tmpname() .. ".soak"
  fs.mkdir(folder)
  fs.write(folder .. "/x.csv", "1,2,3\n4,5,6\n")
  local client = deai.client {}
  local data = client:upload(folder .. "/x.csv")
  local job = client:train { model = "LSTM", jobName = "before", epoch = 1, x_train = data, train_shard = 0.8, wait = true }
  fill_journal()
  report.begun_at = select(2, service.ask("GET", "/__ledger?entries=1").body:gsub("\n", "\n"))
  local stop = folder .. "/stop"
  local files = write_policies(folder, { stop = stop, data = data, job = job.jobID })
  local signals = {}
  local daemon = require "perigee.daemon"
  task.detach(deliver_callbacks)
  task.detach(conduct, daemon, signals, stop)
  local code = daemon.run {
    options = { args = files }, option_names = {}, note_stuck = function() end,
    read_option = function(_, value) return value end,
    next_signal = function()
      while #signals == 0 do task.sleep(5) end
      return table.remove(signals, 1)
    end,
  }
  task.sleep(60) -- VMs of policies that were replaced at last end too
  finish()
  report.code, report.virtual_hours = code, hour()
  fs.remove(folder, { recursive = true })
  io.stdout:write(json.encode(report), "\n")
  io.stdout:flush()
  service.child:kill "KILL"
  os.exit(#report.problems == 0 and report.active == 0 and 0 or 1, true)
end

main()
