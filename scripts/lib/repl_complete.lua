-- repl_complete.lua - what could stand at a place of the text that is being typed.  -- internal
--
-- at() finds out what the place is (a name, a member, a field of a call's table, a value of a field, a string, the
-- argument of a command) and lists what fits there. It runs nothing that people wrote, makes no client and asks no
-- service; what it reads outside of the VM (files, the journal) is bounded in time by repl_found.
--
-- A candidate is { text=, display=, kind= }: text replaces what stands from `from` to the point.

local fields_of = require "perigee.repl_fields"
local lexer = require "perigee.repl_lexer"
local peek = require "perigee.repl_peek"

local complete = {}

local MOST <const> = 2000 -- candidates that are given
local MOST_LOOKED_AT <const> = 50000
local LONGEST <const> = 32 * 1024 -- bytes before the point; in a longer text nothing is offered
local LOOK_AHEAD <const> = 8 * 1024 -- bytes behind the point in which a table goes on

-- ---- lists of candidates ------------------------------------------------------------------------------------------------

local function new_list(from, start)
  return { from = from, start = start, seen = {} }
end

-- Keys, ids and names come from anywhere: nothing that a terminal might obey gets into the line.
local function is_printable(text)
  return not text:find "[%c\127]" and not text:find "\xC2[\x80-\x9F]" and utf8.len(text) ~= nil
end

-- Adds a candidate if it begins as the text does.
local function add(list, text, display, kind)
  if #list >= MOST_LOOKED_AT or list.seen[text] or text:sub(1, #list.start) ~= list.start then return end
  if not is_printable(text) then return end
  list.seen[text] = true
  list[#list + 1] = { text = text, display = display and is_printable(display) and display or nil, kind = kind }
end

local function finished(list)
  table.sort(list, function(a, b) return a.text < b.text end)
  return { from = list.from, candidates = table.move(list, 1, math.min(#list, MOST), 1, {}) }
end

local function nothing(point)
  return { from = point, candidates = {} }
end

-- ---- where the point is ----------------------------------------------------------------------------------------------------

-- The token before tokens[i] that is no comment, and its index.
local function code_before(tokens, i)
  repeat i = i - 1 until not tokens[i] or tokens[i].kind ~= "comment"
  return tokens[i], i
end

-- Splits off the word at the end of the text: its bytes, and the index of the last token before it.
local function split_word(state)
  local tokens = state.tokens
  local last = tokens[#tokens]
  if last and (last.kind == "name" or last.kind == "keyword") and last.to == #state.text then
    return last.text, select(2, code_before(tokens, #tokens))
  end
  local before = #tokens
  if last and last.kind == "comment" then before = select(2, code_before(tokens, #tokens)) end
  return "", before
end

-- How many arguments stand between the bracket at tokens[first] and tokens[index], of a call in the same block.
local function arguments_before(tokens, first, index)
  local count, depth = 0, 0
  for i = first + 1, index - 1 do
    local text = tokens[i].kind == "symbol" and tokens[i].text
    if text == "(" or text == "{" or text == "[" then depth = depth + 1 end
    if text == ")" or text == "}" or text == "]" then depth = depth - 1 end
    if text == "," and depth == 0 and tokens[i].depth == tokens[index].depth then count = count + 1 end
  end
  return count
end

-- What the call is that takes the table or string at tokens[index]: { thing = receiver, path=, key=, is_method=, position= },
-- or nil. around: what is open around it (of state.nest).
local function callee(session, state, index, around)
  local tokens, position = state.tokens, 1
  local prior, at = code_before(tokens, index)
  if prior and prior.kind == "symbol" and (prior.text == "(" or prior.text == ",") then
    if around.kind ~= "(" then return nil end
    position = 1 + arguments_before(tokens, around.index, index)
    at = select(2, code_before(tokens, around.index))
  end
  local chain = tokens[at] and lexer.chain(state, at)
  if not chain or chain.string then return nil end
  local visible, last = lexer.visible(state), chain[#chain]
  local receiver = table.move(chain, 1, #chain - 1, 1, { name = chain.name })
  local _, path = peek.chain(session, chain, visible)
  return { thing = last and peek.chain(session, receiver, visible) or nil, path = path, key = last and last.key or chain.name,
    is_method = last ~= nil and last.mark == ":", position = position }
end

-- The names given in the table whose brace is at tokens[index], behind the point as well: { [name] = text of its value }.
local function given_in(state, text, index)
  local brace = state.tokens[index]
  text = text:sub(brace.from, #state.text + LOOK_AHEAD)
  local tokens, given, depth = lexer.scan(text).tokens, {}, 0
  for i, token in ipairs(tokens) do
    if token.kind == "symbol" then
      if token.text == "{" or token.text == "(" or token.text == "[" then depth = depth + 1 end
      if token.text == "}" or token.text == ")" or token.text == "]" then depth = depth - 1 end
      if depth <= 0 then break end
    elseif depth == 1 and token.kind == "name" and tokens[i + 1] and tokens[i + 1].text == "=" then
      local value = tokens[i + 2]
      given[token.text] = value and text:sub(value.body or value.from, value.last or value.to) or ""
    end
  end
  return given
end

-- What is known of the table whose brace is nest[level]: its fields and what is given in it. A table in a table is that of
-- a field: jobs.submit { spec = { … } }.
local function table_at(session, state, level, text)
  local index = state.nest[level].index
  local given = given_in(state, text, index)
  local call, within, outer
  local prior, at = code_before(state.tokens, index)
  if prior and prior.text == "=" and level > 1 and state.nest[level - 1].kind == "{" then
    local name = code_before(state.tokens, at)
    within = name and name.kind == "name" and name.text or nil
    outer = given_in(state, text, state.nest[level - 1].index)
    call = within and level > 2 and callee(session, state, state.nest[level - 1].index, state.nest[level - 2])
  else
    call = level > 1 and callee(session, state, index, state.nest[level - 1])
  end
  if not call then return nil end
  return fields_of.of_call(call, given, within, outer), given, call
end

-- ---- names and members ------------------------------------------------------------------------------------------------------

local function add_names(session, state, list)
  local ready, lua = peek.names(session)
  for name in pairs(lexer.visible(state)) do add(list, name, nil, "local") end
  local hidden = list.start:sub(1, 1) ~= "_"
  for name in pairs(ready) do
    if not (hidden and name:sub(1, 1) == "_") then add(list, name, nil, "name") end
  end
  if list.start == "" then return end -- everything that Lua has would hide what is of use
  for name in pairs(lua) do add(list, name, nil, "name") end
  for word in pairs(lexer.KEYWORDS) do add(list, word, nil, "keyword") end
end

local function add_members(thing, mark, list)
  local hidden = list.start:sub(1, 1) ~= "_"
  for name, kind in pairs(peek.members(thing, mark)) do
    if not (hidden and name:sub(1, 1) == "_") then add(list, name, nil, kind == "function" and "function" or "field") end
  end
end

local function add_fields(list, fields, given, follows)
  for _, field in ipairs(fields) do
    if given[field.name] == nil or field.name == list.start then
      add(list, follows and field.name or field.name .. " = ", ("%s  (%s)"):format(field.name, fields_of.words(field)), "field")
    end
  end
end

-- What the field takes: texts of choices, or nil. GPU types are those that the client has prices for.
local function choices_of(field, call)
  if field.choices then return field.choices end
  if field.name ~= "gpuType" then return nil end
  local prices, names = peek.own(call.thing, "prices"), {}
  if type(prices) ~= "table" then return nil end
  for name in next, prices do
    if type(name) == "string" then names[#names + 1] = name end
  end
  return names
end

-- ---- strings ------------------------------------------------------------------------------------------------------------------

-- The first argument of these is about a job.
local JOB_ARGUMENT <const> = { ["jobs.get"] = true, ["jobs.wait"] = true, ["jobs.stop"] = true }
local REMOTE_METHODS <const> = {
  sxwl = { job_status = true, stop_job = true, wait = true, download = true },
  deai = { job = true, delete_job = true, wait_job = true, inferences = true, submissions = true },
}
local REMOTE_FIELDS <const> = { job_id = "sxwl", jobID = "deai" }

local function add_jobs(session, list, ending, display_only_names)
  for _, job in ipairs(require("perigee.repl_found").jobs(session)) do
    local words = ("%s  %s"):format(tostring(job.name), tostring(job.state))
    if type(job.name) == "string" then add(list, job.name .. ending, words, "job") end
    if not display_only_names and list.start ~= "" and type(job.id) == "string" then
      add(list, job.id .. ending, ("%s  %s"):format(job.id, words), "job")
    end
  end
end

local function add_remote(session, list, service, ending)
  for _, job in ipairs(require("perigee.repl_found").jobs(session)) do
    if job.service == service and job.remote_id then
      add(list, tostring(job.remote_id) .. ending, ("%s  %s  %s"):format(job.remote_id, tostring(job.name), tostring(job.state)), "job")
    end
  end
end

local function add_modules(list, ending)
  for _, name in pairs(require("perigee.repl_names").modules) do add(list, name .. ending, nil, "module") end
  for _, name in pairs(require("perigee.repl_names").clients) do add(list, name .. ending, nil, "module") end
end

-- What a string is for that is the value of a field: true if that is known.
local function string_of_field(session, state, list, name, text, ending)
  local fields, _, call = table_at(session, state, #state.nest, text)
  local field = fields and fields_of.find(fields, name)
  local choices = field and choices_of(field, call)
  if choices then
    for _, choice in ipairs(choices) do add(list, choice .. ending, nil, "value") end
    return true
  end
  if REMOTE_FIELDS[name] then
    add_remote(session, list, REMOTE_FIELDS[name], ending)
    return true
  end
  return false
end

-- What a string is for that is the first argument of a call: true if that is known.
local function string_of_call(session, list, call, ending)
  local service = peek.service(call.thing)
  if JOB_ARGUMENT[call.path] then
    add_jobs(session, list, ending)
  elseif call.path == "require" then
    add_modules(list, ending)
  elseif service and REMOTE_METHODS[service][call.key] then
    add_remote(session, list, service, ending)
  else
    return false
  end
  return true
end

local function add_files(list, ending)
  for _, path in ipairs(require("perigee.repl_found").files(list.start)) do
    if not path:find "[\\\"']" then add(list, path:sub(-1) == "/" and path or path .. ending, nil, "file") end
  end
end

local function in_string(session, state, text, point)
  local token, tokens = state.open, state.tokens
  local start = state.text:sub(token.body)
  if token.long or start:find "\\" then return nothing(point) end
  local list = new_list(token.body - 1, start)
  local quote = state.text:sub(token.from, token.from)
  local ending = text:sub(point + 1, point + 1) == quote and "" or quote
  local prior, at = code_before(tokens, #tokens)
  local nest = state.nest[#state.nest]
  local known = false
  if prior and prior.text == "=" and nest.kind == "{" then
    local name = code_before(tokens, at)
    known = name ~= nil and name.kind == "name" and string_of_field(session, state, list, name.text, text, ending)
  elseif prior and prior.text == "[" and prior.kind == "symbol" then
    local chain = at > 1 and lexer.chain(state, select(2, code_before(tokens, at)))
    local thing = chain and peek.chain(session, chain, lexer.visible(state))
    if thing then
      for key in pairs(peek.keys(thing)) do
        if not key:find "[%c\\\"']" and utf8.len(key) then add(list, key .. ending, nil, "field") end
      end
      known = true
    end
  elseif prior then
    local call = callee(session, state, #tokens, nest)
    known = call ~= nil and call.position == 1 and string_of_call(session, list, call, ending)
  end
  if not known then add_files(list, ending) end
  return finished(list)
end

-- ---- code -----------------------------------------------------------------------------------------------------------------------

-- The point is where an entry of a table begins: after its brace or a separator.
local function begins_entry(state, before)
  local nest = state.nest[#state.nest]
  if nest.kind ~= "{" then return false end
  local token = state.tokens[before]
  return before == nest.index or token.text == "," or token.text == ";"
end

-- `jobType = |`: the value of a field of which the choices are known.
local function add_choices(session, state, before, list, text)
  local nest, token = state.nest[#state.nest], state.tokens[before]
  if nest.kind ~= "{" or not token or token.text ~= "=" then return false end
  local name = code_before(state.tokens, before)
  if not name or name.kind ~= "name" then return false end
  local fields, _, call = table_at(session, state, #state.nest, text)
  local field = fields and fields_of.find(fields, name.text)
  local choices = field and choices_of(field, call)
  for _, choice in ipairs(choices or {}) do add(list, '"' .. choice .. '"', nil, "value") end
  return choices ~= nil
end

-- At the beginning of a further line of a block, where nobody asks for all names.
local function is_indent(state, start)
  return start == "" and state.text:find "\n%s*$" ~= nil
end

local function in_code(session, state, text, point)
  local tokens = state.tokens
  local start, before = split_word(state)
  local last, prior = tokens[#tokens], tokens[before]
  if last and last.to == #state.text and (last.kind == "number" or last.kind == "other" or last.open) then return nothing(point) end
  if last and (last.heading or state.heading) or state.declares then return nothing(point) end
  local list = new_list(point - #start, start)
  if prior and prior.kind == "symbol" and (prior.text == "." or prior.text == ":") then
    local chain = lexer.chain(state, select(2, code_before(tokens, before)))
    local thing = chain and peek.chain(session, chain, lexer.visible(state))
    if thing then add_members(thing, prior.text, list) end
  elseif begins_entry(state, before) then
    local fields, given = table_at(session, state, #state.nest, text)
    if fields then
      add_fields(list, fields, given, text:find("^%s*=", point + 1) ~= nil)
    elseif not is_indent(state, start) then
      add_names(session, state, list)
    end
  elseif not (start == "" and add_choices(session, state, before, list, text)) and not is_indent(state, start) then
    add_names(session, state, list)
  end
  return finished(list)
end

-- Lua that begins after `offset` bytes of the text.
local function lua_at(session, text, point, offset)
  local state = lexer.scan(text:sub(offset + 1, point))
  local rest = text:sub(offset + 1)
  local found
  if state.open and state.open.kind == "comment" then
    found = nothing(point - offset)
  elseif state.open then
    found = in_string(session, state, rest, point - offset)
  else
    found = in_code(session, state, rest, point - offset)
  end
  found.from = found.from + offset
  return found
end

-- ---- commands and help --------------------------------------------------------------------------------------------------------------

local function commands_of(session)
  return session.commands or require "perigee.repl_commands"
end

local function add_commands(session, list)
  for _, command in ipairs(commands_of(session).list) do
    local blank = command.usage and command.usage:find " " and " " or ""
    add(list, ":" .. command.name .. blank, (":%s  %s"):format(command.name, command.summary or ""), "command")
  end
end

-- What help knows by its own names: functions, calls, kinds of errors, pages.
local function add_subjects(list)
  for _, name in ipairs(require("perigee.repl_help").names()) do add(list, name, nil, "help") end
end

-- The subjects of help: names, members by either mark, commands.
local function help_at(session, text, point, offset)
  local start = text:sub(offset + 1, point)
  local list = new_list(offset, start)
  local owner, mark = start:match "^([%w_.]-)([.:])[%w_]*$"
  local state = lexer.scan(owner or "")
  local chain = #state.tokens > 0 and lexer.chain(state, #state.tokens)
  local thing = chain and peek.chain(session, chain)
  if owner == "" and mark == ":" then
    for _, command in ipairs(commands_of(session).list) do
      add(list, ":" .. command.name, (":%s  %s"):format(command.name, command.summary or ""), "command")
    end
  elseif thing then
    for _, by in ipairs { mark, ":" } do
      for name in pairs(peek.members(thing, by)) do
        if not name:find "^_" then add(list, owner .. mark .. name, nil, "help") end
      end
    end
  elseif not owner then
    for name in pairs((peek.names(session))) do add(list, name, nil, "name") end
  end
  if start ~= "" then add_subjects(list) end
  return finished(list)
end

-- What the word after `offset` bytes may be, by the command's line of usage: ":save [-f] FILE", ":yes [on | off]". What is
-- in capitals stands for something; the rest is written as it is.
local function by_usage(session, command, text, point, offset)
  local usage = command.usage or ""
  if command.name == "help" then return help_at(session, text, point, offset) end
  if usage:find "LINE" then return lua_at(session, text, point, offset) end
  local word = text:sub(offset + 1, point):match "%S*$"
  local list = new_list(point - #word, word)
  if usage:find "FILE" then add_files(list, "") end
  if usage:find "JOB" then add_jobs(session, list, "") end
  if usage:find "STATE" then
    for _, state in ipairs(require("perigee.job_words").STATES) do add(list, state, nil, "value") end
  end
  if usage:find "TASK" then
    for _, one in ipairs(session.tasks) do
      add(list, tostring(one.number), ("%d  %s"):format(one.number, one.text:match "[^\n]*"), "value")
    end
  end
  for choice in (usage:match "%s(.*)" or ""):gmatch "%f[%w%-]%-?%l[%l_]*" do add(list, choice, nil, "value") end
  return finished(list)
end

local function command_at(session, text, point)
  local head, name = text:sub(1, point):match "^(%s*:)([%w_%-]*)$"
  if head then
    local list = new_list(#head - 1, ":" .. name)
    add_commands(session, list)
    return finished(list)
  end
  head, name = text:sub(1, point):match "^(%s*:([%w_%-]+)%s+)"
  local commands = head and commands_of(session)
  local command = commands and commands.find(name)
  if not command then return nothing(point) end
  if not command.complete then return by_usage(session, command, text, point, #head) end
  local argument = text:sub(#head + 1, point)
  local word = argument:match "%S*$"
  local list = new_list(point - #word, word)
  for _, one in ipairs(command.complete(session, argument) or {}) do
    if type(one) == "table" then add(list, one.text, one.display, "value") else add(list, one, nil, "value") end
  end
  return finished(list)
end

--- What could stand at the point: { from=, candidates = { { text=, display=, kind= }, … } }. point and from are numbers of
--- bytes before the place; a candidate's text replaces what stands between them. Waits for files and the journal.
function complete.at(session, text, point)
  point = math.max(0, math.min(point, #text))
  if point > LONGEST then return nothing(point) end
  local before = text:sub(1, point)
  if before:find "^%s*:" then return command_at(session, text, point) end
  local _, mark = before:find "^%s*%?%s*"
  if mark then return help_at(session, text, point, mark) end
  return lua_at(session, text, point, 0)
end

return complete
