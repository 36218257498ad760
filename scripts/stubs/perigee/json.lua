---@meta perigee.json

---JSON in which no digit is lost. See docs/json.md.
---@class perigee.json.module
---@field null lightuserdata what `null` is
local json = {}

---A number that neither an integer nor a float can hold; tostring gives its token.
---@class perigee.json.number: userdata

---@class perigee.json.options
---@field max_bytes? integer default 64 MiB
---@field max_depth? integer default 100, at most 512

---@param text string
---@param options? perigee.json.options
---@return any
function json.decode(text, options) end

---@param value any
---@param options? perigee.json.options
---@return string
function json.encode(value, options) end

---Marks a table as array, so that it encodes as [] even when empty.
---@generic T: table
---@param table? T
---@return T
function json.array(table) end

---@param value any
---@return boolean
function json.is_array(value) end

---A number that encodes as exactly this text.
---@param text string
---@return perigee.json.number
function json.number(text) end

---@param value any
---@return boolean
function json.is_number(value) end

return json
