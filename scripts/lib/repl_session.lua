-- perigee.repl_session: what lines of a prompt share: names, locals, results, tasks; it runs one line at a time.  -- internal
-- Knows neither terminal nor socket: the REPL and the consoles of a daemon each put their loop around one.
--
-- Top-level locals stay: a line is compiled inside a function whose upvalues are joined to the variables that earlier
-- lines have declared, so closures share them, a second `local x` is a new variable, and <const> stays constant.  At its
-- end the line hands over a closure that holds what it has declared itself.

local errors = require "perigee.error"
local source = require "perigee.repl_source"

-- Scripts may change these tables.
local getinfo, getlocal, getupvalue = debug.getinfo, debug.getlocal, debug.getupvalue
local setupvalue, upvaluejoin, traceback = debug.setupvalue, debug.upvaluejoin, debug.traceback

local repl_session = {}
local Session = { __name = "perigee.repl_session" }
Session.__index = Session

local KEEP <const> = "__perigee_keep" -- what the end of a line calls

-- ---- names -----------------------------------------------------------------------------------------------

--- The environment of all lines: the user's names over the session's over Lua's.  `accessor` (has, get, set) answers
--- first: the locals of a script that has opened the prompt.
local function new_env(names, accessor)
  local env = {}
  local function lookup(_, name)
    if accessor and accessor.has(name) then return accessor.get(name) end
    local value = names[name]
    if value == nil then value = _G[name] end
    return value
  end
  local function assign(self, name, value)
    if accessor and accessor.has(name) then return accessor.set(name, value) end
    rawset(self, name, value)
  end
  return setmetatable(env, { __index = lookup, __newindex = accessor and assign, __metatable = "the names of the session" })
end

--- What loads code works on the session's names, as the lines themselves do.
local function own_loaders(env)
  env._G = env
  function env.load(chunk, name, mode, given, ...)
    if given == nil and select("#", ...) == 0 then given = env end
    return load(chunk, name, mode, given)
  end
  function env.loadfile(path, mode, given) return loadfile(path, mode, given or env) end
  function env.dofile(path) return assert(loadfile(path, "t", env))() end
end

--- The value of a name as a line would see it, and whether it is a local of the session.
function Session:value(name)
  local variable = self.locals[name]
  if variable then return variable.get(), true end
  return self.env[name], false
end

local function new_view(session)
  local function each()
    local all = {}
    for _, from in ipairs { _G, session.names, session.env } do
      for name, value in pairs(from) do all[name] = value end
    end
    for name, variable in pairs(session.locals) do all[name] = variable.get() end
    return next, all
  end
  return setmetatable({}, {
    __index = function(_, name) return (session:value(name)) end,
    __pairs = each,
  })
end

-- ---- making one ------------------------------------------------------------------------------------------

--- options: names (a table of what is ready), locals (accessor of a script's locals), commands (perigee.repl_commands'),
--- ask(question) -> "yes" | "no" | "all", say(text), columns() -> cells, color, kind ("repl" | "console").
function repl_session.new(options)
  local session = setmetatable({
    names = options.names or {},
    script = options.locals,
    commands = options.commands,
    ask = options.ask,
    say = options.say or function() end,
    columns = options.columns or function() return 80 end,
    color = options.color or false,
    kind = options.kind or "repl",
    yes = options.yes or false,
    entries = {},
    tasks = {},
    locals = {}, -- name = { get=, attrib=, holder=, index= }
    results = {},
    counter = 0,
    task_counter = 0,
  }, Session)
  session.env = new_env(session.names, options.locals)
  own_loaders(session.env)
  session.view = new_view(session)
  return session
end

-- ---- compiling -------------------------------------------------------------------------------------------

local function is_command(text)
  return text:find "^%s*:%a" ~= nil or text:find "^%s*%?" ~= nil
end

local function ends_early(message)
  return message ~= nil and message:sub(-5) == "<eof>"
end

--- Tells whether more lines have to follow, by the parser's own verdict.
function Session:incomplete(text)
  if is_command(text) then return false end
  text = source.background(text) or text
  local expression, first = load("return " .. text, "=input", "t", {})
  if expression then return false end
  local statement, second = load(text, "=input", "t", {})
  return not statement and (ends_early(first) or ends_early(second))
end

-- The names of the list that are variables, without those that are closed at the end of their line.
local function kept(list)
  local names, seen = {}, {}
  for _, one in ipairs(list) do
    if one.name ~= "_ENV" then
      if not seen[one.name] then names[#names + 1] = one.name end
      seen[one.name] = true
    end
  end
  return names
end

--- The text with a call at its end that hands over its locals.
local function with_keep(text, study)
  local names = kept(study.locals)
  if #names == 0 then return text end
  local call = (" ;%s(function() return %s end) "):format(KEEP, table.concat(names, ", "))
  if study.returns then return text:sub(1, study.returns - 1) .. call .. text:sub(study.returns) end
  return text .. "\n" .. call
end

--- The text inside a function that shares the session's locals.
local function wrapped(text, outer)
  local parts = { "local " .. KEEP }
  for _, name in ipairs(outer.list) do
    parts[#parts + 1] = ("local %s %s"):format(name, outer.attribs[name] and "<const> = ..." or "")
  end
  return table.concat(parts, " ; ") .. " ; return function(...) " .. text .. "\nend"
end

local function outer_names(session, study)
  local outer = { list = {}, attribs = {} }
  for name in pairs(study.names) do
    local variable = session.locals[name]
    if variable then
      outer.list[#outer.list + 1] = name
      outer.attribs[name] = variable.attrib == "const"
    end
  end
  table.sort(outer.list)
  return outer
end

--- Makes the function's upvalues the variables of the session.
local function join(session, f, keep)
  local i = 1
  while true do
    local name = getupvalue(f, i)
    if name == nil then return f end
    local variable = session.locals[name]
    if name == KEEP then
      setupvalue(f, i, keep)
    elseif variable and name ~= "_ENV" then
      upvaluejoin(f, i, variable.holder, variable.index)
    end
    i = i + 1
  end
end

--- The text as a function, or nil and what is wrong with it.
local function compile(session, text, name, keep)
  local is_expression = load("return " .. text, name, "t", session.env) ~= nil
  if is_expression then text = "return " .. text end
  local plain, problem = load(text, name, "t", session.env)
  if not plain then return nil, problem end
  local study = source.study(text)
  local outer = outer_names(session, study)
  if #outer.list == 0 and #study.locals == 0 then return plain, study end
  -- A label at the very end must stay there: then its line's locals are not kept.
  local made = load(wrapped(with_keep(text, study), outer), name, "t", session.env)
  if not made then
    made, problem = load(wrapped(text, outer), name, "t", session.env)
    study.lost = made ~= nil
  end
  if not made then return nil, problem end
  return join(session, made(), keep), study
end

-- ---- locals that stay ------------------------------------------------------------------------------------

local function variable_of(holder, index, attrib)
  return { holder = holder, index = index, attrib = attrib, get = function() return (select(2, getupvalue(holder, index))) end }
end

-- A variable that holds a value which no closure shares: of a constant, or what an error has left.
local function new_variable(value, attrib)
  local function holder() return value end
  return variable_of(holder, 1, attrib)
end

--- Takes over the variables that the closure holds.
local function keep_locals(session, study, closure)
  local attribs = {}
  for _, one in ipairs(study.locals) do attribs[one.name] = one.attrib end
  local values = table.pack(closure())
  local taken = {}
  for i = 1, math.huge do
    local name = getupvalue(closure, i)
    if name == nil then break end
    taken[name] = variable_of(closure, i, attribs[name])
  end
  for i, name in ipairs(kept(study.locals)) do
    if attribs[name] == "close" then
      session.closed[#session.closed + 1] = name
    else
      session.locals[name] = taken[name] or new_variable(values[i], attribs[name])
    end
  end
end

--- The locals of a line that failed: their values at the error. Called in its message handler.
local function rescue_locals(session, study, f)
  for level = 2, 200 do
    local info = getinfo(level, "f")
    if info == nil then return end
    if info.func == f then
      local want = 1
      for i = 1, 250 do
        local name, value = getlocal(level, i)
        if name == nil then return end
        local at = want
        while study.locals[at] and study.locals[at].name ~= name do at = at + 1 end
        if study.locals[at] and study.locals[at].attrib ~= "close" then
          session.locals[name] = new_variable(value, study.locals[at].attrib)
        end
        if study.locals[at] then want = at + 1 end
      end
    end
  end
end

-- ---- running ---------------------------------------------------------------------------------------------

local function show_values(session, values)
  return require("perigee.repl_show").values(values, { columns = session.columns(), color = session.color })
end

local function show_error(session, err, trace, text)
  return require("perigee.repl_show").error(err, { traceback = trace, columns = session.columns(), color = session.color, text = text })
end

local function is_own_cancel(err)
  return errors.is(err, "cancelled") and require("perigee.core.task").cancelled() ~= nil
end

local function remember(session, values)
  if values.n == 0 then return end
  session.results = values
  session.env._ = values[values.n]
  for i = 1, values.n do session.env["_" .. i] = values[i] end
end

--- Runs a line of Lua. -> outcome
local function run_lua(session, text, name)
  local f, study
  local function keep(closure) keep_locals(session, study, closure) end
  f, study = compile(session, text, name, keep)
  if not f then
    local err = errors.new { kind = "invalid", code = "syntax", message = study }
    return { kind = "lua", ok = false, error = err, text = show_error(session, err, nil, text) }
  end
  session.closed = {}
  local trace
  local results = table.pack(xpcall(f, function(err)
    trace = traceback("stack traceback:", 2)
    rescue_locals(session, study, f)
    return err
  end))
  if not results[1] then
    local err = results[2]
    if is_own_cancel(err) then error(err, 0) end
    return { kind = "lua", ok = false, error = err, traceback = trace, text = show_error(session, err, trace, text) }
  end
  local values = table.pack(table.unpack(results, 2, results.n))
  remember(session, values)
  return { kind = "lua", ok = true, values = values, text = show_values(session, values) }
end

local function run_command(session, text)
  local word, argument = text:match "^%s*:([%w_%-]+)%s*(.-)%s*$"
  if not word then word, argument = "help", text:match "^%s*%?%s*(.-)%s*$" end
  local commands = session.commands or require "perigee.repl_commands"
  local command, near = commands.find(word)
  if not command then
    errors.invalid(("there is no command :%s%s"):format(word, near and ("; did you mean :%s?"):format(near) or "; :help lists them"))
  end
  return command.run(session, argument) or ""
end

--- Runs one input in the calling task, which may be cancelled. Never raises but for that.
--- outcome = { kind = "lua" | "task" | "command" | "help" | "empty", ok=, text=, error=, values= }
function Session:eval(text)
  local kind = is_command(text) and (text:find "^%s*%?" and "help" or "command") or "lua"
  if not text:find "%S" then return { kind = "empty", ok = true, text = "" } end
  require("perigee.task").set_local("perigee.session", self)
  self.counter = self.counter + 1
  local entry = { text = text, kind = kind, ok = false, at = os.time(), number = self.counter }
  self.entries[#self.entries + 1] = entry
  local outcome
  if kind == "lua" then
    outcome = run_lua(self, text, "=input:" .. self.counter)
  else
    local ok, result = pcall(run_command, self, text)
    if not ok and is_own_cancel(result) then error(result, 0) end
    outcome = { kind = kind, ok = ok, text = ok and result or show_error(self, result, nil, nil), error = not ok and result or nil }
  end
  entry.ok, entry.error = outcome.ok, outcome.error
  return outcome
end

--- What could stand at that byte of the text.
function Session:complete(text, point)
  return require("perigee.repl_complete").at(self, text, point)
end

return repl_session
