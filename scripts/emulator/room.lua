-- room.lua - an emulator in a VM of its own, for a session that rehearses.
--
-- The VM that starts it reads one message, what clients need, and ends it by closing the channel.

local server = require "perigee.emulator.server"

local room = {}

--- args: the options of server.serve.
function room.main(channel, args)
  local emulator = server.serve(args)
  channel:send {
    url = emulator.url,
    ["deai.base_url"] = emulator.deai_url, ["deai.email"] = emulator.email, ["deai.password"] = emulator.password,
    ["sxwl.base_url"] = emulator.sxwl_url, ["sxwl.token"] = emulator.token,
  }
  channel:receive() -- nothing comes but the end
  emulator:close()
end

return room
