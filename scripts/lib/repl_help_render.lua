-- repl_help_render.lua - what help shows of each kind of thing.  -- internal
--
-- Pure: entries of repl_help_index.lua in, text out.

local help_errors = require "perigee.repl_help_errors"
local pages = require "perigee.repl_help_pages"
local service_help = require "perigee.repl_help_service"
local stubs = require "perigee.repl_help_stubs"
local text = require "perigee.repl_help_text"

local render = {}

local MOST_ERRORS <const> = 12
local ERRORS_OF_FUNCTION <const> = 6

-- ---- parts ------------------------------------------------------------------------------------------------------

local function docs_line(writer, page, section)
  if not page then return end
  writer:gap()
  local heading = section and section.heading ~= page.title and (', "%s"'):format(section.heading) or ""
  writer:para(("docs/%s.md%s"):format(page.name, heading), 0)
end

local function error_label(row)
  return table.concat(row.kinds, ", ") .. (#row.codes > 0 and " " .. table.concat(row.codes, ", ") or "")
end

local function write_errors(writer, page, most)
  local list = page and help_errors.of_page(page.name) or {}
  local section = page and pages.section(page, "Errors")
  writer:head "errors"
  if #list == 0 and section then
    for _, words in ipairs(pages.paragraphs(section, 3)) do writer:para(words) end
    return
  elseif #list == 0 then
    writer:para("invalid for wrong arguments: it names them, and nothing was done; what the call waits for raises its own "
      .. "(?error lists the kinds)")
    return
  end
  local rows = {}
  for i, row in ipairs(list) do
    if i > most then
      rows[#rows + 1] = { "…", ("%d more in docs/%s.md"):format(#list - most, page.name) }
      break
    end
    rows[i] = { error_label(row), row.text }
  end
  writer:rows(rows)
end

local function write_example(writer, code)
  if not code then return end
  writer:head "example"
  writer:code(code)
end

local function class_named(kind)
  local name = kind:match "^([%w_.]+)%?*$"
  local module = name and name:match "^perigee%.([%l_]+)"
  if not module then return nil end
  for _, one in ipairs { module, table.unpack(stubs.names()) } do
    for _, class in ipairs((stubs.get(one) or { classes = {} }).classes) do
      if class.name == name then return class end
    end
  end
end

-- ---- options of a function --------------------------------------------------------------------------------------

local WORDS <const> = { "option", "field" }

-- The meaning and the default of one row; `mode = "collect"` tells of one value of an option.
local function add_row(found, head, row)
  local meaning, default
  for c = 2, #row do
    local word = head[c]:lower()
    if word == "default" then default = row[c] elseif word ~= "type" then meaning = meaning or row[c] end
  end
  meaning = (meaning or ""):gsub("^needed;? ?", "")
  for code in row[1]:gmatch "`([^`]+)`" do
    local name = code:match "^[%a_][%w_]*"
    if name then
      local told = (code:find "=" and code .. ": " or "") .. meaning
      if default and default ~= "" and default ~= "needed" then told = ("%s; default %s"):format(told, default) end
      found[name] = found[name] and found[name] .. ". " .. told or told
    end
  end
end

-- What the page says of an option: rows of the tables of the section, by name.
local function rows_by_name(section, page, name)
  local found = {}
  local sections = { section }
  for _, one in ipairs(page and page.sections or {}) do
    if one.heading == "Options" or one.heading:lower():match "^an? (.*)$" == name then sections[#sections + 1] = one end
  end
  for _, one in ipairs(sections) do
    for _, block in ipairs(pages.tables(one, WORDS)) do
      for _, row in ipairs(block.rows) do add_row(found, block.head, row) end
    end
  end
  return found
end

-- Fields of the classes that the parameters have, with what the page says of them.
local function write_options(writer, entry)
  local rows, seen = {}, {}
  local told = rows_by_name(entry.row and entry.row.section or { blocks = {} }, entry.page, entry.f.name)
  for _, param in ipairs(entry.f.params) do
    local class = class_named(param.type)
    while class and #class.methods == 0 do
      for _, field in ipairs(class.fields) do
        if not seen[field.name] then
          local needed = field.optional and "" or "needed"
          rows[#rows + 1] = { field.name, stubs.shown(field.type), needed, told[field.name] or field.doc }
        end
        seen[field.name] = true
      end
      class = class.parent and class_named(class.parent)
    end
  end
  if #rows == 0 then return end
  writer:head "options"
  writer:rows(rows)
end

local function write_parameters(writer, f)
  local rows = {}
  for _, param in ipairs(f.params) do
    local doc = param.doc .. (param.optional and (param.doc == "" and "may be left out" or "; may be left out") or "")
    rows[#rows + 1] = { param.name, stubs.shown(param.type), doc }
  end
  local gives = {}
  for _, one in ipairs(f.returns) do gives[#gives + 1] = { "gives", stubs.shown(one.type), one.doc } end
  if #gives > 0 then table.move(gives, 1, #gives, #rows + 1, rows) end
  if #rows > 0 then
    writer:gap()
    writer:rows(rows)
  end
end

-- ---- functions and methods --------------------------------------------------------------------------------------

local function sentence(entry)
  local said = entry.row and entry.row.text ~= "" and not entry.row.text:find "^see above" and entry.row.text or ""
  local doc = entry.f and entry.f.doc or ""
  doc = doc:gsub("%s*See docs/[%w_-]+%.md%.", "")
  if said == "" then return doc end
  return said
end

-- The arguments as the page writes them: they name the fields, where the stubs have only "options".
local function signature(entry)
  local f = entry.f
  local written = entry.row and entry.row.code:match "[%w_]+([%({].*)$"
  if written and not written:find "…" and #written > #f.list + 2 then return entry.name .. written end
  return ("%s(%s)"):format(entry.name, f.list)
end

-- The first example of the page in which it is called; else the page's first.
local function example_of(entry)
  if not entry.page then return nil end
  for _, owner in ipairs { entry.name:match "^(.*)[.:]", "" } do
    for _, mark in ipairs { ".", ":" } do
      for _, opening in ipairs { "(", " ", "{" } do
        local found = pages.example(entry.page, owner .. mark .. entry.f.name .. opening)
        if found then return found end
      end
    end
  end
  return pages.example(entry.page, "")
end

local function write_call(writer, entry)
  writer:title(signature(entry))
  local said = sentence(entry)
  if said ~= "" then writer:para(said) end
  for _, row in ipairs(entry.more or {}) do
    if row.code ~= entry.row.code then writer:title(row.code) end
    writer:para(row.text)
  end
  local made, example = false, nil
  if entry.service then
    local first = entry.f.params[1]
    local takes_table = first ~= nil and first.type:find("perigee." .. entry.service .. ".", 1, true) == 1
    writer:gap()
    made, example = service_help.write(writer, entry.service, entry.f.name, not takes_table)
  end
  if not made then
    write_parameters(writer, entry.f)
    write_options(writer, entry)
  end
  write_errors(writer, entry.page, entry.service and MOST_ERRORS or ERRORS_OF_FUNCTION)
  write_example(writer, example or example_of(entry))
  docs_line(writer, entry.page, entry.row and entry.row.section)
end

render["function"] = write_call
render.method = write_call

function render.member(writer, entry)
  writer:title(entry.row.code)
  writer:para(entry.row.text)
  docs_line(writer, entry.page, entry.row.section)
end

-- ---- modules, classes, types ------------------------------------------------------------------------------------

-- A function with a heading of its own stands in a table as well, as a rule.
local function call_rows(calls, service)
  local rows, listed = {}, {}
  for _, call in ipairs(calls) do listed[call.code] = listed[call.code] or not call.heading end
  for _, call in ipairs(calls) do
    if not (call.heading and listed[call.code]) then
      local code = service and call.code:gsub("^client:", service .. ":") or call.code
      rows[#rows + 1] = { code, call.text }
    end
  end
  return rows
end

local CALLS_ONLY <const> = { Functions = true, Methods = true, Calls = true }

-- Headings of a page that say more than its tables of calls.
local function write_headings(writer, page)
  local parts = {}
  for i = 2, #page.sections do
    local section = page.sections[i]
    local calls_only = section.code or CALLS_ONLY[section.heading]
    if section.level == 2 and not calls_only then parts[#parts + 1] = ("?%s: %s"):format(page.name, section.heading) end
  end
  if #parts == 0 then return end
  writer:head "more"
  for _, part in ipairs(parts) do writer:para(part) end
end

function render.module(writer, entry)
  local page, name = entry.page, entry.name
  writer:title(page and page.title or name)
  if entry.stub.doc then writer:para((entry.stub.doc:gsub("%s*See docs/[%w_-]+%.md%.", ""))) end
  local service = service_help.is_service(name) and name
  if service then
    writer:para(("At the prompt %s is a client, made from the configuration at its first use."):format(name))
    writer:para(("%s.client{…} makes others."):format(name))
  elseif page then
    for _, words in ipairs(pages.paragraphs(page.sections[1], 1)) do writer:para(words) end
  end
  writer:gap()
  writer:rows(call_rows(entry.calls, service))
  if not page then return end
  write_headings(writer, page)
  write_example(writer, pages.example(page, ""))
  docs_line(writer, page)
end

render["class"] = function(writer, entry)
  local class = entry.class
  writer:title(entry.name)
  if class.doc ~= "" then writer:para((class.doc:gsub("%s*See docs/[%w_-]+%.md%.", ""))) end
  local rows = {}
  for _, field in ipairs(class.fields) do
    rows[#rows + 1] = { field.name, stubs.shown(field.type), field.optional and "" or "always", field.doc }
  end
  if class.parent then writer:para("and what " .. stubs.shown(class.parent) .. " has") end
  if #rows > 0 then
    writer:head "fields"
    writer:rows(rows)
  end
  rows = {}
  for _, f in ipairs(class.methods) do rows[#rows + 1] = { (":%s(%s)"):format(f.name, f.list), entry.lines[f.name] } end
  if #rows > 0 then
    writer:head "methods"
    writer:rows(rows)
  end
  docs_line(writer, entry.page)
end

function render.type(writer, entry)
  writer:title(entry.name)
  writer:para(stubs.shown(entry.alias.type))
  if entry.alias.doc ~= "" then writer:para(entry.alias.doc) end
  docs_line(writer, entry.page)
end

function render.field(writer, entry)
  writer:title(entry.name)
  local rows = {}
  for _, use in ipairs(entry.uses) do rows[#rows + 1] = { use.of, use.type, use.needed, use.text } end
  writer:rows(rows)
end

-- ---- errors -----------------------------------------------------------------------------------------------------

function render.kind(writer, entry)
  local report = require "perigee.report"
  writer:title("errors of kind " .. entry.name)
  writer:para(entry.line)
  local parts = report.parts { kind = entry.name, message = "", outcome = "none" }
  if parts.money then writer:para(parts.money) end
  if parts.todo then writer:para((parts.todo:gsub("the script at the line below", "the line"))) end
  local rows = {}
  for _, row in ipairs(help_errors.all()) do
    for _, kind in ipairs(row.kinds) do
      if kind == entry.name and row.page ~= "error" then
        rows[#rows + 1] = { row.page, table.concat(row.codes, ", "), row.text }
        break
      end
    end
  end
  if #rows > 0 then
    writer:head "where, code, when"
    writer:rows(rows)
  end
  write_example(writer, ([[local ok, err = pcall(…)
if not ok and require "perigee.error".is(err, %q) then … end]]):format(entry.name))
  docs_line(writer, pages.get "error")
end

function render.code(writer, entry)
  writer:title("code " .. entry.name)
  local rows = {}
  for _, row in ipairs(entry.rows) do rows[#rows + 1] = { row.page, row.kinds[1] or "", row.text } end
  writer:rows(rows)
end

-- ---- pages ------------------------------------------------------------------------------------------------------

local function write_blocks(writer, section)
  for _, block in ipairs(section.blocks) do
    if block.kind ~= "text" or not block.item then writer:gap() end
    if block.kind == "text" then
      writer:para(block.text, 2)
    elseif block.kind == "table" then
      writer:rows(block.rows)
    else
      writer:code(block.text)
    end
  end
end

function render.page(writer, entry)
  local page = entry.page
  writer:title(page.title)
  write_blocks(writer, page.sections[1])
  write_headings(writer, page)
  docs_line(writer, page)
end

function render.section(writer, entry)
  writer:title(entry.section.heading)
  write_blocks(writer, entry.section)
  docs_line(writer, entry.page, entry.section)
end

function render.lua(writer, entry)
  writer:title(entry.name)
  writer:para(entry.line .. "; perigee runs Lua 5.4: https://www.lua.org/manual/5.4/manual.html#" .. entry.anchor)
  if entry.library then
    local names = {}
    for name, value in next, entry.library do
      if type(value) == "function" then names[#names + 1] = entry.name .. "." .. name end
    end
    table.sort(names)
    writer:para(table.concat(names, "  "))
  end
end

--- The text of an entry; others: entries that the same name means as well.
function render.entry(entry, others, context)
  local writer = text.writer(context)
  render[entry.kind](writer, entry)
  local also = {}
  for _, other in ipairs(others or {}) do
    local name = other.kind == "kind" and other.name .. " error" or other.name
    local fits = other.kind ~= "section" or entry.kind == "section"
    if #also < 8 and fits and name ~= entry.name then also[#also + 1] = "?" .. name end
  end
  if #also > 0 then writer:para("see also " .. table.concat(also, ", "), 0) end
  return writer:text()
end

--- The text for a name that means several things.
function render.choice(name, entries, context)
  local writer = text.writer(context)
  writer:title(name .. " is")
  local rows = {}
  for i, entry in ipairs(entries) do
    if i > 20 then
      rows[#rows + 1] = { "…", ("and %d more"):format(#entries - 20) }
      break
    end
    rows[i] = { "?" .. entry.name, entry.line or "" }
  end
  writer:rows(rows)
  return writer:text()
end

return render
