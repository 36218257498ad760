-- siege.lua - a daemon on an emulator that outlives it: started, killed, started again, and audited.
--
-- The emulator is a process of its own, so its ledger knows what was really created and billed, whatever became of
-- the daemon.  The audit compares that with the journal, line by line: it is the other side of every promise about
-- money.  One siege for each spec; everything is below one folder of its own.

local fs = require "perigee.fs"
local http = require "perigee.http"
local json = require "perigee.json"
local audit = require "tests.survival.audit"
local spawn = require "tests.support.spawn"
local task = require "perigee.task"

local siege = {}
local methods = {}
methods.__index = methods

siege.GPU = "NVIDIA-GeForce-RTX-3090"
siege.HOURLY = "6 CNY"

local ACTIVE <const> = { planned = true, held = true, submitting = true, running = true, unknown = true }

-- ---- the policies --------------------------------------------------------------------------------------------------

-- Each submits its jobs again at every turn of its schedule: what is there already is attached, never repeated.  In a
-- stream every turn has jobs of its own, until the file `flow` is gone.  With a ramp they come bit by bit in so many
-- seconds.
local POLICY <const> = [[
local policy = { name = "$name", budget = $budget, on = {} }
local flow, count, ramp, begun = "$flow", $count, $ramp, $begun

policy.schedules = {
  {
    name = "submit", every = "1s", overlap = "skip",
    run = function(ctx)
      if flow ~= "" and not require "perigee.fs".exists(flow) then return end
      local due = ramp > 0 and math.max(1, math.min(count, count * (os.time() - begun) // ramp)) or count
      for i = 1, due do
        ctx.jobs.submit {
          name = "$name", key = flow ~= "" and ("%d-%d"):format(ctx.scheduled_at, i) or tostring(i), attach = "finished",
          tags = { "siege" }, retry = { attempts = 3, base = "200ms", cap = "1s" }, $deadline
          $fields
        }
      end
    end,
  },
}

return policy
]]

local SXWL <const> = [[service = "sxwl", kind = "job", max_cost = "3 CNY", on_unknown = "retry",
          spec = {
            gpuNumber = 1, gpuType = "NVIDIA-GeForce-RTX-3090", ckptPath = "/ckpt", ckptVol = 10, modelPath = "/model",
            modelVol = 10, imagePath = "image", jobType = "GeneralJob", stopTime = 5,
          },]]

local TRAIN <const> = [[service = "deai", kind = "train", max_cost = "1 CCD", on_unknown = "retry",
          spec = {
            model = "LSTM", jobName = "siege", epoch = 2, x_train = %q, train_shard = 0.8,
          },]]

-- By nothing can a start whose answer was lost be told from others on the same job: it would stay unknown for ever.
local INFER <const> = [[service = "deai", kind = "infer", max_cost = "1 CCD", on_unknown = "fail",
          spec = { jobID = ({ %s })[i %% %d + 1], data_path = %q },]]

local function write_policy(self, options, name, budget, count, fields)
  if count == 0 then return end
  local path = ("%s/policies/%s.lua"):format(self.dir, name)
  fs.write(path, (POLICY:gsub("%$(%a+)", {
    name = name, budget = budget, count = count, fields = fields, flow = self.flow or "", ramp = options.ramp or 0, begun = os.time(),
    deadline = options.deadline and ("deadline = %q,"):format(options.deadline) or "",
  })))
  self.policies[#self.policies + 1] = path
end

-- ---- the processes ----------------------------------------------------------------------------------------------------

local function start_emulator(self, options)
  local args = { "emulator", "--listen", "127.0.0.1:0", "--speed", tostring(options.speed or 100),
    "--seed", tostring(options.seed or 1), "--era", options.era or "B" }
  self.emulator = spawn.start(args, { timeout = options.limit or 600 })
  assert(self.emulator:read_until("SXWL_TOKEN='", 20), "the emulator did not start")
  self.environment = { PERIGEE_CONFIG = self.dir .. "/config.lua" }
  for name, value in self.emulator:output():gmatch "export ([%u_]+)='([^']*)'" do self.environment[name] = value end
  self.url = self.environment.SXWL_BASE_URL:match "^(http://[^/]+)"
end

-- Trained jobs and an uploaded file for the inferences, made by hand: they are not part of the siege.
local function prepare_deai(self)
  local deai = require "perigee.deai"
  local client = deai.client {
    email = self.environment.DEAI_EMAIL, password = self.environment.DEAI_PASSWORD, base_url = self.environment.DEAI_BASE_URL,
  }
  local path = self.dir .. "/x.csv"
  fs.write(path, "1,2,3\n4,5,6\n")
  self.x_train = client:upload(path)
  self.trained = {}
  task.map({ 1, 2, 3, 4, 5 }, function(i)
    local job = client:train {
      model = "LSTM", jobName = "before" .. i, epoch = 1, x_train = self.x_train, train_shard = 0.8, wait = true,
    }
    self.trained[#self.trained + 1] = ("%q"):format(job.jobID)
  end)
end

-- An address that was free a moment ago: the daemons of a siege have one after the other the same.
local function free_address()
  local server <close> = http.serve { host = "127.0.0.1", port = 0, handler = function() return { status = 404 } end }
  return "127.0.0.1:" .. server.port
end

--- options: jobs = {sxwl=, train=, infer=}, stream (so many each second, until dry() is called), ramp (seconds until
--- the last of them is submitted), deadline (of each), callbacks (true: the daemon is called back), seed, speed, era,
--- faults (set once the siege begins), environment (of the daemon), limit (seconds after which the children are ended).
function siege.open(options)
  local self = setmetatable({ dir = os.tmpname() .. ".siege", policies = {}, daemons = 0, limit = options.limit or 600 }, methods)
  fs.mkdir(self.dir)
  fs.mkdir(self.dir .. "/policies")
  self.state = self.dir .. "/state"
  start_emulator(self, options)
  local prices = ('return { sxwl = { prices = { [%q] = "%s/h" } } }\n'):format(siege.GPU, siege.HOURLY)
  fs.write(self.dir .. "/config.lua", prices, { mode = "0600" })
  if options.stream then
    self.flow = self.dir .. "/flow"
    fs.write(self.flow, "")
  end
  self.listen = options.callbacks and free_address() or nil
  local wanted = options.jobs
  if wanted.train or wanted.infer then prepare_deai(self) end
  self.begun_at = #self:entries()
  write_policy(self, options, "cloud", '{ day = "10000 CNY" }', wanted.sxwl or 0, SXWL)
  write_policy(self, options, "trainings", '{ day = "400 CCD" }', wanted.train or 0, TRAIN:format(self.x_train or ""))
  write_policy(self, options, "inferences", '{ day = "400 CCD" }', wanted.infer or 0,
    INFER:format(table.concat(self.trained or {}, ","), #(self.trained or { 1 }), self.x_train or ""))
  self.expected = not self.flow and (wanted.sxwl or 0) + (wanted.train or 0) + (wanted.infer or 0)
  for name, value in pairs(options.environment or {}) do self.environment[name] = value end
  if options.faults then self:faults(options.faults) end
  return self
end

--- Puts faults in place of those before; "" for none.
function methods:faults(text)
  http.post(self.url .. "/__faults", { body = text })
end

--- Starts the daemon; extra: variables for this start only.
function methods:start(extra)
  local env = {}
  for name, value in pairs(self.environment) do env[name] = value end
  for name, value in pairs(extra or {}) do env[name] = value end
  local args = { "daemon", "--state", self.state, "--quiet" }
  if self.listen then table.move({ "--listen", self.listen, "--public-url", "http://" .. self.listen }, 1, 4, #args + 1, args) end
  table.move(self.policies, 1, #self.policies, #args + 1, args)
  self.daemons = self.daemons + 1
  self.daemon = spawn.start(args, { env = env, timeout = self.limit })
  return self.daemon
end

--- SIGKILL, now.
function methods:kill()
  self.daemon:kill "KILL"
  self.daemon:wait()
  self.daemon = nil
end

--- Waits until the daemon has ended by itself; how it ended.
function methods:ended()
  local result = self.daemon:wait()
  self.daemon = nil
  return result
end

local function command(self, args)
  local all = table.move(args, 1, #args, 1, {})
  all[#all + 1] = "--state"
  all[#all + 1] = self.state
  local result = spawn.run(all, { env = self.environment, timeout = 60 })
  assert(result.status == 0, ("perigee %s: %s %s"):format(table.concat(args, " "), result.status, result.stderr))
  return result.stdout
end

-- ---- what each side knows -------------------------------------------------------------------------------------------------

--- Every entry of the emulator's ledger since the siege began.
function methods:entries()
  local list = {}
  for line in http.get(("%s/__ledger?entries=%d"):format(self.url, (self.begun_at or 0) + 1)).body:gmatch "[^\n]+" do
    list[#list + 1] = json.decode(line)
  end
  return list
end

local function without_nulls(row)
  for name, value in pairs(row) do
    if value == json.null then row[name] = nil end
  end
  return row
end

--- The rows of a table of the journal.
function methods:rows(name)
  local list = {}
  for line in command(self, { "journal", "export" }):gmatch "[^\n]+" do
    local one = json.decode(line)
    if one.table == name then list[#list + 1] = without_nulls(one.record) end
  end
  return list
end

--- Jobs that have not ended, by state, and how many there are in all.
function methods:unfinished()
  local left, all = {}, 0
  for _, job in ipairs(self:rows "jobs") do
    all = all + 1
    if ACTIVE[job.state] then left[job.state] = (left[job.state] or 0) + 1 end
  end
  return left, all
end

--- Ends the stream: no further jobs are submitted.
function methods:dry()
  fs.remove(self.flow)
end

--- What `perigee why` says of a job.
function methods:why(id)
  return command(self, { "why", id })
end

-- What keeps the first few jobs from their end.
local function obstacles(self)
  local lines = {}
  for _, job in ipairs(self:rows "jobs") do
    if ACTIVE[job.state] and #lines < 5 then
      lines[#lines + 1] = ("%s %s is %s: %s"):format(job.name, job.key, job.state, job.reason or "")
      lines[#lines + 1] = self:why(job.id)
    end
  end
  self.daemon:kill "USR1" -- its tasks, and what each waits for
  task.sleep(2)
  lines[#lines + 1] = select(2, self.daemon:output()):sub(-6000)
  return table.concat(lines, "\n")
end

--- Waits until every expected job is there and has ended; seconds bounds it.
function methods:settle(seconds)
  local until_ = os.time() + seconds
  while true do
    local left, all = self:unfinished()
    if next(left) == nil and (not self.expected or all == self.expected) then return end
    if os.time() > until_ then
      error(("after %d s there are %d of %s jobs, unfinished: %s\n%s"):format(seconds, all, self.expected or "any number of",
        json.encode(left), obstacles(self)), 0)
    end
    task.sleep(0.5)
  end
end

-- ---- the audit ----------------------------------------------------------------------------------------------------------------

--- What is wrong between ledger and journal: a list of sentences, empty if all is well.  poll: seconds by which the end
--- of a job may have been seen late, where what it cost is derived from that.
function methods:audit(poll)
  local entries, gpu = self:entries(), self:gpu_minutes()
  local permits = self:rows "permits" -- read after the ledger: a create after that may be missing there, not here
  return audit.compare { entries = entries, permits = permits, gpu_minutes = gpu, hourly = siege.HOURLY, poll = poll }
end

-- The daemon comes by the commit and is killed there; ledger and journal must agree.
local function kill_at(self, transition, where)
  self:start { PERIGEE_CRASH = transition .. ":" .. where, PERIGEE_JOURNAL_BATCH = "1" }
  local result = self:ended()
  if result.signal ~= 9 then
    error(("the daemon was not killed %s the commit of %s: exit %s %s"):format(where, transition, tostring(result.status),
      result.stderr), 0)
  end
  local problems = self:audit()
  if #problems > 0 then
    error(("killed %s the commit of %s:\n%s"):format(where, transition, table.concat(problems, "\n")), 0)
  end
end

--- Kills the daemon right before and right after the commit of each transition, one commit for each call; then lets
--- the jobs reach their ends.
function methods:sweep(transitions)
  for _, transition in ipairs(transitions) do
    kill_at(self, transition, "before")
    kill_at(self, transition, "after")
  end
  self:dry()
  self:faults "" -- else what is created again may be lost again, and each takes its time
  self:start { PERIGEE_JOURNAL_BATCH = "1" }
  self:settle(200) -- a lost create is believed not to exist after two looks, a minute apart
end

--- GPU minutes that the service counts for each job, by job_id.
function methods:gpu_minutes()
  local minutes = {}
  for _, row in ipairs(json.decode(http.get(self.url .. "/__ledger").body).sxwl.jobs) do minutes[row.job_id] = row.gpu_minutes end
  return minutes
end

--- Ends everything and removes the folder.
function methods:__close()
  if self.daemon then self.daemon:kill "KILL" end
  if self.emulator then self.emulator:kill "KILL" end
  fs.remove(self.dir, { recursive = true })
end

return siege
