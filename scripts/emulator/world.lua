-- world.lua - both emulated services under one roof: one seed, one set of faults, one ledger.
--
--   local world = world.new { seed = 7, faults = "sxwl.create_job:fail=1", speed = 10, era = "B" }
--   local response = world:handle(request, now)
--
-- Routes by path, as the real services are mounted: /sdk/computation, /api; the models of SXWL at /sxwl-cache, which
-- a host that serves over HTTP puts on another port; and /__ledger, which only an emulator has.  In-process users
-- (tests, rehearsals) call it directly; server.lua puts it on a socket.

local deai = require "perigee.emulator.deai"
local draws = require "perigee.emulator.random"
local faults = require "perigee.emulator.faults"
local ledger = require "perigee.emulator.ledger"
local service = require "perigee.emulator.service"
local sxwl = require "perigee.emulator.sxwl"
local wire = require "perigee.emulator.wire"

local world = {}
local methods = {}
methods.__index = methods

world.DEAI_PATH = "/sdk/computation"
world.SXWL_PATH = "/api"

-- The account there is unless others are named.
world.EMAIL = deai.EMAIL
world.PASSWORD = deai.PASSWORD

-- The request with the mount point taken off its path.
local function below(request, prefix)
  local inner = {}
  for name, value in pairs(request) do
    inner[name] = value
  end
  inner.path = request.path:sub(#prefix + 1)
  return inner
end

local function is_below(path, prefix)
  return path:sub(1, #prefix + 1) == prefix .. "/"
end

-- GET /__ledger: the summary.  GET /__ledger?entries=1: every entry from that number on, as JSON lines.
local function show_ledger(self, request, now)
  local from = request.query.entries and math.tointeger(tonumber(request.query.entries))
  if from then
    local response = service.text(200, self.ledger:json_lines(from))
    response.headers["content-type"] = "application/x-ndjson"
    return response
  end
  local summary = self.ledger:summary(now)
  summary.faults = wire.array(self.faults:report())
  return service.json(200, wire.encode(summary))
end

-- GET /__faults: each rule, how often it was asked and fired.  POST: the body is the specification from now on.
local function serve_faults(self, request)
  if request.method == "POST" then
    local ok, err = pcall(self.faults.replace, self.faults, request.body or "")
    if not ok then
      return service.text(400, type(err) == "table" and err.message or tostring(err))
    end
  end
  return service.json(200, wire.encode(wire.array(self.faults:report())))
end

--- Answers a request to any of the three origins.
function methods:handle(request, now)
  local path = request.path
  if is_below(path, world.DEAI_PATH) then
    return self.deai:handle(below(request, world.DEAI_PATH), now)
  elseif is_below(path, world.SXWL_PATH) then
    return self.sxwl:handle(below(request, world.SXWL_PATH), now)
  elseif is_below(path, "/sxwl-cache") then
    return self:handle_storage(request, now)
  elseif path == "/__ledger" and request.method == "GET" then
    return show_ledger(self, request, now)
  elseif path == "/__faults" then
    return serve_faults(self, request)
  end
  return service.proxy_page(404)
end

--- Answers a request to the storage origin alone.
function methods:handle_storage(request, now)
  return self.sxwl:download(request, now)
end

--- Options: seed (integer) or random (generator); faults (a specification); speed; era; and tables `deai` and
--- `sxwl` with further options of the two services.
function world.new(options)
  local generator = options.random or draws.new(options.seed or 1)
  local set = faults.new(options.faults, draws.keyed(generator))
  local book = ledger.new()
  local function settings(own, more)
    local merged = { random = generator, faults = set, ledger = book, speed = options.speed }
    for _, source in ipairs { more, own or {} } do
      for name, value in pairs(source) do
        merged[name] = value
      end
    end
    return merged
  end
  return setmetatable({
    deai = deai.new(settings(options.deai, {})),
    sxwl = sxwl.new(settings(options.sxwl, { era = options.era })),
    faults = set,
    ledger = book,
  }, methods)
end

return world
