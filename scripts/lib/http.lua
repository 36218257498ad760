-- perigee.http - HTTP for scripts: ask, get the answer; a status is an answer, not an error.
--
-- host/http.c does the work (connections, time-outs, caps, the verdict on a failure); this face builds
-- bodies, reads replies, and says what its options mean.  Options that are the engine's own go through as
-- they are and are checked in bindings/http.c.  See docs/http.md.
local core = require "perigee.core.http"
local errors = require "perigee.error"
local json = require "perigee.json"

local http = {}

-- ---- replies ------------------------------------------------------------------------------------------

-- header tables: any spelling of a name finds it; several of one name are joined as RFC 9110 says
local Headers = {
  __name = "perigee.http.headers",
  __index = function(headers, name)
    if type(name) == "string" then return rawget(headers, name:lower()) end
  end,
}

local function each_header(raw)
  return raw:gmatch "([^\r\n:]+): ([^\r\n]*)\r\n"
end

local function parse_headers(raw)
  local headers = {}
  for name, value in each_header(raw) do
    headers[name] = headers[name] and headers[name] .. ", " .. value or value
  end
  return setmetatable(headers, Headers)
end

local Reply = core.reply
local methods = {}

--- The body decoded from JSON; raises an error of kind `parse`.
function methods:json(options)
  local ok, value = pcall(json.decode, self.body, options)
  if ok then return value end
  if errors.is(value) then
    value.status, value.url = self.status, self.url:match "^[^?#]*"
  end
  error(value, 0)
end

--- Every value of a header, in the order they came: what joining would mix up (set-cookie).
function methods:header_values(wanted)
  local values = {}
  wanted = wanted:lower()
  for name, value in each_header(self.raw_headers) do
    if name == wanted then values[#values + 1] = value end
  end
  return values
end

-- Most replies are never asked for a header: the table is made when one is.
function Reply.__index(reply, name)
  if name == "headers" then
    local headers = parse_headers(rawget(reply, "raw_headers"))
    rawset(reply, "headers", headers)
    return headers
  end
  return methods[name]
end

-- ---- requests -----------------------------------------------------------------------------------------

-- The bytes to send and their media type.
local function body_of(options)
  local given = (options.body ~= nil and 1 or 0) + (options.json ~= nil and 1 or 0) + (options.file ~= nil and 1 or 0)
  if given > 1 then errors.invalid "http: a request has one body: body =, json = or file =" end
  if options.json ~= nil then return json.encode(options.json), "application/json" end
  return options.body
end

-- Runs an exchange step by step, telling progress(sent, send_total, received, receive_total) between.
local function follow(progress, ...)
  local transfer <close> = core.open(...)
  while true do
    local reply, sent, send_total, received, receive_total = transfer:step()
    if reply then return reply end
    progress {
      sent = sent, send_total = send_total > 0 and send_total or nil,
      received = received, receive_total = receive_total > 0 and receive_total or nil,
    }
  end
end

local function run(method, url, options)
  if options == nil then return core.request(method, url) end
  if type(options) ~= "table" then
    errors.invalid("http: options must be a table, not " .. type(options))
  end
  local body, media_type = body_of(options)
  local first = next(options)
  if (first == "json" or first == "body") and next(options, first) == nil then
    return core.request(method, url, nil, body, media_type) -- nothing else to read or check
  end
  local progress = options.progress
  if progress == nil then return core.request(method, url, options, body, media_type) end
  if type(progress) ~= "function" then errors.invalid "http: progress must be a function" end
  return follow(progress, method, url, options, body, media_type)
end

--- One request: {url=, method="GET", headers=, body= | json= | file=, timeout=, …} -> reply.
function http.request(options)
  if type(options) ~= "table" then errors.invalid "http.request takes a table: {url = \"…\", …}" end
  return run(options.method or "GET", options.url, options)
end

--- A GET; follows up to 5 redirects.
function http.get(url, options)
  return run("GET", url, options)
end

--- A POST: sent once, never repeated by itself.
function http.post(url, options)
  return run("POST", url, options)
end

-- ---- files --------------------------------------------------------------------------------------------

local function with(options, fields)
  local copy = {}
  for name, value in pairs(options or {}) do copy[name] = value end
  for name, value in pairs(fields) do copy[name] = value end
  return copy
end

local function check_path(path, what)
  if type(path) ~= "string" or path == "" then errors.invalid(what .. ": the path must be a string") end
end

--- Writes what the URL gives to a file, whole or not at all -> {path=, size=, …}.  A status other than
--- 200 raises an error of kind `http`.  options.resume goes on from where an earlier attempt broke off.
function http.download(url, path, options)
  check_path(path, "http.download")
  local reply = run("GET", url, with(options, {download = path}))
  if reply.status ~= 200 then
    error(errors.new {
      kind = "http", status = reply.status, body = reply.body:sub(1, 2048), url = reply.url:match "^[^?#]*",
      outcome = "none", retryable = reply.status >= 500 or reply.status == 429,
      message = ("the server answered %d to the download of %s"):format(reply.status, reply.url:match "^[^?#]*"),
    }, 0)
  end
  reply.path = path
  reply.size = reply.size or 0
  return reply
end

--- Sends a file as one part of a form (options.part, default "file"), or raw with part = false.
function http.upload(url, path, options)
  check_path(path, "http.upload")
  local o = with(options, {file = path})
  if o.part == nil then o.part = "file" end
  if o.part == false then o.part = nil end
  return run(o.method or "POST", url, o)
end

--- A server whose handlers are tasks.
function http.serve(options)
  return require "perigee.http_serve".serve(options)
end

return http
