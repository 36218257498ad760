-- perigee.closed_patterns: find, match, gmatch and gsub in Lua, for patterns that C could try for minutes.  -- internal
--
-- The same results as string.find and its kin, some fifty times slower; the step limit of a VM ends it, which nothing
-- can do to the C library's. A pattern is compiled into a list of items; a single-character item is a set of bytes,
-- found by asking the C library about each byte once.

local patterns = {}

local byte, char, sub, concat, unpack, max = string.byte, string.char, string.sub, table.concat, table.unpack, math.max
local error, tonumber, tostring, type = error, tonumber, tostring, type
local find -- C's, for one byte at a time
local MOST_CAPTURES <const> = 32
local POSITION <const>, OPEN <const> = -2, -1

-- ---- reading a pattern ----------------------------------------------------------------------------------------------

local function set_of(class)
  local set = {}
  for code = 0, 255 do set[code] = find(char(code), "^" .. class) ~= nil end
  return set
end

-- The end of the single-character class that begins at `at`.
local function class_end(pattern, at)
  local c = sub(pattern, at, at)
  if c == "%" then
    if at == #pattern then error("malformed pattern (ends with '%')", 0) end
    return at + 1
  elseif c ~= "[" then
    return at
  end
  local i = at + 1
  if sub(pattern, i, i) == "^" then i = i + 1 end
  repeat
    if i > #pattern then error("malformed pattern (missing ']')", 0) end
    if sub(pattern, i, i) == "%" then i = i + 1 end
    i = i + 1
  until sub(pattern, i, i) == "]"
  return i
end

local QUANTIFIERS <const> = { ["*"] = true, ["+"] = true, ["-"] = true, ["?"] = true }

-- Items that are no single character: %b() %f[set] %1.
local function special_item(pattern, at)
  local after = sub(pattern, at + 1, at + 1)
  if after == "b" then
    if at + 3 > #pattern then error("malformed pattern (missing arguments to '%b')", 0) end
    return { kind = "balance", open = byte(pattern, at + 2), shut = byte(pattern, at + 3) }, at + 4
  elseif after == "f" then
    if sub(pattern, at + 2, at + 2) ~= "[" then error("missing '[' after '%f' in pattern", 0) end
    local last = class_end(pattern, at + 2)
    return { kind = "frontier", set = set_of(sub(pattern, at + 2, last)) }, last + 1
  elseif find(after, "^%d") then
    return { kind = "back", number = tonumber(after) }, at + 2
  end
  return nil
end

local function single_item(pattern, at)
  local last = class_end(pattern, at)
  local class = sub(pattern, at, last)
  if class == "$" or class == "^" then class = "%" .. class end
  local item, quantifier = { kind = "one", set = set_of(class) }, sub(pattern, last + 1, last + 1)
  if QUANTIFIERS[quantifier] then
    item.kind, last = quantifier, last + 1
  end
  return item, last + 1
end

-- The item that begins at `at`, and where the next one does.
local function next_item(pattern, at)
  local c = sub(pattern, at, at)
  if c == "(" then
    local position = sub(pattern, at + 1, at + 1) == ")"
    return { kind = position and "position" or "open" }, at + (position and 2 or 1)
  elseif c == ")" then
    return { kind = "shut" }, at + 1
  elseif c == "$" and at == #pattern then
    return { kind = "end" }, at + 1
  end
  if c == "%" then
    local special, after = special_item(pattern, at)
    if special then return special, after end
  end
  return single_item(pattern, at)
end

local function compile(pattern)
  local items, at = {}, 1
  while at <= #pattern do
    items[#items + 1], at = next_item(pattern, at)
  end
  return items
end

-- ---- matching -------------------------------------------------------------------------------------------------------

local match -- function(m, at, i): the place after the match of the items from i on, or nil

local function start_capture(m, at, i, length)
  if m.level >= MOST_CAPTURES then error("too many captures", 0) end
  m.level = m.level + 1
  m.from[m.level], m.length[m.level] = at, length
  local last = match(m, at, i + 1)
  if not last then m.level = m.level - 1 end
  return last
end

local function end_capture(m, at, i)
  for level = m.level, 1, -1 do
    if m.length[level] == OPEN then
      m.length[level] = at - m.from[level]
      local last = match(m, at, i + 1)
      if not last then m.length[level] = OPEN end
      return last
    end
  end
  error("invalid pattern capture", 0)
end

local function balance(m, at, item)
  if byte(m.s, at) ~= item.open then return nil end
  local depth = 1
  for i = at + 1, #m.s do
    local c = byte(m.s, i)
    if c == item.shut then
      depth = depth - 1
      if depth == 0 then return i + 1 end
    elseif c == item.open then
      depth = depth + 1
    end
  end
  return nil
end

local function back_reference(m, at, number)
  local length = m.length[number]
  if number == 0 or number > m.level or length == OPEN then error("invalid capture index %" .. number, 0) end
  if sub(m.s, at, at + length - 1) == sub(m.s, m.from[number], m.from[number] + length - 1) and at + length - 1 <= #m.s then
    return at + length
  end
  return nil
end

local function longest_first(m, at, i, least)
  local set, s, count = m.items[i].set, m.s, 0
  local c = byte(s, at)
  while c and set[c] do
    count = count + 1
    c = byte(s, at + count)
  end
  for n = count, least, -1 do
    local last = match(m, at + n, i + 1)
    if last then return last end
  end
  return nil
end

local function shortest_first(m, at, i)
  local set, s = m.items[i].set, m.s
  while true do
    local last = match(m, at, i + 1)
    if last then return last end
    local c = byte(s, at)
    if not c or not set[c] then return nil end
    at = at + 1
  end
end

function match(m, at, i)
  local items, s = m.items, m.s
  while true do
    local item = items[i]
    if item == nil then return at end
    local kind, c = item.kind, byte(s, at)
    if kind == "one" then
      if not c or not item.set[c] then return nil end
      at, i = at + 1, i + 1
    elseif kind == "*" then return longest_first(m, at, i, 0)
    elseif kind == "+" then return longest_first(m, at, i, 1)
    elseif kind == "-" then return shortest_first(m, at, i)
    elseif kind == "?" then
      local last = c and item.set[c] and match(m, at + 1, i + 1)
      if last then return last end
      i = i + 1
    elseif kind == "open" then return start_capture(m, at, i, OPEN)
    elseif kind == "position" then return start_capture(m, at, i, POSITION)
    elseif kind == "shut" then return end_capture(m, at, i)
    elseif kind == "end" then return at == #s + 1 and at or nil
    elseif kind == "frontier" then
      if item.set[byte(s, at - 1) or 0] or not item.set[c or 0] then return nil end
      i = i + 1
    else
      at = kind == "balance" and balance(m, at, item) or kind == "back" and back_reference(m, at, item.number)
      if not at then return nil end
      i = i + 1
    end
  end
end

local function new(s, pattern)
  local anchored = sub(pattern, 1, 1) == "^"
  return { s = s, items = compile(anchored and sub(pattern, 2) or pattern), anchored = anchored, from = {}, length = {}, level = 0 }
end

local function try(m, at)
  m.level = 0
  return match(m, at, 1)
end

-- The next match at or after `at`: its first byte and the place after it.
local function search(m, at)
  for from = at, m.anchored and at or #m.s + 1 do
    local last = try(m, from)
    if last then return from, last end
  end
  return nil
end

local function capture(m, number, from, last)
  if number > m.level then
    if number ~= 1 then error("invalid capture index %" .. number, 0) end
    return sub(m.s, from, last - 1)
  end
  local length = m.length[number]
  if length == OPEN then error("unfinished capture", 0) end
  if length == POSITION then return m.from[number] end
  return sub(m.s, m.from[number], m.from[number] + length - 1)
end

-- All captures; the whole match where there are none and whole is set.
local function captures(m, from, last, whole)
  local list = {}
  for number = 1, m.level == 0 and whole and 1 or m.level do list[number] = capture(m, number, from, last) end
  return unpack(list, 1, #list)
end

local function first_byte(s, init)
  init = init or 1
  if init < 0 then init = max(#s + init + 1, 1) elseif init == 0 then init = 1 end
  return init
end

-- ---- the four ---------------------------------------------------------------------------------------------------------

function patterns.find(s, pattern, init)
  local m, at = new(s, pattern), first_byte(s, init)
  if at > #s + 1 then return nil end
  local from, last = search(m, at)
  if not from then return nil end
  return from, last - 1, captures(m, from, last, false)
end

function patterns.match(s, pattern, init)
  local m, at = new(s, pattern), first_byte(s, init)
  if at > #s + 1 then return nil end
  local from, last = search(m, at)
  if not from then return nil end
  return captures(m, from, last, true)
end

function patterns.gmatch(s, pattern, init)
  local m, at, ended = new(s, pattern), first_byte(s, init), nil
  m.items, m.anchored = compile(pattern), false -- a ^ stands for itself there
  return function()
    while at <= #s + 1 do
      local from, last = search(m, at)
      if not from then break end
      if last ~= ended then
        at, ended = last, last
        return captures(m, from, last, true)
      end
      at = from + 1
    end
    at = #s + 2
    return nil
  end
end

-- What stands in place of a match, by the rules of gsub.
local function replaced(m, from, last, replacement)
  local kind = type(replacement)
  if kind ~= "function" and kind ~= "table" then
    local text, parts, at = tostring(replacement), {}, 1
    while at <= #text do
      local escape = find(text, "%", at, true)
      parts[#parts + 1] = sub(text, at, (escape or #text + 1) - 1)
      if not escape then break end
      local what = sub(text, escape + 1, escape + 1)
      if what == "0" then parts[#parts + 1] = sub(m.s, from, last - 1)
      elseif find(what, "^%d") then parts[#parts + 1] = capture(m, tonumber(what), from, last)
      elseif what == "%" then parts[#parts + 1] = "%"
      else error("invalid use of '%' in replacement string", 0) end
      at = escape + 2
    end
    return concat(parts)
  end
  local value
  if kind == "table" then
    value = replacement[capture(m, 1, from, last)]
  else
    value = replacement(captures(m, from, last, true))
  end
  if not value then return sub(m.s, from, last - 1) end
  if type(value) ~= "string" and type(value) ~= "number" then
    error("invalid replacement value (a " .. type(value) .. ")", 0)
  end
  return tostring(value)
end

function patterns.gsub(s, pattern, replacement, most)
  local m, parts, at, count, ended = new(s, pattern), {}, 1, 0, nil
  most = most or #s + 1
  while count < most do
    local last = try(m, at)
    if last and last ~= ended then
      count = count + 1
      parts[#parts + 1] = replaced(m, at, last, replacement)
      at, ended = last, last
    elseif at <= #s then
      parts[#parts + 1] = sub(s, at, at)
      at = at + 1
    else
      break
    end
    if m.anchored then break end
  end
  parts[#parts + 1] = sub(s, at)
  return concat(parts), count
end

--- find: the C library's string.find.
return function(c_find)
  find = c_find
  return patterns
end
