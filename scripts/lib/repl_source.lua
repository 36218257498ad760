-- perigee.repl_source: what an input says, as far as a session must know it before it runs it.  -- internal
-- For text that the parser has taken, or is about to judge.  Pure: nothing is run here.

local source = {}

local function is_command(text)
  return text:find "^%s*:%a" ~= nil or text:find "^%s*%?" ~= nil
end

--- Tells whether it is for the prompt (`:jobs`, `?task`) and no Lua.
source.is_command = is_command

--- What it declares and mentions: { locals = { {name=, attribute=}, … } at the top level in their order, names = { [name] =
--- true }, returns = byte where the `return` of the whole begins, or nil }
function source.study(text)
  local lexer = require "perigee.repl_lexer"
  local found = { locals = {}, names = {} }
  for _, token in ipairs(lexer.scan(text).tokens) do
    if token.kind == "name" then found.names[token.text] = true end
    if token.kind == "keyword" and token.text == "return" and token.depth == 0 then found.returns = token.from end
  end
  for _, statement in ipairs(lexer.locals(text)) do
    for _, one in ipairs(statement.names) do found.locals[#found.locals + 1] = one end
  end
  return found
end

--- The text without the `&` that ends it, or nil if none does.
function source.background(text)
  if is_command(text) or not text:find("&", 1, true) then return nil end
  local lexer = require "perigee.repl_lexer"
  local tokens = lexer.code(lexer.scan(text).tokens)
  local last = tokens[#tokens]
  if not last or last.text ~= "&" then return nil end
  return text:sub(1, last.from - 1) .. " " .. text:sub(last.to + 1)
end

-- The parser's last words when it wanted more.
local function wants_more(problem)
  return problem ~= nil and problem:sub(-5) == "<eof>"
end

--- Tells whether more has to follow before it is Lua, by the parser's own verdict.
function source.incomplete(text)
  if is_command(text) then return false end
  text = (source.background(text) or text) .. "\n" -- a string in quotes ends with its line
  local expression, first = load("return " .. text, "=input", "t", {})
  if expression then return false end
  local statement, second = load(text, "=input", "t", {})
  return not statement and (wants_more(first) or wants_more(second))
end

return source
