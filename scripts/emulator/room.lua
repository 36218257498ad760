-- room.lua - an emulator in a VM of its own, for a session that rehearses.
--
-- The VM that starts it reads one message, what clients need, and ends it by closing the channel.

local server = require "perigee.emulator.server"

local room = {}

--- args: the options of server.serve.
function room.main(channel, args)
  local emulator = server.serve(args)
  local services = require("perigee.run_emulator").services(emulator)
  services.url = emulator.url
  channel:send(services)
  channel:receive() -- nothing comes but the end
  emulator:close()
end

return room
