-- repl_arguments.lua - the fields of the tables that perigee's own functions take, from the editor stubs.  -- internal
--
-- `retry.new { … }`, `task.map(items, f, { … })`, `job:wait { … }`, and tables within them. Pure: reads the text of stubs
-- that travels inside the program. A field is as in perigee.repl_fields.

local arguments = {}

local MOST_DEEP <const> = 4 -- aliases behind aliases

local function stubs()
  return require "perigee.repl_help_stubs"
end

-- The class or alias of that full name ("perigee.retry.options"), in whatever stub it stands.
local function find_type(kind, list)
  local reader = stubs()
  for _, module in ipairs(reader.names()) do
    for _, one in ipairs(reader.get(module)[list]) do
      if one.name == kind then return one end
    end
  end
end

-- "{timeout?: perigee.duration, current: integer?}" as fields.
local function inline_fields(text)
  local fields = {}
  for name, optional, kind in text:gmatch "([%a_][%w_]*)(%??):%s*([^,}]+)" do
    fields[#fields + 1] = { name = name, type = kind:match "^(.-)%s*$", optional = optional == "?" or kind:find "%?%s*$" ~= nil }
  end
  return fields
end

-- The fields that a type has: of a class, of an inline table, or of the first of a union that has any; or nil.
local function fields_of_type(kind, depth)
  depth = depth or 0
  if not kind or depth > MOST_DEEP then return nil end
  if kind:find "^{" then return inline_fields(kind) end
  for part in kind:gmatch "perigee[%w_.]*" do
    local class = find_type(part, "classes")
    local alias = not class and find_type(part, "aliases")
    local fields = class and #class.fields > 0 and class.fields or alias and fields_of_type(alias.type, depth + 1)
    if fields then return fields end
  end
  return nil
end

-- The texts that a type allows, or nil.
local function choices_of(kind)
  if kind:find "[{(]" then return nil end
  local alias = kind:find "^perigee[%w_.]*%??$" and find_type(kind:gsub("%?", ""), "aliases")
  if alias then kind = alias.type end
  local choices = {}
  for text in kind:gmatch '"([^"]*)"' do choices[#choices + 1] = text end
  return #choices > 0 and choices or nil
end

local function shown(list)
  local fields = {}
  for i, one in ipairs(list) do
    fields[i] = {
      name = one.name, type = one.type:gsub("perigee%.", ""):gsub("%?$", ""), doc = one.doc, required = not one.optional or nil,
      choices = choices_of(one.type), kind = one.type,
    }
  end
  return fields
end

local function find(list, name)
  for _, one in ipairs(list or {}) do
    if one.name == name then return one end
  end
end

-- The function of a module, or the method of a class, as the stubs have it.
local function find_function(path, class)
  local reader = stubs()
  if class then
    local known = find_type(class, "classes")
    return known and find(known.methods, path:match "[%a_][%w_]*$")
  end
  local module, name = path:match "^([%l_]+)%.([%a_][%w_]*)$"
  local stub = module and reader.get(module)
  return stub and find(stub.functions, name)
end

--- The fields of the table that a function takes as its argument number `position`, or nil. path: "task.map", "job:wait";
--- class: the stubs' name of the receiver's class for a method; within: the field of that table whose table is meant.
function arguments.fields(path, class, position, within)
  local f = find_function(path, class)
  local parameter = f and f.params[position]
  local fields = parameter and fields_of_type(parameter.type)
  if within and fields then return arguments.within(shown(fields), within) end
  return fields and shown(fields) or nil
end

--- The fields of the table that stands for the field `name` of such a list, or nil.
function arguments.within(fields, name)
  local field = find(fields, name)
  local inner = field and field.kind and fields_of_type(field.kind)
  return inner and shown(inner) or nil
end

return arguments
