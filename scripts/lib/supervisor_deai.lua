-- supervisor_deai.lua - how a supervisor deals with Distributed AI.  -- internal
--
-- The functions of every driver, see supervisor_sxwl.lua.  An estimate is a draft on the service, so that estimate,
-- gate and create are one critical section.  A training carries the id of its intent in its jobName; a start of an
-- inference carries nothing, and can only be told by its time.  Nothing can be stopped, and nothing says of a
-- training that it has failed.

local account = require "perigee.deai_account"
local amount = require "perigee.amount"
local book = require "perigee.supervisor_book"
local core = require "perigee.core.ops"
local deai = require "perigee.deai"
local errors = require "perigee.error"
local flows = require "perigee.deai_flows"
local fs = require "perigee.fs"
local journal = require "perigee.core.journal"
local json = require "perigee.json"
local secret = require "perigee.core.server".secret
local service = require "perigee.service"
local time = require "perigee.time"
local time_of = require "perigee.supervisor_time"

local driver = { service = "deai", title = "Distributed AI", can_stop = false,
  derived_words = "attempt %d is settled at %s, its price: the service reports no charge" }
driver.__index = driver

local LOGIN_PAUSE <const> = 900 -- seconds a refused password rests
local LONGEST_NAME <const> = 80 -- bytes of a job's own name before the intent
local UPLOAD_LIFE <const>, REMEMBERED <const> = 3600, 1000 -- seconds an upload is used again, and how many are known
local SWEEP_AGE <const> = 24 * 3600 -- how long a training that nobody tracks is taken to be running
local WINDOW <const> = 90 -- seconds in which a request that was sent may still have started something
local DAY <const> = 24 * 3600 -- what is older than this before an attempt is none of its work
local CLOCKS <const> = 2 -- seconds by which the service's clock may differ

--- A driver over a client: client, or nil for one of the configuration.
function driver.new(client)
  local self = setmetatable({ given = client ~= nil, client = client, uploads = {}, upload_count = 0 }, driver)
  if client then client.refused_pause = LOGIN_PAUSE else self:reload() end
  return self
end

--- Takes address and credentials from the configuration again, unless the client was given.
function driver:reload()
  if self.given then return true end
  self.client = deai.client {}
  self.client.refused_pause = LOGIN_PAUSE
  return true
end

-- ---- fields --------------------------------------------------------------------------------------------------------

--- The name a training gets on the service.
function driver.name_of(name, intent)
  if #name > LONGEST_NAME then name = name:sub(1, utf8.offset(name, 0, LONGEST_NAME + 1) - 1) end
  return name .. "-" .. intent
end

local function is_file(value)
  local meta = type(value) == "table" and getmetatable(value)
  return meta and meta.__name == "perigee.deai.file" or false
end

-- The remote path of a local file; one that was uploaded a while ago is used again.
local function uploaded(self, path)
  local key = fs.sha256(path) .. "|" .. path:match "[^/]*$"
  local known = self.uploads[key]
  if known and time.now() < known.until_ then return known.remote end
  local remote = account.upload(self.client, path, {})
  self.upload_count = self.upload_count + 1
  if self.upload_count > REMEMBERED then self.uploads, self.upload_count = {}, 1 end
  self.uploads[key] = { remote = remote, until_ = time.now() + UPLOAD_LIFE }
  return remote
end

local function with_uploads(self, fields)
  local names, all = {}, {}
  for name, value in pairs(fields) do
    all[name] = value
    if is_file(value) then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do all[name] = uploaded(self, fields[name].path) end
  return all
end

-- Of a job's fields: the estimate's operation and fields, and those of the create.
local function split(self, kind, fields)
  if kind == "infer" then
    local parts = core.split("deai", "infer", fields)
    return "estimate_inference", core.check("deai", "estimate_inference", with_uploads(self, parts[1])), parts[2]
  end
  local estimate, compound = flows.model_operation("estimate", fields), flows.model_operation("train", fields)
  local parts = core.split("deai", compound, fields, "train")
  return estimate, core.check("deai", estimate, with_uploads(self, parts[1])), parts[2]
end

-- ---- price ---------------------------------------------------------------------------------------------------------

local function terms_of(kind, price, x_train)
  return {
    price = price, x_train = x_train,
    text = ("Distributed AI estimates this %s at %s"):format(kind == "infer" and "inference" or "training", tostring(price)),
  }
end

-- An estimate under the lock of its key, which it makes the draft of that key.  The caller holds the lock, and may have
-- waited for it until after the job's deadline.
local function estimate(self, kind, operation, fields, limits)
  book.check_in_time(limits)
  local key = kind == "infer" and "infer|" .. fields.jobID or "train|" .. fields.jobName
  return account.draft(self.client, operation, key, fields, { probe = true }).price
end

--- What an attempt would cost.  A training is priced under a name of its own, so that nobody's draft is replaced.
function driver:price(job, fields, limits)
  local operation, draft = split(self, job.kind, fields)
  local infer = job.kind == "infer"
  if not infer then draft.jobName = driver.name_of(draft.jobName, job.id) end
  local kind, id = infer and "infer" or "train", infer and draft.jobID or draft.jobName
  local lock <close> = service.lock(self.client, kind, id) -- luacheck: ignore 211
  local price = estimate(self, job.kind, operation, draft, limits)
  if not infer then account.forget(self.client, "train|" .. id) end
  return terms_of(job.kind, price)
end

-- ---- create --------------------------------------------------------------------------------------------------------

local function train(self, job, fields, limits, try)
  local operation, draft, create = split(self, job.kind, fields)
  local intent = secret():sub(1, 32)
  local name = driver.name_of(draft.jobName, intent)
  draft.jobName, create.jobName = name, name
  create = core.check("deai", "create_job", create)
  local lock <close> = service.lock(self.client, "train", name) -- luacheck: ignore 211
  local forgetting <close> = setmetatable({}, { __close = function() -- luacheck: ignore 211
    account.forget(self.client, "train|" .. name) -- the name is this attempt's alone
  end })
  local terms = terms_of(job.kind, estimate(self, job.kind, operation, draft, limits), draft.x_train)
  local permit = try.reserve(terms, {
    operation = "create_job", account = self.client.account, key = name, intent = intent, model = draft.model,
  })
  return service.send_once(self.client, "create_job", create, permit).jobID
end

local function infer(self, job, fields, limits, try)
  local operation, draft, start = split(self, job.kind, fields)
  start = core.check("deai", "start_inference", start)
  local client = self.client
  local lock <close> = service.lock(client, "infer", start.jobID) -- luacheck: ignore 211
  local permit = try.reserve(terms_of(job.kind, estimate(self, job.kind, operation, draft, limits)), {
    operation = "start_inference", account = client.account, key = start.jobID, model = "inference",
  })
  local since = os.time() + account.state(client).skew
  local ok, reply = pcall(service.send_once, client, "start_inference", start, permit)
  if ok then
    flows.note_start(client, start.jobID, since)
    return reply.infer_id
  end
  if permit:state() == "unknown" then
    account.rest(client, "infer|" .. start.jobID, flows.start_shows(client, start.jobID, since))
  end
  error(reply, 0)
end

--- One attempt: estimate, reserve(terms) -> permit and send in one critical section.  Returns the remote id; raises.
function driver:submit(job, fields, limits, try)
  return (job.kind == "infer" and infer or train)(self, job, fields, limits, try)
end

--- What the journal keeps of an attempt's terms.
function driver.terms_text(terms)
  return { x_train = terms.x_train }
end

-- ---- watching ------------------------------------------------------------------------------------------------------

--- True for an error by which the service says "not yet".
function driver.is_answer(err)
  return errors.is(err, "api")
end

-- The job's own data, as it was uploaded: known since the attempt, and in its row.
local function x_train_of(entry)
  if entry.x_train == nil then
    local row = book.row(entry.id)
    local _, present = book.attempts(row or { id = entry.id })
    local terms = present and present.spec and json.decode(present.spec).terms
    entry.x_train = terms and terms.x_train or false
  end
  return entry.x_train or nil
end

-- A row of the list by the time it was submitted.
local function row_at(self, job_id, at)
  local found
  flows.each_inference(self.client, job_id, function(row)
    local submitted = time_of(row.submitTime)
    if submitted == at then found = row end
    return found ~= nil or (submitted ~= nil and submitted < at)
  end)
  return flows.row { data = found }
end

local function read_inference(self, entry)
  local at, job_id = entry.remote_id:match "^at:(%d+):(.+)$"
  local row = at and row_at(self, job_id, tonumber(at))
    or flows.row((service.call(self.client, "inference", { id = math.tointeger(tonumber(entry.remote_id)) }, {})))
  if not row.done then return { status = "working" } end
  return {
    status = "success", charge = row.ccd_cost,
    result = {
      infer_id = not at and math.tointeger(tonumber(entry.remote_id)) or nil, tx_hash = row.tx_hash, result = row.result,
      submitTime = row.submitTime,
      ccd_cost = row.ccd_cost and tostring(row.ccd_cost) or nil,
    },
  }
end

--- One reading: {status = "working" | "success", charge, result}.  Raises.
function driver:status(entry)
  if entry.kind == "infer" then return read_inference(self, entry) end
  local by = flows.standard_probe(self.client, entry.remote_id, x_train_of(entry))
  if not by then return { status = "working" } end
  return { status = "success", result = { jobID = entry.remote_id, by = by } }
end

-- ---- finding -------------------------------------------------------------------------------------------------------

local function find_training(self, job, attempt)
  local name = driver.name_of(json.decode(job.spec).jobName or job.name, attempt.intent)
  local since = attempt.started_at / 1000 + account.state(self.client).skew - DAY
  local found, cut
  local ok, all = pcall(flows.each_job, self.client, function(row)
    local began = time_of(row.creationTime)
    if row.jobName == name then
      found = row.jobID
    elseif began and began < since then
      return true -- all that follow are older
    elseif type(row.jobName) == "string" and row.jobName ~= "" and name:sub(1, #row.jobName) == row.jobName then
      cut = true -- a name that the service has cut short
    end
    return found ~= nil
  end)
  if found then return found end
  if ok then return nil, all and not cut and "absent" or "no_list" end
  if errors.is(all, "cancelled") then error(all, 0) end
  return nil, "unreadable", all
end

-- True if another start on the job may be the one that a row shows.
local function has_rivals(job_id, attempt, since)
  local permits = journal.call("permit.list", { key = job_id, operation = "start_inference" })
  for _, permit in ipairs(permits) do
    local sent = (permit.sent_at or permit.reserved_at or 0) / 1000
    if permit.intent ~= attempt.intent and permit.state ~= "released" and math.abs(sent - since) <= WINDOW + CLOCKS then return true end
  end
  return false
end

-- An inference by the time of its row: found if exactly one row fits, and nobody else started one then.
local function find_inference(self, job, attempt)
  local job_id = json.decode(job.spec).jobID
  local since = attempt.started_at / 1000 + account.state(self.client).skew
  local times, undated = {}, false
  local ok, all = pcall(flows.each_inference, self.client, job_id, function(row)
    local at = time_of(row.submitTime)
    if not at then
      undated = true -- one that is not done yet may not say when it was submitted
    elseif at >= math.floor(since) - CLOCKS and at <= since + WINDOW then
      times[#times + 1] = at
    end
    return at ~= nil and at < since - DAY
  end)
  if not ok then
    if errors.is(all, "cancelled") then error(all, 0) end
    return nil, "unreadable", all
  end
  if undated or not all then return nil, "no_list" end
  if #times == 0 then return nil, "absent" end
  if #times > 1 or has_rivals(job_id, attempt, since) then return nil, "no_list" end
  return ("at:%d:%s"):format(times[1], job_id), "the one inference on the service that was submitted then"
end

--- Looks for what an intent has started: its id, and how it was found if not by the intent; or nil and
--- "absent", "no_list" or "unreadable", with the error.
function driver:find(job, attempt)
  return (job.kind == "infer" and find_inference or find_training)(self, job, attempt)
end

--- Trainings of the account that began within a day: whether they still run is not known.
function driver:sweep()
  local found, oldest = {}, time.now() - SWEEP_AGE
  flows.each_job(self.client, function(row)
    local since = time_of(row.creationTime)
    if since and since < oldest then return true end
    found[#found + 1] = {
      id = row.jobID, since = since, name = row.jobName, intent = type(row.jobName) == "string" and row.jobName:match "%-(%x+)$" or nil,
    }
    return false
  end)
  return found
end

-- ---- the end -------------------------------------------------------------------------------------------------------

--- What an attempt has cost: its price, since no charge of a training is ever reported.
function driver.cost(attempt)
  return attempt.price and amount(attempt.price) or nil, true
end

--- What a job has given.
function driver.result(entry, ended)
  return ended.result or { id = entry.remote_id }
end

return driver
