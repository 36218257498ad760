-- perigee.control: how a running daemon is asked and told, over a Unix socket in its state directory.  -- internal
--
--   POST /v1/<verb>   a JSON object of arguments -> 200 {"schema_version":1,"result":…}
--   GET  /v1          -> 200 {"schema_version":1,"result":{"verbs":[…]}}
--   GET  /console/events, POST /console/<what>   consoles (perigee.console), if there are any: docs/console.md
-- What went wrong comes as {"schema_version":1,"error":{kind,code,message,…}} with the status that fits, and becomes
-- an error object again at the other end.  Who may connect is the socket's matter (host/server_listen.c).

local errors = require "perigee.error"
local fs = require "perigee.fs"
local http = require "perigee.http"
local json = require "perigee.json"
local log = require "perigee.log"

local control = {}

control.SCHEMA_VERSION = 1
control.SOCKET = "control.sock" -- in the state directory

local PREFIX <const> = "/v1"
local CONSOLE <const> = "/console"
local LARGEST_BODY <const> = 1024 * 1024
local LARGEST_REPLY <const> = 64 * 1024 * 1024
local MOST_CLIENTS <const> = 128
local CALL_TIMEOUT <const> = 120 -- seconds: some verbs ask a service
local TRANSFER_TIMEOUT <const> = 30
local QUESTION_TIMEOUT <const> = 3

-- ---- errors as JSON, and back ------------------------------------------------------------------------------

local STATUS <const> = {
  invalid = 400, parse = 400, auth = 403, denied = 403, limit = 429, timeout = 504, unavailable = 503, cancelled = 503,
  closed = 503,
}
local STATUS_BY_CODE <const> = {
  not_found = 404, unknown_verb = 404, method = 405, taken = 409, fenced = 409, order = 409, conflict = 409,
  finished = 409, other_spec = 409, too_large = 413,
}

local function status_of(err)
  return STATUS_BY_CODE[err.code] or STATUS[err.kind] or 502
end

-- Text, numbers and truth values of an error object; amounts and the like become their text.
local function plain_fields(err)
  local fields = {}
  for name, value in pairs(err) do
    local kind = type(value)
    if type(name) == "string" and not name:find "^_" then
      if kind == "string" or kind == "number" or kind == "boolean" then
        fields[name] = value
      elseif kind == "userdata" then
        fields[name] = tostring(value)
      end
    end
  end
  return fields
end

-- A mistake of the daemon's own: the log has the rest, the peer a sentence.
local function unexpected(verb, err, traceback)
  log.error("control.failed", { verb = verb, error = tostring(err), traceback = traceback })
  return errors.new {
    kind = "unavailable", code = "internal",
    message = ("the daemon failed at %s; its log says why"):format(verb),
  }
end

local function error_answer(err)
  return { status = status_of(err), json = { schema_version = control.SCHEMA_VERSION, error = plain_fields(err) } }
end

local function invalid(code, message)
  return errors.new { kind = "invalid", code = code, message = message }
end

-- ---- the daemon's side -------------------------------------------------------------------------------------

local function read_arguments(request)
  if request.body == "" then return {} end
  local ok, args = pcall(json.decode, request.body)
  if not ok then return nil, invalid("body", "the body is no JSON: " .. tostring(args.message or args)) end
  if type(args) ~= "table" or json.is_array(args) or args[1] ~= nil then
    return nil, invalid("body", "the body must be a JSON object of arguments")
  end
  return args
end

local function sorted_names(verbs)
  local names = {}
  for name in pairs(verbs) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function answer_call(name, request, f)
  if request.method ~= "POST" then return error_answer(invalid("method", "a verb is asked with POST")) end
  local args, problem = read_arguments(request)
  if not args then return error_answer(problem) end
  local traceback
  local ok, result = xpcall(f, function(err)
    if not errors.is(err) then traceback = debug.traceback(tostring(err), 2) end
    return err
  end, args)
  if ok then return { json = { schema_version = control.SCHEMA_VERSION, result = result == nil and json.null or result } } end
  if not errors.is(result) then return error_answer(unexpected(name, result, traceback)) end
  if errors.is(result, "cancelled") and require("perigee.core.task").cancelled() then error(result, 0) end
  return error_answer(result)
end

local function run_verb(verbs, name, request)
  local verb = verbs[name]
  if not verb then
    local near = errors.nearest(name, sorted_names(verbs))
    return error_answer(invalid("unknown_verb", ("this daemon has no verb %q%s"):format(name,
      near and ("; did you mean %q?"):format(near) or "")))
  end
  return answer_call(name, request, verb)
end

local function list_verbs(verbs)
  return { json = { schema_version = control.SCHEMA_VERSION, result = { verbs = json.array(sorted_names(verbs)) } } }
end

local function not_here()
  return error_answer(invalid("not_found", "there is nothing under this path"))
end

-- The stream of events of a console: the request that opens it, and ends it when its peer is gone.
local function open_console(console, request)
  if request.method ~= "GET" then return error_answer(invalid("method", "events are read with GET")) end
  local ok, stream = pcall(console.stream, request.query)
  if ok then return { headers = { ["Content-Type"] = "application/x-ndjson" }, stream = stream } end
  return error_answer(errors.is(stream) and stream or unexpected("console", stream))
end

local function ask_console(console, request, name)
  if not console then return not_here() end
  if name == "events" then return open_console(console, request) end
  local handler = console.handlers[name]
  if not handler then return not_here() end
  return answer_call("console/" .. name, request, handler)
end

-- Tried in this order; a route is a pattern of the path and what answers.
local ROUTES <const> = {
  { "^" .. PREFIX .. "/?$", function(served) return list_verbs(served.verbs) end },
  { "^" .. PREFIX .. "/([%w_.]+)$", function(served, request, name) return run_verb(served.verbs, name, request) end },
  { "^" .. CONSOLE .. "/(%l+)$", function(served, request, name) return ask_console(served.console, request, name) end },
  { "", not_here },
}

local function answer(served, request)
  for _, route in ipairs(ROUTES) do
    local word = request.path:match(route[1])
    if word then return route[2](served, request, word) end
  end
end

--- Listens at `path`. verbs: name -> function(args) that returns plain data, may wait, and raises error objects; the
--- table may be changed later. console: perigee.console, or nil. The server ends with the task that starts it, or with
--- server:close().
function control.serve(options)
  local served = { verbs = options.verbs, console = options.console }
  return http.serve {
    path = options.path,
    max_body = LARGEST_BODY,
    max_connections = MOST_CLIENTS,
    total_timeout = TRANSFER_TIMEOUT,
    handler = function(request) return answer(served, request) end,
    -- A verb is seen through; what belongs to a console goes with it.
    cancel_on_close = function(request) return request.path:find("^" .. CONSOLE .. "/") ~= nil end,
  }
end

-- ---- the other side ----------------------------------------------------------------------------------------

local Client = {}
Client.__index = Client
Client.__name = "perigee.control.client"

local function request(path, method, target, args, timeout)
  return http.request {
    url = "http://localhost" .. target, method = method, unix_socket = path, json = args,
    timeout = timeout, first_byte_timeout = timeout, max_body = LARGEST_REPLY,
  }
end

local function broken(message)
  error(errors.new { kind = "unavailable", code = "control", message = message }, 0)
end

local function lost(verb)
  error(errors.new {
    kind = "unavailable", code = "daemon_lost", outcome = "unknown",
    message = ("the daemon did not answer %s: it may have done it, look with `perigee status`"):format(verb),
  }, 0)
end

-- The result of a reply, or its error raised.
local function open_reply(reply, verb)
  local ok, document = pcall(reply.json, reply)
  if not ok and reply.status == 503 then lost(verb) end -- it ends, and cut off what was under way
  if not ok or type(document) ~= "table" then
    broken(("the daemon answered %d with something that is no JSON document"):format(reply.status))
  end
  if document.schema_version ~= control.SCHEMA_VERSION then
    broken("the daemon speaks another version of the control protocol: use the perigee that it runs")
  end
  local err = document.error
  if type(err) == "table" then
    if not pcall(errors.new, err) then broken("the daemon answered with an error that cannot be read") end
    error(err, 0)
  end
  if document.result == json.null then return nil end
  return document.result
end

--- The result of a verb, or its error raised. options.timeout: seconds (default 120).
function Client:call(verb, args, options)
  local timeout = options and options.timeout or CALL_TIMEOUT
  -- An empty table would be taken for a list.
  local body = args and next(args) ~= nil and args or nil
  local ok, reply = pcall(request, self.path, "POST", PREFIX .. "/" .. verb, body, timeout)
  if ok then return open_reply(reply, verb) end
  if not errors.is(reply, "network") and not errors.is(reply, "timeout") then error(reply, 0) end
  if reply.outcome == "unknown" then lost(verb) end
  broken(("the daemon on %s cannot be reached: %s"):format(self.path, reply.message))
end

--- The names of the verbs.
function Client:verbs()
  return open_reply(request(self.path, "GET", PREFIX, nil, QUESTION_TIMEOUT), "what it can do").verbs
end

-- Nobody can be connected to: because there is nobody, or because it is not ours to look.
local function check_rights(path)
  local ok, err = pcall(fs.stat, path)
  if ok or err.code ~= "EACCES" then return end
  error(errors.new { kind = "unavailable", code = "not_yours", message = ("%s belongs to another user"):format(path),
    hint = "Use the user of the daemon, or root." }, 0)
end

--- A client of the daemon that runs on this state directory, or nil if none does. Raises kind `unavailable` where that
--- cannot be found out: the directory is another user's (not_yours), or the daemon does not answer (daemon_stuck).
function control.reach(directory)
  if directory == ":memory:" then return nil end
  local client = setmetatable({ path = directory .. "/" .. control.SOCKET }, Client)
  local ok, err = pcall(client.verbs, client)
  if ok then return client end
  if errors.is(err, "network") and err.outcome == "none" then return check_rights(client.path) end
  if not errors.is(err, "timeout") then error(err, 0) end
  error(errors.new {
    kind = "unavailable", code = "daemon_stuck",
    message = ("a daemon listens on %s, and has not answered within %d s"):format(client.path, QUESTION_TIMEOUT),
    hint = "It is stopped, or stuck: kill -USR1 makes it log what each of its tasks waits for.",
  }, 0)
end

return control
