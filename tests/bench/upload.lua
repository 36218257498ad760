-- upload.lua - memory while a large file is sent: perigee run upload.lua URL FILE.
-- Prints the growth of peak memory in kB over a small upload, and MB/s.
local http = require "perigee.http"
local task = require "perigee.task"

local function peak_kb()
  for line in io.lines "/proc/self/status" do
    local kb = line:match "^VmHWM:%s+(%d+) kB"
    if kb then return tonumber(kb) end
  end
end

local url, path = arg[1], arg[2]
assert(http.upload(url, arg[3]).status == 200)
local before, start = peak_kb(), task.now()
local reply = http.upload(url, path, {progress = function() end})
assert(reply.status == 200, reply.status)
local f <close> = assert(io.open(path, "rb"))
print(("%d %.0f"):format(peak_kb() - before, f:seek "end" / 1e6 / (task.now() - start)))
