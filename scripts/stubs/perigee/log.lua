---@meta perigee.log

---Structured log lines on standard error. See docs/log.md.
local log = {}

---@alias perigee.log.level "debug"|"info"|"warn"|"error"

---What happens inside.
---@param event string
---@param fields? table<string, any>
function log.debug(event, fields) end

---What a person may like to know.
---@param event string
---@param fields? table<string, any>
function log.info(event, fields) end

---What a person should look at.
---@param event string
---@param fields? table<string, any>
function log.warn(event, fields) end

---What went wrong.
---@param event string
---@param fields? table<string, any>
function log.error(event, fields) end

---Runs f with these fields in every line of this task and of those it starts; without f, from now on.
---@param fields table<string, any>
---@param f? function
---@param ... any
---@return any ...
function log.with(fields, f, ...) end

---True if a line of the level would be written.
---@param level perigee.log.level
---@return boolean
function log.enabled(level) end

return log
