-- emulator_client.lua - speaks to an emulated world in-process, for the emulator's own specs.
--
-- No client of ours is involved: requests are written as the contracts say, replies are read as text or with
-- perigee.json.  `client.now` is the clock; nothing moves it but the spec.

local json = require "perigee.json"
local wire = require "perigee.emulator.wire"
local world = require "perigee.emulator.world"

local methods = {}
methods.__index = methods

-- Sends to a path of the world; body: text, or a table for JSON.
function methods:send(method, path, body, headers)
  local all = {}
  if type(body) == "table" then
    body, all["content-type"] = wire.encode(body), "application/json"
  end
  for name, value in pairs(headers or {}) do
    all[name] = value
  end
  local query = {}
  local bare, text = path:match "^([^?]*)%??(.*)$"
  for name, value in text:gmatch "([^&=]+)=([^&]*)" do
    query[name] = value
  end
  return self.world:handle({ method = method, path = bare, query = query, headers = all, body = body }, self.now)
end

-- A call of Distributed AI: the decoded reply and the raw response.
function methods:deai(path, body, headers)
  headers = headers or { token = self.token }
  local response = self:send("POST", "/sdk/computation" .. path, body, headers)
  local ok, reply = pcall(json.decode, response.body or "")
  return ok and reply or nil, response
end

function methods:login(email, password)
  local reply = self:deai("/user/genToken", { email = email, passwd = password }, {})
  self.token = reply.token
  return reply
end

function methods:upload(name, bytes, disposition)
  local body = ('--b0\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n'
    .. "Content-Type: application/octet-stream\r\n\r\n%s\r\n--b0--\r\n"):format(name, bytes)
  local response = self:send("POST", "/sdk/computation/deAI/uploadFile", disposition or body, {
    token = self.token, ["content-type"] = "multipart/form-data; boundary=b0",
  })
  return json.decode(response.body)
end

-- An estimate for a CNN; fields overrides.
function methods:estimate(fields)
  local body = {
    model = "CNN", epoch = 10, jobName = "job", train_shard = 0.8, scale_ratio = 255, category = 10, channel = 1,
  }
  for name, value in pairs(fields) do
    body[name] = value
  end
  body.y_train = body.y_train or body.x_train
  return self:deai("/deAI/queryGuarantee", body)
end

function methods:create(name)
  return self:deai("/deAI/createJob", { jobName = name or "job", computation = "Distributed AI", batchSize = 64 })
end

-- A job that is trained; the clock moves on.
function methods:trained(name, path)
  self:estimate { jobName = name, x_train = path }
  local reply = self:create(name)
  self.now = self.now + 1000
  return reply.jobID
end

-- A call of SXWL.
function methods:sxwl(method, path, body, headers)
  headers = headers or { authorization = "Bearer " .. self.world.sxwl.token }
  return self:send(method, "/api" .. path, body, headers)
end

function methods:sxwl_body(fields)
  local body = {
    gpuNumber = 1, gpuType = "NVIDIA-GeForce-RTX-3090", ckptPath = "/ckpt", ckptVol = "10000", modelPath = "/model",
    modelVol = "10000", imagePath = "registry.example/train:1", jobType = "GeneralJob", stopType = "0",
  }
  for name, value in pairs(fields or {}) do
    body[name] = value
  end
  return body
end

function methods:sxwl_create(fields)
  local response = self:sxwl("POST", "/userJob", self:sxwl_body(fields))
  return response.body and response.body:match '^{"job_id":"([^"]+)"}$', response
end

function methods:sxwl_status(job_id)
  local response = self:sxwl("POST", "/userJob/job_status", { job_id = job_id })
  return response.body, response
end

local client = {}

--- A client of a fresh world, logged in; options as for world.new.
function client.new(options)
  local self = setmetatable({ world = world.new(options or {}), now = 1700000000 }, methods)
  self.ledger = self.world.ledger
  if not (options and options.faults) then
    self:login("demo@perigee.example", "open-sesame")
  end
  return self
end

return client
