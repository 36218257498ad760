-- perigee.repl_source: what a line of the REPL says, as far as the session must know it.  -- internal
-- A lexer of Lua, good enough for text that the parser has taken: top-level locals, names, where the closing `return`
-- stands, a trailing `&`.  Pure; nothing is run here.

local source = {}

local OPENS <const> = { ["do"] = true, ["function"] = true, ["if"] = true, ["repeat"] = true }
local CLOSES <const> = { ["end"] = true, ["until"] = true }
local KEYWORDS <const> = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true
  until while]]):gmatch "%a+" do
  KEYWORDS[word] = true
end

source.keywords = KEYWORDS

--- The end of a long bracket that begins at `at`, or nil if none does; an open one ends with the text.
local function long_bracket(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then return nil end
  local _, last = text:find("]" .. level .. "]", at + #level + 2, true)
  return last or #text
end

local function quoted_end(text, at)
  local quote, i = text:byte(at), at + 1
  while i <= #text do
    local byte = text:byte(i)
    if byte == 92 then i = i + 1 -- \
    elseif byte == quote then return i end
    i = i + 1
  end
  return #text
end

local function comment_end(text, at)
  local last = long_bracket(text, at + 2)
  return last or (text:find("\n", at, true) or #text + 1) - 1
end

local function number_end(text, at)
  local _, last = text:find("^%.?%w[%w%.]*", at)
  local exponent = text:find("^0[xX]", at) and "[pP]" or "[eE]"
  if text:sub(last, last):find(exponent) and text:find("^[+-]%d", last + 1) then last = select(2, text:find("^[+-]%w*", last + 1)) end
  return last
end

-- Symbols of more than one character; the longest first.
local LONG <const> = { "...", "..", "::", "==", "~=", "<=", ">=", "<<", ">>", "//" }

local function symbol_end(text, at)
  for _, symbol in ipairs(LONG) do
    if text:sub(at, at + #symbol - 1) == symbol then return at + #symbol - 1 end
  end
  return at
end

--- Each token: kind ("name", "keyword", "string", "number", "comment", "symbol"), first and last byte.
function source.tokens(text)
  local at = 1
  if text:sub(1, 1) == "#" then at = text:find("\n", 1, true) or #text + 1 end
  return function()
    at = text:find("%S", at)
    if not at then
      at = #text + 1
      return nil
    end
    local first, kind, last = at, "symbol", at
    local byte = text:sub(at, at)
    if byte:find "[%a_]" then
      last = select(2, text:find("^[%w_]+", at))
      kind = KEYWORDS[text:sub(at, last)] and "keyword" or "name"
    elseif byte:find "%d" or text:find("^%.%d", at) then
      kind, last = "number", number_end(text, at)
    elseif byte == '"' or byte == "'" then
      kind, last = "string", quoted_end(text, at)
    elseif text:find("^%-%-", at) then
      kind, last = "comment", comment_end(text, at)
    elseif long_bracket(text, at) then
      kind, last = "string", long_bracket(text, at)
    else
      last = symbol_end(text, at)
    end
    at = last + 1
    return kind, first, last
  end
end

--- The tokens as a list of { kind=, text=, first=, last= }, without comments.
local function listed(text)
  local list = {}
  for kind, first, last in source.tokens(text) do
    if kind ~= "comment" then list[#list + 1] = { kind = kind, text = text:sub(first, last), first = first, last = last } end
  end
  return list
end

local function is(token, text)
  return token ~= nil and token.text == text and token.kind ~= "string"
end

--- The names that the `local` at index i declares: { {name=, attrib=}, … }
local function declared(list, i)
  local found = {}
  if is(list[i + 1], "function") then return { { name = list[i + 2] and list[i + 2].text } } end
  i = i + 1
  while list[i] and list[i].kind == "name" do
    local one = { name = list[i].text }
    if is(list[i + 1], "<") and is(list[i + 3], ">") then
      one.attrib = list[i + 2].text
      i = i + 3
    end
    found[#found + 1] = one
    if not is(list[i + 1], ",") then break end
    i = i + 2
  end
  return found
end

--- What the text declares and mentions: { locals = { {name=, attrib=}, … } in their order, names = { [name] = true },
--- returns = byte where the closing `return` of the whole begins, or nil }
function source.study(text)
  local list, depth = listed(text), 0
  local found = { locals = {}, names = {} }
  for i, token in ipairs(list) do
    if token.kind == "name" then
      found.names[token.text] = true
    elseif token.kind == "keyword" then
      if OPENS[token.text] then
        depth = depth + 1
      elseif CLOSES[token.text] then
        depth = depth - 1
      elseif token.text == "local" and depth == 0 then
        table.move(declared(list, i), 1, #declared(list, i), #found.locals + 1, found.locals)
      elseif token.text == "return" and depth == 0 then
        found.returns = token.first
      end
    end
  end
  return found
end

--- The text without a trailing `&`, or nil if it does not end in one.
function source.background(text)
  local last_kind, last_first
  for kind, first in source.tokens(text) do
    if kind ~= "comment" then last_kind, last_first = kind, first end
  end
  if last_kind == "symbol" and text:sub(last_first, last_first) == "&" then
    return text:sub(1, last_first - 1) .. " " .. text:sub(last_first + 1)
  end
end

return source
