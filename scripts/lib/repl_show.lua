-- repl_show.lua - values as the prompt echoes them.  -- internal
--
-- Pure: takes values, gives text that is safe on a terminal; nothing is printed, called or changed here.  Fields are
-- read raw, so that looking at a value never runs what a script has put into a metatable, but for its __tostring.
-- Tables are drawn by perigee.inspect; what is here are the forms of whole answers: rows as columns, jobs, modules,
-- functions.  Errors are in repl_show_error.lua.

local amount = require "perigee.amount"
local errors = require "perigee.error"
local functions = require "perigee.repl_functions"
local inspect = require "perigee.inspect"
local json = require "perigee.json"
local paint = require "perigee.repl_paint"
local secret = require "perigee.core.secret"
local term = require "perigee.core.term"

local show = {}

local COLUMNS <const> = 100
local DEPTH <const>, ITEMS <const>, BYTES <const> = 4, 50, 2000
local MOST_ROWS <const> = 20
local WIDEST_CELL <const> = 40
-- At least so much of the cells of a list must be filled for it to be a table of rows.
local FILLED <const> = 0.5
-- So many rows are looked at to decide; those that are shown are among them.
local LOOKED_AT <const> = 100
-- What tells one row from another stands first, in this order; the rest by the alphabet.
local FIRST <const> = { "id", "job_id", "jobID", "jobId", "infer_id", "name", "jobName", "gpuProd", "key", "service",
  "kind", "state", "status", "ok" }

local RANK <const> = {}
for i, name in ipairs(FIRST) do RANK[name] = i end

-- ---- functions --------------------------------------------------------------------------------------------------

local function function_text(f)
  local name = functions.name(f)
  local list, info = functions.parameters(f, name)
  local text = ("function%s(%s)"):format(name and " " .. name or "", list)
  if not name and info and info.source:sub(1, 1) ~= "@" then
    text = ("%s, %s:%d"):format(text, info.short_src, info.linedefined)
  end
  return term.escape(text)
end

-- ---- single values in words -------------------------------------------------------------------------------------

local function class_of(value)
  local meta = type(value) == "table" and getmetatable(value)
  return type(meta) == "table" and rawget(meta, "__name") or nil
end

local function rows_text(list)
  return ("<rows of %s: `for row in … do`, or :all() for a list>"):format(tostring(rawget(list, "operation") or "jobs"))
end

-- The text that a value gives itself, on one line; a script's __tostring may raise.
local function own_text(value)
  local ok, text = pcall(tostring, value)
  return ok and term.escape((text:gsub("%s*\n%s*", " "))) or "table"
end

-- In few words, as part of something larger; nil for what inspect shows well.
local function words(value)
  local kind = type(value)
  if kind == "function" then return "<" .. function_text(value) .. ">" end
  if kind ~= "table" and kind ~= "userdata" then return nil end
  if amount.is(value) then return tostring(value) end
  if errors.is(value) then
    return term.escape((("<%s: %s>"):format(tostring(value.kind), tostring(value.message)):gsub("%s+", " ")))
  end
  local class = class_of(value)
  if class == "perigee.job" then return "<" .. own_text(value) .. ">" end
  if class == "perigee.deai.list" or class == "perigee.sxwl.list" then return rows_text(value) end
end

local function options_for(context)
  return { width = context.columns, depth = DEPTH, items = ITEMS, bytes = BYTES }
end

-- ---- a list of like rows ----------------------------------------------------------------------------------------

local function is_plain(value)
  return type(value) == "table" and not json.is_number(value) and not amount.is(value) and not errors.is(value)
    and not secret.is(value) and value ~= json.null
end

-- True for a table that has nothing but a list part.
local function is_list(value)
  if not is_plain(value) or getmetatable(value) ~= nil and not json.is_array(value) then return false end
  for key in next, value do
    if math.type(key) ~= "integer" and key ~= "n" then return false end
  end
  return rawlen(value) > 0
end

local function is_list_of_jobs(value)
  if not is_list(value) then return false end
  for i = 1, rawlen(value) do
    if class_of(rawget(value, i)) ~= "perigee.job" then return false end
  end
  return true
end

-- The keys of the rows with how many rows have each, or nil if this is no list of like rows.
local function keys_of_rows(value)
  if not is_list(value) or rawlen(value) < 2 then return nil end
  local counts, filled, distinct, length = {}, 0, 0, math.min(rawlen(value), LOOKED_AT)
  for i = 1, length do
    local row = rawget(value, i)
    if not is_plain(row) or class_of(row) then return nil end
    for key in next, row do
      if type(key) ~= "string" then return nil end
      if not counts[key] then distinct = distinct + 1 end
      counts[key] = (counts[key] or 0) + 1
      filled = filled + 1
    end
  end
  if distinct == 0 or filled < distinct * length * FILLED then return nil end
  return counts
end

local function sorted_columns(counts)
  local names = {}
  for name in pairs(counts) do names[#names + 1] = name end
  table.sort(names, function(a, b)
    local left, right = RANK[a] or math.huge, RANK[b] or math.huge
    if left ~= right then return left < right end
    return a < b
  end)
  return names
end

-- One line at most WIDEST_CELL wide, and whether it is a number.
local function cell(value)
  if value == nil then return "" end
  local text
  if type(value) == "string" then
    text = term.escape((value:gsub("%s*[\r\n]%s*", " ")))
  elseif type(value) == "table" and not words(value) then
    text = inspect._render(value, { depth = 2, items = 10, bytes = 100, width = 1000 }, words):gsub("%s*\n%s*", " ")
  else
    text = words(value) or inspect._render(value, { bytes = 100 })
  end
  local number = type(value) == "number" or amount.is(value) or json.is_number(value)
  return term.cut(text, WIDEST_CELL), number
end

-- The columns with their cells: { name=, cells=, width=, right= }.
local function draw_columns(rows, names, count)
  local list = {}
  for c, name in ipairs(names) do
    local title = term.cut(term.escape(name), WIDEST_CELL)
    local column = { name = title, cells = {}, width = term.width(title), right = true }
    for i = 1, count do
      local text, number = cell(rawget(rows[i], name))
      column.cells[i] = text
      column.width = math.max(column.width, term.width(text))
      if text ~= "" and not number then column.right = false end
    end
    list[c] = column
  end
  return list
end

-- So many columns as fit, at least one, and the names of the others.
local function fitting(columns, width, used)
  local shown, left_out = {}, {}
  for _, column in ipairs(columns) do
    used = used + 2 + column.width
    if #shown == 0 or used <= width and #left_out == 0 then
      shown[#shown + 1] = column
    else
      left_out[#left_out + 1] = column.name
    end
  end
  return shown, left_out
end

local function line_of(number, digits, columns, pick, colour)
  local parts = { (" "):rep(digits - #number) .. number }
  for i, column in ipairs(columns) do
    local text = pick(column)
    local pad = (" "):rep(column.width - term.width(text))
    parts[i + 1] = column.right and pad .. text or text .. pad
  end
  local line = table.concat(parts, "  "):gsub("%s+$", "")
  return colour and colour(line) or line
end

local function rows_as_columns(rows, counts, context)
  local total, names = #rows, sorted_columns(counts)
  local count = total <= MOST_ROWS + 2 and total or MOST_ROWS
  local digits = #tostring(count)
  local shown, left_out = fitting(draw_columns(rows, names, count), context.columns, digits)
  local lines = { line_of("", digits, shown, function(column) return column.name end, context.color and paint.head) }
  for i = 1, count do
    lines[#lines + 1] = line_of(tostring(i), digits, shown, function(column) return column.cells[i] end)
  end
  if total > count then lines[#lines + 1] = ("… %d more"):format(total - count) end
  if #left_out > 0 then lines[#lines + 1] = "not shown: " .. table.concat(left_out, ", ") end
  return table.concat(lines, "\n"), total > count or #left_out > 0
end

-- ---- jobs, modules, clients -------------------------------------------------------------------------------------

local function job_text(job, context)
  local job_words = require "perigee.job_words"
  local lines = { own_text(job) }
  local function add(label, text)
    if text ~= nil and text ~= "" then lines[#lines + 1] = ("  %-10s%s"):format(label, text) end
  end
  add("service", term.escape(("%s %s"):format(tostring(rawget(job, "service")), tostring(rawget(job, "kind")))))
  local remote, reason, err = rawget(job, "remote_id"), rawget(job, "reason"), rawget(job, "error")
  add("remote id", remote and term.escape(tostring(remote)))
  for _, name in ipairs { "created", "started", "ended" } do
    local at = rawget(job, name .. "_at")
    if type(at) == "number" then add(name, job_words.ago(at)) end
  end
  add("reason", reason and term.escape(tostring(reason)))
  if type(err) == "table" then add("error", term.escape(tostring(rawget(err, "message") or rawget(err, "kind")))) end
  local cut = false
  for _, name in ipairs { "spec", "result" } do
    local value = rawget(job, name)
    if type(value) == "table" then
      local limits = { depth = 2, items = 20, bytes = 200, width = math.max(context.columns - 12, 20) }
      local text, shortened = inspect._render(value, limits, words)
      add(name, (text:gsub("\n", "\n" .. (" "):rep(12))))
      cut = cut or shortened
    end
  end
  return table.concat(lines, "\n"), cut
end

-- All its figures; those of a durable one are the journal's, which would have to be waited for.
local function budget_text(budget, context)
  if budget:durable() then return ("%s   (:lines() shows its figures)"):format(own_text(budget)) end
  local rows = budget:lines()
  local text = rows_as_columns(rows, keys_of_rows { rows[1], rows[1] }, context)
  return own_text(budget) .. "\n" .. text
end

-- A module of perigee's or of Lua's: its functions.
local function module_text(value, name, context)
  local list = {}
  for key, member in next, value do
    if type(key) == "string" and not key:find "^_" then
      local taken = type(member) == "function" and functions.parameters(member, name .. "." .. key)
      list[#list + 1] = taken and ("%s(%s)"):format(key, taken) or key
    end
  end
  table.sort(list)
  local lines, line = { ("module %s   (?%s tells more)"):format(name, name) }, " "
  for _, one in ipairs(list) do
    one = term.escape(one)
    if term.width(line) + term.width(one) + 2 > context.columns and line ~= " " then
      lines[#lines + 1], line = line, " "
    end
    line = line .. " " .. one
  end
  if line ~= " " then lines[#lines + 1] = line end
  return table.concat(lines, "\n")
end

-- ---- whole answers ----------------------------------------------------------------------------------------------

local function error_text(err, context)
  return (require("perigee.repl_show_error").value(err, context):gsub("\n$", ""))
end

-- One value as the lines of an answer, and whether something was left out.
local function answer(value, context)
  if amount.is(value) then return tostring(value) end
  if errors.is(value) then return error_text(value, context) end
  if type(value) == "function" then return function_text(value) end
  if is_list_of_jobs(value) then
    return (require("perigee.jobs_report").list(value, { width = context.columns }):gsub("\n$", ""))
  end
  local class = class_of(value)
  if class == "perigee.job" then return job_text(value, context) end
  if type(value) == "userdata" then
    if package.loaded["perigee.core.budget"] and package.loaded["perigee.core.budget"].is_budget(value) then
      return budget_text(value, context)
    end
    local text = inspect._render(value)
    return text:match "^<(.+ .+)>$" or text -- "task 3 (done)", "budget \"night\""
  end
  if class == "perigee.deai.client" or class == "perigee.sxwl.client" then
    return ("%s   (?%s tells what it can do)"):format(own_text(value), class:match "perigee%.(%l+)")
  end
  local counts = keys_of_rows(value)
  if counts then return rows_as_columns(value, counts, context) end
  local module = type(value) == "table" and functions.name(value)
  if module and not module:find(".", 1, true) then return module_text(value, module, context) end
  return inspect._render(value, options_for(context), words)
end

local function painted(text, value, context)
  local kind = type(value)
  local has_words = kind == "function" or kind == "userdata" and not amount.is(value) or errors.is(value)
  if not context.color or has_words or is_list_of_jobs(value) or keys_of_rows(value) then return text end
  return paint.lua(text)
end

-- Where the rest of what was shortened can be had.
local function hint(values, i, context)
  local name = i == values.n and "_" or "_" .. i
  local text = type(values[i]) == "string" and ("(shortened: print(%s) shows all of it)"):format(name)
    or ("(shortened: print(inspect(%s)) shows more)"):format(name)
  return context.color and paint.faint(text) or text
end

--- The values of an expression (as of table.pack) as text: "" for none, else each from a line of its own, with a line
--- end.  options: columns (100), color.
function show.values(values, options)
  options = options or {}
  local context = { columns = math.max(options.columns or COLUMNS, 20), color = options.color }
  local lines, cut = {}, nil
  for i = 1, values.n do
    local text, shortened = answer(values[i], context)
    lines[#lines + 1] = painted(text, values[i], context)
    if shortened then cut = i end
  end
  if #lines == 0 then return "" end
  if cut then lines[#lines + 1] = hint(values, cut, context) end
  return table.concat(lines, "\n") .. "\n"
end

--- What a failed input tells: see repl_show_error.lua.
function show.error(err, options)
  return require("perigee.repl_show_error").text(err, options)
end

return show
