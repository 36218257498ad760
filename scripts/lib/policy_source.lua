-- internal: policy_source.lua - what the text of a policy file says that running it would only say later: the modules,
-- secrets, services, GPU types and tags named in it, also inside hooks, each with its line.
--
-- Reads words, not meanings: a name that is put together while the policy runs is not seen.

local source = {}

local ESCAPES <const> = { n = "\n", t = "\t", r = "\r", a = "\a", b = "\b", f = "\f", v = "\v" }

-- The end of a long bracket that opens at `at`, and where its text begins; nil if none opens there.
local function long_bracket(text, at)
  local level = text:match("^%[(=*)%[", at)
  if not level then return nil end
  local first = at + #level + 2
  local last = text:find("]" .. level .. "]", first, true)
  return last and last + #level + 1 or #text, first, last or #text + 1
end

local function quoted(text, at, quote)
  local i = at + 1
  while i <= #text do
    local c = text:sub(i, i)
    if c == quote or c == "\n" then break end
    i = i + (c == "\\" and 2 or 1)
  end
  local inner = text:sub(at + 1, i - 1):gsub("\\(.)", function(c) return ESCAPES[c] or c end)
  return i, inner
end

-- The next token at `at`: its end and, unless it is blank or a comment, its kind and value.
local function token(text, at)
  local last = select(2, text:find("^%s+", at))
  if last then return last end
  if text:find("^%-%-", at) then
    return long_bracket(text, at + 2) or (text:find("\n", at, true) or #text + 1) - 1
  end
  local finish, first, stop = long_bracket(text, at)
  if finish then return finish, "string", text:sub(first, stop - 1) end
  local c = text:sub(at, at)
  if c == '"' or c == "'" then
    local closing, inner = quoted(text, at, c)
    return closing, "string", inner
  end
  for _, pattern in ipairs { "^[%a_][%w_]*", "^%d[%w.]*", "^[=~<>]=", "^%.%.+" } do
    last = select(2, text:find(pattern, at))
    if last then return last, pattern:find "^%^%[%%a" and "name" or "sign", text:sub(at, last) end
  end
  return at, "sign", c
end

--- The tokens of Lua text: a list of { kind = "name" | "string" | "sign", value =, line = }; comments are left out.
function source.tokens(text)
  local list, at, line = {}, 1, 1
  while at <= #text do
    local last, kind, value = token(text, at)
    if kind then list[#list + 1] = { kind = kind, value = value, line = line } end
    local _, breaks = text:sub(at, last):gsub("\n", "")
    at, line = last + 1, line + breaks
  end
  return list
end

-- The string that a call or an assignment gives at token i: "x", ("x").
local function string_at(tokens, i)
  local t = tokens[i]
  if t and t.kind == "sign" and t.value == "(" then t = tokens[i + 1] end
  return t and t.kind == "string" and t.value or nil
end

local function is(t, value)
  return t ~= nil and t.kind ~= "string" and t.value == value
end

-- local jobs = require "perigee.jobs": the name it has here.
local function alias_of(tokens, i)
  if is(tokens[i - 1], "=") and tokens[i - 2] and tokens[i - 2].kind == "name" then return tokens[i - 2].value end
end

-- The strings of the table that opens at token i: { "a", "b" }.
local function strings_of_table(tokens, i)
  local list = {}
  if not is(tokens[i], "{") then return { string_at(tokens, i) } end
  for k = i + 1, #tokens do
    if is(tokens[k], "}") then break end
    if tokens[k].kind == "string" then list[#list + 1] = tokens[k].value end
  end
  return list
end

-- secret.env "NAME", of whatever name the module has here.
local function read_secret(found, tokens, i, aliases)
  local t = tokens[i]
  if t.kind ~= "name" or not is(tokens[i + 1], ".") or not tokens[i + 2] then return end
  if aliases[t.value] ~= "perigee.secret" and not (t.value == "secret" and not aliases.secret) then return end
  local how, name = tokens[i + 2].value, string_at(tokens, i + 3)
  if name and (how == "env" or how == "file" or how == "credential") then
    found.secrets[#found.secrets + 1] = { how = how, name = name, line = t.line }
  end
end

-- field = "text" inside a table.
local function read_field(found, tokens, i)
  local t = tokens[i]
  if t.kind ~= "name" or not is(tokens[i + 1], "=") then return end
  local text = string_at(tokens, i + 2)
  if t.value == "service" and text then
    found.services[#found.services + 1] = { name = text, line = t.line }
  elseif t.value == "gpuType" and text then
    found.gpu_types[#found.gpu_types + 1] = { name = text, line = t.line }
  elseif t.value == "tags" then
    for _, tag in ipairs(strings_of_table(tokens, i + 2)) do found.tags[tag] = true end
  elseif t.value == "prices" then
    found.has_prices = true
  end
end

--- What the text names: requires, secrets, services (of jobs), gpu_types: lists with `line`; tags: a set; has_prices,
--- has_jobs.
function source.read(text)
  local tokens = source.tokens(text:gsub("^#[^\n]*", ""))
  local found = { requires = {}, secrets = {}, services = {}, gpu_types = {}, tags = {}, has_prices = false, has_jobs = false }
  local aliases = {}
  for i, t in ipairs(tokens) do
    local module = is(t, "require") and string_at(tokens, i + 1)
    if module then
      found.requires[#found.requires + 1] = { name = module, line = t.line }
      found.has_jobs = found.has_jobs or module == "perigee.jobs"
      local alias = alias_of(tokens, i)
      if alias then aliases[alias] = module end
    end
  end
  for i, t in ipairs(tokens) do
    if is(t, "jobs") and is(tokens[i - 1], ".") then found.has_jobs = true end -- ctx.jobs
    read_secret(found, tokens, i, aliases)
    read_field(found, tokens, i)
  end
  return found
end

return source
