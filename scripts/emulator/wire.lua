-- wire.lua - JSON as the two services write it.
--
-- A writer only: requests are read with perigee.json.  It is here because a service's reply has things that
-- no general encoder should do: fields in a fixed order (one seed, the same bytes), number tokens of any
-- length, `&` as \u0026 where Go wrote it.
--
--   wire.encode(wire.ordered { "code", 200, "ccd_cost", wire.raw "27870365208168000" })

local wire = {}

local ORDERED, ARRAY, RAW = {}, {}, {}

wire.null = setmetatable({ token = "null" }, RAW)

--- An object from a flat list: name, value, name, value.
function wire.ordered(list)
  return setmetatable(list, ORDERED)
end

--- A list that is an array even when it is empty.
function wire.array(list)
  return setmetatable(list, ARRAY)
end

--- A token that goes out as it is.
function wire.raw(token)
  return setmetatable({ token = token }, RAW)
end

local ESCAPES <const> = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\b"] = "\\b", ["\f"] = "\\f",
}

local function escape(c)
  return ESCAPES[c] or ("\\u%04x"):format(c:byte())
end

local function quote(text, go)
  text = text:gsub('[%c"\\\127]', escape)
  if go then -- encoding/json is careful about HTML
    text = text:gsub("[&<>]", escape)
  end
  return '"' .. text .. '"'
end

local encode

local function encode_members(list, go)
  local out = {}
  for i = 1, #list, 2 do
    out[#out + 1] = quote(list[i], go) .. ":" .. encode(list[i + 1], go)
  end
  return "{" .. table.concat(out, ",") .. "}"
end

local function encode_array(list, go)
  local out = {}
  for i, item in ipairs(list) do
    out[i] = encode(item, go)
  end
  return "[" .. table.concat(out, ",") .. "]"
end

local function encode_table(value, go)
  local class = getmetatable(value)
  if class == RAW then
    return value.token
  elseif class == ORDERED then
    return encode_members(value, go)
  elseif class == ARRAY or #value > 0 then
    return encode_array(value, go)
  end
  local names, list = {}, {}
  for name in pairs(value) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    list[#list + 1] = name
    list[#list + 1] = value[name]
  end
  return encode_members(list, go)
end

function encode(value, go)
  local kind = type(value)
  if kind == "string" then
    return quote(value, go)
  elseif kind == "boolean" or math.type(value) == "integer" then
    return tostring(value)
  elseif kind == "number" then
    return ("%.14g"):format(value)
  elseif kind == "table" then
    return encode_table(value, go)
  end
  error("wire.encode: cannot write a " .. kind, 2)
end

--- The text of a value.  Plain tables are written with their names sorted.
function wire.encode(value)
  return encode(value, false)
end

--- The same in the hand of Go's encoding/json: & < > become \u0026 \u003c \u003e.
function wire.encode_go(value)
  return encode(value, true)
end

return wire
