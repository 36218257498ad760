---@meta perigee.inspect

---@class perigee.inspect.options
---@field depth? integer tables within each other, default 8
---@field width? integer cells of a line, default 100
---@field items? integer entries of one table, default 100
---@field bytes? integer of one string, default 2000

---Any value as text for people. See docs/inspect.md.
---@class perigee.inspect.module
---@overload fun(value: any, options?: perigee.inspect.options): string
local inspect = {}

---@param value any
---@param options? perigee.inspect.options
---@return string
function inspect.text(value, options) end

return inspect
