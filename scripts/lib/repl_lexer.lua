-- repl_lexer.lua - reads Lua as it stands while somebody types it: words, and what is still open.  -- internal
--
-- Tolerant: any bytes give tokens, nothing raises, and what no parser would take (a bracket that nobody opened, a
-- string that ends with its line) is passed over.  It decides nothing about what runs: whether a text is complete
-- is load's verdict.  Pure: knows no session, and runs in time proportional to the text.
--
--   scan(text)    -> state: its tokens, and what is open at its end
--   visible(state) -> the local names that code at the end of the text can see
--   locals(text)  -> the `local` statements that stand in no block
--   chain(state, index) -> the expression `a.b["c"]:d` that ends with a token

local lexer = {}

local find, sub, byte = string.find, string.sub, string.byte

local KEYWORDS <const> = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true
  until while]]):gmatch "%a+" do
  KEYWORDS[word] = true
end

-- Words that begin a statement: inside of a bracket they show that it was never closed.
local STARTS <const> = { ["local"] = true, ["for"] = true, ["while"] = true, ["if"] = true, ["repeat"] = true, ["return"] = true,
  ["break"] = true, ["goto"] = true, ["do"] = true, ["then"] = true, ["else"] = true, ["elseif"] = true, ["until"] = true,
  ["end"] = true }

local MOST_STEPS <const> = 32 -- of a chain

local CLOSES <const> = { [")"] = "(", ["}"] = "{", ["]"] = "[" }
local OPENS <const> = { ["("] = true, ["{"] = true, ["["] = true }

--- The reserved words of Lua: { ["and"] = true, … }.
lexer.KEYWORDS = KEYWORDS

-- ---- words -----------------------------------------------------------------------------------------------------------

-- Where the long bracket that opens at `at` ends: its last byte and the first and last of its body; nil if none opens.
local function long_bracket(text, at)
  local _, last, level = find(text, "^%[(=*)%[", at)
  if not last then return nil end
  local from, to = find(text, "]" .. level .. "]", last + 1, true)
  if not from then return #text, last + 1, #text, true end
  return to, last + 1, from - 1, false
end

-- A string in quotes ends at its quote, at the line's end, or with the text.
local function quoted(text, at)
  local quote = sub(text, at, at)
  local i = at + 1
  while true do
    i = find(text, quote == '"' and '["\\\r\n]' or "['\\\r\n]", i)
    if not i then return #text, #text, true end
    local c = sub(text, i, i)
    if c == quote then return i, i - 1, false end
    if c ~= "\\" then return i - 1, i - 1, false end -- broken: no string goes on in the next line
    if find(text, "^z%s", i + 1) then
      i = find(text, "%S", i + 2) or #text + 1
    else
      i = i + (find(text, "^\r\n", i + 1) and 3 or 2)
    end
  end
end

local function string_token(text, at)
  local to, last, open = quoted(text, at)
  return { kind = "string", from = at, to = math.min(to, #text), body = at + 1, last = math.min(last, #text), open = open }
end

local function comment_token(text, at)
  local to, _, _, open = long_bracket(text, at + 2)
  if to then return { kind = "comment", from = at, to = to, open = open } end
  local line_end = find(text, "[\r\n]", at)
  return { kind = "comment", from = at, to = (line_end or #text + 1) - 1, open = not line_end }
end

local function bracket_token(text, at)
  local to, body, last, open = long_bracket(text, at)
  if not to then return nil end
  return { kind = "string", from = at, to = to, body = body, last = last, open = open, long = true }
end

local function number_end(text, at)
  local _, to = find(text, "^0[xX][%x%.]*", at)
  local exponent = to and "^[pP][+-]?%d*" or "^[eE][+-]?%d*"
  if not to then
    _, to = find(text, "^%d+", at)
    -- "1..x" is a number and two dots to somebody who types, not a malformed number
    if not to or not find(text, "^%.%.", to + 1) then _, to = find(text, "^%d*%.?%d*", at) end
  end
  local _, tail = find(text, exponent, to + 1)
  return tail or to
end

local SYMBOLS <const> = { "^%.%.%.", "^%.%.", "^[=~<>]=", "^::", "^//", "^<<", "^>>" }

local function symbol_end(text, at)
  for _, pattern in ipairs(SYMBOLS) do
    local _, to = find(text, pattern, at)
    if to then return to end
  end
  return at
end

-- The token that begins at `at`, which is no white space.
local function token_at(text, at)
  local c = byte(text, at)
  if c == 34 or c == 39 then return string_token(text, at) end
  if c == 45 and byte(text, at + 1) == 45 then return comment_token(text, at) end
  local long = c == 91 and bracket_token(text, at)
  if long then return long end
  local _, to = find(text, "^[%a_][%w_]*", at)
  if to then
    local word = sub(text, at, to)
    return { kind = KEYWORDS[word] and "keyword" or "name", from = at, to = to, text = word }
  end
  if find(text, "^%.?%d", at) then return { kind = "number", from = at, to = number_end(text, at) } end
  _, to = find(text, "^[\x80-\xff]+", at)
  if to then return { kind = "other", from = at, to = to } end
  to = symbol_end(text, at)
  return { kind = "symbol", from = at, to = to, text = sub(text, at, to) }
end

-- ---- nesting -------------------------------------------------------------------------------------------------------------

-- What is open is one stack of brackets and blocks. A block has the names that are declared in it, and counts the
-- brackets that are open in it, so that one nobody opened costs no search; the first is the text itself.
local function push_block(state, kind, names)
  local block = { kind = kind, index = #state.tokens, names = names or {}, at = #state.nest + 1, ["("] = 0, ["{"] = 0, ["["] = 0 }
  state.nest[block.at] = block
  state.blocks[#state.blocks + 1] = block
end

local function top_block(state)
  return state.blocks[#state.blocks]
end

local function drop_brackets(state)
  local block = top_block(state)
  for i = #state.nest, block.at + 1, -1 do state.nest[i] = nil end
  block["("], block["{"], block["["] = 0, 0, 0
end

local function pop_block(state)
  drop_brackets(state)
  if #state.blocks == 1 then return end -- an `end` of nothing
  state.nest[#state.nest] = nil
  state.blocks[#state.blocks] = nil
end

local function open_bracket(state, kind)
  local block = top_block(state)
  block[kind] = block[kind] + 1
  state.nest[#state.nest + 1] = { kind = kind, index = #state.tokens }
end

local function close_bracket(state, kind)
  local block = top_block(state)
  if block[kind] == 0 then return end -- a bracket that nobody opened
  repeat
    local closed = state.nest[#state.nest].kind
    state.nest[#state.nest] = nil
    block[closed] = block[closed] - 1
  until closed == kind
end

local function on_keyword(state, word)
  if STARTS[word] then drop_brackets(state) end
  local block = top_block(state)
  if word == "do" then
    push_block(state, "do", block.loop)
    block.loop = nil
  elseif word == "if" or word == "repeat" then
    push_block(state, word)
  elseif word == "function" then
    push_block(state, "function")
    state.heading = "name"
  elseif word == "elseif" or word == "else" then
    block.names = {}
  elseif word == "end" or word == "until" then
    pop_block(state)
  elseif word == "for" then
    block.loop = {}
  end
  if word == "local" or word == "for" then
    state.declares = word == "for" and block.loop or block.names
  elseif word ~= "function" or state.previous ~= "local" then
    state.declares = nil
  end
end

-- `function name.of:it(a, b)`: between the word and the closing bracket stand names, not code.
local function on_heading(state, token)
  local block = top_block(state)
  if token.kind == "name" then
    if state.heading == "parameters" then
      block.names[#block.names + 1] = token.text
    elseif state.declares then -- local function f
      local outer = state.declares
      outer[#outer + 1], state.declares = token.text, nil
    end
  elseif token.text == ":" and state.heading == "name" then
    block.names[#block.names + 1] = "self"
  elseif token.text == "(" and state.heading == "name" then
    state.heading, state.declares = "parameters", nil
  elseif token.text ~= "." and token.text ~= "," and token.text ~= "..." then
    state.heading = nil
  end
end

-- `local a <const>, b = …`, `for k, v in …`: names up to the first mark that is neither comma nor attribute.
local function on_declaration(state, token)
  local mark = token.text
  if token.kind == "name" then
    if state.previous ~= "<" then state.declares[#state.declares + 1] = mark end
    if state.previous ~= "<" and state.previous ~= "," and state.previous ~= "local" and state.previous ~= "for" then
      state.declares[#state.declares], state.declares = nil, nil -- the next statement has begun
    end
  elseif mark ~= "," and mark ~= "<" and mark ~= ">" then
    state.declares = nil
  end
end

local function nest(state, token)
  if token.kind == "comment" then return end
  local in_heading = state.heading
  if token.kind == "keyword" then
    if token.text ~= "function" then state.heading = nil end
    on_keyword(state, token.text)
  elseif state.heading then
    on_heading(state, token)
  elseif state.declares then
    on_declaration(state, token)
  end
  if token.kind == "symbol" then
    if OPENS[token.text] then open_bracket(state, token.text) end
    if CLOSES[token.text] then close_bracket(state, CLOSES[token.text]) end
  end
  if in_heading and token.kind ~= "keyword" then token.heading = true end
  state.previous = token.text or token.kind
end

--- The text as tokens, with what is open at its end.
--- state.tokens: { kind = "name" | "keyword" | "string" | "number" | "symbol" | "comment" | "other", from=, to= (bytes),
--- text= (of names, keywords and symbols), body=, last= (bytes inside of a string's quotes), depth= (blocks around it),
--- open= (the text ends in it), heading= (it stands between `function` and its closing bracket) }.
--- state.open: the string or comment in which the text ends. state.nest: what is open, outermost first, { kind = "text" |
--- "(" | "{" | "[" | "function" | "do" | "if" | "repeat", index= (of its token), names= (blocks only: declared in it) }.
function lexer.scan(text)
  local state = { text = text, tokens = {}, nest = {}, blocks = {} }
  push_block(state, "text")
  local tokens = state.tokens
  local at = find(text, "%S", find(text, "^#!") and (find(text, "\n", 1, true) or #text + 1) or 1) -- a first line for the shell
  while at do
    local token = token_at(text, at)
    token.depth = #state.blocks - 1
    tokens[#tokens + 1] = token
    nest(state, token)
    if token.open then state.open = token end
    at = find(text, "%S", token.to + 1)
  end
  return state
end

--- The local names that code at the end of the text sees, as a set.
function lexer.visible(state)
  local names = {}
  for _, one in ipairs(state.nest) do
    for _, name in ipairs(one.names or {}) do names[name] = true end
  end
  return names
end

-- ---- statements ----------------------------------------------------------------------------------------------------------

-- The names after `local` at tokens[i]: { { name=, from=, to=, attribute=? }, … }, and the index after them.
local function read_names(tokens, i)
  local names = {}
  while tokens[i] and tokens[i].kind == "name" do
    local one = { name = tokens[i].text, from = tokens[i].from, to = tokens[i].to }
    names[#names + 1] = one
    local mark = tokens[i + 1]
    if mark and mark.text == "<" and tokens[i + 2] and tokens[i + 2].kind == "name" then
      one.attribute = tokens[i + 2].text
      i = i + 3
      mark = tokens[i + 1]
    end
    i = i + 1
    if not mark or mark.text ~= "," then break end
    i = i + 1
  end
  return names, i
end

--- The tokens of scan() that are no comments.
function lexer.code(tokens)
  local code = {}
  for _, token in ipairs(tokens) do
    if token.kind ~= "comment" then code[#code + 1] = token end
  end
  return code
end

--- The `local` statements outside of all blocks, in their order: { from=, to= (the word `local`), kind = "local" |
--- "function", names = { { name=, from=, to=, attribute = "const" | "close" | nil }, … }, assigns= (a `=` follows), after=
--- (the byte after the last name or its attribute) }.
function lexer.locals(text)
  local tokens = lexer.code(lexer.scan(text).tokens)
  local list = {}
  for i, token in ipairs(tokens) do
    if token.text == "local" and token.depth == 0 then
      local following = tokens[i + 1]
      local is_function = following ~= nil and following.text == "function"
      local names, past = read_names(tokens, is_function and i + 2 or i + 1)
      list[#list + 1] = {
        from = token.from, to = token.to, kind = is_function and "function" or "local", names = names,
        assigns = not is_function and tokens[past] ~= nil and tokens[past].text == "=",
        after = tokens[past - 1].to + 1,
      }
    end
  end
  return list
end

-- ---- expressions -----------------------------------------------------------------------------------------------------------

-- The token before tokens[i] that is no comment.
local function before(tokens, i)
  i = i - 1
  while tokens[i] and tokens[i].kind == "comment" do i = i - 1 end
  return tokens[i], i
end

-- The bracket that tokens[i] closes, backwards.
local function opener(tokens, i)
  local depth = 0
  for at = i, 1, -1 do
    local token = tokens[at]
    if token.kind == "symbol" then
      if CLOSES[token.text] then depth = depth + 1 end
      if OPENS[token.text] then depth = depth - 1 end
      if depth == 0 then return at end
    end
  end
end

-- `["c"]` or `[1]` that ends at tokens[i]: the key and the index of its bracket.
local function literal_key(text, tokens, i)
  local inner, at = before(tokens, i)
  local bracket, first = before(tokens, at)
  if not (inner and bracket and bracket.text == "[") then return nil end
  if inner.kind == "string" then return sub(text, inner.body, inner.last), first end
  local number = inner.kind == "number" and math.tointeger(tonumber(sub(text, inner.from, inner.to)))
  return number or nil, first
end

local CALLED <const> = { [")"] = true, ["]"] = true, ["}"] = true }

-- tokens[i] ends a call or a literal: adds what it is to the steps, and gives the index where the callee ends; false
-- where the chain ends, nil where it is none.
local function call_or_literal(tokens, i, steps)
  local token = tokens[i]
  local first = token.kind == "string" and i or opener(tokens, i)
  if not first then return nil end
  local callee, called = before(tokens, first)
  if callee and (callee.kind == "name" or callee.kind == "string" or CALLED[callee.text]) then
    table.insert(steps, 1, { mark = "()" })
    return called
  end
  if token.text == ")" then -- ("text"), (name)
    local inner, within = before(tokens, i)
    if within ~= first + 1 then return nil end
    token = inner
  end
  steps.string, steps.name = token.kind == "string", token.kind == "name" and token.text or nil
  if steps.string or steps.name then return false end
  return nil
end

-- One step backwards from tokens[i], with the same results.
local function step_back(text, tokens, i, steps)
  local token = tokens[i]
  if not token then return nil end
  if token.kind == "name" then
    local prior, at = before(tokens, i)
    if not prior or prior.text ~= "." and prior.text ~= ":" then
      steps.name = token.text
      return false
    end
    table.insert(steps, 1, { mark = prior.text, key = token.text })
    local _, rest = before(tokens, at)
    return rest
  elseif token.text == "]" then
    local key, first = literal_key(text, tokens, i)
    if not key then return nil end
    table.insert(steps, 1, { mark = ".", key = key })
    local _, rest = before(tokens, first)
    return rest
  elseif token.text == ")" or token.text == "}" or token.kind == "string" then
    return call_or_literal(tokens, i, steps)
  end
  return nil
end

--- What the expression ending with tokens[index] goes by: { name = "sxwl", { mark = ":", key = "create_job" }, … }; a
--- call in it is a step { mark = "()" }. A literal string has string = true and no name. Nil for everything else.
function lexer.chain(state, index)
  local steps, i = {}, index
  while i and #steps < MOST_STEPS do i = step_back(state.text, state.tokens, i, steps) end
  if i == false then return steps end
  return nil
end

return lexer
