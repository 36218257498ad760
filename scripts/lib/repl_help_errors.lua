-- repl_help_errors.lua - what the pages say of kinds and codes of errors.  -- internal
--
-- Pure: rows of the tables of errors in docs/.

local pages = require "perigee.repl_help_pages"

local help_errors = {}

local all

-- `api` `not_found` and the like: the codes in a cell.
local function words_of(cell)
  local list = {}
  for word in cell:gmatch "`([^`]+)`" do list[#list + 1] = word end
  return list
end

local function is_error_table(head)
  local first = head[1]:lower():gsub("`", "")
  return first:find "^kind" ~= nil or first == "err.code"
end

-- One row: the kind (that of the row above where the cell is empty) and its codes.
local function read_row(row, block, found, default)
  local first = words_of(row[1])
  local by_code = block.head[1]:find("err.code", 1, true) ~= nil
  local codes = {}
  local kind = by_code and default or first[1] or found.kind
  for i = by_code and 1 or 2, #first do codes[#codes + 1] = first[i] end
  if #row == 3 then
    for _, code in ipairs(words_of(row[2])) do codes[#codes + 1] = code end
  end
  local kinds = { kind }
  -- "`http`, `parse`, `network`": kinds of one row
  if not by_code and row[1]:find("`,", 1, true) and #row == 2 and not row[1]:find "` `" then
    kinds, codes = first, {}
  end
  found.kind = kind
  return { kinds = kinds, codes = codes, text = row[#row], cell = row[1] }
end

local function rows_of_page(page)
  local list = {}
  for _, section in ipairs(page.sections) do
    for _, block in ipairs(section.blocks) do
      if block.kind == "table" and is_error_table(block.head) and section.heading ~= "Kinds" then
        local found = {}
        for _, row in ipairs(block.rows) do
          local one = read_row(row, block, found, "denied")
          one.page, one.section = page.name, section.heading
          list[#list + 1] = one
        end
      end
    end
  end
  return list
end

--- The rows of a page's tables of errors: { { kinds=, codes=, text=, page=, section= }, … }
function help_errors.of_page(name)
  local page = pages.get(name)
  if not page then return {} end
  page.errors = page.errors or rows_of_page(page)
  return page.errors
end

--- The kinds of errors with one sentence each, in the order of the page: { { name=, text= }, … }
function help_errors.kinds()
  local list = {}
  for _, section in ipairs(pages.get("error").sections) do
    if section.heading == "Kinds" then
      for _, block in ipairs(section.blocks) do
        for _, row in ipairs(block.rows or {}) do list[#list + 1] = { name = row[1]:match "`([^`]+)`", text = row[2] } end
      end
    end
  end
  return list
end

--- The rows of all pages.
function help_errors.all()
  if all then return all end
  all = {}
  for _, name in ipairs(pages.names()) do
    for _, row in ipairs(help_errors.of_page(name)) do all[#all + 1] = row end
  end
  return all
end

return help_errors
