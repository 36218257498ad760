-- fan_out_results.lua - the results file of a fan-out: what happened to each input.  -- internal
--
-- JSON lines, appended and on disk before the work goes on.  Each run begins with a line of its own
-- ({"run":…,"jobID":…}); each later line is the newest state of one input, found by the sha256 of its bytes.
-- A process that is killed can leave its last line torn: such a line is the last one, or is followed by the
-- next run's; anywhere else a line that cannot be read is an error, since it may have said what was paid.

local errors = require "perigee.error"
local fs = require "perigee.fs"
local json = require "perigee.json"
local lock = require "perigee.core.lock"
local task = require "perigee.task"

local results = {}

local Results = {}
Results.__index = Results

local function corrupt(path, number, why)
  error(errors.new {
    kind = "parse", code = "results_file",
    message = ("%s, line %d: %s; nothing was started"):format(path, number, why),
  }, 0)
end

local function read_line(text)
  local ok, record = pcall(json.decode, text)
  if ok and type(record) == "table" and (record.run or record.sha256) then return record end
end

-- Takes the lines of the file into self.records.
local function load(self, text)
  local torn
  local number = 0
  for line, ending in text:gmatch "([^\n]*)(\n?)" do
    if line == "" and ending == "" then break end
    number = number + 1
    local record = ending == "\n" and read_line(line)
    if torn and not (record and record.jobID and record.sha256 == nil) then
      corrupt(self.path, torn, "this line cannot be read")
    end
    torn = nil
    if not record then
      if line ~= "" then torn = number end
    elseif record.sha256 then
      self.records[record.sha256] = record
    elseif record.jobID ~= self.jobID then
      corrupt(self.path, number, ("it holds results of job %s, not of job %s"):format(
        tostring(record.jobID), self.jobID))
    end
  end
  if text ~= "" and text:sub(-1) ~= "\n" then self.torn = true end
end

--- Opens the file for one run, and keeps every other run out until it is closed.
--- run: a name of this run; jobID: the job all inputs belong to.
function results.open(path, jobID, run)
  local self = setmetatable({
    path = path, jobID = jobID, lock = lock.take(path), records = {}, turn = {},
  }, Results)
  local ok, err = pcall(function()
    load(self, fs.read(path))
    self:append({ run = run, jobID = jobID, at = os.time() }, self.torn and "\n" or "")
  end)
  if not ok then
    self.lock:close()
    error(err, 0)
  end
  return self
end

--- Appends one record; returns when it is on disk.
function Results:append(record, before)
  local turn <close> = task.lock(self.turn) -- luacheck: ignore turn
  fs.append(self.path, (before or "") .. json.encode(record) .. "\n", { sync = true })
end

--- The newest record of an input, or nil.
function Results:get(sha256)
  return self.records[sha256]
end

--- Notes the state of an input: on disk when it returns.
function Results:note(item, state)
  item.state = state
  self:append {
    sha256 = item.sha256,
    file = item.file,
    state = state,
    at = item.at,
    infer_id = item.infer_id,
    price = item.price and tostring(item.price),
    cost = item.cost and tostring(item.cost),
    result = item.result,
    tx_hash = item.tx_hash,
    intent = item.intent,
    after = item.after,
    error = item.error and tostring(item.error),
  }
end

function Results:__close()
  self.lock:close()
end

return results
