-- internal: http_serve.lua - http.serve: a server whose handlers are tasks.
--
-- One task accepts, and starts a task in its own scope for each request: handlers may wait as they like,
-- and all of them end with the server.  A handler that fails costs its own request a 500 and the log a
-- line, nothing else.
local core = require "perigee.core.server"
local errors = require "perigee.error"
local tasks = require "perigee.core.task"

local function invalid(...)
  error(errors.new {kind = "invalid", message = string.format(...)}, 0)
end

-- ---- requests ----------------------------------------------------------------------------------------

local function percent_decode(s)
  return (s:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- "a=1&b=x%20y" -> {a = "1", b = "x y"}; of a name given twice the last value counts
local function parse_query(text)
  local query = {}
  for pair in text:gmatch "[^&]+" do
    local name, value = pair:match "^([^=]*)=?(.*)$"
    query[percent_decode((name:gsub("+", " ")))] = percent_decode((value:gsub("+", " ")))
  end
  return query
end

local Request = {}
Request.__index = Request
Request.__name = "perigee.http.request"

-- any spelling of a name finds the header, as in replies
local Headers = {
  __name = "perigee.http.headers",
  __index = function(headers, name)
    if type(name) == "string" then return rawget(headers, name:lower()) end
  end,
}

-- the core's request by the script's, so that the script's is plain data
local raw_of = setmetatable({}, {__mode = "k"})

--- True once no answer can reach the peer: it hung up, or the answer has been sent.
function Request:closed()
  return raw_of[self]:closed()
end

--- The body decoded from JSON; raises an error of kind `parse`.
function Request:json()
  return require "perigee.json".decode(self.body)
end

local function new_request(raw, method, target, remote, headers, body)
  -- a proxy's form names the server as well: http://host/path
  local path, query_string = target:gsub("^%a[%w+.-]*://[^/?]*", ""):match "^([^?]*)%??(.*)$"
  local request = setmetatable({
    method = method, target = target, path = percent_decode(path), query_string = query_string,
    query = parse_query(query_string), headers = setmetatable(headers, Headers), body = body, remote = remote,
  }, Request)
  raw_of[request] = raw
  return request
end

-- ---- answers -----------------------------------------------------------------------------------------

local ANSWER_FIELDS = {status = true, headers = true, body = true, json = true, stream = true, drop = true, delay = true}

local function check_answer(answer)
  if type(answer) ~= "table" then
    invalid("the handler returned %s, not a table like {status = 200, body = \"…\"}", type(answer))
  end
  local unknown
  for field in pairs(answer) do
    field = tostring(field)
    if not ANSWER_FIELDS[field] and (not unknown or field < unknown) then unknown = field end
  end
  if unknown then invalid("the handler's answer has an unknown field: %s", unknown) end
  local kinds = 0
  for _, field in ipairs {"body", "json", "stream", "drop"} do
    if answer[field] ~= nil then kinds = kinds + 1 end
  end
  if kinds > 1 then invalid("the handler's answer has more than one of body, json, stream and drop") end
  if answer.drop ~= nil and answer.drop ~= "before" and answer.drop ~= "after" then
    invalid("the handler's answer: drop is \"before\" or \"after\", not %s", tostring(answer.drop))
  end
  if answer.stream ~= nil and type(answer.stream) ~= "function" then
    invalid("the handler's answer: stream is a function(write), not a %s", type(answer.stream))
  end
end

-- {Name = value or list of values} -> {name, value, name, value, …}, in an order that does not change
local function flat_headers(headers, content_type)
  local names, flat = {}, {}
  for name in pairs(headers or {}) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    if name:lower() == "content-type" then content_type = nil end
    local values = headers[name]
    for _, value in ipairs(type(values) == "table" and values or {values}) do
      flat[#flat + 1] = name
      flat[#flat + 1] = tostring(value)
    end
  end
  if content_type then
    flat[#flat + 1] = "Content-Type"
    flat[#flat + 1] = content_type
  end
  return flat
end

local function send_stream(raw, request, answer)
  raw:begin(answer.status or 200, flat_headers(answer.headers))
  if request.method ~= "HEAD" then
    answer.stream(function(bytes) return raw:write(bytes) end)
  end
  raw:finish()
end

local function send(raw, request, answer)
  check_answer(answer)
  if answer.delay then tasks.sleep(answer.delay) end
  if answer.drop then return raw:drop() end
  if answer.stream then return send_stream(raw, request, answer) end
  local body, content_type = answer.body == nil and "" or answer.body, "text/plain; charset=utf-8"
  if answer.json ~= nil then body, content_type = require "perigee.json".encode(answer.json), "application/json" end
  raw:respond(answer.status or 200, flat_headers(answer.headers, body ~= "" and content_type or nil), body)
end

-- ---- tasks -------------------------------------------------------------------------------------------

local function serve_one(handler, raw, request)
  send(raw, request, handler(request))
end

-- The body of a handler's task.  Releasing an unanswered request gives 500, an unfinished stream is cut.
local function handle(running, id, handler, raw, request)
  local _ <close> = raw
  local failure
  local ok, err = xpcall(serve_one, function(err)
    failure = debug.traceback(tostring(err), 2)
    return err
  end, handler, raw, request)
  running[id] = nil
  if ok then return end
  local kind = type(err) == "table" and err.kind
  if kind == "cancelled" and tasks.cancelled() then
    pcall(raw.respond, raw, 503, {}, "") -- refused if it was answered already
    error(err, 0)
  end
  if kind == "closed" and request:closed() then return end -- the peer's choice, and nobody's mistake
  core.report(request.method, request.path, failure)
end

local function ends_with_peer(options, request)
  local choice = options.cancel_on_close
  if type(choice) == "function" then return choice(request) end
  return choice
end

local function accept_all(listener, options)
  local scope <close> = tasks.scope {}
  local _ <close> = listener -- closed before the scope waits for its handlers
  local running = {} -- id of a request -> its task
  while true do
    local id, raw, method, target, remote, headers, body = listener:accept()
    if not id then break end
    if raw then
      local request = new_request(raw, method, target, remote, headers, body)
      local handler = scope:spawn(handle, running, id, options.handler, raw, request)
      if ends_with_peer(options, request) then running[id] = handler end
    elseif running[id] then
      running[id]:cancel("the peer has hung up")
    end
  end
  scope:cancel "the server was closed"
end

-- ---- the server --------------------------------------------------------------------------------------

local Server = {}
Server.__index = Server
Server.__name = "perigee.http.server"

--- Stops listening, answers what waits with 503, cancels the handlers, and returns when all has ended.
function Server:close()
  self._listener:close()
  local ok, err = pcall(self._task.wait, self._task)
  local stopped_before = errors.is(err, "cancelled") and self._task:status() == "cancelled"
  if not ok and not stopped_before then error(err, 0) end
end
Server.__close = Server.close

--- Returns when the server has been closed.
function Server:wait()
  self._task:wait()
end

--- Open connections, busy or idle.
function Server:connections()
  return self._listener:connections()
end

local function serve(options)
  if type(options) ~= "table" or type(options.handler) ~= "function" then
    invalid "http.serve: handler must be a function: http.serve{handler = function(request) … end}"
  end
  local listener = core.listen(options)
  local own = {handler = options.handler, cancel_on_close = options.cancel_on_close}
  return setmetatable({
    port = listener:port(), url = listener:url(),
    _listener = listener, _task = tasks.spawn_in_task(accept_all, listener, own),
  }, Server)
end

return {serve = serve}
