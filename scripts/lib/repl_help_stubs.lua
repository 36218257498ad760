-- repl_help_stubs.lua - the editor stubs as functions, classes and types.  -- internal
--
-- Pure.  Reads the LuaLS annotations of scripts/stubs/perigee/*.lua: signatures, types, fields, one sentence each.

local manual = require "perigee.core.manual"

local stubs = {}

local cache = {}

local OPENS <const> = { ["("] = true, ["{"] = true, ["<"] = true, ["["] = true }
local CLOSES <const> = { [")"] = true, ["}"] = true, [">"] = true, ["]"] = true }

-- The type at the beginning of the text, and what follows: blanks in brackets, around `|` and after `:` belong to it.
local function take_type(text)
  local depth, quote, at = 0, nil, 1
  while at <= #text do
    local char = text:sub(at, at)
    if quote then
      if char == quote then quote = nil end
    elseif char == '"' then
      quote = char
    elseif OPENS[char] then
      depth = depth + 1
    elseif CLOSES[char] then
      depth = depth - 1
    elseif char == " " and depth == 0 then
      local before, after = text:sub(1, at - 1):match "(%S)%s*$", text:match("^%s*(%S)", at)
      if before ~= "|" and after ~= "|" and before ~= ":" then break end
    end
    at = at + 1
  end
  return text:sub(1, at - 1), text:sub(at):match "^%s*#?%s*(.*)$"
end

--- Types as people read them: without the name of the program in front.
function stubs.shown(kind)
  return (kind:gsub("perigee%.", ""))
end

local function take_field(text)
  local name, optional, rest = text:match "^([%w_.]+)(%??)%s+(.*)$"
  if not name then return nil end
  local kind, doc = take_type(rest)
  return { name = name, optional = optional == "?" or kind:sub(-1) == "?", type = kind, doc = doc }
end

local Reader = {}
Reader.__index = Reader

function Reader:forget()
  self.doc, self.params, self.returns, self.class_here = {}, {}, {}, nil
end

function Reader:class(text)
  local name, rest = text:match "^([%w_.]+)(.*)$"
  local parent, doc = rest:match "^:%s*([%w_.]+)%s*(.*)$"
  local class = { name = name, parent = parent, doc = doc or rest:match "^%s*(.*)$", fields = {}, methods = {} }
  if class.doc == "" then class.doc = table.concat(self.doc, " ") end
  self.module.classes[#self.module.classes + 1] = class
  self.class_here = class
end

function Reader:tag(name, text)
  if name == "class" then
    self:class(text)
  elseif name == "field" and self.class_here then
    self.class_here.fields[#self.class_here.fields + 1] = take_field(text)
  elseif name == "param" then
    self.params[#self.params + 1] = take_field(text)
  elseif name == "return" then
    local kind, doc = take_type(text)
    self.returns[#self.returns + 1] = { type = kind, doc = doc }
  elseif name == "alias" then
    local alias, rest = text:match "^([%w_.]+)%s*(.*)$"
    local kind, doc = take_type(rest)
    self.alias_here = { name = alias, type = kind, doc = doc }
    self.module.aliases[#self.module.aliases + 1] = self.alias_here
  end
end

function Reader:define(owner, mark, name, list)
  local f = { owner = owner, mark = mark, name = name, list = list, doc = table.concat(self.doc, " ") }
  f.params, f.returns = self.params, self.returns
  local class = self.variables[owner]
  if mark == ":" and class then
    f.class = class
    class.methods[#class.methods + 1] = f
  else
    f.owner = self.module.name
    self.module.functions[#self.module.functions + 1] = f
  end
end

function Reader:line(line)
  local tag, rest = line:match "^%-%-%-@(%l+)%s*(.*)$"
  local owner, mark, name, list = line:match "^function ([%w_]+)([.:])([%w_]+)%((.-)%)"
  if tag then
    self:tag(tag, rest)
  elseif line:find "^%-%-%-|" and self.alias_here then
    self.alias_here.type = (self.alias_here.type .. " " .. line:sub(4)):match "^[%s|]*(.*)$"
  elseif line:find "^%-%-%-" then
    self.doc[#self.doc + 1] = line:match "^%-%-%-%s*(.*)$"
  elseif owner then
    self:define(owner, mark, name, list)
    self:forget()
  elseif line:find "^local " then
    local variable = line:match "^local ([%w_]+)"
    if self.class_here then
      self.variables[variable] = self.class_here
      if self.class_here.doc == "" then self.class_here.doc = table.concat(self.doc, " ") end
    end
    if self.class_here and self.class_here.name:find "%.module$" or not self.class_here then
      self.module.doc = #self.doc > 0 and table.concat(self.doc, " ") or self.module.doc
    end
    self:forget()
  elseif line == "" then
    if not self.module.doc and #self.doc > 0 then self.module.doc = table.concat(self.doc, " ") end
    self:forget()
  end
end

--- A stub file as { name=, doc=, functions=, classes=, aliases= }.
function stubs.parse(name, text)
  local module = { name = name, functions = {}, classes = {}, aliases = {} }
  local reader = setmetatable({ module = module, variables = {} }, Reader)
  reader:forget()
  for line in text:gmatch "([^\n]*)\n?" do reader:line(line) end
  return module
end

--- The stubs of that module ("task"), or nil.
function stubs.get(name)
  if cache[name] == nil then
    local text = manual.text("scripts/stubs/perigee/" .. name .. ".lua")
    cache[name] = text and stubs.parse(name, text) or false
  end
  return cache[name] or nil
end

--- The names of all public modules, sorted.
function stubs.names()
  local names = {}
  for _, path in ipairs(manual.paths()) do
    names[#names + 1] = path:match "^scripts/stubs/perigee/(.+)%.lua$"
  end
  return names
end

--- What stands between the parentheses of a public function ("task", "map"), or nil.
function stubs.parameters(module, name)
  local stub = stubs.get(module)
  for _, f in ipairs(stub and stub.functions or {}) do
    if f.name == name then return f.list end
  end
end

return stubs
