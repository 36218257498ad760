-- service.lua - the emulator for a soak, in a process of its own: what it remembers is not the daemon's memory.
--
-- Every request says in x-now what time it is: the clock is the asker's, and may be virtual.  What of a reply is for
-- the transport (delay, drop) goes back in headers.  GET /__callbacks hands out those that are due.
local http = require "perigee.http"
local json = require "perigee.json"
local world = require "perigee.emulator.world"

local emulated = world.new { seed = math.tointeger(tonumber(arg[1] or "1")), speed = tonumber(arg[2] or "1") }

-- Of a day's hundred thousands of calls only those that made, stopped or billed something are kept.
local KEPT <const> = { job = true, inference = true, stop = true, complaint = true }
local ledger = emulated.ledger
local add = ledger.add
function ledger:add(entry)
  if KEPT[entry.kind] then return add(self, entry) end
  entry.seq = 0
  return entry
end

local server <close> = http.serve {
  host = "127.0.0.1", port = 0, max_body = 64 << 20,
  handler = function(request)
    local now = assert(tonumber(request.headers["x-now"]), "a request without x-now")
    if request.path == "/__callbacks" then return { json = json.array(emulated.sxwl:due_callbacks(now)) } end
    local response = emulated:handle(request, now)
    local headers = { ["x-status"] = tostring(response.status), ["x-delay"] = tostring(response.delay or 0), ["x-drop"] = response.drop }
    local names = {}
    for name, value in pairs(response.headers or {}) do
      names[#names + 1] = name
      headers["x-of-" .. name] = tostring(value)
    end
    headers["x-names"] = table.concat(names, " ")
    return { status = 200, headers = headers, body = response.body }
  end,
}
print(json.encode {
  url = server.url, email = world.EMAIL, password = world.PASSWORD, token = emulated.sxwl.token,
  deai = world.DEAI_PATH, sxwl = world.SXWL_PATH,
})
io.stdout:flush()
require("perigee.task").sleep(86400)
