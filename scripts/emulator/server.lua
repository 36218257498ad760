-- server.lua - the emulator on a socket: what `perigee emulator` and `run --emulator` start.
--
--   local server = require("perigee.emulator.server").serve { seed = 7, faults = "drop_after=0.05", speed = 20 }
--   … server.deai_url, server.sxwl_url …
--   server:close()
--
-- Two listeners: the services (and /__ledger, /__faults), and, as another origin, the store of SXWL's models.

local courier = require "perigee.emulator.courier"
local http = require "perigee.http"
local log = require "perigee.log"
local world = require "perigee.emulator.world"

local server = {}
local methods = {}
methods.__index = methods

local LARGEST_UPLOAD <const> = 64 << 20
local CALLBACK_SECONDS <const> = 10

-- One attempt, as the real service makes it; whatever comes of it is nobody's business.
local function post_callback(callback)
  local ok, err = pcall(http.post, callback.url, {
    body = callback.body, headers = { ["Content-Type"] = "application/json" }, timeout = CALLBACK_SECONDS,
  })
  if not ok then
    log.info("emulator: a callback was not delivered", { job = callback.job_id, why = tostring(err) })
  end
end

local function handler(self, method)
  return function(request)
    local response = self.world[method](self.world, request, self.courier:now())
    self.courier:watch()
    return response
  end
end

--- Stops listening and posts no more callbacks.
function methods:close()
  self.courier:close()
  self.api:close()
  self.storage:close()
end

--- Starts both listeners.  listen: "HOST:PORT" (127.0.0.1 and a free port); seed, faults, speed, era, and the tables
--- deai and sxwl with further options: as for world.new.  The result has url, deai_url, sxwl_url, storage_url; what to
--- log in with: email, password, token; the ledger; and close().
function server.serve(options)
  local host, port = (options.listen or "127.0.0.1:0"):match "^%[?(.-)%]?:(%d+)$" -- [::1]:0 as well
  local self = setmetatable({}, methods)
  self.storage = http.serve { host = host, port = 0, handler = handler(self, "handle_storage") }
  local sxwl = { storage_url = self.storage.url }
  for name, value in pairs(options.sxwl or {}) do
    sxwl[name] = value
  end
  self.world = world.new {
    seed = options.seed, faults = options.faults, speed = options.speed, era = options.era,
    deai = options.deai, sxwl = sxwl,
  }
  self.courier = courier.new(self.world.sxwl, post_callback)
  self.api = http.serve {
    host = host, port = math.tointeger(port), max_body = LARGEST_UPLOAD, handler = handler(self, "handle"),
  }
  self.ledger = self.world.ledger
  self.url = self.api.url
  self.deai_url = self.url .. world.DEAI_PATH
  self.sxwl_url = self.url .. world.SXWL_PATH
  self.storage_url = self.storage.url
  self.email, self.password, self.token = world.EMAIL, world.PASSWORD, self.world.sxwl.token
  return self
end

return server
