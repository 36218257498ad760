-- repl_fields.lua - the fields that belong into the table of a call: `sxwl:create_job{ … }`.  -- internal
--
-- From the services' tables of operations (bindings/*.c), the same that check a call and fill docs and stubs; for
-- perigee's own functions from the stubs (repl_arguments.lua).  A field is { name=, type=, doc=, required=, choices=,
-- required_if=, required_value=, default=, option= (ours, not the service's), kind= (its type in the stubs) }.

local arguments = require "perigee.repl_arguments"
local peek = require "perigee.repl_peek"
local options_of = require "perigee.service_options"

local fields = {}

-- Methods that stand for one operation of each model.
local BY_MODEL <const> = { train = true, estimate = true }
-- Operations whose fields stand in the table; others take their fields one by one, and a table of what may be left out.
local TAKES_TABLE <const> = { create = true, draft = true }

-- Names under which jobs.submit knows what a client's method does.
local OF_KIND <const> = { sxwl = { job = "create_job" }, deai = { train = "train", infer = "infer" } }

local function find(list, name)
  for _, one in ipairs(list) do
    if one.name == name then return one end
  end
end

local function add(list, field)
  local there = find(list, field.name)
  if not there then
    list[#list + 1] = field
    return
  end
  if there.choices and field.choices then -- model: "CNN" of the one, "LSTM" of the other
    local all = table.move(there.choices, 1, #there.choices, 1, {})
    for _, choice in ipairs(field.choices) do
      if not (" " .. table.concat(all, " ") .. " "):find(" " .. choice .. " ", 1, true) then all[#all + 1] = choice end
    end
    there.choices = all
  end
  there.required = there.required and field.required
end

local function add_options(list, names)
  for _, name in ipairs(names or {}) do
    local known = options_of[name]
    local words = known and known.type:gsub("perigee%.", "") or "any"
    local field = { name = name, type = words, option = true, doc = known and known.doc, kind = known and known.type }
    if words:find '^"' then -- '"stop"|"leave"'
      field.choices = {}
      for choice in words:gmatch '"([^"]*)"' do field.choices[#field.choices + 1] = choice end
    end
    add(list, field)
  end
end

-- What one operation or compound takes.
local function add_call(list, service, name)
  local compound, operation = find(service.compounds, name), find(service.operations, name)
  if compound then
    for _, part in ipairs(compound.parts) do
      for _, field in ipairs(find(service.operations, part).fields) do add(list, field) end
    end
    add_options(list, compound.options)
  elseif operation then
    for _, field in ipairs(operation.fields) do
      if TAKES_TABLE[operation.effect] or not field.required then add(list, field) end
    end
    add_options(list, operation.options)
  end
end

--- The fields of a method of a service; nil if it takes no table that is known. given: { [field] = text of its value },
--- which tells apart what depends on a field.
function fields.of_method(service_name, method, given)
  local known, core = pcall(require, "perigee.core.ops") -- a console that only reads has no services
  if not known then return nil end
  local service, list = core.describe(service_name), {}
  if BY_MODEL[method] and service_name == "deai" then
    local model = given and given.model and given.model:lower()
    for _, kind in ipairs { "cnn", "lstm" } do
      if model == nil or not (model == "cnn" or model == "lstm") or model == kind then
        add_call(list, service, method .. "_" .. kind)
      end
    end
  else
    add_call(list, service, method)
  end
  return #list > 0 and list or nil
end

-- The fields of `spec` in a jobs.submit: those of the call it becomes, without what belongs beside it.
local function of_spec(given)
  local kinds = OF_KIND[given.service or ""]
  if not kinds then return nil end
  local method = kinds[given.kind or given.service == "sxwl" and "job" or ""]
  if not method then return nil end
  local list = {}
  for _, field in ipairs(fields.of_method(given.service, method, given) or {}) do
    if not field.option then list[#list + 1] = field end
  end
  return list
end

-- The name that the stubs have for the class of a thing: that of its metatable.
local function class_name(thing)
  if not thing then return nil end
  if thing.service then return ("perigee.%s.client"):format(thing.service) end
  return peek.class_name(thing)
end

--- The fields of a table that a call is given. call: { thing= (the receiver), path=, key= (its last name), is_method=,
--- position= (of the argument) }; given: texts of what stands in the table; within: the name of the field whose table it is,
--- and outer: what is given beside that.
function fields.of_call(call, given, within, outer)
  if call.path == "jobs.submit" and within == "spec" then
    local all = {}
    for name, text in pairs(outer) do all[name] = text end
    all.model = given.model
    return of_spec(all)
  end
  local service = peek.service(call.thing)
  local list = service and call.position == 1 and fields.of_method(service, call.key, within and outer or given)
  if list then return within and arguments.within(list, within) or not within and list or nil end
  return arguments.fields(call.path, call.is_method and class_name(call.thing) or nil, call.position, within)
end

--- A few words about a field: "integer, required, 1 to 100".
function fields.words(field)
  local parts = { field.type }
  if field.option then parts[2] = "option" end
  if field.required then
    parts[#parts + 1] = "required"
  elseif field.required_if then
    parts[#parts + 1] = ("required with %s %q"):format(field.required_if, field.required_value or "")
  end
  if field.choices then parts[1] = table.concat(field.choices, " | ") end
  if field.default then parts[#parts + 1] = "default " .. field.default end
  return table.concat(parts, ", ")
end

fields.find = find

return fields
