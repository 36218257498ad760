-- sxwl.lua - the SXWL GPU cloud, emulated in each of its eras.
--
--   local service = sxwl.new { random = generator, era = "B", speed = 10 }
--   local response = service:handle(request, now)
--   for _, callback in ipairs(service:due_callbacks(now)) do … POST callback.body to callback.url … end
--
-- Eras: "A", the Java service of the vendor's guide; "B", the Go service that replaced it; "B2", the same later,
-- with its 400s as JSON; "C", where creating answers 404 and nothing calls back.  Never waits and reads no clock:
-- callbacks that are due are handed to the host, and a model is fetched from `service:download(request, now)`,
-- which the host serves under another origin.  What a job does with its life is in sxwl_job.lua.

local draws = require "perigee.emulator.random"
local faults = require "perigee.emulator.faults"
local json = require "perigee.json"
local jwt = require "perigee.emulator.jwt"
local ledger = require "perigee.emulator.ledger"
local service = require "perigee.emulator.service"
local sha256 = require "perigee.emulator.sha256"
local storage = require "perigee.emulator.sxwl_storage"
local sxwl_job = require "perigee.emulator.sxwl_job"
local wire = require "perigee.emulator.wire"

local sxwl = {}
local methods = {}
methods.__index = methods

local NO_ROWS <const> = "sql: no rows in result set"

-- ---- how each era talks ------------------------------------------------------------------------------------------

local function is_go(self)
  return self.era ~= "A"
end

-- A reply of 200; members as for wire.ordered.
local function reply(self, members)
  local value = wire.ordered(members)
  return service.json(200, is_go(self) and wire.encode_go(value) or wire.encode(value))
end

local function fail(self, status, message, now)
  if self.era == "A" then
    local at = os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(now))
    local body = wire.encode(wire.ordered { "message", message, "status", status, "timestamp", at })
    return service.refused(service.json(status, body))
  elseif self.era == "B2" and status == 400 then
    return service.refused(service.json(400, wire.encode_go(wire.ordered { "message", message })))
  end
  return service.refused(service.text(status, message))
end

local function authorised(handler)
  return function(self, request, now, plan)
    local header = request.headers.authorization
    local token = header and header:match "^Bearer ([%w_.-]+)$"
    if not header then
      return fail(self, 401, "unauthorized", now)
    elseif not token or not jwt.verify(token, self.secret, now) then
      return fail(self, self.era == "A" and 500 or 401, "token is malformed", now)
    end
    return handler(self, request, now, plan)
  end
end

-- The JSON object of a request, or nil and the refusal.
local function read_body(self, request, now)
  local ok, body = pcall(json.decode, request.body or "")
  if not ok or type(body) ~= "table" or #body > 0 then
    return nil, fail(self, 400, "the request body is no JSON object", now)
  end
  return body
end

-- ---- creating ----------------------------------------------------------------------------------------------------

local function is_string(value)
  return type(value) == "string"
end

local function is_digits(value)
  return is_string(value) and value:match "^%d+$" ~= nil
end

local function is_integer(value)
  return math.type(value) == "integer"
end

local function is_stop_type(value)
  return value == "0" or value == "1"
end

local function is_env(value)
  if type(value) ~= "table" then
    return false
  end
  for _, text in pairs(value) do
    if not is_string(text) then
      return false
    end
  end
  return true
end

-- In the order of the guide: name, the exact type, whether it must be there.
local FIELDS <const> = {
  { "gpuNumber", is_integer, true }, { "gpuType", is_string, true },
  { "ckptPath", is_string, true }, { "ckptVol", is_digits, true },
  { "modelPath", is_string, true }, { "modelVol", is_digits, true },
  { "imagePath", is_string, true }, { "jobType", is_string, true },
  { "stopType", is_stop_type, true }, { "stopTime", is_integer },
  { "pretrainedModelName", is_string }, { "pretrainedModelPath", is_string },
  { "datasetName", is_string }, { "datasetPath", is_string },
  { "runCommand", is_string }, { "callbackUrl", is_string }, { "env", is_env },
}

-- The first required field that is absent; and whether every field has its exact type.
local function inspect(self, body, now)
  local exact, known = true, {}
  for _, field in ipairs(FIELDS) do
    local name, is_right, required = field[1], field[2], field[3]
    local value = body[name]
    known[name] = true
    if value == nil or value == json.null then
      if required then
        return name, false
      end
    elseif not is_right(value) then
      exact = false
      self.ledger:complain("sxwl", "create_job", now, name .. " has the wrong JSON type")
    end
  end
  local extra = {}
  for name in pairs(body) do
    if not known[name] then
      extra[#extra + 1] = tostring(name)
    end
  end
  table.sort(extra)
  for _, name in ipairs(extra) do
    self.ledger:complain("sxwl", "create_job", now, "unknown field " .. name)
  end
  return nil, exact
end

local function new_job_id(self, number)
  local function group(n, digits)
    return ("%0" .. digits .. "x"):format(math.floor(self.draw("job_id", number, n) * 16 ^ digits))
  end
  return ("ai%s-%s-4%s-a%s-%s"):format(group(1, 8), group(2, 4), group(3, 3), group(4, 3), group(5, 12))
end

local function create_job(self, request, now, plan)
  if self.era == "C" then
    return service.refused(service.text(404, "404 page not found"))
  end
  local body, refusal = read_body(self, request, now)
  if not body then
    return refusal
  end
  local missing, exact = inspect(self, body, now)
  if missing then
    return fail(self, 400, ('field "%s" is not set'):format(missing), now)
  elseif is_string(body.callbackUrl) and #body.callbackUrl > 255 then
    return fail(self, 400, "Data too long for column 'callback_url' at row 1", now)
  end
  self.created = self.created + 1
  local job = sxwl_job.new {
    id = new_job_id(self, self.created),
    number = self.created,
    body = body,
    text = request.body,
    runs = exact and self.gpu_types[body.gpuType] ~= nil,
    plan = plan,
    service = self,
    now = now,
  }
  self.jobs[job.id] = job
  self.order[#self.order + 1] = job
  self.ledger:add {
    kind = "job", service = "sxwl", operation = "create_job", at = now, job_id = job.id, job = job,
    gpuNumber = body.gpuNumber, gpuType = body.gpuType, jobType = body.jobType, stopType = body.stopType,
    stopTime = body.stopTime, imagePath = body.imagePath, callbackUrl = body.callbackUrl,
    intent = type(body.env) == "table" and body.env.PERIGEE_INTENT or nil, -- the rest of env is nobody's business
  }
  return reply(self, { "job_id", job.id })
end

-- ---- asking and stopping -------------------------------------------------------------------------------------------

-- The job a request names (nil if there is none), or nil and the refusal.
local function job_of(self, request, now)
  local body, refusal = read_body(self, request, now)
  if not body then
    return nil, refusal
  elseif not is_string(body.job_id) then
    return nil, fail(self, 400, 'field "job_id" is not set', now)
  end
  return self.jobs[body.job_id]
end

local function job_status(self, request, now)
  local job, refusal = job_of(self, request, now)
  if refusal then
    return refusal
  elseif not job or (job.stopped and is_go(self)) then
    return is_go(self) and fail(self, 400, NO_ROWS, now) or reply(self, {})
  end
  local status = job:read(now)
  local url = status == "success" and not job.plan.no_url and self:link(job) or nil
  if not is_go(self) then
    return reply(self, url and { "url", url, "status", status } or { "status", status })
  elseif status == "success" and not url then
    return fail(self, 400, NO_ROWS, now)
  end
  return reply(self, { "url", url or "", "status", status })
end

local function stop_job(self, request, now)
  local job, refusal = job_of(self, request, now)
  if refusal then
    return refusal
  end
  if job and not job.stopped then
    job:stop(now)
    self.ledger:add {
      kind = "stop", service = "sxwl", operation = "stop_job", at = now, job_id = job.id,
      unfinished = job.stopped_at ~= nil,
    }
  end
  if is_go(self) then
    return reply(self, { "message", "delete job success" })
  end
  return { status = 200, headers = {}, body = "" }
end

-- ---- near it -------------------------------------------------------------------------------------------------------

local WORK_STATUS <const> = { waiting = 0, working = 1, success = 2, fail = 3 }

local function list_jobs(self, request, now)
  local current = math.tointeger(tonumber(request.query.current or "1"))
  local size = math.tointeger(tonumber(request.query.size or "10"))
  if not current or not size or current < 1 or size < 1 then
    return fail(self, 400, "current and size start at 1", now)
  end
  local kept = {}
  for i = #self.order, 1, -1 do
    local job = self.order[i]
    if not (job.stopped and is_go(self)) then
      kept[#kept + 1] = job
    end
  end
  local rows = wire.array {}
  for i = (current - 1) * size + 1, math.min(#kept, current * size) do
    local job = kept[i]
    local state = now < job.dispatched_at and "waiting" or job:state(now)
    rows[#rows + 1] = wire.ordered {
      "jobName", job.id, "gpuNumber", job.body.gpuNumber, "gpuType", job.body.gpuType, "jobType", job.body.jobType,
      "workStatus", WORK_STATUS[state], "createTime", os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(job.created_at)),
      "jsonAll", job.text,
    }
  end
  return reply(self, { "content", rows, "totalElements", #kept })
end

local function gpu_types(self)
  local rows, names = {}, {}
  for name in pairs(self.gpu_types) do
    names[#names + 1] = name
  end
  table.sort(names)
  for i, name in ipairs(names) do
    rows[i] = wire.ordered { "amount", self.gpu_types[name], "gpuProd", name }
  end
  return service.json(200, wire.encode(wire.array(rows)))
end

local ROUTES <const> = {
  ["/userJob"] = {
    POST = { "create_job", authorised(create_job) },
    GET = { "jobs", authorised(list_jobs) },
  },
  ["/userJob/job_status"] = { POST = { "job_status", authorised(job_status) } },
  ["/userJob/job_del"] = { POST = { "stop_job", authorised(stop_job) } },
  ["/userJob/getGpuType"] = { GET = { "gpu_types", authorised(gpu_types) } },
}

-- ---- the object ----------------------------------------------------------------------------------------------------

function methods:no_route(_, known)
  if known and is_go(self) then
    return { status = 405, headers = {}, body = "" }
  elseif known then
    return fail(self, 400, "Request method not supported", 0)
  end
  return service.text(404, "404 page not found")
end

--- Answers a request to a path below the base URL.
function methods:handle(request, now)
  return service.handle(self, request, now)
end

--- Answers a request for a model; the path is the one of the link.  Served under another origin.
function methods:download(request, now)
  return service.execute(self, "download", storage.handle, request, now)
end

--- The pre-signed link of a finished job, made once.
function methods:link(job)
  job.url = job.url or storage.link(self, job)
  return job.url
end

--- The callbacks to send by now: a list of { url, body, job_id }, each handed out once.
function methods:due_callbacks(now)
  local due, later = {}, {}
  for _, callback in ipairs(self.callbacks) do
    if callback.at > now then
      later[#later + 1] = callback
    elseif not callback.job:stopped_before(callback.at) then
      due[#due + 1] = { url = callback.url, body = callback.job:callback_body(callback), job_id = callback.job.id }
      self.ledger:add {
        kind = "callback", service = "sxwl", operation = "callback", at = now, job_id = callback.job.id,
        url = callback.url,
      }
    end
  end
  self.callbacks = later
  return due
end

--- When the next callback is due, or nil.
function methods:next_callback()
  local soonest
  for _, callback in ipairs(self.callbacks) do
    soonest = math.min(soonest or math.huge, callback.at)
  end
  return soonest
end

--- A service with its own state.
--- random, faults, ledger, speed: as for deai.new; era: "A", "B" (default), "B2" or "C"; token: what to accept
--- is `service.token`; gpu_types: name -> CNY per hour; job_seconds, queue_seconds: how long a job runs and waits,
--- about; storage_url: where links point; link_seconds: how long they hold; model_bytes: how large a model is.
function sxwl.new(options)
  local draw = draws.keyed(options.random)
  local secret = ("%.17g"):format(draw "secret")
  return setmetatable({
    name = "sxwl",
    routes = ROUTES,
    era = options.era or "B",
    draw = draw,
    faults = type(options.faults) == "table" and options.faults or faults.new(options.faults, draw),
    ledger = options.ledger or ledger.new(),
    speed = options.speed or 1,
    job_seconds = options.job_seconds or 120,
    queue_seconds = options.queue_seconds or 6,
    storage_url = options.storage_url or "https://storage.emulator.example",
    link_seconds = options.link_seconds or 30 * 86400,
    model_bytes = options.model_bytes or 64 * 1024,
    gpu_types = options.gpu_types or {
      ["NVIDIA-GeForce-RTX-3090"] = 7, ["NVIDIA-GeForce-RTX-4090"] = 9, ["NVIDIA-A100-PCIE-40GB"] = 21,
    },
    secret = secret,
    token = jwt.sign(wire.ordered { "user_id", 7, "username", "demo" }, secret),
    storage_secret = sha256.hex(secret),
    jobs = {}, -- job_id -> job
    order = {}, -- the same, oldest first
    callbacks = {}, -- not sent yet: { at, url, job, early }
    created = 0,
  }, methods)
end

return sxwl
