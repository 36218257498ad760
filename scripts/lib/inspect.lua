-- perigee.inspect - any value as text for people: sorted keys, bounded, safe to show on a terminal.
--
-- The text reads like Lua, but is not meant to be loaded again.  It holds no addresses, so two runs print the
-- same.  Control bytes, terminal escapes and characters that turn the reading direction come out as visible
-- escapes; all other UTF-8 stays as it is.  Secrets show as [secret].

local amount = require "perigee.amount"
local errors = require "perigee.error"
local check_options = require "perigee.options".check
local json = require "perigee.json"
local secret = require "perigee.core.secret"
local term = require "perigee.core.term"

local inspect = {}

local DEFAULTS <const> = { depth = 8, width = 100, items = 100, bytes = 2000 }
local NAMES <const> = { "depth", "width", "items", "bytes" }
-- Entries in all: a value whose parts share tables could be exponentially large on paper.
local MOST_ENTRIES <const> = 5000

local ESCAPES <const> = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r" }
local KEYWORDS <const> = {}
local words = "and break do else elseif end false for function goto if in local nil not or repeat return then true until while"
for word in words:gmatch "%a+" do
  KEYWORDS[word] = true
end

local render

-- ---- scalars ------------------------------------------------------------------------------------------------

-- Not in the middle of a character.
local function cut(text, most)
  while most > 0 and text:byte(most + 1) & 0xc0 == 0x80 do
    most = most - 1
  end
  return text:sub(1, most)
end

local function quote(text, state)
  local rest = ""
  if state and #text > state.bytes then
    state.cut = true
    rest = ("… (%d bytes)"):format(#text)
    text = cut(text, state.bytes)
  end
  return '"' .. term.escape((text:gsub('[\\"\n\t\r]', ESCAPES))) .. '"' .. rest
end

local function number(value)
  if value ~= value then return "nan" end
  if value == math.huge then return "inf" end
  if value == -math.huge then return "-inf" end
  return json.encode(value)
end

-- Text of the value's own, if it has any; addresses, which Lua puts into it by default, are left out.
local function opaque(value)
  local meta = getmetatable(value)
  local ok, text = pcall(tostring, value)
  text = ok and text:gsub(" ?%(0x%x+%)", ""):gsub(":? ?0x%x+", "") or type(value)
  if type(value) == "userdata" or type(meta) == "table" and meta.__tostring then return "<" .. term.escape(text) .. ">" end
  return "<" .. type(value) .. ">"
end

local function scalar(value, state)
  local kind = type(value)
  if kind == "string" then return quote(value, state) end
  if kind == "number" then return number(value) end
  if kind == "nil" or kind == "boolean" then return tostring(value) end
  if value == json.null then return "json.null" end
  if amount.is(value) then return ("amount %q"):format(tostring(value)) end
  if json.is_number(value) then return ("json.number %q"):format(tostring(value)) end
  if secret.is(value) then return "[secret]" end
  return opaque(value)
end

-- ---- tables -------------------------------------------------------------------------------------------------

local RANKS <const> = { number = 1, string = 2, boolean = 3 }

local function key_text(key)
  if type(key) == "string" and key:find "^[%a_][%w_]*$" and not KEYWORDS[key] then return key end
  return "[" .. (type(key) == "table" and "<table>" or scalar(key)) .. "]"
end

local function goes_before(rank, key, text, other)
  if rank ~= other.rank then return rank < other.rank end
  if rank <= 2 then return key < other.key end
  return text < other.text
end

local function before(a, b)
  return goes_before(a.rank, a.key, a.text, b)
end

local function sort_and_cut(keys, most)
  table.sort(keys, before)
  for i = #keys, most + 1, -1 do keys[i] = nil end
  return keys[most]
end

-- The first `most` keys that are not of the list part, in order; how many there are, and how many of them, at the end,
-- have no order: tables and the like.  Of a large table only few are ever held and sorted.
local function sorted_keys(value, length, most)
  local keys, total, unordered, last = {}, 0, 0, nil
  for key in next, value do
    if not (math.type(key) == "integer" and key >= 1 and key <= length) then
      local rank = RANKS[type(key)] or 4
      local text = rank > 2 and key_text(key) or nil
      total = total + 1
      if rank == 4 then unordered = unordered + 1 end
      if not last or goes_before(rank, key, text, last) then
        keys[#keys + 1] = { key = key, rank = rank, text = text }
        if #keys > 2 * most + 64 then last = sort_and_cut(keys, most) end
      end
    end
  end
  sort_and_cut(keys, most)
  return keys, total, unordered
end

-- Entries whose keys have no order stand by their own text; which of them would be shown must not be left to
-- the table either, so all are shown or none.
local function sort_tail(out, total, unordered)
  local from = total - unordered + 1
  if #out < total then
    for i = #out, from, -1 do out[i] = nil end
  elseif unordered > 1 then
    local tail = table.move(out, from, #out, 1, {})
    table.sort(tail)
    table.move(tail, 1, #tail, from, out)
  end
end

-- The entries of a table as texts, at most state.items of them and a word on the rest.
local function entries(value, state, depth)
  local out, length = {}, rawlen(value)
  local keys, total, unordered = sorted_keys(value, length, math.max(state.items - length, 0))
  local shown = math.min(length + total, state.items)
  for i = 1, shown do
    state.left = state.left - 1
    if state.left < 0 then break end
    if i <= length then
      out[i] = render(rawget(value, i), state, depth)
    else
      local key = keys[i - length]
      local text = key.text or key_text(key.key)
      out[i] = text .. " = " .. render(rawget(value, key.key), state, depth, term.width(text) + 3)
    end
  end
  sort_tail(out, length + total, unordered)
  local more = length + total - #out
  if more > 0 then
    state.cut = true
    out[#out + 1] = ("… %d more"):format(more)
  end
  return out
end

-- used: cells on the first line in front of the table.
local function layout(parts, prefix, indent, used, width)
  if #parts == 0 then return prefix .. "{}" end
  local line = prefix .. "{ " .. table.concat(parts, ", ") .. " }"
  if not line:find("\n", 1, true) and term.width(line) + indent + used <= width then return line end
  local margin = (" "):rep(indent + 2)
  return prefix .. "{\n" .. margin .. table.concat(parts, ",\n" .. margin) .. "\n" .. (" "):rep(indent) .. "}"
end

local function own_text(value)
  local meta = getmetatable(value)
  return type(meta) == "table" and rawget(meta, "__tostring") and not errors.is(value)
end

local function render_table(value, state, depth, used)
  if state.open[value] then return "<cycle>" end
  if own_text(value) then return opaque(value) end
  local prefix = errors.is(value) and "error " or json.is_array(value) and next(value) == nil and "json.array " or ""
  if depth > state.depth then
    state.cut = state.cut or next(value) ~= nil
    return prefix .. (next(value) == nil and "{}" or "{…}")
  end
  state.open[value] = true
  local parts = entries(value, state, depth + 1)
  state.open[value] = nil
  return layout(parts, prefix, (depth - 1) * 2, used or 0, state.width)
end

function render(value, state, depth, used)
  local own = state.words and state.words(value)
  if own then return own end
  if type(value) == "table" then return render_table(value, state, depth, used) end
  return scalar(value, state)
end

-- ---- face ---------------------------------------------------------------------------------------------------

local function read_options(options)
  local state = { open = {}, left = MOST_ENTRIES }
  options = check_options("inspect", options, NAMES)
  for _, name in ipairs(NAMES) do
    local value = options[name]
    if value ~= nil and (math.type(value) ~= "integer" or value < 0) then
      errors.invalid(("inspect: %s must be a whole number"):format(name))
    end
    state[name] = value or DEFAULTS[name]
  end
  return state
end

--- The value as text. Options: depth of tables, width in cells, items of one table, bytes of one string.
function inspect.text(value, options)
  return render(value, read_options(options), 1)
end

--- The same for the prompt: the text, and whether something of the value was left out.  own_words(value) gives the text of
--- a value that is shown in words of its own, safe for a terminal, or nil.
function inspect._render(value, options, own_words)
  local state = read_options(options)
  state.words = own_words
  return render(value, state, 1), state.cut or false
end

return setmetatable(inspect, {
  __call = function(_, value, options)
    return inspect.text(value, options)
  end,
})
