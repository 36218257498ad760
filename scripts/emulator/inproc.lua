-- inproc.lua - the emulator behind an in-process transport: no socket, any clock.
--
--   local emulator <close> = require("perigee.emulator.inproc").start { seed = 7 }
--   local client = sxwl.client { transport = emulator.transport, base_url = emulator.sxwl_url, token = emulator.token }
--
-- One task takes requests and answers them; delays are the clock's, so hours of polling pass in no time when the
-- clock is virtual.  SXWL's callbacks go to `on_callback(callback)`, which may wait; without it nobody gets them.

local core = require "perigee.core.local"
local courier = require "perigee.emulator.courier"
local task = require "perigee.task"
local world = require "perigee.emulator.world"

local inproc = {}
local methods = {}
methods.__index = methods

local ORIGIN <const>, STORAGE <const> = "http://emulator.example", "http://storage.example"

local function decode(text)
  return (text:gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

local function read_request(method, url, headers, body)
  local path, query_text = url:gsub("^%a+://[^/?]*", ""):match "^([^?]*)%??(.*)$"
  local query = {}
  for name, value in query_text:gmatch "([^&=]+)=?([^&]*)" do
    query[decode(name)] = decode(value)
  end
  return { method = method, path = decode(path), query = query, headers = headers, body = body }
end

local function answer_all(self)
  while true do
    local number, request = self.transport:next()
    if number then -- nil: its caller has given up meanwhile
      local read = read_request(request.method, request.url, request.headers, request.body)
      self.transport:reply(number, self.world:handle(read, self.courier:now()))
      self.courier:watch()
    end
  end
end

--- Nothing is answered any more.
function methods:close()
  self.courier:close()
  self.answering:cancel "the emulator was closed"
end
methods.__close = methods.close

--- Options as for world.new, and on_callback.  The result has transport, deai_url, sxwl_url, email, password, token,
--- the ledger, the world and close().
function inproc.start(options)
  local settings = {}
  for name, value in pairs(options or {}) do
    settings[name] = value
  end
  settings.sxwl = { storage_url = STORAGE }
  for name, value in pairs(options and options.sxwl or {}) do
    settings.sxwl[name] = value
  end
  local self = setmetatable({ transport = core.new(), world = world.new(settings) }, methods)
  self.courier = courier.new(self.world.sxwl, settings.on_callback or function() end)
  self.ledger = self.world.ledger
  self.deai_url, self.sxwl_url = ORIGIN .. world.DEAI_PATH, ORIGIN .. world.SXWL_PATH
  self.email, self.password, self.token = world.EMAIL, world.PASSWORD, self.world.sxwl.token
  self.answering = task.spawn(answer_all, self)
  return self
end

return inproc
