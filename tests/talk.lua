-- talk.lua - a client for specs of servers that need to see the bytes: bash's /dev/tcp, one process for each
-- connection.
local proc = require "perigee.core.proc"

local SCRIPT = [[exec 3<>"/dev/tcp/127.0.0.1/$0" && cat >&3 && cat <&3]]

local talk = {}

--- Sends the bytes to the port of this machine and returns all that comes until the server closes.
function talk.raw(port, bytes)
  return proc.run({args = {"/bin/bash", "-c", SCRIPT, tostring(port)}, stdin = bytes, timeout = 30}).stdout
end

--- Starts to send the bytes; the result is a child: :read_until(text) :output() :kill() :wait().
function talk.start(port, bytes)
  local script = [[exec 3<>"/dev/tcp/127.0.0.1/$0" && printf %s "$1" >&3 && exec cat <&3]]
  return proc.spawn {args = {"/bin/bash", "-c", script, tostring(port), bytes}, timeout = 30}
end

--- The text of a request; headers is a list of lines.
function talk.request(method, target, headers, body)
  local lines = {("%s %s HTTP/1.1"):format(method, target), "Host: 127.0.0.1"}
  for _, line in ipairs(headers or {}) do lines[#lines + 1] = line end
  if body then lines[#lines + 1] = "Content-Length: " .. #body end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

--- {status=, headers = {name in lower case = value}, body=} of the first reply in the text, or nil.
function talk.parse(text)
  local status, head, body = text:match "^HTTP/1%.1 (%d+) [^\r]*\r\n(.-\r\n)\r\n(.*)$"
  if not status then return nil end
  local headers = {}
  for name, value in head:gmatch "([^:\r\n]+): ([^\r\n]*)\r\n" do headers[name:lower()] = value end
  return {status = math.tointeger(status), headers = headers, body = body}
end

--- One request on a connection of its own; the reply as talk.parse gives it, nil if none came.
function talk.once(port, method, target, headers, body)
  headers = table.move(headers or {}, 1, #(headers or {}), 2, {"Connection: close"})
  return talk.parse(talk.raw(port, talk.request(method, target, headers, body)))
end

return talk
