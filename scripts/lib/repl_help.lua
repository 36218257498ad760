-- repl_help.lua - `?x` at the prompt: what a name is, takes, gives and costs.  -- internal
--
-- The texts are those of docs/, of the editor stubs and of the tables of operations; here it is found out which of them
-- is meant: a name, a call as it would be typed, a variable of the session, a kind or code of an error, a command, a
-- heading of the manual.  Nothing is called and no client is made.

local amount = require "perigee.amount"
local errors = require "perigee.error"
local functions = require "perigee.repl_functions"
local index = require "perigee.repl_help_index"
local render = require "perigee.repl_help_render"
local secret = require "perigee.core.secret"
local term = require "perigee.core.term"
local text = require "perigee.repl_help_text"

local help = {}

local function context_of(session)
  return { columns = session and session.columns and session.columns() or 80, color = session and session.color }
end

-- ---- commands ---------------------------------------------------------------------------------------------------

local function commands_of(session)
  return session and session.commands or require "perigee.repl_commands"
end

local function command_text(name, session)
  local command, near = commands_of(session).find(name)
  if not command then return nil, near and ":" .. near end
  local writer = text.writer(context_of(session))
  writer:title(command.usage or ":" .. command.name)
  writer:para(command.summary or "")
  local also = type(command.also) == "table" and table.concat(command.also, ", ") or command.also
  if also then writer:para("also " .. also) end
  return writer:text()
end

-- ---- what was asked ---------------------------------------------------------------------------------------------

-- "sxwl:create_job{…}", "task.map(", `require "perigee.task"`, "perigee.task" -> the name in it.
local function subject_of(asked)
  asked = asked:match "^%s*%?*%s*(.-)[%s?]*$"
  asked = asked:match "^require%s*%(?%s*[\"']perigee%.([%w_.]+)[\"']" or asked
  asked = asked:match "^[\"'`](.+)[\"'`]$" or asked
  local call = asked:match "^([%a_][%w_.:]*)%s*[%({\"'].*$"
  return (call or asked):match "^(.-)[.:]?$"
end

-- ---- variables of the session -----------------------------------------------------------------------------------

-- What each session has of its own.
local OF_SESSION <const> = { _G = true, load = true, loadfile = true, dofile = true }

-- A variable that the user has made, raw; found says whether there is one.
local function own_variable(session, name)
  local variable = session and session.locals and session.locals[name]
  if variable then return true, variable.get() end
  local env = session and session.env
  local value = env and rawget(env, name)
  if value == nil or _G[name] == value or OF_SESSION[name] then return false end
  return true, value
end

-- Where the class of the stubs is called otherwise.
local CLASSES <const> = { ["perigee.retry"] = "retry.policy", ["perigee.progress"] = "progress.bar" }

-- The name under which help knows objects like this one, or nil.
local function class_of(value)
  if amount.is(value) then return "amount" end
  if secret.is(value) then return "secret" end
  local kind = type(value)
  if kind == "userdata" then
    local shown = tostring(value)
    return shown:find "^task %d" and "task.handle" or shown:find "^budget" and "budget" or nil
  end
  local meta = kind == "table" and getmetatable(value)
  local name = type(meta) == "table" and rawget(meta, "__name")
  if type(name) ~= "string" then return nil end
  return CLASSES[name] or name:match "^perigee%.(%l+)%.client$" or name:match "^perigee%.(.+)$"
end

local function entry_text(name, session)
  local found, others = index.find(name)
  if #found == 1 then return render.entry(found[1], others, context_of(session)) end
end

local function class_entry(class)
  for _, entry in ipairs(index.get().keys[index.key(class)] or {}) do
    if entry.kind == "class" then return entry end
  end
end

-- Of an object: what its class has; first line: what it is.
local function object_text(name, value, class, session)
  local entry = class_entry(class)
  local found = entry and render.entry(entry, nil, context_of(session)) or entry_text(class, session)
  return found and ("%s is %s\n\n%s"):format(term.escape(name), term.escape(tostring(value)), found)
end

local function function_text(name, f, session)
  local public = functions.name(f)
  local found = public and entry_text(public, session)
  if found then return found end
  local list, info = functions.parameters(f, public)
  local writer = text.writer(context_of(session))
  writer:title(("function %s(%s)"):format(name, list))
  if info then writer:para(("written at %s, line %d"):format(info.short_src, info.linedefined)) end
  return writer:text()
end

local function value_text(name, value, session)
  if type(value) == "function" then return function_text(name, value, session) end
  if errors.is(value) then
    local kind = entry_text(value.kind .. " error", session) or ""
    return ("%s is an error of kind %s\n\n%s"):format(term.escape(name), term.escape(value.kind), kind)
  end
  local class = class_of(value)
  local found = class and object_text(name, value, class, session)
  if found then return found end
  local module = type(value) == "table" and functions.name(value)
  found = module and entry_text(module, session)
  if found then return found end
  local shown = require("perigee.inspect")(value, { depth = 2, items = 10, bytes = 200 })
  return ("%s is a %s: %s\n"):format(term.escape(name), type(value), shown)
end

-- "job", "job:wait", "list.first.name" where the first name is a variable of the session's.
local function variable_text(subject, session)
  local name, rest = subject:match "^([%a_][%w_]*)(.*)$"
  if not name then return nil end
  local found, value = own_variable(session, name)
  if not found then return nil end
  while rest:find "^[.:][%a_]" do
    local class = class_of(value)
    local of_class = class and entry_text(class .. rest, session)
    if of_class then return of_class end
    local mark, member, after = rest:match "^([.:])([%a_][%w_]*)(.*)$"
    rest = after
    local inner = type(value) == "table" and rawget(value, member)
    if inner == nil then return nil end
    name, value = name .. mark .. member, inner
  end
  return value_text(name, value, session)
end

-- ---- what comes near --------------------------------------------------------------------------------------------

-- Headings that hold all the words, at least by their beginnings.
local function sections_with(subject)
  local found = {}
  if not subject:find "%w%w%w" then return found end
  for _, entry in ipairs(index.get().entries) do
    if entry.kind == "section" then
      local heading, all = " " .. entry.section.heading:lower():gsub("%p", " "), true
      for word in subject:lower():gmatch "%w+" do all = all and heading:find(" " .. word, 1, true) ~= nil end
      if all then found[#found + 1] = entry end
    end
  end
  return found
end

--- The name that help knows nearest to one that it does not know, or nil.
function help.nearest(subject)
  local all = index.get()
  local near = errors.nearest(subject, all.names)
  if near then return near end
  local by_last, last = {}, {}
  local function take(short, name)
    if not short or by_last[short] then return end
    by_last[short] = name
    last[#last + 1] = short
  end
  for _, name in ipairs(all.names) do take(name:match "([^.:]+)$", name) end
  for _, entry in ipairs(all.entries) do
    if entry.kind == "field" or entry.kind == "code" then take(entry.name, entry.name) end
  end
  table.sort(last)
  local head, member = subject:match "^(.-)[.:]?([^.:]+)$"
  local word = errors.nearest(member or subject, last)
  local full = word and by_last[word]
  if full and head and head ~= "" then
    for _, name in ipairs(all.names) do
      if index.key(name) == index.key(head .. "." .. word) then return name end
    end
  end
  return full
end

-- ---- face -------------------------------------------------------------------------------------------------------

--- Help on a subject; "" gives the overview.  nil and the nearest name (or nil) for what help does not know.
--- session: its variables are known, its width and colour are used; may be left out.
function help.text(subject, session)
  subject = subject_of(subject or "")
  if subject == "" then return help.overview(session) end
  if subject:sub(1, 1) == ":" then return command_text(subject:sub(2), session) end
  local of_variable = variable_text(subject, session)
  if of_variable then return of_variable end
  local found, others = index.find(subject)
  if #found == 1 then return render.entry(found[1], others, context_of(session)) end
  if #found > 1 then return render.choice(subject, found, context_of(session)) end
  local of_command = command_text(subject, session)
  if of_command then return of_command end
  local sections = sections_with(subject)
  if #sections == 1 then return render.entry(sections[1], nil, context_of(session)) end
  if #sections > 1 then return render.choice(subject, sections, context_of(session)) end
  return nil, help.nearest(subject)
end

--- What can be asked for, sorted: for completion.
function help.names()
  return index.get().names
end

--- What the prompt offers.
function help.overview(session)
  local all = index.get()
  local writer = text.writer(context_of(session))
  writer:title "Type Lua. An expression shows its values; calls that wait just wait."
  writer:rows {
    { "?task.map", "help on a function, with an example; also on a method, a field, a kind of error, a variable" },
    { "Tab", "completes names, fields of a call, job ids, file names" },
    { "line &", "runs the line as a task" },
    { "Ctrl-C", "stops what runs, or clears the line; Ctrl-D leaves" },
    { "_  _1  _2", "the last values" },
  }
  writer:head "services"
  local services, modules = {}, {}
  for _, entry in ipairs(all.entries) do
    if entry.kind == "module" then
      local list = (entry.name == "deai" or entry.name == "sxwl") and services or modules
      list[#list + 1] = { entry.name, entry.page and entry.page.title:match ": (.*)$" or entry.line }
    end
  end
  writer:rows(services)
  writer:head "modules"
  writer:rows(modules)
  local rows = {}
  for i, command in ipairs(commands_of(session).list) do rows[i] = { command.usage, command.summary } end
  writer:head "commands"
  writer:rows(rows)
  return writer:text()
end

return help
