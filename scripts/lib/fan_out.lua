-- perigee.fan_out: one trained job, many inputs, and a results file that makes it safe to run again.
--
-- Every input is one of: done, failed, running (started, its result not fetched yet), unknown (it may have
-- been started and paid for: never started again), not_started.  A rerun fetches what is running, settles
-- what is unknown from the service's own list where that is beyond doubt, and starts only the rest.
-- One start at a time: the service starts them one by one anyway (the lock of the job), and a process that
-- dies leaves at most one input in doubt.

local account = require "perigee.deai_account"
local amount = require "perigee.amount"
local budget = require "perigee.budget"
local core = require "perigee.core.task"
local errors = require "perigee.error"
local fs = require "perigee.fs"
local log = require "perigee.log"
local permits = require "perigee.permit"
local check_options = require "perigee.options".check
local results_file = require "perigee.fan_out_results"
local retry = require "perigee.retry"
local spend = require "perigee.core.spend"
local summary = require "perigee.summary"
local task = require "perigee.task"

local fan_out = {}

local FIELDS = { "jobID", "files", "results", "concurrency", "budget", "max_cost", "timeout", "retry", "on_item" }
local CONCURRENCY = 16

-- Errors after which the next start would fail alike.  A price above max_cost is one input's own.
local STOPS = { denied = true, funds = true, auth = true, invalid = true }

local function stops(err)
  return STOPS[err.kind] and err.code ~= "max_cost"
end

-- When, by the service's clock, a row of its list can be that of a start: it counts whole seconds, as the Date
-- header does by which we know that clock, and a start that was sent ends within its time-out.
local EARLIEST, LATEST = 2, 300

-- ---- options -------------------------------------------------------------------------------------------------

local function check(options)
  if type(options) ~= "table" then errors.invalid "fan_out takes a table: { jobID=, files=, results= }" end
  check_options("fan_out", options, FIELDS)
  if type(options.jobID) ~= "string" then errors.invalid "fan_out: jobID is a text of digits" end
  if type(options.files) ~= "table" then errors.invalid "fan_out: files is a list of paths" end
  if type(options.results) ~= "string" then
    errors.invalid 'fan_out: results is the path of the results file, such as "results.jsonl"'
  end
  local concurrency = options.concurrency or CONCURRENCY
  if math.type(concurrency) ~= "integer" or concurrency < 1 then
    errors.invalid "fan_out: concurrency is a whole number, 1 or more"
  end
  if options.on_item ~= nil and type(options.on_item) ~= "function" then
    errors.invalid "fan_out: on_item is a function of the item and the counts"
  end
end

-- ---- items ---------------------------------------------------------------------------------------------------

-- Inputs with the same bytes are one item: items has each once, of_file one entry for each file.
local function make_items(run)
  local hashes = task.map(run.options.files, function(file)
    if type(file) ~= "string" then errors.invalid "fan_out: files is a list of paths" end
    return fs.sha256(file)
  end, { concurrency = run.concurrency })
  local by_hash = {}
  for i, file in ipairs(run.options.files) do
    local sha256 = hashes[i]
    local item = by_hash[sha256]
    if not item then
      item = { sha256 = sha256, file = file, state = "not_started" }
      by_hash[sha256] = item
      run.items[#run.items + 1] = item
    end
    run.of_file[i] = item
  end
end

local function as_amount(value)
  if value == nil or amount.is(value) then return value end
  local text = tostring(value)
  return text:find " " and amount(text) or amount.ccd(text)
end

-- What the file knows about an item.  "starting" without an end: the process died there.
local function recall(run, item)
  local record = run.results:get(item.sha256)
  if not record then return end
  item.state = record.state == "starting" and "unknown" or record.state
  item.at, item.after, item.infer_id = record.at, record.after, record.infer_id
  item.price, item.cost = as_amount(record.price), as_amount(record.cost)
  item.result, item.tx_hash, item.intent = record.result, record.tx_hash, record.intent
end

-- ---- the budget is shared with the runs before ----------------------------------------------------------------

-- What a budget of this process has counted already: its own starts, and those of earlier runs.
local counted = setmetatable({}, { __mode = "k" })

local function key_of(run, item)
  return run.options.jobID .. "|" .. item.sha256
end

local function count_earlier(run, item, paid, unknown)
  for _, b in ipairs(run.budgets) do
    if paid and not counted[b][key_of(run, item)] then
      b:count(paid, { at = item.at, unknown = unknown })
      counted[b][key_of(run, item)] = true
    end
  end
end

local function join_budgets(run)
  run.budgets = {}
  for _, b in ipairs(budget.collect(run.options.budget, run.client.budget)) do
    -- A durable one knows from the journal what the runs before have paid.
    if not b:durable() then run.budgets[#run.budgets + 1] = b end
  end
  for _, b in ipairs(run.budgets) do counted[b] = counted[b] or {} end
end

-- ---- one item ------------------------------------------------------------------------------------------------

local function tell(run, item)
  if item.state ~= "running" and item.state ~= "starting" then run.ended = run.ended + 1 end
  if run.options.on_item then run.options.on_item(item, { ended = run.ended, total = #run.items }) end
end

local function finish(run, item, reply)
  item.cost, item.result, item.tx_hash = as_amount(reply.ccd_cost), reply.result, reply.tx_hash
  run.results:note(item, "done")
end

-- The service's clock, as far as it has told.
local function service_time(run)
  return os.time() + (run.client.key and account.state(run.client).skew or 0)
end

-- The newest row before the first start ("" if there is none): what is below it is none of our starts.  nil, and
-- then nothing is settled, if the list cannot be read.
local function read_newest(run)
  local row, err = task.try(function()
    for row in run.client:inferences(run.options.jobID) do
      if row.tx_hash and row.tx_hash ~= "" then return row end
    end
    return {}
  end)
  if err then log.debug("fan_out.list", { error = err.message }) end
  return row and (row.tx_hash or "")
end

-- Estimate, gate and start, one at a time; then the wait, beside the others' waits.
local function infer(run, item, data_path)
  local turn <close> = task.lock(run.turn)
  if run.stopped then return nil end
  item.at, item.after = service_time(run), run.newest
  run.results:note(item, "starting")
  for _, b in ipairs(run.budgets) do counted[b][key_of(run, item)] = true end
  return run.client:infer({
    jobID = run.options.jobID,
    data_path = data_path,
    max_cost = run.options.max_cost,
    budget = run.options.budget,
    timeout = run.options.timeout,
    on_start = function(started)
      item.infer_id, item.price = started.infer_id, started.price
      run.results:note(item, "running")
      turn:release()
    end,
  }, run.plan)
end

-- Calls that come before a start: a reply lost there starts and costs nothing, the next run does them again.
local BEFORE_START = { login = true, upload = true, estimate_inference = true }

-- What became of an item whose call raised.
local function note_error(run, item, err)
  if not errors.is(err) then error(err, 0) end
  item.error = err
  item.price = item.price or as_amount(err.price)
  if item.infer_id then return end -- noted as running: the next run fetches it
  if err.outcome == "unknown" and not BEFORE_START[err.operation] then
    item.intent = err.intent
    run.results:note(item, "unknown")
  elseif STOPS[err.kind] or err.kind == "cancelled" then
    if item.state == "starting" then run.results:note(item, "not_started") end
  else
    run.results:note(item, "failed")
  end
end

local function stop(run, err)
  if run.stopped then return end
  run.stopped = err
  log.warn("fan_out.stopped", { kind = err.kind, code = err.code, error = err.message })
end

-- Starts an item; a start that certainly did not happen may be tried again, nothing else.
local function start(run, item)
  local ok, err = pcall(function()
    local data_path = item.data_path or run.client:upload(item.file)
    local reply, late = run.retry:run(function()
      local ok, reply = pcall(infer, run, item, data_path)
      if ok then return reply end
      if item.infer_id then return nil, reply end
      error(reply, 0)
    end)
    if late then error(late, 0) end
    if reply then finish(run, item, reply) end
  end)
  if ok then return end
  note_error(run, item, err)
  if stops(err) then stop(run, err) end
  if err.kind == "cancelled" then error(err, 0) end
end

-- ---- the question of a session --------------------------------------------------------------------------------

-- What the start of an item would ask for, or nil: it cannot be priced now, or is above max_cost by itself, and its
-- start will say so.
local function request_of(run, item)
  local ok, price = pcall(function()
    item.data_path = run.client:upload(item.file)
    return run.client:estimate_inference { jobID = run.options.jobID, data_path = item.data_path }
  end)
  if not ok and (not errors.is(price) or price.kind == "cancelled") then error(price, 0) end
  local most = run.options.max_cost and amount(run.options.max_cost)
  if not ok or (most and most:currency() == price:currency() and price > most) then return nil end
  return {
    service = "deai", operation = "start_inference", account = run.client.account, key = run.options.jobID, price = price,
    max_cost = run.options.max_cost, budgets = budget.collect(run.options.budget, run.client.budget),
  }
end

-- In a session a person is asked once, for all that is to be started: every input is priced for that.
local function confirm(run, todo)
  run.plan = #todo > 0 and permits.plan(#todo, "inferences") or nil
  if not run.plan then return end
  local requests, priced = {}, task.map(todo, function(item) return request_of(run, item) end, { concurrency = run.concurrency })
  for i = 1, #todo do requests[#requests + 1] = priced[i] end
  permits.confirm(run.plan, requests, { client = run.client, note = "the dearest of them" })
end

local function start_all(run)
  local todo = {}
  for _, item in ipairs(run.items) do
    if item.state == "not_started" or item.state == "failed" then todo[#todo + 1] = item end
  end
  confirm(run, todo)
  if #todo > 0 then run.newest = read_newest(run) end
  task.map(todo, function(item)
    if run.stopped then return end
    item.state, item.error = "not_started", nil
    start(run, item)
    tell(run, item)
  end, { concurrency = run.concurrency })
end

-- ---- what earlier runs left ------------------------------------------------------------------------------------

local function fetch_running(run)
  local running = {}
  for _, item in ipairs(run.items) do
    if item.state == "running" then running[#running + 1] = item end
  end
  task.map(running, function(item)
    local ok, reply = pcall(run.client.wait_inference, run.client, item.infer_id, { timeout = run.options.timeout })
    if ok then
      finish(run, item, reply)
    elseif errors.is(reply) and reply.kind ~= "cancelled" then
      item.error = reply
    else
      error(reply, 0)
    end
    count_earlier(run, item, item.cost or item.price, not ok)
    tell(run, item)
  end, { concurrency = run.concurrency })
end

-- Rows of the service's list that can be the start in doubt, and that no item of ours accounts for.
local function unclaimed_rows(run, item)
  local claimed, rows = {}, {}
  for _, record in pairs(run.results.records) do
    if record.tx_hash then claimed[record.tx_hash] = true end
  end
  for _, other in ipairs(run.items) do
    if other.tx_hash then claimed[other.tx_hash] = true end
  end
  for row in run.client:inferences(run.options.jobID) do
    local at = tonumber(row.submitTime)
    if row.tx_hash == item.after or (at and at < item.at - EARLIEST) then break end -- newest first
    if row.tx_hash == nil or row.tx_hash == "" then return nil end -- one is still on its way: whose is it?
    if not claimed[row.tx_hash] and not (at and at > item.at + LATEST) then rows[#rows + 1] = row end
  end
  return rows
end

local function adopt(run, item, row)
  item.cost, item.result, item.tx_hash = as_amount(row.ccd_cost), row.result, row.tx_hash
  item.error = nil
  run.results:note(item, "done")
  local permit <close> = item.intent and task.try(spend.take, item.intent) or nil -- also that of an earlier run
  if permit then permit:settle(item.cost) end
  log.info("fan_out.adopted", { file = item.file, tx_hash = row.tx_hash })
end

-- A row does not name its input: one input in doubt and one row nobody claims belong together, several do not.
local function settle_unknown(run)
  local doubtful, in_flight = {}, false
  for _, item in ipairs(run.items) do
    if item.state == "unknown" then doubtful[#doubtful + 1] = item end
    in_flight = in_flight or item.state == "running"
  end
  if #doubtful ~= 1 or in_flight then return end
  local item = doubtful[1]
  if not item.at or not item.after then return end
  local ok, rows = pcall(unclaimed_rows, run, item)
  if not ok then
    if errors.is(rows, "cancelled") or not errors.is(rows) then error(rows, 0) end
    log.warn("fan_out.unsettled", { file = item.file, error = rows.message })
  elseif rows and #rows == 1 then
    adopt(run, item, rows[1])
  end
end

local function take_over(run)
  for _, item in ipairs(run.items) do
    recall(run, item)
    if item.state == "done" then
      count_earlier(run, item, item.cost or item.price)
      tell(run, item)
    end
  end
  fetch_running(run)
  settle_unknown(run)
  for _, item in ipairs(run.items) do
    if item.state == "unknown" then
      local record = run.results:get(item.sha256)
      if record.state == "starting" then run.results:note(item, "unknown") end
      count_earlier(run, item, item.price, true)
      tell(run, item)
    end
  end
end

-- ---- the end -------------------------------------------------------------------------------------------------

local STATES = { "done", "failed", "unknown", "running", "not_started" }

local function report_of(run)
  local report = { items = {}, total = #run.items }
  for _, state in ipairs(STATES) do report[state] = 0 end
  for _, item in ipairs(run.items) do
    report[item.state] = report[item.state] + 1
    if item.cost then report.cost = report.cost and report.cost + item.cost or item.cost end
  end
  for i, file in ipairs(run.options.files) do
    local item = run.of_file[i]
    report.items[i] = {
      file = file, sha256 = item.sha256, state = item.state, infer_id = item.infer_id, cost = item.cost,
      result = item.result, tx_hash = item.tx_hash, error = item.error,
    }
  end
  return report
end

local function new_run(client, options)
  check(options)
  return {
    client = client,
    options = options,
    concurrency = options.concurrency or CONCURRENCY,
    retry = options.retry or retry.new { attempts = 4, base = 0.5, cap = 30, service = "deai" },
    name = ("%d-%012x"):format(os.time(), math.floor(core.random() * 2 ^ 48)),
    items = {}, of_file = {}, turn = {}, ended = 0, stopped = nil,
  }
end

--- client:fan_out{jobID, files, results, concurrency, budget, max_cost, timeout, retry, on_item}: the report
--- {total, done, failed, unknown, running, not_started, cost, items}.  What was left undone makes the exit code
--- of the run 6.  Raises what makes every start fail, a denied one excepted; the error has the report then.
function fan_out.run(client, options)
  local run = new_run(client, options)
  make_items(run)
  join_budgets(run)
  local results <close> = results_file.open(options.results, options.jobID, run.name)
  run.results = results
  take_over(run)
  start_all(run)
  settle_unknown(run)
  local report = report_of(run)
  if report.done < report.total then summary.mark_partly_done() end
  if run.stopped and run.stopped.kind ~= "denied" then
    run.stopped.report = report
    error(run.stopped, 0)
  end
  report.stopped = run.stopped
  return report
end

return fan_out
