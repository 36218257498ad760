-- repl_help_service.lua - help on the calls of the services.  -- internal
--
-- Pure.  Fields, bounds and replies come from the tables of operations, as in docs/<service>.md; what the call as a
-- whole does, and the errors, from that page.

local core = require "perigee.core.operations"
local own = require "perigee.service_options"
local stubs = require "perigee.repl_help_stubs"

local service_help = {}


local cache = {}

local CURRENCY <const> = { deai = "CCD", sxwl = "CNY" }
local MARKS <const> = { S = "read in the vendor's SDK", I = "inferred" }
local EFFECTS <const> = {
  read = "Reads only: costs nothing, and is repeated when it fails.",
  login = "Trades credentials for a token.",
  draft = "Costs nothing, but takes the place of the draft that was there: see \"Estimates are drafts\" of ?deai.",
  upload = "Stores bytes at the service; costs nothing.",
  create = "Costs money: it goes through budgets and max_cost, and is never sent twice.",
  stop = "Ends something that costs money.",
}

--- The table of a service: { operations =, compounds =, by_name = } .
function service_help.describe(service)
  if not cache[service] then
    local all = core.describe(service)
    all.by_name, all.compound_by_name = {}, {}
    for _, one in ipairs(all.operations) do all.by_name[one.name] = one end
    for _, one in ipairs(all.compounds) do all.compound_by_name[one.name] = one end
    cache[service] = all
  end
  return cache[service]
end

--- The names of the services.
service_help.services = core.services

--- True for the name of a service.
function service_help.is_service(name)
  for _, service in ipairs(service_help.services()) do
    if service == name then return true end
  end
  return false
end

local function variant_of(all, name)
  local compound, operation = all.compound_by_name[name], all.by_name[name]
  if not compound then return operation and { operations = { operation }, options = operation.options } end
  local parts = {}
  for i, part in ipairs(compound.parts) do parts[i] = all.by_name[part] end
  return { operations = parts, options = compound.options }
end

--- The forms of a method of the client, or nil for a method that is no call of the service:
--- { { operations = {…}, options = {…}, label = nil or 'model = "CNN"' }, … }
function service_help.variants(service, method)
  local all = service_help.describe(service)
  local one = variant_of(all, method)
  if one then return { one } end
  local list = {}
  for _, model in ipairs { "CNN", "LSTM" } do
    local found = variant_of(all, method .. "_" .. model:lower())
    if found then
      found.label = ('model = "%s"'):format(model)
      list[#list + 1] = found
    end
  end
  return #list > 0 and list or nil
end

--- The fields of a variant, each once, in the order of the table.
function service_help.fields(variant)
  local list, seen = {}, {}
  for _, operation in ipairs(variant.operations) do
    for _, field in ipairs(operation.fields) do
      if not seen[field.name] then list[#list + 1] = field end
      seen[field.name] = true
    end
  end
  return list
end

-- ---- fields -----------------------------------------------------------------------------------------------------

local TYPES <const> = { ["table of names"] = "table", ["local file"] = "path", ["file name"] = "string", path = "path",
  ["string of digits"] = "integer", URL = "URL" }

local function bounds(field)
  if field.choices then return 'one of "' .. table.concat(field.choices, '", "') .. '"' end
  if field.above then return ("between %g and %g"):format(field.above, field.below) end
  if field.max_len then return ("at most %d bytes"):format(field.max_len) end
  if field.least and field.most and field.most > 1000000 then return ("%d or more"):format(field.least) end
  if field.least then return ("%d to %d"):format(field.least, field.most) end
end

--- A field as a row: name, type, "needed" or "", meaning with bounds, condition and default.
function service_help.row(field)
  local parts = { field.doc, bounds(field) }
  local condition = field.required_if
  if condition then parts[#parts + 1] = ('needed if %s is "%s"'):format(condition, field.required_value) end
  if field.default then parts[#parts + 1] = "default " .. field.default end
  parts[#parts + 1] = MARKS[field.mark]
  return { field.name, TYPES[field.type] or field.type, field.required and "needed" or "", table.concat(parts, "; ") }
end

--- Our options of a variant as rows of the same kind.
function service_help.option_rows(names)
  local rows = {}
  for i, name in ipairs(names) do rows[i] = { name, stubs.shown(own[name].type), "", own[name].doc } end
  return rows
end

-- ---- an example -------------------------------------------------------------------------------------------------

local SAMPLES <const> = {
  jobID = '"1234"', job_id = "job_id", id = "7", jobName = '"digits"', imagePath = '"registry.example/train:1"',
  x_train = 'deai.file "x_train.csv"', y_train = 'deai.file "y_train.csv"', data_path = 'deai.file "data.csv"',
}

local function sample(field, chosen)
  if SAMPLES[field.name] then return SAMPLES[field.name] end
  if chosen then return ('"%s"'):format(chosen) end
  if field.choices then return ('"%s"'):format(field.choices[1]) end
  if field.above then return tostring((field.above + field.below) / 2) end
  if field.type == "integer" or field.type == "string of digits" then
    return field.name:find "Vol$" and "10000" or field.name:find "Time$" and "60" or "1"
  end
  local example = field.doc:match "for example (%S+)"
  return ('"%s"'):format(example or field.name:find "Path$" and "/" .. field.name:gsub("Path$", "") or field.name)
end

--- A call with what it needs, made from the table; it passes the checks of the engine.
function service_help.example(service, method, variant, positional)
  local lines, conditions = {}, {}
  local fields = service_help.fields(variant)
  for _, field in ipairs(fields) do
    if field.required_if then conditions[field.required_if] = field.required_value end
  end
  if positional then
    local first = fields[1]
    return ("%s:%s(%s)"):format(service, method, first and first.required and sample(first) or "")
  end
  for _, field in ipairs(fields) do
    if field.required or field.required_if then
      lines[#lines + 1] = ("  %s = %s,"):format(field.name, sample(field, conditions[field.name]))
    end
  end
  for _, option in ipairs(variant.options) do
    if option == "max_cost" then lines[#lines + 1] = ('  max_cost = "1 %s",'):format(CURRENCY[service]) end
  end
  return ("%s:%s {\n%s\n}"):format(service, method, table.concat(lines, "\n"))
end

-- ---- the whole call ---------------------------------------------------------------------------------------------

local function reply_rows(variant)
  local rows = {}
  local operation = variant.operations[#variant.operations]
  for _, one in ipairs(operation.reply) do
    rows[#rows + 1] = { one.name, one.currency and one.type .. " of " .. one.currency or one.type, one.doc or "" }
  end
  return rows
end

local function effect_of(variant)
  local strongest
  for _, operation in ipairs(variant.operations) do
    if not strongest or operation.effect == "create" then strongest = operation.effect end
  end
  return EFFECTS[strongest]
end

--- Writes what the table says of a method: effect, fields, options, reply.
function service_help.write(writer, service, method, positional)
  local variants = service_help.variants(service, method)
  if not variants then return false end
  writer:para(effect_of(variants[1]))
  for _, variant in ipairs(variants) do
    local rows = {}
    for i, field in ipairs(service_help.fields(variant)) do rows[i] = service_help.row(field) end
    if #rows > 0 then
      writer:head(variant.label and "fields with " .. variant.label or "fields")
      writer:rows(rows)
    end
  end
  if #variants[1].options > 0 then
    writer:head "options"
    writer:rows(service_help.option_rows(variants[1].options))
  end
  local reply = reply_rows(variants[1])
  if #reply > 0 and #variants[1].operations == 1 then
    writer:head "reply of the service"
    writer:rows(reply)
  end
  return true, service_help.example(service, method, variants[1], positional)
end

return service_help
