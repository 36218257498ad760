-- repl_show_error.lua - what went wrong with an input, for the person at the prompt.  -- internal
--
-- Pure: an error in, text out.  What it means for the money and what to do are the sentences of perigee.report.

local amount = require "perigee.amount"
local errors = require "perigee.error"
local inspect = require "perigee.inspect"
local paint = require "perigee.repl_paint"
local report = require "perigee.report"
local term = require "perigee.core.term"

local show_error = {}

local escape = term.escape
local MOST_FRAMES <const> = 8
-- Said elsewhere already, or of use to the program only.
local KNOWN <const> = {}
for name in ([[kind message outcome retryable hint service operation status code attempt url job_id jobID infer_id
  elapsed]]):gmatch "%S+" do
  KNOWN[name] = true
end

-- ---- syntax -----------------------------------------------------------------------------------------------------

local ESCAPED <const> = "^<\\(%d+)>$"

-- What the parser stopped at, and the message with it: of a character that is none of Lua's it names the first byte.
local function token_of(message, line)
  local token = message:match "near '(.*)'$"
  local byte = token and token:match(ESCAPED)
  if not byte then return token, message end
  local at = line:find(string.char(tonumber(byte)), 1, true)
  token = at and line:match("^" .. utf8.charpattern, at)
  return token, token and message:gsub("near '.*'$", function() return ("near '%s'"):format(token) end) or message
end

local function visible(text)
  return escape((text:gsub("\t", " ")))
end

local function numbered(line, number)
  return ("  %d | %s\n"):format(number, visible(line))
end

-- Where the token stands last: the parser reads no further.
local function last_place(line, token)
  local at
  local found = line:find(token, 1, true)
  while found do
    at, found = found, line:find(token, found + 1, true)
  end
  return at
end

-- The line, and below it a mark at the token; no token: at the end.
local function marked(line, number, token, color)
  local out = numbered(line, number)
  local at = not token and #line + 1 or token ~= "" and last_place(line, token)
  if not at then return out end
  local cells = #("  %d | "):format(number) + term.width(visible(line:sub(1, at - 1)))
  local mark = ("^"):rep(math.max(token and term.width(visible(token)) or 1, 1))
  return out .. (" "):rep(cells) .. (color and paint.bad(mark) or mark) .. "\n"
end

local function line_at(text, number)
  local at = 0
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    at = at + 1
    if at == number then return line end
  end
end

--- "input:3:2: unexpected symbol near '='" -> its line and the message without the place.
local function place_of(err)
  local line, message = err:match "^input:%d+:(%d+): (.*)$"
  return tonumber(line), message
end

local SYNTAX <const> = {
  "near '.*'$", "near <eof>$", "^no visible label", "^break outside", "^attempt to assign to const", "^label '", "^<goto ",
  "^multiple to%-be%-closed", "^unknown attribute", "^too many", "^function or expression needs",
}

local function is_syntax(err)
  local _, message = place_of(err)
  if not message then return false end
  for _, pattern in ipairs(SYNTAX) do
    if message:find(pattern) then return true end
  end
  return false
end

-- ---- what is missing --------------------------------------------------------------------------------------------

-- What every session has by name.
local function ready_names()
  local ready = require "perigee.repl_names"
  local list = {}
  for _, from in ipairs { ready.modules, ready.clients, _G } do
    for name in next, from do
      if type(name) == "string" then list[#list + 1] = name end
    end
  end
  table.sort(list)
  return list
end

-- "attempt to call a nil value (global 'tsak')", "… (field 'mpa')": the name that was meant.
local function nearest_name(err, options)
  local kind, word = err:match "a nil value %((%l+) '([%w_]+)'%)"
  if kind == "global" then
    local near = errors.nearest(word, options.names or ready_names())
    return near ~= word and near or nil
  end
  if kind ~= "field" and kind ~= "method" then return nil end
  local owner, mark = (options.text or ""):match("([%w_]+)%s*([.:])%s*" .. word)
  return owner and require("perigee.repl_help").nearest(owner .. mark .. word)
end

-- "module 'perigee.tsk' not found" and twenty places where it was looked for.
local function missing_module(message)
  local name = message:match "^module '([^']+)' not found:"
  if not name then return nil end
  local list = {}
  for _, module in pairs(require("perigee.repl_names").modules) do list[#list + 1] = module end
  table.sort(list)
  return ("there is no module %s"):format(name), errors.nearest(name, list) or errors.nearest("perigee." .. name, list)
end

-- ---- the parts of an answer -------------------------------------------------------------------------------------

local function heading(kind, message, color)
  local lines = {}
  for line in (tostring(kind) .. ": " .. tostring(message)):gmatch "[^\n]+" do lines[#lines + 1] = escape(line) end
  lines[1] = color and paint.bad(lines[1]) or lines[1] or kind
  return table.concat(lines, "\n") .. "\n"
end

local function paragraph(label, text)
  if not text or text == "" then return "" end
  local out = {}
  for line in text:gmatch "[^\n]+" do
    out[#out + 1] = ("  %-7s%s\n"):format(out[1] and "" or label, escape(line))
  end
  return table.concat(out)
end

-- Of an error object: what it carries beside what the sentences say.
local function details(err)
  local names = {}
  for name in next, err do
    if type(name) == "string" and not KNOWN[name] then names[#names + 1] = name end
  end
  table.sort(names)
  local out = {}
  for _, name in ipairs(names) do
    local value = rawget(err, name)
    local limits = { depth = 2, items = 5, bytes = 300, width = 1000 }
    local text = amount.is(value) and tostring(value) or inspect.text(value, limits)
    out[#out + 1] = paragraph(escape(name) .. " ", (text:gsub("%s*\n%s*", " ")))
  end
  return table.concat(out)
end

-- The frames of what was typed; those that called it are the prompt's own.
local function frames_of_input(traceback, origin)
  local lines, last = report.frames(traceback, origin), nil
  for i, line in ipairs(lines) do
    if line:find "^%s+input:%d+:%d+: in main chunk" then last = i end
  end
  return last and table.move(lines, 1, last, 1, {}) or lines
end

local function frames_text(traceback, origin)
  local lines = frames_of_input(traceback, origin)
  local inputs = 0
  for _, line in ipairs(lines) do
    if line:find "^%s+input:" or line:find "^%s+[^%[%s]" then inputs = inputs + 1 end
  end
  if inputs < 2 then return "" end -- the place is in the message, or there is only one line it could be
  local out = {}
  for i, line in ipairs(lines) do
    if i > MOST_FRAMES then
      out[#out + 1] = ("  … %d more\n"):format(#lines - MOST_FRAMES)
      break
    end
    out[#out + 1] = line:gsub("\t", "  ") .. "\n"
  end
  return table.concat(out)
end

-- Of an input of several lines: the one at which the traceback stands.
local function input_line(options)
  local text, number = options.text, (options.traceback or ""):match "\n%s*input:%d+:(%d+): in main chunk"
  if not text or not number or not text:find("\n", 1, true) then return "" end
  local line = line_at(text, tonumber(number))
  return line and numbered(line, tonumber(number)) or ""
end

-- The sentences of report are for the author of a script.
local REWORDED <const> = {
  { ": correct the script at the line below", ": correct the line" },
  { "Correct the script at the line below", "Correct the line" },
  { "run the script again", "try again" },
  { "run it again", "try again" },
}

local function parts_of(err)
  local parts = report.parts(err)
  for _, pair in ipairs(REWORDED) do
    parts.todo = parts.todo and parts.todo:gsub(pair[1], pair[2])
  end
  return paragraph("where", parts.where) .. paragraph("money", parts.money) .. paragraph("do", parts.todo)
end

local function object_text(err, options)
  local out = heading(err.kind, err.message or "", options.color)
  if err.kind == "cancelled" then return out end
  out = out .. parts_of(err)
  return out .. input_line(options) .. frames_text(options.traceback, options.origin)
end

local function syntax_text(err, options)
  local number, message = place_of(err)
  local line = number and options.text and line_at(options.text, number)
  if not line then return heading("syntax error", message or err, options.color) end
  local token, better = token_of(message, line)
  return heading("syntax error", better, options.color) .. marked(line, number, token, options.color)
end

-- An error that begins in a file of the program and is no error object is a fault of the program.
local function fault_text(err, options)
  local first = err:match "^[^\n]*"
  return heading("internal error", first, options.color)
    .. paragraph("do", "This is a fault of perigee itself: please report this line.")
end

-- What Lua's own functions say of their arguments carries the place of those who stand in front of them.
local BORROWED <const> = "^perigee/scripts/lib/prelude[_%l]*%.lua:%d+: "

local function without_borrowed_place(err, options)
  if not err:find(BORROWED) then return err end
  local message = err:gsub(BORROWED, ""):gsub("'raw_(%l+)'", "'%1'"):gsub("'os_(%l+)'", "'%1'"):gsub(" to 'raw'", "")
  local place = options.traceback and options.traceback:match "\t(input:%d+:%d+): "
  return place and place .. ": " .. message or message
end

local function string_text(err, options)
  err = without_borrowed_place(err, options)
  if err:find "^perigee/scripts/[%w_/]+%.lua:%d+: " then return fault_text(err, options) end
  local number, message = place_of(err)
  local line = number and options.text and line_at(options.text, number)
  local missing, near = missing_module(message or err)
  local out = heading("error", missing or message or err, options.color)
  if line and options.text:find("\n", 1, true) then out = out .. numbered(line, number) end
  near = near or nearest_name(err, options)
  if near then out = out .. paragraph("do", ("Did you mean %s?"):format(near)) end
  return out .. frames_text(options.traceback, options.origin)
end

--- What a failed input tells.  options: text (the input), traceback, origin (the traceback of the task in which it
--- began), names (a list of known names, for "did you mean"), columns, color.
function show_error.text(err, options)
  options = options or {}
  if errors.is(err, "invalid") and err.code == "syntax" then return syntax_text(err.message, options) end
  if errors.is(err) then return object_text(err, options) end
  if type(err) == "string" then
    return (not options.traceback and is_syntax(err) and syntax_text or string_text)(err, options)
  end
  local meta = getmetatable(err)
  local ok, text = pcall(tostring, err)
  if not ok or type(meta) ~= "table" or not rawget(meta, "__tostring") then text = inspect.text(err, { depth = 3 }) end
  return heading("error", text, options.color) .. frames_text(options.traceback, options.origin)
end

--- An error as a value that somebody looks at: the same, and all that it carries.
function show_error.value(err, options)
  return heading("error " .. err.kind, err.message or "", options and options.color) .. parts_of(err) .. details(err)
end

return show_error
