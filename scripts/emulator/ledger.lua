-- ledger.lua - what the emulated services really did.
--
-- A list of entries in the order of execution, each a plain table with `seq`, `at` (Unix seconds), `service`,
-- `operation` and `kind`.  Tests ask it whether something was created, on which data, and what was billed: it
-- knows what a client whose reply was lost cannot know.  Money is kept in whole 1e-12 CCD, the unit of charges,
-- as Lua integers (up to 9 million CCD), and handed out as decimal strings: exact, and without the client's own
-- money type, so that the one can check the other.
--
-- kinds: call · login · upload · estimate · job · inference · stop · delete · callback · download · complaint
-- A complaint is something a real service may swallow but the contract tells clients not to do.

local wire = require "perigee.emulator.wire"

local ledger = {}
local methods = {}
methods.__index = methods

local PICO <const> = 1000000000000

--- "12.345678" for a number of 1e-12 units.
function ledger.decimal(pico)
  local text = ("%d.%012d"):format(pico // PICO, pico % PICO)
  return (text:gsub("0+$", ""):gsub("%.$", ""))
end

--- The number of 1e-12 units in a decimal string of at most 12 decimals.
function ledger.pico(text)
  local whole, part = text:match "^(%d+)%.?(%d*)$"
  assert(whole and #part <= 12, "ledger.pico: not an amount: " .. text)
  return math.tointeger(whole) * PICO + math.tointeger(part .. ("0"):rep(12 - #part))
end

function ledger.new()
  return setmetatable({ entries = {}, by_operation = {} }, methods)
end

--- Writes an entry down and returns it; entry.kind, .service, .operation, .at come from the caller.
function methods:add(entry)
  entry.seq = #self.entries + 1
  self.entries[entry.seq] = entry
  return entry
end

local function counters(self, service, operation)
  local name = service .. "." .. operation
  local row = self.by_operation[name]
  if not row then
    row = { calls = 0, executed = 0, replied = 0, faulted = 0 }
    self.by_operation[name] = row
  end
  return row
end

--- One request that arrived: { service, operation, at, status, executed, replied, faults = {names},
--- delay }.
function methods:call(entry)
  local row = counters(self, entry.service, entry.operation)
  row.calls = row.calls + 1
  row.executed = row.executed + (entry.executed and 1 or 0)
  row.replied = row.replied + (entry.replied and 1 or 0)
  row.faulted = row.faulted + (entry.faults and 1 or 0)
  entry.kind = "call"
  return self:add(entry)
end

--- The entries of a kind, of one service if named, in order.
function methods:list(kind, service)
  local found = {}
  for _, entry in ipairs(self.entries) do
    if entry.kind == kind and (not service or entry.service == service) then
      found[#found + 1] = entry
    end
  end
  return found
end

--- The jobs a service made: on Distributed AI { jobID, jobName, model, x_train, content_id, ccd_cost },
--- on SXWL { job_id, gpuNumber, gpuType, … }.
function methods:created(service)
  return self:list("job", service)
end

--- The inferences that were started: { infer_id, jobID, data_path, content_id, estimate, ccd_cost }.
function methods:inferences()
  return self:list("inference", "deai")
end

function methods:complaints()
  return self:list "complaint"
end

function methods:complain(service, operation, at, text)
  self:add { kind = "complaint", service = service, operation = operation, at = at, text = text }
end

--- How many requests arrived, were carried out, were answered.
function methods:calls(service, operation)
  return counters(self, service, operation).calls
end

function methods:executions(service, operation)
  return counters(self, service, operation).executed
end

function methods:replies(service, operation)
  return counters(self, service, operation).replied
end

--- What Distributed AI billed, training and inference, as a decimal string in CCD.
function methods:spent()
  local pico = 0
  for _, entry in ipairs(self.entries) do
    pico = pico + (entry.charge_pico or 0)
  end
  return ledger.decimal(pico)
end

--- GPU time of the SXWL jobs until `now`: a list of { job_id, gpuNumber, gpuType, status, seconds,
--- gpu_minutes } where gpu_minutes counts started minutes, as a biller would.
function methods:gpu_use(now)
  local rows = {}
  for i, entry in ipairs(self:created "sxwl") do
    local job = entry.job
    local last = math.min(now, job.stopped_at or math.huge, job.ends_at or math.huge)
    local seconds = math.max(0, last - job.created_at)
    rows[i] = {
      job_id = job.id,
      gpuNumber = entry.gpuNumber,
      gpuType = entry.gpuType,
      status = job:state(now),
      seconds = seconds,
      gpu_minutes = math.ceil(seconds / 60) * (math.tointeger(entry.gpuNumber) or 0),
    }
  end
  return rows
end

--- Plain data for /__ledger and for tests: counts by operation, what was created, billed, complained about.
function methods:summary(now)
  local gpu_minutes, rows = 0, self:gpu_use(now)
  for _, row in ipairs(rows) do
    gpu_minutes = gpu_minutes + row.gpu_minutes
  end
  local complaints = {}
  for i, entry in ipairs(self:complaints()) do
    complaints[i] = entry.service .. "." .. entry.operation .. ": " .. entry.text
  end
  return {
    operations = self.by_operation,
    calls = #self:list "call",
    deai = {
      uploads = #self:list("upload", "deai"),
      estimates = #self:list("estimate", "deai"),
      jobs = #self:created "deai",
      inferences = #self:inferences(),
      spent = self:spent(),
    },
    sxwl = { jobs = wire.array(rows), gpu_minutes = gpu_minutes, stops = #self:list("stop", "sxwl"),
      callbacks = #self:list("callback", "sxwl") },
    complaints = wire.array(complaints),
  }
end

local function plain(entry)
  local copy = {}
  for name, value in pairs(entry) do
    if name ~= "job" and name ~= "charge_pico" then
      copy[name] = value
    end
  end
  return copy
end

--- Every entry as a line of JSON, from number `from` (1) on.
function methods:json_lines(from)
  local lines = {}
  for i = from or 1, #self.entries do
    lines[#lines + 1] = wire.encode(plain(self.entries[i])) .. "\n"
  end
  return table.concat(lines)
end

return ledger
