-- console.lua - a console of a daemon for specs: over its socket, as curl would.
local core_http = require "perigee.core.http"
local daemon = require "tests.support.daemon"
local helper = require "tests.helper"
local http = require "perigee.http"
local json = require "perigee.json"
local spawn = require "tests.support.spawn"
local task = require "perigee.task"

local console = {}

--- POST /console/<what>: result, or nil and the error's fields.
function console.post(socket, what, args, options)
  local reply = http.request { url = "http://localhost/console/" .. what, method = "POST", unix_socket = socket, json = args,
    timeout = options and options.timeout or 50 }
  local document = reply:json()
  return document.result, document.error
end

--- A daemon with one job, "aa11", which is held; its socket, and its world (tests.support.daemon).
function console.daemon(words)
  local world = daemon.world()
  local made = spawn.run { "run", "--state", world.state, "-e", [[
    require("perigee.core.journal").call("job.submit", { id = "aa11", name = "held-one", key = "", service = "sxwl", kind = "job",
      spec = "{}", hash = "h", state = "held" })]] }
  assert(made.status == 0, made.stderr)
  world.child = world:start(words or { "--emulator" })
  return world.state .. "/control.sock", world
end

local Console = {}
Console.__index = Console

--- Opens one; query: "mode=write" and the like. Its :close() ends it.
function console.open(socket, query)
  local self = setmetatable({ socket = socket, text = "", events = {}, number = 0 }, Console)
  self.stream = core_http.stream("GET", "http://localhost/console/events" .. (query and "?" .. query or ""),
    { unix_socket = socket, timeout = 60 })
  self.reader = task.detach(function()
    pcall(function()
      while true do
        local bytes, status = self.stream:read()
        if not bytes then break end
        self.status, self.text = status, self.text .. bytes
        self.text = self.text:gsub("([^\n]*)\n", function(line)
          self.events[#self.events + 1] = json.decode(line)
          return ""
        end)
      end
    end)
    self.ended = true
  end)
  helper.eventually(function() return self.events[1] or self.ended end, 20)
  self.id = self.events[1] and self.events[1].console
  return self
end

--- Runs one input: result, or nil and the error's fields.
function Console:eval(input, more)
  self.number = self.number + 1
  local args = { console = self.id, id = tostring(self.number), input = input }
  for name, value in pairs(more or {}) do args[name] = value end
  return console.post(self.socket, "eval", args)
end

--- The first event for which f is true, as soon as there is one.
function Console:wait_for(f)
  local found
  helper.eventually(function()
    for _, event in ipairs(self.events) do
      if f(event) then found = event end
    end
    return found ~= nil
  end, 20)
  return found
end

--- All that was printed so far.
function Console:output()
  local parts = {}
  for _, event in ipairs(self.events) do
    if event.event == "output" then parts[#parts + 1] = event.text end
  end
  return table.concat(parts)
end

function Console:close()
  self.stream:close()
  pcall(self.reader.wait, self.reader)
end
Console.__close = Console.close

return console
