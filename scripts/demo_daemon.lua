-- demo_daemon.lua - the second part of `make demo`: a daemon is killed in the middle of its work, and loses nothing.
--
--   perigee run scripts/demo_daemon.lua
--
-- Emulator and daemon are processes of their own, so that the emulator knows what was really created, whatever became
-- of the daemon.  Everything lies in a folder that goes at the end; both processes end with this script, however that
-- ends, by SIGKILL too.  What is said about jobs is read from the journal by the commands a person would use.
local amount = require "perigee.amount"
local fs, http, json = require "perigee.fs", require "perigee.http", require "perigee.json"
local proc, task = require "perigee.proc", require "perigee.task"

local HERE <const> = fs.absolute(arg[0]:match "^(.*/)" or "./")
local GPU <const>, GPU_PRICE <const> = "NVIDIA-GeForce-RTX-3090", "7 CNY"
local INPUTS <const> = 8
local SPEED <const> = "10" -- ten times as fast as life
local FAULTS <const> = "sxwl.create_job:fail=1"
local PATIENCE <const> = 60 -- seconds for any one thing to happen
local POLICIES <const> = { "cost_gate", "retry_failed_jobs", "fan_out_inference" }
local TOLD_WHY <const> = { planned = true, held = true, denied = true, failed = true, unknown = true }
local ENDED <const> = { succeeded = true, failed = true, denied = true, stopped = true, expired = true }

local function program()
  local first = 0
  while arg[first - 1] do first = first - 1 end
  return arg[first]
end

local PERIGEE <const> = program()

local function say(text, ...)
  print("   " .. text:format(...))
end

local function chapter(title)
  print("\n" .. title)
end

-- ---- the folder and the two processes --------------------------------------------------------------------------------

local Stage = {}
Stage.__index = Stage

local function new_stage()
  local dir = os.tmpname()
  fs.remove(dir)
  for _, folder in ipairs { "", "/in", "/out" } do fs.mkdir(dir .. folder, { mode = "0700" }) end
  for i = 1, INPUTS do fs.write(("%s/in/image-%d.csv"):format(dir, i), ("%d,%d,%d\n"):format(i, i * i, i * i * i)) end
  fs.write(dir .. "/config.lua", ('return { sxwl = { prices = { [%q] = "%s/h" } } }\n'):format(GPU, GPU_PRICE), { mode = "0600" })
  return setmetatable({ dir = dir, state = dir .. "/state", told = {}, began = task.now(),
    env = { DEAI_PASSWORD_FILE = false, SXWL_TOKEN_FILE = false, http_proxy = false, -- what a person has set stays out of it
      PERIGEE_CONFIG = dir .. "/config.lua", PERIGEE_STATE = dir .. "/state", PERIGEE_LOG_LEVEL = "off",
      DEMO_DATA = HERE .. "examples/data", FAN_OUT_FOLDER = dir .. "/in", FAN_OUT_RESULTS = dir .. "/out" } }, Stage)
end

function Stage:__close()
  fs.remove(self.dir, { recursive = true })
end

-- Runs a command of perigee to its end, as at a prompt: what it printed.
function Stage:command(...)
  local result = proc.run { args = { PERIGEE, ... }, env = self.env, timeout = PATIENCE }
  if result.status ~= 0 then error(("perigee %s: %s"):format(table.concat({ ... }, " "), result.stderr), 0) end
  return result.stdout
end

-- The words that start a process which ends with this one, also when this one is killed; where the system has no such
-- command it ends with it in every other case.
local leash
local function on_leash(...)
  if not leash then
    local words = { "setpriv", "--pdeathsig", "KILL" }
    local ok, result = pcall(proc.run, { args = { words[1], words[2], words[3], "true" } })
    leash = ok and result.status == 0 and words or {}
  end
  return table.move({ ... }, 1, select("#", ...), #leash + 1, { table.unpack(leash) })
end

local function eventually(what, f)
  local limit = task.now() + PATIENCE
  while task.now() < limit do
    local found = f()
    if found then return found end
    task.sleep(0.2)
  end
  error(what .. " did not happen within a minute", 0)
end

-- The shell only leads the output into a file, and becomes the program.
function Stage:start_emulator()
  local out = self.dir .. "/emulator.out"
  task.spawn(proc.run, {
    args = on_leash("sh", "-c", 'out=$1; shift; exec "$@" > "$out"', "sh", out, PERIGEE, "emulator", "--listen", "127.0.0.1:0",
      "--speed", SPEED, "--seed", "3", "--faults", FAULTS),
    env = self.env,
  })
  local text = eventually("the start of the emulator", function()
    local words = fs.exists(out) and fs.read(out) or ""
    return words:find("SXWL_TOKEN='[^']+'") and words
  end)
  for name, value in text:gmatch "export ([%u_]+)='([^']*)'" do self.env[name] = value end
  self.origin = self.env.SXWL_BASE_URL:match "^(%a+://[^/]+)"
end

-- Starts the daemon and waits until it answers: the task that waits for its end, and its process.
function Stage:start_daemon()
  local args = on_leash(PERIGEE, "daemon", "--quiet")
  for _, name in ipairs(POLICIES) do args[#args + 1] = name end
  args[#args + 1] = HERE .. "demo_work.lua"
  self.daemon = task.spawn(proc.run, { args = args, env = self.env })
  self.pid = eventually("the start of the daemon", function()
    if self.daemon:status() == "done" then error("the daemon ended: " .. self.daemon:wait().stderr, 0) end
    local result = proc.run { args = { PERIGEE, "status", "--json" }, env = self.env, timeout = PATIENCE }
    local status = result.status == 0 and json.decode(result.stdout)
    return status and status.ready and status.pid
  end)
end

-- ---- what the journal says -----------------------------------------------------------------------------------------------

function Stage:jobs()
  return json.decode(self:command("jobs", "list", "--all", "--json")).jobs
end

local function counted(list)
  local counts, words = {}, {}
  for _, job in ipairs(list) do counts[job.state] = (counts[job.state] or 0) + 1 end
  for _, state in ipairs { "planned", "submitting", "running", "unknown", "held", "failed", "succeeded" } do
    if counts[state] then words[#words + 1] = counts[state] .. " " .. state end
  end
  return table.concat(words, ", ")
end

function Stage:tell(name, text)
  if self.told[name] == text or text == "" then return end
  self.told[name] = text
  say("%5.1f s  %-10s  %s", task.now() - self.began, name, text)
end

-- Says what has changed since the last look; all jobs, by name, but for the inferences.
function Stage:look()
  local by_name, inferences, all = {}, {}, self:jobs()
  table.sort(all, function(a, b) return a.name < b.name end)
  for _, job in ipairs(all) do
    if job.kind == "infer" then
      inferences[#inferences + 1] = job
    else
      by_name[job.name] = job
      local again = job.attempt and job.attempt > 1 and (", attempt %d"):format(job.attempt) or ""
      local why = job.reason and TOLD_WHY[job.state] and ": " .. job.reason or ""
      if job.state ~= "submitting" then self:tell(job.name, job.state .. again .. why) end
    end
  end
  self:tell("inferences", counted(inferences))
  return by_name, inferences, all
end

-- ---- the story ------------------------------------------------------------------------------------------------------------

local story = {}

function story.start(stage)
  chapter "7. A daemon, and the three ready policies"
  say("The journal is in %s, which goes at the end.", stage.state)
  stage:start_emulator()
  say "The emulator now is a process of its own; so is the daemon. It has been asked to let the first GPU job fail."
  say("perigee daemon %s demo_work.lua", table.concat(POLICIES, " "))
  stage:start_daemon()
  say "cost_gate decides what may go, retry_failed_jobs what is tried again, fan_out_inference starts inferences when a"
  say "training is done. A fourth asks for that training and four GPU jobs, again at every second: what is there is found."
end

-- The middle: everything has been sent or decided, one job has failed and waits to be tried again.
local function in_the_middle(by_name, all)
  local first = by_name["night-1"]
  if not first or not by_name.big or by_name.big.state ~= "held" then return false end
  local retried
  for _, job in ipairs(all) do
    if job.state == "submitting" or (job.state == "planned" and not (job.wake_at and job.wake_at > os.time() + 1)) then return false end
    retried = retried or job.state == "planned" or (job.attempt or 0) > 1
  end
  return retried
end

function story.kill(stage)
  local by_name, all
  eventually("the failure of a GPU job", function()
    local _
    by_name, _, all = stage:look()
    return in_the_middle(by_name, all)
  end)
  chapter "8. kill -9"
  proc.run { args = { "sh", "-c", "kill -KILL \"$0\"", tostring(stage.pid) } } -- the shell's own: a bare system has no other
  local ended = stage.daemon:wait()
  say("%5.1f s  process %d is gone, by signal %d, with %s.", task.now() - stage.began, stage.pid, ended.signal, counted(all))
  say "Nobody watches now. The services work on, and bill."
  task.sleep(2)
end

function story.go_on(stage)
  chapter "9. It is started again"
  stage:start_daemon()
  say("%5.1f s  process %d goes on from the journal. The fourth policy asks for its jobs once more, and finds them.",
    task.now() - stage.began, stage.pid)
  say "`perigee approve` lets go what waited for a person through all this:"
  local by_name = stage:look()
  stage:command("approve", by_name.big.id)
  eventually("the end of all jobs", function()
    local _, inferences, all = stage:look()
    for _, job in ipairs(all) do
      if not ENDED[job.state] then return false end
    end
    return #inferences == INPUTS
  end)
end

-- ---- the proof --------------------------------------------------------------------------------------------------------------

function Stage:rows(name)
  local list = {}
  for line in self:command("journal", "export"):gmatch "[^\n]+" do
    local one = json.decode(line)
    if one.table == name then list[#list + 1] = one.record end
  end
  return list
end

local function intent_of(entry)
  return entry.intent or (entry.jobName or ""):match "%-(%x+)$" or entry.infer_id and tostring(entry.infer_id)
end

-- What the services created, each held against the permit that stands in the journal for it.
function Stage:compare()
  local permits, seen = {}, {}
  for _, permit in ipairs(self:rows "permits") do
    permits[permit.intent] = permit
    if permit.remote_id ~= json.null then permits[permit.remote_id] = permit end
  end
  local found = { training = 0, gpu = 0, inference = 0, strangers = 0, twice = 0, charged = amount.ccd "0", booked = amount.ccd "0" }
  for line in http.get(self.origin .. "/__ledger?entries=1").body:gmatch "[^\n]+" do
    local entry = json.decode(line)
    if entry.kind == "job" or entry.kind == "inference" then
      local what = entry.kind == "inference" and "inference" or entry.service == "sxwl" and "gpu" or "training"
      local permit = permits[intent_of(entry)]
      found[what] = found[what] + 1
      if not permit then found.strangers = found.strangers + 1
      elseif seen[permit] then found.twice = found.twice + 1 end
      if permit then seen[permit] = true end
      if permit and what == "inference" then
        found.charged, found.booked = found.charged + amount.ccd(entry.ccd_cost), found.booked + amount(permit.amount)
      end
    end
  end
  return found
end

-- Attempts of the journal, by what they are.
local function attempts_of(all)
  local counts = { training = 0, gpu = 0, inference = 0 }
  for _, job in ipairs(all) do
    local what = job.kind == "infer" and "inference" or job.service == "sxwl" and "gpu" or "training"
    counts[what] = counts[what] + (job.attempt or 0)
  end
  return counts
end

local function minutes_price(stage)
  local minutes = json.decode(http.get(stage.origin .. "/__ledger").body).sxwl.gpu_minutes
  return minutes, amount(GPU_PRICE) * minutes / 60
end

-- Every limit of every budget: what is spent, held, unknown and left is what it was given.
local function adds_up(spend)
  local limited = 0
  for _, budget in ipairs(spend.budgets) do
    for _, line in ipairs(budget.lines) do
      if line.limit then
        local sum = amount(line.spent) + amount(line.held) + amount(line.unknown) + amount(line.left)
        if sum ~= amount(line.limit) then return false end
        limited = limited + 1
      end
    end
  end
  return limited > 0
end

local function total(spend, currency)
  for _, row in ipairs(spend.totals) do
    if row.currency == currency then return amount(row.spent) end
  end
end

function story.prove(stage)
  chapter "10. The emulator's ledger against the journal"
  local real, tried = stage:compare(), attempts_of(stage:jobs())
  say("%-22s %12s %12s", "", "services", "journal")
  say("%-22s %12d %12d", "trainings", real.training, tried.training)
  say("%-22s %12d %12d", "GPU jobs, all attempts", real.gpu, tried.gpu)
  say("%-22s %12d %12d", "inferences", real.inference, tried.inference)
  say("%-22s %12d", "created without intent", real.strangers)
  say("%-22s %12d", "created twice", real.twice)
  local spend = json.decode(stage:command("spend", "--json"))
  local minutes, gpu_cost = minutes_price(stage)
  say("inferences were charged %s; the journal has %s.", real.charged, real.booked)
  say("GPU jobs ran %d started minutes, which is %s; SXWL reports no charge, so the journal derives it:", minutes, gpu_cost)
  print((stage:command("spend"):gsub("[^\n]+", "   %0")))
  for what, count in pairs(tried) do assert(real[what] == count, "the numbers of " .. what .. " differ") end
  assert(real.strangers == 0 and real.twice == 0 and real.charged == real.booked, "ledger and journal disagree")
  assert(total(spend, "CNY") >= gpu_cost, "less is spent in the journal than GPU jobs have cost")
  assert(adds_up(spend), "a budget does not add up")
  say "Every job went on, nothing was created twice, and each budget adds up: spent + held + unknown + left = its limit."
end

print "perigee: the second part. A daemon for months, and what becomes of its jobs when it dies."
do
  local stage <close> = new_stage()
  task.scope(function(scope)
    for _, step in ipairs { "start", "kill", "go_on", "prove" } do story[step](stage) end
    scope:cancel "the tour is over"
  end)
end
