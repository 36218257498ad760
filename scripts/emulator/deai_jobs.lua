-- deai_jobs.lua - estimates, jobs and inference of the emulated Distributed AI.
--
-- Two rules make clients cry, and both hold here.  createJob takes data and model from the last queryGuarantee of
-- the same user and jobName; inference runs on the data_path of the last inferenceCost of that jobID.  Two
-- interleaved pairs really do run, and bill, the wrong data, and the ledger shows it.
--
-- Mixed into the service object of deai.lua; a handler is (self, account, body, now, plan) -> response.

local json = require "perigee.json"
local ledger = require "perigee.emulator.ledger"
local prices = require "perigee.emulator.deai_prices"
local sha256 = require "perigee.emulator.sha256"
local wire = require "perigee.emulator.wire"

local jobs = { methods = {} }
local methods = jobs.methods

-- ---- reading fields ----------------------------------------------------------------------------------------------

local function given(value)
  return value ~= nil and value ~= json.null
end

local CHECKS <const> = {
  string = function(value)
    return type(value) == "string"
  end,
  int = function(value)
    return math.type(value) == "integer"
  end,
  float64 = function(value) -- a decimal that no float holds exactly is not a Lua number, but reads as one
    return type(value) == "number" or (type(value) ~= "string" and tonumber(tostring(value)) ~= nil)
  end,
}

-- nil if every field is of its type and every field that must be there is; else what is wrong, as Go says it.
local function wrong_field(body, fields)
  for _, field in ipairs(fields) do
    local value = body[field.name]
    if given(value) and not CHECKS[field.type](value) then
      return ("json: cannot unmarshal value into Go struct field .%s of type %s"):format(field.name, field.type)
    elseif field.required and (not given(value) or value == "") then
      return field.name .. " is required"
    end
  end
end

local function fields(text)
  local list = {}
  for name, star, kind in text:gmatch "(%w[%w_]*)(%*?):(%w+)" do
    list[#list + 1] = { name = name, type = kind, required = star == "*" }
  end
  return list
end

local GUARANTEE <const> = {
  CNN = fields("model*:string epoch*:int jobName*:string x_train*:string y_train:string train_shard*:float64 "
    .. "scale_ratio:int category*:int channel:int"),
  LSTM = fields("model*:string jobName*:string epoch:int x_train*:string train_shard:float64 input_width:int "
    .. "label_width:int shift:int sequence_stride:int sampling_rate:int"),
}
local CREATE <const> = fields "jobName*:string computation*:string batchSize:int"
local INFERENCE_COST <const> = fields "data_path*:string jobID*:string"
local JOB <const> = fields "jobID*:string"
local PAGE <const> = fields "pageNo*:int pageSize*:int"
local JOB_PAGE <const> = fields "jobID*:string pageNo*:int pageSize*:int"

-- Things the service may swallow, and clients must not send: fields it does not have (those of the other model
-- among them), empty ones, and a CNN without y_train.
local function complain_about(self, operation, body, known, now)
  local names = {}
  for _, field in ipairs(known) do
    names[field.name] = true
  end
  local extra = {}
  for name in pairs(body) do
    if not names[name] then
      extra[#extra + 1] = tostring(name)
    end
  end
  table.sort(extra)
  for _, name in ipairs(extra) do
    self:complain(operation, now, "unknown field " .. name)
  end
  for _, field in ipairs(known) do
    local value = body[field.name]
    if value == "" or value == 0 or value == json.null then
      self:complain(operation, now, "empty field " .. field.name)
    end
  end
  if body.model == "CNN" and not given(body.y_train) then
    self:complain(operation, now, "CNN without y_train")
  end
end

-- A handler whose body is checked first.
local function checked(operation, known, handler)
  return function(self, account, body, now, plan)
    local why = wrong_field(body, known)
    if why then
      return self:fail(400, why)
    end
    complain_about(self, operation, body, known, now)
    return handler(self, account, body, now, plan)
  end
end

--- The number of this thing: 1, 2, 3 … for each name.  Draws by number repeat whatever else goes on.
function methods:count(...)
  local name = table.concat({ ... }, "\0")
  self.counts[name] = (self.counts[name] or 0) + 1
  return self.counts[name]
end

-- How long something of about `seconds` takes, with the emulator's speed.
local function duration(self, seconds, ...)
  return seconds * (0.75 + 0.5 * self.draw("duration", ...)) / self.speed
end

-- ---- training ----------------------------------------------------------------------------------------------------

local function estimate(self, account, body, now)
  local known = GUARANTEE[body.model]
  if not known then
    return self:fail(400, "model must be CNN or LSTM")
  end
  local why = wrong_field(body, known)
  local shard = given(body.train_shard) and tonumber(tostring(body.train_shard)) or 0.8
  if why then
    return self:fail(400, why)
  elseif shard <= 0 or shard >= 1 then
    return self:fail(400, "train_shard must be between 0 and 1")
  elseif given(body.epoch) and body.epoch < 1 then
    return self:fail(400, "epoch must be positive")
  end
  complain_about(self, "estimate", body, known, now)
  for _, field in ipairs { "x_train", "y_train" } do
    if given(body[field]) and body[field] ~= "" and not account.uploads[body[field]] then
      return self:fail(500, "file does not exist: " .. body[field])
    end
  end
  local file = account.uploads[body.x_train]
  local epochs = given(body.epoch) and body.epoch or 10
  local price = prices.training(self.draw, epochs, file.size, body.jobName, file.content_id, epochs)
  account.drafts[body.jobName] = { x_train = body.x_train, model = body.model, price = price }
  self.ledger:add {
    kind = "estimate", service = "deai", operation = "estimate", at = now, account = account.email,
    jobName = body.jobName, model = body.model, x_train = body.x_train, content_id = file.content_id,
    ccd_cost = prices.token(price),
  }
  return self:reply { "ccd_cost", wire.raw(prices.token(price)) }
end

-- A uint256 in decimal: 76, 77 or 78 digits; the longest begin with 10, which is below 2^256 for certain.
local function new_job_id(self, ...)
  local length = 76 + math.floor(3 * self.draw("length", ...))
  local digits = { length == 78 and "10" or tostring(1 + math.floor(9 * self.draw("digit", ...))) }
  for i = #digits[1] + 1, length do
    digits[#digits + 1] = tostring(math.floor(10 * self.draw("digit", i, ...)))
  end
  return table.concat(digits)
end

-- Takes a charge from the balance and writes it into the usage list; false if it does not cover it.
local function pay(account, charge, what, now)
  if charge > account.balance then
    return false
  end
  account.balance = account.balance - charge
  account.usage[#account.usage + 1] = { what = what, charge = charge, at = now }
  return true
end

local function create_job(self, account, body, now, plan)
  local draft = account.drafts[body.jobName]
  if body.computation ~= "Distributed AI" then
    return self:fail(400, "unknown computation")
  elseif not draft then
    return self:fail(500, "queryGuarantee first: " .. body.jobName)
  end
  local file = account.uploads[draft.x_train]
  local number = self:count("job", account.email, body.jobName)
  local charge = prices.charge(self.draw, draft.price, account.email, body.jobName, number)
  if not pay(account, charge, "training " .. body.jobName, now) then
    return self:fail(500, "Insufficient balance")
  end
  local training = duration(self, self.training_seconds, "training", account.email, body.jobName, number)
  local job = {
    jobID = new_job_id(self, account.email, body.jobName, number),
    jobName = body.jobName,
    model = draft.model,
    account = account,
    created_at = now,
    trained_at = plan.never and math.huge or now + training,
    contract = "0x" .. sha256.hex(account.email .. body.jobName .. number):sub(1, 40),
    rows = {}, -- its inferences, in order
  }
  self.jobs[job.jobID] = job
  account.jobs[#account.jobs + 1] = job
  self.ledger:add {
    kind = "job", service = "deai", operation = "create_job", at = now, account = account.email,
    jobID = job.jobID, jobName = job.jobName, model = job.model, x_train = draft.x_train,
    content_id = file.content_id, estimate = prices.token(draft.price), ccd_cost = ledger.decimal(charge),
    charge_pico = charge,
  }
  if plan.no_id or not self.reply_ids then
    return self:reply()
  end
  return self:reply { "jobID", job.jobID }
end

-- ---- inference ---------------------------------------------------------------------------------------------------

-- The caller's job, or nil.
local function job_of(self, account, body)
  local job = self.jobs[body.jobID]
  return job and job.account == account and not job.deleted and job or nil
end

local function estimate_inference(self, account, body, now)
  local job, file = job_of(self, account, body), account.uploads[body.data_path]
  if not job then
    return self:fail(500, "job does not exist")
  elseif now < job.trained_at then
    return self:fail(500, "the model is not ready")
  elseif not file then
    return self:fail(500, "file does not exist: " .. body.data_path)
  end
  local price = prices.inference(self.draw, file.size, job.jobID, file.content_id)
  job.draft = { data_path = body.data_path, price = price }
  self.ledger:add {
    kind = "estimate", service = "deai", operation = "estimate_inference", at = now, account = account.email,
    jobID = job.jobID, data_path = body.data_path, content_id = file.content_id, ccd_cost = prices.token(price),
  }
  return self:reply { "ccd_cost", wire.raw(prices.token(price)) }
end

local function start_inference(self, account, body, now, plan)
  local job = job_of(self, account, body)
  if not job then
    return self:fail(500, "job does not exist")
  elseif not job.draft then
    return self:fail(500, "inferenceCost first")
  end
  local draft, file = job.draft, account.uploads[job.draft.data_path]
  local number = self:count("inference", job.jobID, file.content_id)
  local charge = prices.charge(self.draw, draft.price, job.jobID, file.content_id, number)
  if not pay(account, charge, "inference " .. job.jobName, now) then
    return self:fail(500, "Insufficient balance")
  end
  self.last_infer_id = self.last_infer_id + 1
  local took = duration(self, self.inference_seconds, "inference", job.jobID, file.content_id, number)
  local class = math.floor(10 * self.draw("class", job.jobID, file.content_id))
  local row = {
    id = self.last_infer_id,
    account = account,
    submitted = math.floor(now),
    done_at = plan.never and math.huge or now + took,
    tx_hash = "0x" .. sha256.hex(job.jobID .. self.last_infer_id),
    result = ("class %d of %s"):format(class, file.content_id:sub(1, 12)),
    ccd_cost = ledger.decimal(charge),
    reads = 0,
  }
  self.inferences[row.id] = row
  job.rows[#job.rows + 1] = row
  self.ledger:add {
    kind = "inference", service = "deai", operation = "start_inference", at = now, account = account.email,
    infer_id = row.id, jobID = job.jobID, data_path = draft.data_path, content_id = file.content_id,
    estimate = prices.token(draft.price), ccd_cost = row.ccd_cost, charge_pico = charge,
  }
  return self:reply({ "infer_id", row.id }, "Inference success")
end

local function render_row(row, now)
  local done = now >= row.done_at
  return wire.ordered {
    "tx_hash", done and row.tx_hash or "", "result", done and row.result or "",
    "submitTime", row.submitted, "ccd_cost", done and row.ccd_cost or "",
  }
end

-- Before it is done: an empty row, no row, or a failure; whichever comes is chance.
local function inference(self, account, body, now)
  local id = given(body.id) and body.id or body.ID
  if math.type(id) ~= "integer" then
    return self:fail(400, "json: cannot unmarshal value into Go struct field .id of type int")
  end
  local row = self.inferences[id]
  if not row or row.account ~= account then
    return self:fail(500, "inference does not exist")
  end
  if now < row.done_at then
    row.reads = row.reads + 1
    local shape = math.floor(3 * self.draw("unfinished", row.id, row.reads))
    if shape == 0 then
      return self:reply { "data", wire.null }
    elseif shape == 1 then
      return self:fail(500, "inference is not finished")
    end
  end
  return self:reply { "data", render_row(row, now) }
end

-- ---- lists -------------------------------------------------------------------------------------------------------

-- One page of a list kept oldest first, shown newest first.
local function page_of(self, body, list, render)
  if body.pageNo < 1 or body.pageSize < 1 then
    return self:fail(400, "pageNo and pageSize start at 1")
  end
  local data = wire.array {}
  for i = (body.pageNo - 1) * body.pageSize + 1, math.min(#list, body.pageNo * body.pageSize) do
    data[#data + 1] = render(list[#list + 1 - i])
  end
  return self:reply {
    "size", body.pageSize, "page", body.pageNo, "totalPages", (#list + body.pageSize - 1) // body.pageSize,
    "totalCount", #list, "data", data,
  }
end

local function inferences(self, account, body, now)
  local job = job_of(self, account, body)
  if not job then
    return self:fail(500, "job does not exist")
  end
  return page_of(self, body, job.rows, function(row)
    return render_row(row, now)
  end)
end

local function describe(job, now, members)
  local updated = now >= job.trained_at and job.trained_at or job.created_at
  local list = {
    "jobID", job.jobID, "typeStr", "Distributed AI", "jobName", job.jobName,
    "parties", wire.array { job.account.address }, "contractAddr", job.contract, "creator", job.account.address,
    "creationTime", math.floor(job.created_at), "updateTime", math.floor(updated),
  }
  table.move(members or {}, 1, #(members or {}), #list + 1, list)
  return list
end

local function list_jobs(self, account, body, now)
  local kept = {}
  for _, job in ipairs(account.jobs) do
    if not job.deleted then
      kept[#kept + 1] = job
    end
  end
  return page_of(self, body, kept, function(job)
    return wire.ordered(describe(job, now))
  end)
end

local function job_detail(self, account, body, now)
  local job = job_of(self, account, body)
  if not job then
    return self:fail(500, "job does not exist")
  end
  return self:reply(describe(job, now, { "computationStr", "Distributed AI " .. job.model }))
end

-- The one sign that a training is done: its submission is there.
local function submissions(self, account, body, now)
  local job = job_of(self, account, body)
  if not job then
    return self:fail(500, "job does not exist")
  end
  local list = now >= job.trained_at and { job } or {}
  return page_of(self, body, list, function()
    return wire.ordered {
      "jobID", job.jobID, "submitter", account.address, "txHash", "0x" .. sha256.hex(job.jobID),
      "submitTime", math.floor(job.trained_at),
    }
  end)
end

local function usage(self, account, body)
  return page_of(self, body, account.usage, function(row)
    return wire.ordered {
      "description", row.what, "ccd_cost", ledger.decimal(row.charge), "usageTime", math.floor(row.at),
    }
  end)
end

local function delete_job(self, account, body, now)
  local job = job_of(self, account, body)
  if not job then
    return self:fail(500, "job does not exist")
  end
  job.deleted = true
  self.ledger:add {
    kind = "delete", service = "deai", operation = "delete_job", at = now, account = account.email,
    jobID = job.jobID,
  }
  return self:reply()
end

--- path -> { operation, handler }; deai.lua puts the token and the JSON body before them.
jobs.routes = {
  ["/deAI/queryGuarantee"] = { "estimate", estimate },
  ["/deAI/createJob"] = { "create_job", checked("create_job", CREATE, create_job) },
  ["/deAI/inferenceCost"] = {
    "estimate_inference", checked("estimate_inference", INFERENCE_COST, estimate_inference),
  },
  ["/deAI/inference"] = { "start_inference", checked("start_inference", JOB, start_inference) },
  ["/deAI/queryInfer"] = { "inference", inference },
  ["/deAI/queryInferList"] = { "inferences", checked("inferences", JOB_PAGE, inferences) },
  ["/panel/jobListByUser"] = { "jobs", checked("jobs", PAGE, list_jobs) },
  ["/panel/jobDetailByUser"] = { "job", checked("job", JOB, job_detail) },
  ["/panel/subListByUser"] = { "submissions", checked("submissions", JOB_PAGE, submissions) },
  ["/panel/ccdUsageList"] = { "usage", checked("usage", PAGE, usage) },
  ["/panel/deleteJobByUser"] = { "delete_job", checked("delete_job", JOB, delete_job) },
}

return jobs
