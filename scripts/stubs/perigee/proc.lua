---@meta perigee.proc

---Running another program without stopping the other tasks. See docs/proc.md.
local proc = {}

---@class perigee.proc.options
---@field args string[] the program and its words
---@field env? table<string, string|false> over the present environment
---@field stdin? string
---@field timeout? number|string seconds, or "5m"; 1 h unless told
---@field cwd? string
---@field output_cap? integer bytes of one stream

---@class perigee.proc.result
---@field status integer
---@field signal integer
---@field stdout string
---@field stderr string
---@field timed_out boolean
---@field over_cap boolean

---Runs a program to its end. Waits.
---@param options perigee.proc.options
---@return perigee.proc.result
function proc.run(options) end

return proc
