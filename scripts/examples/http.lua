-- http.lua - a small server, and a client that asks it forty times at once.
--
--   perigee run scripts/examples/http.lua
local http, json = require "perigee.http", require "perigee.json"
local task = require "perigee.task"

local server = http.serve {
  handler = function(request)
    task.sleep(0.05) -- a handler is a task: it may wait
    return { status = 200, json = { you_asked = request.path } }
  end,
}

local paths = {}
for i = 1, 40 do
  paths[i] = "/item/" .. i
end
local answers = task.map(paths, function(path)
  return json.decode(http.get(server.url .. path).body).you_asked
end, { concurrency = 40 })

print(#answers .. " answers, the last one about " .. answers[#answers])
server:close()
