-- perigee.columns: rows of text as a table that lines up, whatever the characters.  -- internal

local term = require "perigee.core.term"

local columns = {}

local GAP <const> = "  "

--- The rows as lines, each with a line end. rows: lists of texts (a number is shown as it is); the first may be a
--- head. options.right: columns with their text at the right, { [3] = true }; options.indent: put before each line.
function columns.render(rows, options)
  options = options or {}
  local right, indent = options.right or {}, options.indent or ""
  local widths, cells = {}, {}
  for i, row in ipairs(rows) do
    cells[i] = {}
    for c, value in ipairs(row) do
      local text = term.escape((tostring(value):gsub("%s*[\r\n]%s*", " "))) -- a cell is one line
      cells[i][c] = text
      widths[c] = math.max(widths[c] or 0, term.width(text))
    end
  end
  local lines = {}
  for i, row in ipairs(cells) do
    local line = {}
    for c, text in ipairs(row) do
      local pad = (" "):rep(widths[c] - term.width(text))
      line[c] = right[c] and pad .. text or text .. pad
    end
    lines[i] = (indent .. table.concat(line, GAP)):gsub("%s+$", "") .. "\n"
  end
  return table.concat(lines)
end

return columns
