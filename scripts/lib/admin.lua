-- perigee.admin: the daemon's server for machines that watch it: /healthz, /readyz, /metrics.  -- internal
--
-- It shows figures and changes nothing, but names policies and budgets: by default it listens on this machine alone.
-- The data is gathered at most once a second, however many ask.

local core = require "perigee.core.metrics"
local errors = require "perigee.error"
local http = require "perigee.http"
local json = require "perigee.json"
local metrics = require "perigee.metrics"
local status = require "perigee.status"
local task = require "perigee.task"

local admin = {}

local FRESH <const> = 1 -- seconds for which gathered data is good
local PATIENCE <const> = 5 -- seconds for gathering
local MOST_CONNECTIONS <const> = 64
local LAG_SAMPLES <const> = 0.05 -- seconds between two looks at how late the loop is

-- Returns gather() -> data, or nil and why.
local function new_gatherer(data)
  local known, known_at
  return function()
    local permit <close> = task.lock(data) -- luacheck: ignore 211
    if known and task.now() - known_at < FRESH then return known end
    local result, err = task.try(task.deadline, PATIENCE, data)
    if not result then return nil, errors.is(err, "timeout") and "the journal does not answer" or tostring(err) end
    known, known_at = result, task.now()
    return known
  end
end

-- The loop turns, or this would not be answered.
local function healthz()
  return { body = "ok\n" }
end

local function wants_json(request)
  return (request.headers.accept or ""):find("application/json", 1, true) ~= nil
end

local function readyz(gather, request, state)
  local data, why = (state or gather)()
  local obstacles = data and status.obstacles(data) or { { code = "no_answer", text = why } }
  local ready = #obstacles == 0
  if wants_json(request) then
    return { status = ready and 200 or 503,
      json = { schema_version = 1, ready = ready, obstacles = ready and json.array() or obstacles } }
  end
  local lines = {}
  for i, obstacle in ipairs(obstacles) do lines[i] = obstacle.text .. "\n" end
  return { status = ready and 200 or 503, body = ready and "ready\n" or table.concat(lines) }
end

local function show_metrics(gather)
  return { body = metrics.render(gather() or {}), headers = { ["Content-Type"] = metrics.MEDIA_TYPE } }
end

local PATHS <const> = {
  ["/healthz"] = healthz,
  ["/readyz"] = readyz,
  ["/metrics"] = show_metrics,
}

-- "127.0.0.1:9464", "[::1]:0" -> address, port
local function read_address(text)
  local host, port = tostring(text):match "^%[?([^%[%]]+)%]?:(%d+)$"
  port = math.tointeger(tonumber(port))
  if port and port <= 65535 then return host, port end
  error(errors.new { kind = "invalid", code = "config",
    message = ("admin_listen takes an address such as 127.0.0.1:9464, not '%s'"):format(tostring(text)) }, 0)
end

local Server = {}
Server.__index = Server
Server.__name = "perigee.admin.server"

--- Stops listening, and looking at the loop.
function Server:close()
  self._sampler:close()
  self._server:close()
end
Server.__close = Server.close

--- Listens at `listen` (ADDRESS:PORT). data(): the table of perigee.status and perigee.metrics; may wait. state(): what
--- of it says whether the daemon is ready, for one that can tell without waiting.
function admin.serve(options)
  local host, port = read_address(options.listen)
  local gather = new_gatherer(options.data)
  local server = http.serve {
    host = host, port = port,
    max_body = 1024, max_connections = MOST_CONNECTIONS, idle_timeout = "30s", total_timeout = "30s",
    handler = function(request)
      local show = PATHS[request.path]
      if not show then return { status = 404, body = "there are /healthz, /readyz and /metrics\n" } end
      if request.method ~= "GET" and request.method ~= "HEAD" then return { status = 405, headers = { Allow = "GET, HEAD" } } end
      return show(gather, request, options.state)
    end,
  }
  return setmetatable({ url = server.url, port = server.port, _server = server, _sampler = core.sample_loop(LAG_SAMPLES) }, Server)
end

return admin
