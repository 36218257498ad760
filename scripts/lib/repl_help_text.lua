-- repl_help_text.lua - lays out what help shows: headings, paragraphs and columns within a width.  -- internal
--
-- Pure.  A writer gathers lines; everything it is given is escaped here.

local paint = require "perigee.repl_paint"
local pages = require "perigee.repl_help_pages"
local term = require "perigee.core.term"

local Writer = {}
Writer.__index = Writer

local WIDEST_CELL <const> = 26
local LEAST_TEXT <const> = 24 -- cells the last column gets at least, else it goes below

local text = {}

--- A writer.  context: columns, color.
function text.writer(context)
  return setmetatable({ columns = math.max(context.columns or 80, 40), color = context.color, lines = {} }, Writer)
end

-- The words as lines of at most `width` cells.
local function wrap(words, width)
  local lines, line, used = {}, {}, 0
  for word in words:gmatch "%S+" do
    local cells = term.width(word)
    if used > 0 and used + 1 + cells > width then
      lines[#lines + 1] = table.concat(line, " ")
      line, used = {}, 0
    end
    line[#line + 1] = word
    used = used + cells + (used > 0 and 1 or 0)
  end
  if #line > 0 then lines[#lines + 1] = table.concat(line, " ") end
  return lines
end

function Writer:add(line)
  self.lines[#self.lines + 1] = line
end

--- One blank line, never two, none at the beginning.
function Writer:gap()
  if #self.lines > 0 and self.lines[#self.lines] ~= "" then self:add "" end
end

--- A signature or a name.
function Writer:title(line)
  for i, part in ipairs(wrap(term.escape(line), self.columns - 4)) do
    self:add((i > 1 and "    " or "") .. (self.color and paint.head(part) or part))
  end
end

--- The word above a part.
function Writer:head(word)
  self:gap()
  self:add(self.color and paint.head(term.escape(word)) or term.escape(word))
end

--- Text in lines behind so many blanks; Markdown within it is taken out.
function Writer:para(words, indent)
  indent = indent or 2
  for _, line in ipairs(wrap(term.escape(pages.plain(words)), self.columns - indent)) do
    self:add((" "):rep(indent) .. line)
  end
end

--- An example, as it stands.
function Writer:code(code)
  for line in (code .. "\n"):gmatch "(.-)\n" do
    line = term.escape(line)
    self:add(line == "" and "" or "  " .. (self.color and paint.lua(line) or line))
  end
end

local function widths_of(rows, count)
  local widths = {}
  for c = 1, count - 1 do
    widths[c] = 0
    for _, row in ipairs(rows) do
      local cells = term.width(row[c])
      if cells <= WIDEST_CELL then widths[c] = math.max(widths[c], cells) end
    end
  end
  return widths
end

local function plain_rows(rows)
  local out, count = {}, 1
  for i, row in ipairs(rows) do
    out[i] = {}
    for c, cell in ipairs(row) do out[i][c] = term.escape(pages.plain(cell)) end
    count = math.max(count, #row)
  end
  return out, count
end

-- What stands alone on its line: as it is where it fits, else wrapped.
function Writer:name(first, indent)
  first = first:gsub("%s+$", "")
  if term.width(first) <= self.columns then return self:add(first) end
  for i, line in ipairs(wrap(first, self.columns - indent - 4)) do
    self:add((" "):rep(i == 1 and indent or indent + 4) .. line)
  end
end

-- The columns before the last in front of it; what is wider than its column pushes the last one onto lines of its own.
function Writer:row(row, widths, count, indent)
  local parts, used, wide = {}, indent, false
  for c = 1, count - 1 do
    local cell = row[c] or ""
    local pad = math.max(widths[c] - term.width(cell), 0)
    wide = wide or term.width(cell) > widths[c]
    parts[c] = cell .. (" "):rep(pad)
    used = used + widths[c] + (widths[c] > 0 and 2 or 0)
  end
  for c = #parts, 1, -1 do
    if parts[c] == "" then table.remove(parts, c) end
  end
  local first = (" "):rep(indent) .. table.concat(parts, "  ")
  local margin = used
  if self.columns - used < LEAST_TEXT then margin, wide = indent + 4, true end
  local lines = wrap(row[count] or "", self.columns - margin)
  if wide or #lines == 0 then
    self:name(first, indent)
  else
    self:add(first .. "  " .. table.remove(lines, 1))
  end
  for _, line in ipairs(lines) do self:add((" "):rep(margin) .. line) end
end

--- Rows as columns; the last one is wrapped. Cells are Markdown.
function Writer:rows(rows, indent)
  local plain, count = plain_rows(rows)
  if count == 1 then
    for _, row in ipairs(plain) do self:para(row[1], indent) end
    return
  end
  local widths = widths_of(plain, count)
  for _, row in ipairs(plain) do self:row(row, widths, count, indent or 2) end
end

--- All of it, with a line end.
function Writer:text()
  return table.concat(self.lines, "\n") .. "\n"
end

return text
