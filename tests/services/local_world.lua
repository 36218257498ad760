-- local_world.lua - the emulator behind the in-process transport: the real clients, no socket.
--
--   local here <close> = local_world.open { seed = 3, faults = "deai.create_job:drop_after=1" }
--   here:deai { … }  here:sxwl { … }   clients of it;  here.world is the emulator, here:entries{kind=} its ledger

local deai = require "perigee.deai"
local transport = require "perigee.core.local"
local task = require "perigee.task"
local world = require "perigee.emulator.world"

local local_world = {}
local methods = {}
methods.__index = methods

local function parse_query(text)
  local query = {}
  for name, value in text:gmatch "([^&=]+)=([^&]*)" do
    query[name] = value:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  end
  return query
end

local function serve(self)
  while true do
    local number, request = self.transport:next()
    if number then
      local path, query = request.url:match "^%w+://[^/]+([^?]*)%??(.*)$"
      request.path, request.query = path, parse_query(query)
      if self.before then self.before(request) end
      local response = self.world:handle(request, self.now())
      self.transport:reply(number, response)
    end
  end
end

--- options: those of the emulator's world.new, and now(), the time it is told (default os.time).
function local_world.open(options)
  options = options or {}
  local now = options.now or os.time
  options.now = nil
  local self = setmetatable({ world = world.new(options), transport = transport.new(), now = now }, methods)
  self.server = task.spawn(serve, self)
  return self
end

function methods:__close()
  self.server:cancel "the world ends"
end

--- A clock for the emulator on which each request comes `step` seconds after the one before, the first after
--- `jump`.
function local_world.stepping(step, jump)
  local t = os.time() + (jump or 0)
  return function()
    t = t + step
    return t
  end
end

--- Each world has an address of its own, so that no state of an account is shared with another spec's.
function methods:address()
  if not self.host then
    local shared = require "perigee.core.ops".shared()
    shared.local_worlds = (shared.local_worlds or 0) + 1
    self.host = ("http://emulator-%d"):format(shared.local_worlds)
  end
  return self.host
end

function methods:deai(options)
  local all = {
    email = world.EMAIL, password = world.PASSWORD, base_url = self:address() .. world.DEAI_PATH,
    transport = self.transport,
  }
  for name, value in pairs(options or {}) do all[name] = value end
  return deai.client(all)
end

function methods:sxwl(options)
  local sxwl = require "perigee.sxwl"
  local all = { token = self.world.sxwl.token, base_url = self:address() .. world.SXWL_PATH, transport = self.transport }
  for name, value in pairs(options or {}) do all[name] = value end
  return sxwl.client(all)
end

--- Entries of the ledger whose fields equal those of `like`.
function methods:entries(like)
  local found = {}
  for _, entry in ipairs(self.world.ledger.entries) do
    local same = true
    for name, value in pairs(like) do same = same and entry[name] == value end
    if same then found[#found + 1] = entry end
  end
  return found
end

return local_world
