-- deai.lua - perigee.deai: Distributed AI for scripts.
--
-- One method for each operation, and the compound ones (train, infer, fan_out, waits) of deai_flows.lua.
-- Fields keep the service's spelling and are checked by the table in bindings/deai.c before anything is sent.
-- Estimates are stateful on the service: deai_account.lua says what that means here.

local account = require "perigee.deai_account"
local core = require "perigee.core.ops"
local errors = require "perigee.error"
local flows = require "perigee.deai_flows"
local paging = require "perigee.paging"
local permits = require "perigee.permit"
local service = require "perigee.service"

local deai = {}
local Client = { __name = "perigee.deai.client" }
Client.__index = Client
deai._methods = Client -- for the prompt, which names them before there is a client

local CLIENT_OPTIONS <const> = { "email", "password", "base_url", "budget", "timeout", "status_rate", "draft_rest",
  "check_balance", "transport" }

-- ---- making one ------------------------------------------------------------------------------------------------

--- A client.  email, password and base_url default to the configuration (DEAI_EMAIL, DEAI_PASSWORD,
--- DEAI_BASE_URL).  budget: for all its paid calls.  status_rate: status reads a second (5).
--- draft_rest: seconds a jobName or jobID rests after an unclear failure (60).  check_balance: look at the balance
--- before each paid call.
function deai.client(options)
  options = service.check_options("deai.client", options, CLIENT_OPTIONS)
  local email = service.setting(options.email, "deai.email", true)
  local password = service.setting(options.password, "deai.password", true)
  service.check_type("deai.client: email", email, "string")
  password = service.reveal("deai.client: password", password)
  local client = service.new_client("deai", Client, {
    account = email,
    base_url = service.setting(options.base_url, "deai.base_url"),
    budget = options.budget,
    timeout = options.timeout,
    transport = options.transport,
    status_rate = service.rate("deai.client: status_rate", options.status_rate),
  })
  if options.check_balance ~= nil then
    client.check_balance = service.check_type("deai.client: check_balance", options.check_balance, "boolean")
  end
  core.secret(password)
  client.password = password
  client.draft_rest = service.seconds("deai.client: draft_rest", options.draft_rest, 60)
  return client
end

local File = { __name = "perigee.deai.file", __tostring = function(self) return "deai.file " .. self.path end }

--- Marks a local file that is to be uploaded where a path of the service is expected.
function deai.file(path)
  return setmetatable({ path = service.check_type("deai.file", path, "string") }, File)
end

function Client:__tostring()
  return ("deai.client(%s)"):format(self.account)
end

-- Called by perigee.service around each exchange.
function Client:authorize() return account.authorize(self) end
function Client:accepted(token) account.accepted(self, token) end
function Client:renew(token, err) return account.renew(self, token, err) end

-- Estimates are drafts, whoever in whatever process makes them: what perigee.service needs to lock their keys.
Client.shared_locks = { train = true, infer = true }
function Client:heed(key, note) account.heed(self, key, note) end
function Client:note(key) return account.note(self, key) end

-- ---- reads -----------------------------------------------------------------------------------------------------

--- The account: {email, address, balancePHB, balanceCCD}, balances as amounts.
function Client:user(options)
  options = service.check_options("deai.user", options, { "timeout" })
  return (service.read(self, "user", {}, options))
end

-- One operation whose only field is an id.
local function by_id(client, operation, field, id, options, reader)
  options = service.check_options("deai." .. operation, options, { "timeout" })
  return (reader(client, operation, { [field] = id }, options))
end

--- One job, as the panel shows it.
function Client:job(job_id, options)
  return by_id(self, "job", "jobID", job_id, options, service.read)
end

--- Deletes a job from the panel.  Whether the service takes training jobs there is unknown.
function Client:delete_job(job_id, options)
  by_id(self, "delete_job", "jobID", job_id, options, service.call)
end

--- One inference: {tx_hash, result, submitTime, ccd_cost, done}; what is not known yet is nil.
function Client:inference(infer_id, options)
  local row = flows.row(by_id(self, "inference", "id", infer_id, options, service.read_status))
  flows.book(self, math.tointeger(tonumber(infer_id)), row)
  return row
end

local List = { __name = "perigee.deai.list" }
List.__index = List

-- Rows of all pages, one page at a time: a generic `for` calls it, and asks the service as it goes.
function List:__call()
  while self.at >= #self.rows do
    if self.reading.ended then return nil end
    local rows = flows.next_page(self.reading, self.operation, function(fields)
      fields.jobID = self.job_id
      return (service.read(self.client, self.operation, fields, { timeout = self.timeout }))
    end)
    self.rows, self.at = rows, 0
  end
  self.at = self.at + 1
  return self.rows[self.at]
end

--- All rows that have not been read yet, as a list.
function List:all()
  local rows = {}
  for row in self do rows[#rows + 1] = row end
  return rows
end

local function list(client, operation, job_id, options)
  options = service.check_options("deai." .. operation, options, { "timeout", "pageNo", "pageSize" })
  local exact = core.check("deai", operation, { jobID = job_id, pageNo = options.pageNo, pageSize = options.pageSize })
  return setmetatable({
    client = client, operation = operation, job_id = exact.jobID, timeout = options.timeout,
    reading = paging.open(exact.pageSize, exact.pageNo), rows = {}, at = 0,
  }, List)
end

--- for row in client:jobs() do … end; client:jobs():all() is a list.  Options: pageNo, pageSize.
function Client:jobs(options) return list(self, "jobs", nil, options) end

--- What the account was charged, row by row.
function Client:usage(options) return list(self, "usage", nil, options) end

--- The inferences of a job, newest first; a row does not say its infer_id.
function Client:inferences(job_id, options) return list(self, "inferences", job_id, options) end

--- The submissions of a job.
function Client:submissions(job_id, options) return list(self, "submissions", job_id, options) end

-- ---- data sets and estimates -------------------------------------------------------------------------------------

--- Uploads a local file and returns its remote path.  progress(sent, total) is called as bytes go out.
function Client:upload(path, options)
  options = service.check_options("deai.upload", options, { "timeout", "progress" })
  core.check("deai", "upload", { file = path, name = "x" })
  return account.upload(self, path, options)
end

--- Prices a training and makes it the draft of its jobName.  Returns the amount.
function Client:estimate(t)
  local operation = flows.model_operation("estimate", t)
  local parts, options = core.split("deai", operation, t, "estimate")
  core.check("deai", operation, parts[1], { local_files = true, name = "deai.estimate" })
  local fields = flows.upload_files(self, operation, parts[1], options)
  local lock <close> = service.lock(self, "train", fields.jobName) -- luacheck: ignore 211
  return account.draft(self, operation, "train|" .. fields.jobName, fields, options).price
end

--- Prices an inference and makes it the draft of its jobID.  Returns the amount.
function Client:estimate_inference(t)
  local parts, options = core.split("deai", "estimate_inference", t)
  core.check("deai", "estimate_inference", parts[1], { local_files = true })
  local fields = flows.upload_files(self, "estimate_inference", parts[1], options)
  local lock <close> = service.lock(self, "infer", fields.jobID) -- luacheck: ignore 211
  return account.draft(self, "estimate_inference", "infer|" .. fields.jobID, fields, options).price
end

-- ---- paid calls --------------------------------------------------------------------------------------------------

--- Starts the training that the last estimate of this jobName described.  Returns the jobID.
function Client:create_job(t)
  local parts, options = core.split("deai", "create_job", t)
  local fields = core.check("deai", "create_job", parts[1])
  service.paid_options(options)
  return permits.staged(nil, function()
    local lock <close> = service.lock(self, "train", fields.jobName) -- luacheck: ignore 211
    local draft = account.own_draft(self, "deai.create_job", "train|" .. fields.jobName, "jobName " .. fields.jobName)
    local job_id, permit = flows.submit_job(self, fields, options, draft, false)
    permit:close()
    return job_id
  end)
end

--- Starts the inference that the last estimate of this jobID described.  Returns the infer_id.
function Client:start_inference(t)
  local parts, options = core.split("deai", "start_inference", t)
  local fields = core.check("deai", "start_inference", parts[1])
  service.paid_options(options)
  return permits.staged(nil, function()
    local lock <close> = service.lock(self, "infer", fields.jobID) -- luacheck: ignore 211
    local draft = account.own_draft(self, "deai.start_inference", "infer|" .. fields.jobID, "jobID " .. fields.jobID)
    return flows.submit_inference(self, fields, options, draft)
  end)
end

Client.train = flows.train
Client.infer = flows.infer
Client.wait_job = flows.wait_job
Client.wait_inference = flows.wait_inference

--- Many inferences over one job, resumable: see perigee.fan_out.
function Client:fan_out(options)
  return require "perigee.fan_out".run(self, options)
end

-- A method that is not there: name the nearest one.
setmetatable(Client, {
  __index = function(_, name)
    local names = {}
    for method in pairs(Client) do
      if type(method) == "string" and not method:find "^__" then names[#names + 1] = method end
    end
    table.sort(names)
    if type(name) ~= "string" or name:find "^_" then return nil end
    local near = errors.nearest(name, names)
    if near then errors.invalid(('deai.client has no "%s"; did you mean "%s"?'):format(name, near)) end
    return nil
  end,
})

return deai
