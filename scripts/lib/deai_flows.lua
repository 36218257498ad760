-- deai_flows.lua - Distributed AI calls that take several steps: train, infer and the waits.  -- internal
--
-- train and infer read like the plan: upload outside the lock, then estimate, gate and submit as one critical
-- section of the key, then wait without it.  Nothing the service says means that a training failed, and there is
-- no way to stop one: a wait that ends early leaves it running and paid for, and says so.

local account = require "perigee.deai_account"
local core = require "perigee.core.ops"
local errors = require "perigee.error"
local json = require "perigee.json"
local paging = require "perigee.paging"
local permits = require "perigee.permit"
local service = require "perigee.service"
local task = require "perigee.task"

local flows = {}

local JOB_TIMEOUT <const>, INFERENCE_TIMEOUT <const> = 24 * 3600, 2 * 3600
local PAGE <const>, LIST_PAGES <const> = 100, 50 -- rows and pages when a job or an inference is looked up
local LOOKUPS <const> = { 0, 1, 3 } -- seconds before each look for a job whose id did not come

-- ---- fields ----------------------------------------------------------------------------------------------------

--- "estimate_cnn", "train_lstm", … for the model in t; raises `invalid` for another model.
function flows.model_operation(verb, t)
  service.check_type("deai." .. verb .. ": its argument", t, "table")
  local model = t.model
  if model == "CNN" or model == "LSTM" then return verb .. "_" .. model:lower() end
  return errors.invalid(('deai.%s: model must be "CNN" or "LSTM", not %s'):format(verb,
    type(model) == "string" and ("%q"):format(model) or tostring(model)))
end

local function is_file(value)
  local meta = type(value) == "table" and getmetatable(value)
  return meta and meta.__name == "perigee.deai.file" or false
end

--- The fields with each deai.file uploaded and replaced by its remote path; checked as they will be sent.
function flows.upload_files(client, operation, fields, options)
  local names, done = {}, {}
  for name, value in pairs(fields) do
    done[name] = value
    if is_file(value) then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    done[name] = account.upload(client, fields[name].path, { progress = options.progress })
  end
  return core.check("deai", operation, done)
end

-- ---- one row of results ------------------------------------------------------------------------------------------

--- The reply of an inference read as {tx_hash, result, submitTime, ccd_cost, done}.
function flows.row(reply)
  local data = type(reply.data) == "table" and reply.data or {}
  local result = data.result ~= "" and data.result or nil
  return {
    tx_hash = data.tx_hash ~= "" and data.tx_hash or nil,
    result = result,
    submitTime = data.submitTime,
    ccd_cost = data.ccd_cost,
    done = data.tx_hash ~= nil and data.tx_hash ~= "" and (result ~= nil or data.ccd_cost ~= nil),
  }
end

-- ---- training ----------------------------------------------------------------------------------------------------

-- What tells a row from others; rows of other lists may well be equal.
local MARKS <const> = {
  jobs = function(row) return row.jobID end,
  inferences = function(row) return ("%s|%s|%s|%s"):format(row.submitTime, row.tx_hash, row.ccd_cost, row.result) end,
}

--- The rows of the next page of a reading (see paging.lua); none where it is one that was read before.
--- ask{pageNo=, pageSize=} -> reply.
function flows.next_page(reading, operation, ask)
  local number, size = reading.number, reading.size
  local reply = ask { pageNo = number, pageSize = size }
  local rows = type(reply.data) == "table" and reply.data or {}
  local last = reply.totalPages and reply.size == size and number >= reply.totalPages
  return reading:take(rows, reply.totalCount, MARKS[operation], last) and rows or {}
end

-- Calls take(row) for the rows of a list, newest first, until it returns true or LIST_PAGES are read; raises.  True if
-- take did, or all rows were seen.
local function each_row(client, operation, job_id, take)
  local reading = paging.open(PAGE)
  for _ = 1, LIST_PAGES do
    local rows = flows.next_page(reading, operation, function(fields)
      fields.jobID = job_id
      return (service.call(client, operation, fields, { timeout = 30 }))
    end)
    for _, row in ipairs(rows) do
      if take(row) then return true end
    end
    if reading.ended then return reading.complete end
  end
  return false
end

--- Calls take(row) for each job of the account, newest first, until it returns true or LIST_PAGES are read; raises.
--- False if there may be jobs that were not seen.
function flows.each_job(client, take)
  return each_row(client, "jobs", nil, take)
end

--- The same for each inference of a job.
function flows.each_inference(client, job_id, take)
  return each_row(client, "inferences", job_id, take)
end

-- jobIDs of the jobs of that name; nil if the list cannot be read.
local function jobs_named(client, name)
  local found = {}
  local ok, err = pcall(flows.each_job, client, function(row)
    if row.jobName == name and row.jobID then found[row.jobID] = true end
  end)
  if not ok and errors.is(err, "cancelled") then error(err, 0) end
  return ok and found or nil
end

-- The one job of that name that was not there before, or nil.
local function new_job(client, name, before)
  for _, pause in ipairs(LOOKUPS) do
    task.sleep(pause)
    local after, id, count = jobs_named(client, name), nil, 0
    for job_id in pairs(after or {}) do
      if not (before and before[job_id]) then
        id, count = job_id, count + 1
      end
    end
    if count == 1 then return id end
    if count > 1 then return nil end
  end
  return nil
end

local function unknown_job(client, name, price, intent)
  return errors.new {
    kind = "api", outcome = "unknown", retryable = false, code = "no_job_id", service = "deai",
    operation = "create_job", price = price, intent = intent,
    message = ("%s accepted the job but gave no jobID, and its list shows no single new job named %q"):format(
      "Distributed AI", name),
    jobName = name, account = client.account,
  }
end

-- True if the service said that it took the job, and not which one it is.
local function accepted_without_id(err)
  local ok, reply = pcall(json.decode, err.body or "")
  return ok and type(reply) == "table" and reply.code == 200
end

-- What the gate is told of a draft: {price=, id=, compound=}; one of a compound call is its own, and made anew when
-- a person has been asked in between, another one is what the person was asked about.
local function terms_of(key, draft, model)
  return {
    key = key, price = draft.price, model = model, draft = not draft.compound and draft.id or nil,
    note = not draft.price and "there was no estimate of it here" or nil,
  }
end

local function note_training(client, job_id, price)
  account.state(client).trainings[job_id] = { price = price, at = task.now() }
end

--- createJob under the lock of its jobName; returns the jobID and its permit.  draft: as of account.draft.  A reply
--- without jobID is made good if exactly one new job of that name appeared; adopt: a lost one too.
function flows.submit_job(client, fields, options, draft, adopt)
  local price = draft.price
  local name, key = fields.jobName, "train|" .. fields.jobName
  local before = jobs_named(client, name)
  local reply, permit, err = service.pay(client, "create_job", fields, options, terms_of(name, draft, options.model))
  if reply then
    note_training(client, reply.jobID, price)
    return reply.jobID, permit
  end
  local accepted = accepted_without_id(err)
  local job_id
  if accepted or (adopt and before and err.kind ~= "cancelled") then job_id = new_job(client, name, before) end
  if job_id then
    permit:answered("created", job_id)
    note_training(client, job_id, price)
    return job_id, permit
  end
  permit:close()
  if not accepted then account.rest(client, key) end
  return service.raise(accepted and unknown_job(client, name, price, err.intent) or err, { jobName = name })
end

--- Trainings and inferences that this VM has started and whose end it has not seen, oldest first: {service=, id=,
--- worst_cost=, how=} each.
function flows.unfinished()
  local list = {}
  for _, state in ipairs(service.shared_under "account|deai|") do
    for _, started in ipairs { state.trainings, state.open } do
      for id, one in pairs(started) do
        list[#list + 1] = { service = "deai", id = id, why = "not waited for", created = one.at,
          worst_cost = one.price and tostring(one.price), how = "cannot be stopped" }
      end
    end
  end
  table.sort(list, function(a, b)
    if a.created ~= b.created then return a.created < b.created end
    return tostring(a.id) < tostring(b.id)
  end)
  return list
end

-- What has been started goes on, and whoever stops waiting for it is told.
local function leave(client, id, err)
  service.leave {
    service = "deai", id = id, account = client.account, how = "cannot be stopped", why = errors.is(err) and err.kind or "error",
  }
end

-- Tells the script what was started; the job goes on whatever the script makes of it.
local function start_reporting(client, options, result, id)
  if not options.on_start then return end
  local ok, err = pcall(options.on_start, result)
  if not ok then
    leave(client, id, err)
    error(err, 0)
  end
end

--- Estimate, gate and create under one lock: {jobID, jobName, price}.  With wait = true until it is trained.
function flows.train(client, t)
  local compound = flows.model_operation("train", t)
  local estimate = flows.model_operation("estimate", t)
  local parts, options = core.split("deai", compound, t, "train")
  core.check("deai", estimate, parts[1], { local_files = true, name = "deai.train" })
  local create = core.check("deai", "create_job", parts[2], { name = "deai.train" })
  local call = service.paid_options(options)
  call.model = t.model
  if options.on_start then service.check_type("on_start", options.on_start, "function") end
  local timeout = service.seconds("deai.train: timeout", options.timeout, JOB_TIMEOUT)
  local draft_fields = flows.upload_files(client, estimate, parts[1], options)
  local result = { jobName = create.jobName }
  permits.staged(nil, function()
    local lock <close> = service.lock(client, "train", create.jobName) -- luacheck: ignore 211
    result.price = account.draft(client, estimate, "train|" .. create.jobName, draft_fields, {}).price
    local permit
    result.jobID, permit = flows.submit_job(client, create, call, { price = result.price, compound = true }, true)
    permit:close() -- no charge of a training is ever reported: it is settled at its price
  end)
  service.annotated({ jobID = result.jobID, jobName = result.jobName, price = result.price }, function()
    start_reporting(client, options, result, result.jobID)
    if options.wait then
      flows.wait_job(client, result.jobID, { timeout = timeout, probe = options.probe, x_train = draft_fields.x_train })
    end
  end)
  return result
end

-- ---- inference ---------------------------------------------------------------------------------------------------

--- Tells whether a row is left that was submitted at `since` or later when each known start has taken its own: the
--- first one from the second it was sent in, up to the one after its answer.  times: of the rows, in any order;
--- starts: {sent, answered} each, in the order of sending.
function flows.shows_another(times, starts, since)
  local left = table.move(times, 1, #times, 1, {})
  table.sort(left)
  for _, start in ipairs(starts) do
    for i, time in ipairs(left) do
      if time >= start.sent then
        if time <= start.answered + 1 then table.remove(left, i) end
        break
      end
    end
  end
  return #left > 0 and left[#left] >= since
end

--- A function that tells whether a start whose reply was lost shows in the list, beside the starts we know of.
function flows.start_shows(client, job_id, since)
  local state = account.state(client)
  return function()
    local ok, reply = pcall(service.call, client, "inferences", { jobID = job_id, pageNo = 1, pageSize = 100 }, { timeout = 30 })
    if not ok then
      if errors.is(reply, "cancelled") then error(reply, 0) end
      return false
    end
    local times = {}
    for _, row in ipairs(type(reply.data) == "table" and reply.data or {}) do
      times[#times + 1] = tonumber(row.submitTime) or 0
    end
    return flows.shows_another(times, state.starts[job_id] or {}, since)
  end
end

--- When a start on a job was sent and answered, in the service's time: what start_shows counts against.
function flows.note_start(client, job_id, sent)
  local state = account.state(client)
  local starts = state.starts[job_id] or {}
  local now = os.time() + state.skew
  while starts[1] and starts[1].answered < now - 600 do table.remove(starts, 1) end
  starts[#starts + 1] = { sent = sent, answered = now }
  state.starts[job_id] = starts
end

--- inference under the lock of its jobID; returns the infer_id.  What it costs stays held until the service reports
--- the charge.
function flows.submit_inference(client, fields, options, draft)
  local since = os.time() + account.state(client).skew
  local reply, permit, err = service.pay(client, "start_inference", fields, options, terms_of(fields.jobID, draft, "inference"))
  if reply then
    flows.note_start(client, fields.jobID, since)
    account.state(client).trainings[fields.jobID] = nil -- what infers is trained
    account.state(client).open[reply.infer_id] = { permit = permit, price = draft.price, at = task.now() }
    return reply.infer_id
  end
  permit:close()
  account.rest(client, "infer|" .. fields.jobID, flows.start_shows(client, fields.jobID, since))
  return service.raise(err, { jobID = fields.jobID })
end

--- Settles an inference that is done at the charge that its row reports.
function flows.book(client, infer_id, row)
  local open = account.state(client).open
  local permit = open[infer_id] and open[infer_id].permit
  if not permit or not row.done then return end
  open[infer_id] = nil
  if row.ccd_cost then permit:settle(row.ccd_cost) end
  permit:close()
end

local function infer_fields(t)
  local parts, options = core.split("deai", "infer", t)
  if options.file ~= nil then
    if parts[1].data_path ~= nil then errors.invalid "deai.infer: takes data_path or file, not both" end
    local path = is_file(options.file) and options.file.path or service.check_type("deai.infer: file", options.file, "string")
    parts[1].data_path = require "perigee.deai".file(path)
  end
  core.check("deai", "estimate_inference", parts[1], { local_files = true, name = "deai.infer" })
  return parts[1], core.check("deai", "start_inference", parts[2], { name = "deai.infer" }), options
end

--- Estimate, gate and start under one lock, then wait: {infer_id, result, tx_hash, ccd_cost, submitTime, price}.
--- plan: of perigee.permit, for many of them.
function flows.infer(client, t, plan)
  local estimate, start, options = infer_fields(t)
  local call = service.paid_options(options)
  if options.on_start then service.check_type("on_start", options.on_start, "function") end
  local timeout = service.seconds("deai.infer: timeout", options.timeout, INFERENCE_TIMEOUT)
  local draft_fields = flows.upload_files(client, "estimate_inference", estimate, options)
  local result = { jobID = start.jobID }
  permits.staged(plan, function()
    local lock <close> = service.lock(client, "infer", start.jobID) -- luacheck: ignore 211
    result.price = account.draft(client, "estimate_inference", "infer|" .. start.jobID, draft_fields, {}).price
    result.infer_id = flows.submit_inference(client, start, call, { price = result.price, compound = true })
  end)
  service.annotated({ jobID = result.jobID, infer_id = result.infer_id, price = result.price }, function()
    start_reporting(client, options, result, result.infer_id)
    if options.wait == false then return end
    for name, value in pairs(flows.wait_inference(client, result.infer_id, { timeout = timeout })) do
      result[name] = value
    end
  end)
  return result
end

-- ---- waits -------------------------------------------------------------------------------------------------------

-- Runs a wait; whoever leaves it early is told that the job goes on and is paid for.
local function waiting(client, id_field, id, wait)
  local ok, result = pcall(wait)
  if ok then return result end
  leave(client, id, result)
  return service.raise(result, { [id_field] = id, service = "deai" })
end

local function timeout_error(operation, what, seconds)
  return function()
    return errors.new {
      kind = "timeout", code = "wait", operation = operation, outcome = "none", retryable = false,
      message = ("%s did not show its end within %g s: it goes on, still paid for"):format(what, seconds),
    }
  end
end

-- A refusal of the service is an answer that says "not yet"; a refused password is not.
local function not_yet(err)
  if err.kind == "api" then return "answer" end
  if err.kind == "auth" and err.code ~= "login_refused" then return "unreadable" end
  return nil
end

--- Waits until the inference is done: {infer_id, tx_hash, result, submitTime, ccd_cost}.
function flows.wait_inference(client, infer_id, options)
  options = service.check_options("deai.wait_inference", options, { "timeout" })
  local exact = core.check("deai", "inference", { id = infer_id }, { name = "deai.wait_inference" })
  local timeout = service.seconds("deai.wait_inference: timeout", options.timeout, INFERENCE_TIMEOUT)
  return waiting(client, "infer_id", infer_id, function()
    return service.poll(client, {
      timeout = timeout,
      passing = not_yet,
      on_timeout = timeout_error("wait_inference", "inference " .. exact.id, timeout),
    }, function()
      local row = flows.row((service.call(client, "inference", exact, {})))
      if not row.done then return nil end
      flows.book(client, exact.id, row)
      row.infer_id, row.done = exact.id, nil
      return row
    end)
  end)
end

--- What shows that a job is trained: a submission, or that it can price an inference on its own data (x_train).  The
--- second is asked also when the first cannot be.  One reading; raises.
function flows.standard_probe(client, job_id, x_train)
  local reply, err = task.try(service.call, client, "submissions", { jobID = job_id, pageNo = 1, pageSize = 1 }, {})
  if reply and type(reply.data) == "table" and #reply.data > 0 then return "submission" end
  if not x_train then
    if not reply then error(err, 0) end
    return nil
  end
  service.take_turn(client)
  local lock <close> = service.lock(client, "infer", job_id) -- luacheck: ignore 211
  account.draft(client, "estimate_inference", "infer|" .. job_id, { data_path = x_train, jobID = job_id }, { probe = true })
  return "estimate"
end

--- Waits until the job is trained: {jobID, by}.  x_train (the job's own data) allows a second probe;
--- probe(client, jobID) takes the place of both and returns something true once the job is trained.
function flows.wait_job(client, job_id, options)
  options = service.check_options("deai.wait_job", options, { "timeout", "probe", "x_train" })
  core.check("deai", "job", { jobID = job_id }, { name = "deai.wait_job" })
  local timeout = service.seconds("deai.wait_job: timeout", options.timeout, JOB_TIMEOUT)
  local probe = options.probe and service.check_type("deai.wait_job: probe", options.probe, "function")
  return waiting(client, "jobID", job_id, function()
    return service.poll(client, {
      timeout = timeout,
      passing = not_yet,
      on_timeout = timeout_error("wait_job", "job " .. job_id, timeout),
    }, function()
      local by
      if probe then by = probe(client, job_id) and "probe" or nil
      else by = flows.standard_probe(client, job_id, options.x_train) end
      if not by then return nil end
      account.state(client).trainings[job_id] = nil
      return { jobID = job_id, by = by }
    end)
  end)
end

return flows
