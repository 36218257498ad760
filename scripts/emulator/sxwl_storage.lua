-- sxwl_storage.lua - the object store that keeps the models of the emulated SXWL.
--
-- A link is pre-signed: path, Expires and a signature in the query; whoever has it may read, and no token must
-- ever come along (the ledger complains if one does).  Ranges are served, so that a download can be resumed.

local service = require "perigee.emulator.service"
local sha256 = require "perigee.emulator.sha256"

local storage = {}

local KEY_ID <const> = "EMULATOR"
local PREFIX <const>, NAME <const> = "/sxwl-cache/models/", "/model.bin"

local function signature(self, path, expires)
  return sha256.to_hex(sha256.hmac(self.storage_secret, path .. "\n" .. expires)):sub(1, 40)
end

--- The link of a job that has ended.  It counts from the end of the job, and is made once.
function storage.link(self, job)
  local path = PREFIX .. job.id .. NAME
  local expires = tostring(math.floor(job.ends_at + self.link_seconds))
  return ("%s%s?AWSAccessKeyId=%s&Expires=%s&Signature=%s"):format(
    self.storage_url, path, KEY_ID, expires, signature(self, path, expires)
  )
end

--- The bytes of a job's model: the same for the same job.
function storage.model(self, job)
  local line = ("model of %s, line %%08d\n"):format(job.id)
  local lines = {}
  local length = #line:format(0)
  for i = 1, math.ceil(self.model_bytes / length) do
    lines[i] = line:format(i)
  end
  return table.concat(lines):sub(1, self.model_bytes)
end

local function denied(code, message)
  local body = ('<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>%s</Code><Message>%s</Message></Error>\n'):format(
    code, message
  )
  return service.refused { status = 403, headers = { ["content-type"] = "application/xml" }, body = body }
end

-- The part of the model a Range header asks for: status, body, Content-Range.  A range of another version
-- (If-Range) or one we do not know gets all of it.
local function cut(model, etag, headers)
  local first, last = (headers.range or ""):match "^bytes=(%d+)%-(%d*)$"
  if not first or (headers["if-range"] and headers["if-range"] ~= etag) then
    return 200, model, nil
  end
  first, last = math.tointeger(first), math.tointeger(last ~= "" and last or #model - 1)
  if first >= #model or last < first then
    return 416, "", ("bytes */%d"):format(#model)
  end
  last = math.min(last, #model - 1)
  return 206, model:sub(first + 1, last + 1), ("bytes %d-%d/%d"):format(first, last, #model)
end

--- A handler of service.lua.
function storage.handle(self, request, now, plan)
  if request.headers.authorization or request.headers.token then
    self.ledger:complain("sxwl", "download", now, "a token came along to the download host")
  end
  local id = request.path:match("^" .. PREFIX:gsub("%-", "%%-") .. "([%w-]+)" .. NAME:gsub("%.", "%%.") .. "$")
  local job, expires = self.jobs[id], request.query.Expires or ""
  if request.method ~= "GET" or not job or request.query.Signature ~= signature(self, request.path, expires) then
    return denied("SignatureDoesNotMatch", "The request signature we calculated does not match")
  elseif plan.expired or now >= (tonumber(expires) or 0) then
    return denied("AccessDenied", "Request has expired")
  end
  local model = storage.model(self, job)
  local etag = ('"%s"'):format(sha256.content_id(model):sub(1, 32))
  local status, body, range = cut(model, etag, request.headers)
  self.ledger:add {
    kind = "download", service = "sxwl", operation = "download", at = now, job_id = id, status = status,
    bytes = #body,
  }
  return {
    status = status,
    headers = {
      ["content-type"] = "application/octet-stream", ["accept-ranges"] = "bytes", etag = etag,
      ["content-range"] = range,
    },
    body = body,
  }
end

return storage
