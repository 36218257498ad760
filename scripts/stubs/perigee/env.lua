---@meta perigee.env

---Environment variables; values never stand in messages. See docs/env.md.
---@class perigee.env.module
local env = {}

---@generic T
---@param name string
---@param fallback? T
---@return string|T
function env.get(name, fallback) end

---The variable, or an error that says where to set it.
---@param name string
---@return string
function env.require(name) end

---NAME=value lines as a table.
---@param text string
---@param source? string named in errors
---@return table<string, string>
function env.parse(text, source) end

---The NAME=value lines of a file as a table.
---@param path string
---@return table<string, string>
function env.file(path) end

return env
