-- repl_help_pages.lua - the pages of docs/ as headings, paragraphs, tables and examples.  -- internal
--
-- Pure.  Reads the Markdown that these pages are written in, no more of it; gives plain text for a terminal.

local manual = require "perigee.core.manual"

local pages = {}

local cache = {}

--- Markdown within a line as plain text: no backquotes, no targets of links, no emphasis.
function pages.plain(text)
  text = text:gsub("%[([^%]]*)%]%([^)]*\"?%)", "%1"):gsub("\\|", "|"):gsub("%*%*([^*]+)%*%*", "%1")
  text = text:gsub("([^%w*])%*([^*%s][^*]*)%*", "%1%2")
  return (text:gsub("`([^`]*)`", "%1"))
end

-- The cells of "| a | b |"; an escaped bar, and one within backquotes, is none.
local function cells_of(line)
  local cells, cell, code = {}, {}, false
  line = line:match "^|(.*)|%s*$" or line:match "^|(.*)$"
  local at = 1
  while at <= #line do
    local char = line:sub(at, at)
    if char == "\\" and line:sub(at + 1, at + 1) == "|" then
      cell[#cell + 1], at = "|", at + 1
    elseif char == "|" and not code then
      cells[#cells + 1], cell = table.concat(cell):match "^%s*(.-)%s*$", {}
    else
      if char == "`" then code = not code end
      cell[#cell + 1] = char
    end
    at = at + 1
  end
  cells[#cells + 1] = table.concat(cell):match "^%s*(.-)%s*$"
  return cells
end

local function lines_of(text)
  return text:gmatch "([^\n]*)\n?"
end

local Reader = {}
Reader.__index = Reader

function Reader:add(block)
  self.section.blocks[#self.section.blocks + 1] = block
  self.open = block
end

function Reader:heading(level, text)
  self.section = { heading = pages.plain(text), code = text:match "`([^`]+)`", level = level, blocks = {} }
  self.page.sections[#self.page.sections + 1] = self.section
  self.open = nil
end

function Reader:row(line)
  if line:find "^|[%s:|-]+$" then return end
  if self.open and self.open.kind == "table" then
    self.open.rows[#self.open.rows + 1] = cells_of(line)
  else
    self:add { kind = "table", head = cells_of(line), rows = {} }
  end
end

function Reader:line(line)
  local hashes, text = line:match "^(#+) (.*)$"
  if line == "" or line:find "^<!%-%-" then
    self.open = nil
  elseif hashes then
    self:heading(#hashes, text)
  elseif line:sub(1, 1) == "|" then
    self:row(line)
  elseif line:find "^    " and (not self.open or self.open.kind == "code") then
    local shown = line:sub(5)
    if self.open then
      self.open.text = self.open.text .. "\n" .. shown
    else
      self:add { kind = "code", language = "", text = shown }
    end
  elseif self.open and self.open.kind == "text" and not line:find "^%s*[-*] " and not line:find "^%d+%. " then
    self.open.text = self.open.text .. " " .. line:match "^%s*(.*)$"
  else
    self:add { kind = "text", text = line, item = line:find "^%s*[-*] " ~= nil or line:find "^%d+%. " ~= nil }
  end
end

--- The text of a page as { title=, sections = { { heading=, code=, level=, blocks= }, … } }; the first section is what
--- stands below the title.  Blocks: { kind = "text", text=, item= }, { kind = "table", head=, rows= },
--- { kind = "code", language=, text= }.
function pages.parse(text)
  local page = { sections = {} }
  local reader = setmetatable({ page = page }, Reader)
  reader:heading(1, "")
  local code
  for line in lines_of(text) do
    local fence = line:match "^```(.*)$"
    if code then
      if fence then
        code.text = table.concat(code.lines, "\n")
        code = nil
      else
        code.lines[#code.lines + 1] = line
      end
    elseif fence then
      code = { kind = "code", language = fence, lines = {} }
      reader:add(code)
      reader.open = nil
    else
      reader:line(line)
    end
  end
  if #page.sections > 1 then table.remove(page.sections, 1) end
  page.title = page.sections[1].heading
  return page
end

--- The page of that name ("task"), or nil.
function pages.get(name)
  if cache[name] == nil then
    local text = manual.text("docs/" .. name .. ".md")
    cache[name] = text and pages.parse(text) or false
    if cache[name] then cache[name].name = name end
  end
  return cache[name] or nil
end

--- The names of all pages, sorted.
function pages.names()
  local names = {}
  for _, path in ipairs(manual.paths()) do
    names[#names + 1] = path:match "^docs/(.+)%.md$"
  end
  return names
end

-- ---- what pages say of functions --------------------------------------------------------------------------------

-- Heads of tables whose first column holds calls.
local CALLS <const> = { ["function"] = true, method = true, call = true, ["field or method"] = true }

-- A piece of code as owner, separator, name: "task", ".", "map"; a module that is called has no name.
local function call_of(code)
  local owner, mark, name = code:match "^([%a_][%w_]*)([.:])([%a_][%w_]*)"
  if owner then return owner, mark, name end
  return code:match "^([%a_][%w_]*)%(", ".", nil
end

local function add_calls(list, cell, text, section, heading)
  for code in cell:gmatch "`([^`]+)`" do
    local owner, mark, name = call_of(code)
    if owner then
      local call = { code = code, owner = owner, mark = mark, name = name }
      call.text, call.section, call.heading = text, section, heading
      list[#list + 1] = call
    end
  end
end

local function add_section(list, section)
  if section.code and section.code:find "[(.:]" then
    local first = section.blocks[1]
    add_calls(list, "`" .. section.code .. "`", first and first.kind == "text" and first.text or "", section, true)
  end
  for _, block in ipairs(section.blocks) do
    if block.kind == "table" and CALLS[block.head[1]] then
      for _, row in ipairs(block.rows) do add_calls(list, row[1], row[2] or "", section) end
    end
  end
end

--- What the page says of functions, methods and members: { { code=, owner=, mark=, name=, text=, section= }, … }
function pages.calls(page)
  if page.calls then return page.calls end
  page.calls = {}
  for _, section in ipairs(page.sections) do
    add_section(page.calls, section)
  end
  return page.calls
end

--- The first paragraphs of text of a section, as plain text.
function pages.paragraphs(section, most)
  local list = {}
  for _, block in ipairs(section.blocks) do
    if block.kind == "text" and #list < most then list[#list + 1] = pages.plain(block.text) end
  end
  return list
end

--- The section of that heading, or nil.
function pages.section(page, heading)
  for _, section in ipairs(page.sections) do
    if section.heading == heading then return section end
  end
end

--- The tables of a section whose head begins with one of the words.
function pages.tables(section, words)
  local list = {}
  for _, block in ipairs(section.blocks) do
    if block.kind == "table" then
      for _, word in ipairs(words) do
        if block.head[1]:lower():find(word, 1, true) then
          list[#list + 1] = block
          break
        end
      end
    end
  end
  return list
end

--- The first example of the page that holds the text, or nil.
function pages.example(page, needle)
  for _, section in ipairs(page.sections) do
    for _, block in ipairs(section.blocks) do
      if block.kind == "code" and block.language == "lua" and block.text:find(needle, 1, true) then return block.text end
    end
  end
end

return pages
