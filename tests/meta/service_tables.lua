-- service_tables.lua - the parts of docs and stubs that are made from the tables of operations.
--
-- Run by `make docs`, it rewrites them; service_docs_spec.lua fails where they differ.  In docs/<service>.md the part
-- is between <!-- operations --> and <!-- end of operations -->, in the stubs between two lines of dashes that say so.
local core = require "perigee.core.ops"
local own = require "perigee.service_options"

local tables = {}

tables.services = { "deai", "sxwl" }

local MARKS <const> = { D = "documented", S = "read in the vendor's SDK", I = "inferred" }

local SENT_AS <const> = {
  integer = "integer", number = "number", ["string of digits"] = "string of digits", string = "string", path = "string",
  URL = "string", ["table of names"] = "object of strings", ["local file"] = "part `file`", ["file name"] = "its file name",
}

local function escape(text)
  return (text:gsub("|", "\\|"))
end

local function bounds(field)
  if field.choices then return '`"' .. table.concat(field.choices, '"`, `"') .. '"`' end
  if field.above then return ("between %g and %g"):format(field.above, field.below) end
  if field.max_len then return ("at most %d bytes"):format(field.max_len) end
  if field.least and field.most and field.most > 1000000 then return ("%d or more"):format(field.least) end
  if field.least then return ("%d to %d"):format(field.least, field.most) end
  return ""
end

local function needed(field)
  if field.required then return "yes" end
  if field.required_if then return ('if %s is "%s"'):format(field.required_if, field.required_value) end
  if field.default then return "default `" .. field.default .. "`" end
  return ""
end

local function operation_text(operation)
  local lines = {
    ("### `%s`"):format(operation.name), "",
    ("`%s %s`: %s. Effect: %s%s."):format(operation.method, operation.path, operation.doc, operation.effect,
      operation.idempotent and ", may be repeated" or ""), "",
  }
  local function add(line) lines[#lines + 1] = line end
  if #operation.fields > 0 then
    add "| field | sent as | needed | bounds | meaning |"
    add "|---|---|---|---|---|"
    for _, f in ipairs(operation.fields) do
      add(("| `%s` | %s | %s | %s | %s |"):format(f.name, SENT_AS[f.type], needed(f), escape(bounds(f)),
        escape(f.doc) .. (f.mark ~= "D" and (" (%s)"):format(MARKS[f.mark]) or "")))
    end
    add ""
  end
  if #operation.options > 0 then add("Options: `" .. table.concat(operation.options, "` `") .. "`.") add "" end
  if #operation.reply > 0 then
    add "| reply | type | meaning |"
    add "|---|---|---|"
    for _, r in ipairs(operation.reply) do
      add(("| `%s` | %s | %s |"):format(r.name, r.type .. (r.currency and " of " .. r.currency or ""), escape(r.doc)))
    end
    add ""
  end
  return table.concat(lines, "\n")
end

-- The options of all calls with what they mean.
local function options_text(all)
  local seen, names = {}, {}
  for _, list in ipairs { all.operations, all.compounds } do
    for _, call in ipairs(list) do
      for _, option in ipairs(call.options) do
        if not seen[option] then names[#names + 1] = option end
        seen[option] = true
      end
    end
  end
  table.sort(names)
  local lines = { "\n### Options of calls\n", "| option | type | meaning |", "|---|---|---|" }
  for _, name in ipairs(names) do
    lines[#lines + 1] = ("| `%s` | %s | %s |"):format(name, escape((own[name].type:gsub("perigee%.", ""))), escape(own[name].doc))
  end
  return table.concat(lines, "\n")
end

--- The field tables of a service's page.
function tables.markdown(service)
  local all = core.describe(service)
  local parts = {}
  for _, operation in ipairs(all.operations) do parts[#parts + 1] = operation_text(operation) end
  parts[#parts + 1] = "### Calls of several steps\n"
  parts[#parts + 1] = "| call | what it does | fields of | options |\n|---|---|---|---|"
  for _, c in ipairs(all.compounds) do
    parts[#parts] = parts[#parts] .. ("\n| `%s` | %s | `%s` | `%s` |"):format(c.name, c.doc, table.concat(c.parts, "`, `"),
      table.concat(c.options, "` `"))
  end
  parts[#parts + 1] = options_text(all)
  return table.concat(parts, "\n") .. "\n"
end

local LUA_TYPE <const> = {
  integer = "integer|string", number = "number|string", ["string of digits"] = "integer|string", string = "string",
  path = "string|perigee.deai.file", URL = "string", ["table of names"] = "table<string, string|number|boolean>",
}

local function stub_fields(lines, operation, seen)
  for _, f in ipairs(operation.fields) do
    local kind = LUA_TYPE[f.type]
    if kind and not seen[f.name] then
      seen[f.name] = true
      if f.choices then kind = '"' .. table.concat(f.choices, '"|"') .. '"' .. (f.choices[1]:match "^%d" and "|integer" or "") end
      lines[#lines + 1] = ("---@field %s%s %s %s"):format(f.name, f.required and "" or "?", kind, f.doc)
    end
  end
end

local function stub_class(service, name, operations, options)
  local lines, seen = { ("---@class perigee.%s.%s"):format(service, name) }, {}
  for _, operation in ipairs(operations) do stub_fields(lines, operation, seen) end
  for _, option in ipairs(options) do
    lines[#lines + 1] = ("---@field %s? %s %s"):format(option, own[option].type, own[option].doc)
  end
  return table.concat(lines, "\n") .. "\n"
end

--- The classes of argument tables for the stubs.
function tables.stubs(service)
  local all = core.describe(service)
  local by_name, parts = {}, {}
  for _, operation in ipairs(all.operations) do
    by_name[operation.name] = operation
    local effect = operation.effect
    if effect == "draft" or effect == "create" then
      parts[#parts + 1] = stub_class(service, operation.name, { operation }, operation.options)
    end
  end
  for _, c in ipairs(all.compounds) do
    local operations = {}
    for i, name in ipairs(c.parts) do operations[i] = by_name[name] end
    parts[#parts + 1] = stub_class(service, c.name, operations, c.options)
  end
  return table.concat(parts, "\n")
end

-- ---- in the files ----------------------------------------------------------------------------------------------

--- The files, with what must stand between their two marks.
function tables.files()
  local list = {}
  for _, service in ipairs(tables.services) do
    list[#list + 1] = {
      path = ("docs/%s.md"):format(service), first = "<!-- operations: made by `make docs` -->\n",
      last = "<!-- end of operations -->\n", text = tables.markdown(service),
    }
    list[#list + 1] = {
      path = ("scripts/stubs/perigee/%s.lua"):format(service), first = "-- ---- made by `make docs` ----\n\n",
      last = "-- ---- end ----\n", text = tables.stubs(service) .. "\n",
    }
  end
  return list
end

--- What stands between the marks of a file now, and the text before and after.
function tables.between(file)
  local handle = assert(io.open(file.path, "rb"))
  local text = handle:read "a"
  handle:close()
  local _, a = text:find(file.first, 1, true)
  local b = text:find(file.last, 1, true)
  assert(a and b and b > a, file.path .. " has lost its marks")
  return text:sub(a + 1, b - 1), text:sub(1, a), text:sub(b)
end

if arg and arg[0] and arg[0]:find "service_tables%.lua$" then
  for _, file in ipairs(tables.files()) do
    local _, before, after = tables.between(file)
    local handle = assert(io.open(file.path, "wb"))
    handle:write(before, file.text, after)
    handle:close()
  end
end

return tables
