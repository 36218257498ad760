-- repl_help_index.lua - everything help knows by name.  -- internal
--
-- Built once in a VM, at the first question: entries for modules, functions, methods, classes, types, fields, kinds and
-- codes of errors, pages and their sections.  Pure; what an entry shows is in repl_help_render.lua.

local help_errors = require "perigee.repl_help_errors"
local pages = require "perigee.repl_help_pages"
local service_help = require "perigee.repl_help_service"
local stubs = require "perigee.repl_help_stubs"

local index = {}

-- Which of several things of one name is meant: the first kind that is there.
local RANKS <const> = {
  module = 1, ["function"] = 2, method = 3, kind = 4, page = 5, class = 6, type = 7, member = 8, code = 9, field = 10,
  section = 11, lua = 12,
}

local PAGE_OF <const> = { http_serve = "serving" }

--- What is compared: letters as small ones, one mark for both `.` and `:`, no name of the program in front.
function index.key(name)
  return (name:lower():gsub("^perigee%.", ""):gsub(":", "."))
end

local function add(all, entry, ...)
  all.entries[#all.entries + 1] = entry
  entry.key = index.key(entry.name)
  for _, name in ipairs { entry.name, ... } do
    local key = index.key(name)
    local list = all.keys[key]
    if not list then
      list = {}
      all.keys[key] = list
    end
    if list[#list] ~= entry then list[#list + 1] = entry end
  end
end

-- ---- functions, methods, classes --------------------------------------------------------------------------------

local function calls_of(name)
  local page = pages.get(PAGE_OF[name] or name)
  return page, page and pages.calls(page) or {}
end

-- The rows on a function: the first, and what else there is.
local function rows_of_function(calls, module, name)
  local first, more = nil, {}
  for _, call in ipairs(calls) do
    if call.mark == "." and call.name == name and call.owner == module and not call.text:find "^see above" then
      if first then more[#more + 1] = call end
      first = first or call
    end
  end
  return first, more
end

-- Rows speak of `t:wait()` where the stub says handle:wait: the row whose name is the stub's, else one whose name no
-- other class with such a method has.
local function row_of_method(calls, stub, f)
  local taken = {}
  for _, class in ipairs(stub.classes) do
    for _, other in ipairs(class.methods) do
      if other.name == f.name and other ~= f then taken[other.owner:lower()] = true end
    end
  end
  local second
  for _, call in ipairs(calls) do
    if call.mark == ":" and call.name == f.name then
      if call.owner == f.owner:lower() then return call end
      if not taken[call.owner] then second = second or call end
    end
  end
  return second
end

-- The fields of a service's call are shown with the call.
local function is_call_of_service(class)
  local service, call = class.name:match "^perigee%.(%l+)%.([%w_]+)$"
  return service ~= nil and service_help.is_service(service) and service_help.variants(service, call) ~= nil
end

-- The name that objects of a class have at the prompt.
local function prompt_name(class)
  local name = class.name:gsub("^perigee%.", "")
  return service_help.is_service(name:match "^(%l+)%.client$") and name:match "^%l+" or name
end

local function add_class(all, stub, page, calls, class)
  local name = prompt_name(class)
  local is_client = name ~= class.name:gsub("^perigee%.", "")
  local lines = {}
  if not is_client and not name:find "%.module$" and not is_call_of_service(class) then
    add(all, { kind = "class", name = name, class = class, page = page, lines = lines }, name:match "[^.]+$")
  end
  for _, f in ipairs(class.methods) do
    local row = row_of_method(calls, stub, f)
    local entry = { kind = "method", name = name .. ":" .. f.name, stub = stub, f = f, class = class, row = row }
    entry.page, entry.service, entry.line = page, is_client and name or nil, row and row.text or f.doc
    lines[f.name] = entry.line
    local names = { f.name }
    for _, owner in ipairs { f.owner, name:match "[^.]+$", row and row.owner or f.owner, name .. ".client" } do
      names[#names + 1] = owner .. ":" .. f.name
    end
    add(all, entry, table.unpack(names))
  end
end

local function add_module(all, name)
  local stub = stubs.get(name)
  local page, calls = calls_of(name)
  if name ~= "http_serve" then
    add(all, { kind = "module", name = name, stub = stub, page = page, calls = calls, line = stub.doc or page.title })
  end
  for _, f in ipairs(stub.functions) do
    local row, more = rows_of_function(calls, name, f.name)
    add(all, { kind = "function", name = name .. "." .. f.name, stub = stub, f = f, row = row, more = more, page = page,
      line = row and row.text or f.doc }, f.name)
  end
  for _, class in ipairs(stub.classes) do add_class(all, stub, page, calls, class) end
  for _, alias in ipairs(stub.aliases) do
    local short = alias.name:gsub("^perigee%.", "")
    if not all.keys[index.key(short)] then
      add(all, { kind = "type", name = short, alias = alias, page = page, line = alias.doc }, short:match "[^.]+$")
    end
  end
  for _, call in ipairs(calls) do
    local full = call.name and call.owner .. call.mark .. call.name
    if full and not all.keys[index.key(full)] then
      add(all, { kind = "member", name = full, row = call, page = page, line = call.text }, call.name)
    end
  end
end

-- ---- fields -----------------------------------------------------------------------------------------------------

local function add_field(all, name, use)
  local entry = all.fields[name]
  if not entry then
    entry = { kind = "field", name = name, uses = {}, line = use.text }
    all.fields[name] = entry
    add(all, entry)
  end
  entry.uses[#entry.uses + 1] = use
  local key = index.key(use.of .. "." .. name)
  all.keys[key] = all.keys[key] or { entry }
end

-- What a call of a service takes: its fields, and our options.
local function add_fields_of_call(all, entry)
  local seen = {}
  for _, variant in ipairs(service_help.variants(entry.service, entry.f.name) or {}) do
    local rows = service_help.option_rows(variant.options)
    for _, field in ipairs(service_help.fields(variant)) do rows[#rows + 1] = service_help.row(field) end
    for _, row in ipairs(rows) do
      if not seen[row[1]] then
        add_field(all, row[1], { of = entry.name, type = row[2], needed = row[3], text = row[4] })
      end
      seen[row[1]] = true
    end
  end
end

local function add_fields(all)
  for i = 1, #all.entries do
    if all.entries[i].service then add_fields_of_call(all, all.entries[i]) end
  end
  for _, module in ipairs(stubs.names()) do
    for _, class in ipairs(stubs.get(module).classes) do
      if not is_call_of_service(class) then
        local of = stubs.shown(class.name)
        for _, field in ipairs(class.fields) do
          add_field(all, field.name, { of = of, type = stubs.shown(field.type), needed = "", text = field.doc })
        end
      end
    end
  end
end

-- ---- errors, pages, Lua -----------------------------------------------------------------------------------------

local function add_errors(all)
  for _, kind in ipairs(help_errors.kinds()) do
    add(all, { kind = "kind", name = kind.name, line = kind.text }, kind.name .. " error", "error " .. kind.name)
  end
  local codes = {}
  for _, row in ipairs(help_errors.all()) do
    for _, code in ipairs(row.codes) do
      if code:find "^[%a_][%w_]*$" then
        if not codes[code] then
          codes[code] = { kind = "code", name = code, rows = {}, line = row.text }
          add(all, codes[code])
        end
        local rows = codes[code].rows
        rows[#rows + 1] = row
      end
    end
  end
end

local function add_pages(all)
  for _, name in ipairs(pages.names()) do
    local page = pages.get(name)
    if not stubs.get(name) then
      add(all, { kind = "page", name = name, page = page, line = page.title }, (name:gsub("-", " ")))
    end
    for i = 2, #page.sections do
      local section = page.sections[i]
      local full = name .. ": " .. section.heading
      add(all, { kind = "section", name = full, page = page, section = section, line = page.title }, section.heading)
    end
  end
end

local LUA <const> = { "string", "table", "math", "coroutine", "utf8", "os", "io", "debug" }
-- Sections of its manual.
local WORDS <const> = {}
for section, words in pairs {
  ["2.1"] = "nil true false", ["3.3.1"] = "do end", ["3.3.4"] = "break else elseif goto if repeat return then until while",
  ["3.3.5"] = "for in", ["3.3.7"] = "local const", ["3.3.8"] = "close", ["3.4.5"] = "and not or", ["3.4.11"] = "function",
} do
  for word in words:gmatch "%a+" do WORDS[word] = section end
end

local function add_lua_function(all, name)
  add(all, { kind = "lua", name = name, anchor = "pdf-" .. name, line = "Lua's own" })
end

local function add_lua(all)
  for word, section in pairs(WORDS) do
    add(all, { kind = "lua", name = word, anchor = section, line = "a word of Lua" })
  end
  for name, value in next, _G do
    if type(value) == "function" then add_lua_function(all, name) end
  end
  for _, library in ipairs(LUA) do
    if type(_G[library]) == "table" then
      add(all, { kind = "lua", name = library, anchor = "6", line = "Lua's own library", library = _G[library] })
      for name, value in next, _G[library] do
        if type(value) == "function" then
          add_lua_function(all, library .. "." .. name)
        end
      end
    end
  end
end

-- ---- the whole --------------------------------------------------------------------------------------------------

local UNLISTED <const> = { section = true, field = true, code = true }
local built

--- { entries = list, keys = key -> list of entries, names = sorted list of what people may ask for }
function index.get()
  if built then return built end
  local all = { entries = {}, keys = {}, fields = {}, names = {} }
  for _, name in ipairs(stubs.names()) do add_module(all, name) end
  add_errors(all)
  add_pages(all)
  add_fields(all)
  add_lua(all)
  for _, entry in ipairs(all.entries) do
    if not UNLISTED[entry.kind] then all.names[#all.names + 1] = entry.name end
  end
  table.sort(all.names)
  built = all
  return all
end

--- The entries that a name may mean, the likeliest first; only one if that is clear.
function index.find(name)
  local key = index.key(name)
  local found = index.get().keys[key] or {}
  local best, rest = {}, {}
  for _, entry in ipairs(found) do
    local list = entry.key == key and RANKS[entry.kind] <= RANKS.type and best or rest
    list[#list + 1] = entry
  end
  local written = name:lower()
  local function by_rank(a, b)
    local left, right = a.name:lower() == written, b.name:lower() == written -- `.` and `:` as they were written
    if left ~= right then return left end
    if a.kind ~= b.kind then return RANKS[a.kind] < RANKS[b.kind] end
    return a.name < b.name
  end
  table.sort(best, by_rank)
  table.sort(rest, by_rank)
  if #best > 0 then return { best[1] }, table.move(rest, 1, #rest, #best, table.move(best, 2, #best, 1, {})) end
  if #rest > 1 and RANKS[rest[1].kind] < RANKS[rest[2].kind] and rest[2].kind ~= "method" then
    return { table.remove(rest, 1) }, rest
  end
  return rest, {}
end

return index
