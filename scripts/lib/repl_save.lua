-- perigee.repl_save: a session as a script that `perigee run` takes: a plan to read, change and run again.  -- internal
--
-- Lines stand as they were typed. Around them stands what the prompt did by itself: names are required, `_` is kept where a
-- later line uses it, `&` is task.spawn, and a task that had ended is waited for before the next line. A line that failed is under
-- pcall; one that was stopped is left out, unless something had gone out to a service: then it is stopped after the same time
-- here, so that the script does what the session has done. Text is made here; only write() touches a file.

local errors = require "perigee.error"
local lexer = require "perigee.repl_lexer"
local source = require "perigee.repl_source"

local save = {}

local MOST_LOCALS <const> = 150 -- Lua takes 200 in one function
local RESULTS <const> = 9 -- `_1` … `_9`
local LEAST_TIME <const> = 1 -- seconds a line that was stopped gets: an answer that was there at once may take longer
local NOT_SENT <const> = { declined = true, not_confirmed = true }

-- ---- what a line uses --------------------------------------------------------------------------------------------------

-- Names that the prompt has ready, and those of results.
local function candidates()
  local names, list = require "perigee.repl_names", { "_" }
  for i = 1, RESULTS do list[#list + 1] = "_" .. i end
  for _, from in ipairs { names.modules, names.clients } do
    for name in pairs(from) do list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

-- The text as it is compiled at the prompt, and whether it is an expression; nil if it is no Lua.
local function parsed(text)
  if load("return " .. text, "=", "t", {}) then return "return " .. text, true end
  if load(text, "=", "t", {}) then return text, false end
end

--- Which of the names the text uses and does not declare itself: the compiler's own verdict.
local function free_names(code, names)
  local wrapped = ("local %s ; return function(...) %s\nend"):format(table.concat(names, ","), code)
  local outer, free = load(wrapped, "=", "t", {}), {}
  local inner = outer and outer()
  for i = 1, inner and 255 or 0 do
    local name = debug.getupvalue(inner, i)
    if name == nil then break end
    free[name] = true
  end
  return free
end

-- A `return` inside a block, or a label: what cannot stand among other lines as it is.
local function stands_alone(text)
  local state, labels, returns = lexer.scan(text), false, false
  local open = {}
  for _, token in ipairs(state.tokens) do
    if token.text == "function" then open[#open + 1] = token.depth end
    while #open > 0 and token.depth <= open[#open] and token.text == "end" do open[#open] = nil end
    if token.text == "return" and token.depth > 0 and #open == 0 then returns = true end
    if token.text == "::" then labels = true end
  end
  return returns, labels
end

-- A text that holds a secret which perigee does not know (those are blanked in the whole script): without what is
-- written out in it.
local function blanked(text)
  if require("perigee.config").redact(text) ~= text or not require("perigee.repl_history").holds_secret(text) then return text end
  local out, at = {}, 1
  for _, token in ipairs(lexer.scan(text).tokens) do
    if token.kind == "string" or token.kind == "comment" then
      out[#out + 1] = text:sub(at, token.from - 1) .. (token.kind == "string" and '"[secret]"' or "")
      at = token.to + 1
    end
  end
  return table.concat(out) .. text:sub(at), true
end

local function study(entry, names)
  local typed, has_secret = blanked(entry.text)
  local text = entry.kind == "task" and source.background(typed) or typed
  local code, is_expression = parsed(text)
  local one = { entry = entry, typed = typed, has_secret = has_secret, text = text, is_expression = is_expression, number = entry.number }
  if not code then return one end
  local found = source.study(code)
  one.parses, one.names, one.free = true, found.names, free_names(code, names)
  one.locals = lexer.locals(text)
  one.returns = not is_expression and found.returns or nil
  one.deferred = found.names["function"] ~= nil or text:find "%f[%w_]function%f[^%w_]" ~= nil
  one.nested_return, one.labels = stands_alone(text)
  for _, statement in ipairs(one.locals) do
    for _, name in ipairs(statement.names) do one.closes = one.closes or name.attribute == "close" end
  end
  return one
end

-- ---- what becomes of a line ----------------------------------------------------------------------------------------------

local function world_of(session)
  return session.world
end

-- "run", "fail", "stop" (after its time), "refuse" (without money), "skip" and why.
local function fate(one, session)
  local entry = one.entry
  local err = entry.error
  local code = errors.is(err) and err.code or nil
  if not one.parses then return "skip", "was no Lua" end
  if entry.world ~= world_of(session) and entry.touched then
    return "skip", entry.world and "ran on the emulator" or "ran on the real services"
  end
  if entry.cancelled then
    if entry.touched then return "stop" end
    return "skip", "was stopped before anything had gone out"
  end
  if entry.ok == false and NOT_SENT[code] then
    if not entry.touched then return "skip", code == "declined" and "you said no" or "it was not confirmed" end
    return "refuse"
  end
  if entry.ok == false then return "fail" end
  return "run"
end

-- ---- text ----------------------------------------------------------------------------------------------------------------

local function commented(text)
  return "-- " .. text:gsub("\n", "\n-- ")
end

local function one_line(value)
  local text = errors.is(value) and ("%s: %s"):format(value.kind, value.message) or tostring(value)
  text = text:gsub("^=?input:%d+:%d+: ", ""):gsub("%s+", " ")
  return #text > 100 and require("perigee.core.term").cut(text, 100) or text
end

-- The text with its top-level `local`s made assignments. keep: names that are to stay local; nil: none.
local function without_locals(one, keep)
  local text, hoisted = one.text, {}
  for i = #one.locals, 1, -1 do
    local statement, names, all = one.locals[i], {}, true
    for n, name in ipairs(statement.names) do
      names[n] = name.name
      if name.attribute == "close" or keep and keep(name.name) then all = false end
    end
    if all and statement.kind == "function" then
      text = text:sub(1, statement.from - 1) .. text:sub(statement.to + 1):gsub("^%s+", "")
    elseif all then
      local list = table.concat(names, ", ")
      text = text:sub(1, statement.from - 1) .. list .. (statement.assigns and "" or " = nil") .. text:sub(statement.after)
    end
    if all then table.move(names, 1, #names, #hoisted + 1, hoisted) end
  end
  return text, hoisted
end

local function used_later(lines, from)
  local names = {}
  for i = from + 1, #lines do
    for name in pairs(lines[i].names or {}) do names[name] = true end
  end
  return names
end

-- The text to stand inside of a function or block, and the names that have to be declared before it.
local function enclosed(plan, one)
  local later = used_later(plan.lines, one.index)
  local text, hoisted = without_locals(one, function(name) return not later[name] end)
  if plan.globals then hoisted = {} end
  return text, hoisted
end

local function indented(text)
  if text:find "\n" then return text end -- a long string would change
  return "  " .. text
end

local function declare(hoisted)
  if #hoisted == 0 then return "" end
  return ("local %s\n"):format(table.concat(hoisted, ", "))
end

-- The statement that keeps the values of an expression for those lines that use them, or that only evaluates it.
local function valued(plan, one, expression)
  local n, wanted = one.entry.values or 1, one.wanted or {}
  local last, names, most = wanted._ ~= nil, {}, 0
  for i = 1, math.min(n, RESULTS) do
    if wanted["_" .. i] then most = i end
  end
  if n > 1 and last then most = math.min(n, RESULTS) end
  for i = 1, most do
    names[i] = "_" .. i
    plan.results[names[i]] = true
  end
  if most == 0 and not last and load(expression, "=", "t", {}) then return expression end -- a call
  plan.results._ = plan.results._ or last or most == 0
  if most == 0 then return "_ = " .. expression end
  local text = ("%s = %s"):format(table.concat(names, ", "), expression)
  return last and ("%s\n_ = %s"):format(text, names[most]) or text
end

-- The line as statements, at the top level.
local function statements(plan, one)
  local text = plan.globals and without_locals(one) or one.text
  if one.is_expression then return valued(plan, one, text) end
  if one.nested_return then
    local inner, hoisted = enclosed(plan, one)
    plan.results._ = true
    return declare(hoisted) .. "_ = (function()\n" .. indented(inner) .. "\nend)()"
  end
  if one.labels or one.closes then
    local inner, hoisted = enclosed(plan, one)
    return declare(hoisted) .. "do\n" .. indented(inner) .. "\nend"
  end
  if one.returns then
    local at = one.returns + (#text - #one.text)
    local before, after = text:sub(1, at - 1), text:sub(at):match "^return%f[^%w_]%s*(.-)[%s;]*$"
    if after == "" then return before end
    return before .. valued(plan, one, after)
  end
  return text
end

local function body(plan, one)
  local text, hoisted = enclosed(plan, one)
  if one.is_expression then text = "return " .. text end
  return declare(hoisted), "function()\n" .. indented(text) .. "\nend"
end

local function seconds(one)
  return ("%.3g"):format(math.max(one.entry.seconds or 0, LEAST_TIME))
end

local CALLS <const> = {
  run = function(f) return "task.spawn(%s)", f end,
  fail = function(f) return "task.spawn(pcall, %s)", f end,
  stop = function(f, one) return ("task.spawn(pcall, task.deadline, %s, %%s)"):format(seconds(one)), f end,
  refuse = function(f) return "task.spawn(pcall, budget.with, nothing, %s)", f end,
}

local function spawned(plan, one, how)
  local declared, f = body(plan, one)
  local call = CALLS[how](f, one)
  one.task = plan.task_name .. (one.entry.task or one.number)
  plan.uses.task = true
  return ("%slocal %s = "):format(declared, one.task) .. call:gsub("%%s", function() return f end)
end

local WRAPS <const> = {
  fail = function(one, f) return ("-- failed: %s\n"):format(one_line(one.entry.error)), ("pcall(%s)"):format(f) end,
  stop = function(one, f)
    return ("-- stopped after %s s, when %d call%s had gone out\n"):format(seconds(one), one.entry.touched,
      one.entry.touched == 1 and "" or "s"), ("pcall(task.deadline, %s, %s)"):format(seconds(one), f)
  end,
  refuse = function(_, f) return "-- its paid call was refused: it may spend nothing\n", ("pcall(budget.with, nothing, %s)"):format(f) end,
}

local function note_uses(plan, how)
  if how == "stop" then plan.uses.task = true end
  if how == "refuse" then plan.uses.budget, plan.nothing = true, true end
end

-- One line of the session as a part of the script.
local function part_of(plan, one)
  local how, why = fate(one, plan.session)
  if how == "skip" then
    plan.skipped = plan.skipped + 1
    return ("-- left out, %s:\n%s"):format(why, commented(one.typed))
  end
  plan.count = plan.count + 1
  note_uses(plan, how)
  if one.entry.kind == "task" then
    local comment = how ~= "run" and (WRAPS[how](one, "")) or ""
    return comment .. spawned(plan, one, how)
  end
  if how == "run" then return statements(plan, one) end
  local declared, f = body(plan, one)
  local comment, call = WRAPS[how](one, f)
  return comment .. declared .. call
end

-- ---- the script ------------------------------------------------------------------------------------------------------------

-- The line whose values `_` held when that line began: those of a task come when it ends.
local function last_valued(plan, user)
  local last
  for _, one in ipairs(plan.lines) do
    local entry = one.entry
    local ended = entry.ended or entry.began
    if one ~= user and (entry.values or 0) > 0 and ended <= user.entry.began and (not last or ended >= (last.entry.ended or 0)) then
      last = one
    end
  end
  return last
end

-- Which values of which lines a later line uses. What a function uses is used whenever it is called.
local function mark_wanted(plan)
  local deferred = {}
  for _, one in ipairs(plan.lines) do
    for name in pairs(one.free or {}) do
      if name:find "^_%d*$" then
        local last = last_valued(plan, one)
        if last then last.wanted = last.wanted or {}; last.wanted[name] = true end
        if one.deferred then deferred[name] = true end
      end
    end
  end
  if next(deferred) == nil then return end
  for _, one in ipairs(plan.lines) do
    one.wanted = one.wanted or {}
    for name in pairs(deferred) do one.wanted[name] = true end
  end
end

local function count_locals(plan)
  local n = 0
  for _, one in ipairs(plan.lines) do
    for _, statement in ipairs(one.locals or {}) do n = n + #statement.names end
    if one.entry.kind == "task" then n = n + 1 end
  end
  return n
end

-- A beginning for the names of tasks that no line uses.
local function task_name(lines)
  local name, taken = "task", true
  while taken do
    taken = false
    for _, one in ipairs(lines) do
      for used in pairs(one.names or {}) do taken = taken or used:find("^" .. name .. "%d") ~= nil end
    end
    if taken then name = "line_" .. name end
  end
  return name
end

-- Names that the prompt had ready and that lines use before they declare them.
local function needed_names(plan)
  local declared = {}
  for _, one in ipairs(plan.lines) do
    for name in pairs(one.free or {}) do
      if not declared[name] and not name:find "^_" then plan.uses[name] = true end
    end
    for _, statement in ipairs(one.locals or {}) do
      for _, name in ipairs(statement.names) do declared[name.name] = true end
    end
  end
end

-- `deai.file`: functions of the module that the prompt's client has, too.
local function members_of(plan, client)
  local module, found = require(require("perigee.repl_names").clients[client]), {}
  for _, one in ipairs(plan.lines) do
    for member in one.text:gmatch("%f[%w_]" .. client .. "%s*%.%s*([%a_][%w_]*)") do
      if rawget(module, member) ~= nil then found[member] = true end
    end
  end
  local list = {}
  for member in pairs(found) do list[#list + 1] = member end
  table.sort(list)
  return list
end

local function header(plan)
  local names, lines, used = require "perigee.repl_names", {}, {}
  for name in pairs(plan.uses) do used[#used + 1] = name end
  table.sort(used)
  for _, name in ipairs(used) do
    if names.modules[name] then
      lines[#lines + 1] = ('local %s = require "%s"'):format(name, names.modules[name])
    elseif names.clients[name] then
      lines[#lines + 1] = ('local %s = require("%s").client()'):format(name, names.clients[name])
      for _, member in ipairs(members_of(plan, name)) do
        lines[#lines + 1] = ('%s.%s = require("%s").%s'):format(name, member, names.clients[name], member)
      end
    end
  end
  if plan.nothing then lines[#lines + 1] = 'local nothing = budget.new { total = { "0 CCD", "0 CNY" } }' end
  local results = {}
  for name in pairs(plan.results) do results[#results + 1] = name end
  table.sort(results)
  if #results > 0 then lines[#lines + 1] = ("local %s -- the last values, as at the prompt"):format(table.concat(results, ", ")) end
  return #lines > 0 and table.concat(lines, "\n") .. "\n\n" or ""
end

-- Tasks that had ended before a line began are waited for before it.
local function waits_before(plan, index)
  local out, began = {}, plan.lines[index].entry.began
  for i = 1, index - 1 do
    local one = plan.lines[i]
    local ended = one.entry.ended
    if one.task and not one.waited and ended and ended <= began then
      one.waited = true
      out[#out + 1] = (one.entry.ok and valued(plan, one, one.task .. ":wait()") or one.task .. ":wait()") .. "\n"
    end
  end
  return table.concat(out)
end

local function parts(plan)
  local out = {}
  for i, one in ipairs(plan.lines) do
    local part = part_of(plan, one)
    if part:find "^%s*%(" then part = ";" .. part end -- else it would go on with the line before
    out[i] = waits_before(plan, i) .. part .. "\n"
  end
  return table.concat(out)
end

local function new_plan(session)
  local plan = { session = session, lines = {}, uses = {}, results = {}, count = 0, skipped = 0 }
  local names = candidates()
  local script = session.script_text
  if script then -- without its first line, if that is one of a shell
    local entry = { text = script:gsub("^#[^\n]*", "", 1), kind = "lua", ok = true, number = 0, began = 0, values = 0 }
    plan.lines[1] = study(entry, names)
    plan.lines[1].index = 1
  end
  for _, entry in ipairs(session.entries) do
    if entry.kind == "lua" or entry.kind == "task" then
      local one = study(entry, names)
      plan.lines[#plan.lines + 1] = one
      one.index = #plan.lines
    end
  end
  mark_wanted(plan)
  needed_names(plan)
  plan.task_name = task_name(plan.lines)
  plan.globals = count_locals(plan) > MOST_LOCALS
  return plan
end

--- The session as a script: its text, how many lines are in it, how many are left out, and whether secrets are.
function save.text(session)
  local plan = new_plan(session)
  local all = parts(plan)
  local text = ("-- A session of `perigee repl`, saved %s.%s\n\n%s%s"):format(os.date "!%Y-%m-%d %H:%M UTC",
    session.world and " It ran on the emulator: `perigee run --emulator` runs it there again." or "", header(plan), all)
  local ok, problem = load(text, "=saved", "t", {})
  if not ok then
    error(errors.new { kind = "limit", code = "save", message = "the session cannot be written as one script: " .. problem }, 0)
  end
  local has_secret = false
  for _, one in ipairs(plan.lines) do has_secret = has_secret or one.has_secret == true end
  return text, plan.count, plan.skipped, has_secret
end

--- Writes it. -> what a person is told
function save.write(session, path, force)
  local fs = require "perigee.fs"
  if path:sub(1, 2) == "~/" then path = (os.getenv "HOME" or "~") .. path:sub(2) end
  local text, count, skipped, has_secret = save.text(session)
  if count + skipped == 0 then errors.invalid "there is nothing to save yet: no line of Lua was run" end
  if not force and fs.exists(path) then
    error(errors.new { kind = "invalid", code = "exists", message = ("there is a file %s already; nothing was written"):format(path),
      hint = (":save -f %s replaces it"):format(path) }, 0)
  end
  local clean = require("perigee.config").redact(text)
  fs.write(path, clean, { mode = "0600" })
  local told = ("%d line%s saved to %s"):format(count, count == 1 and "" or "s", path)
  if skipped > 0 then told = ("%s, %d left out (as comments)"):format(told, skipped) end
  if clean ~= text or has_secret then told = told .. "; secrets are blanked in it: put them in from the environment" end
  return told .. "\n"
end

return save
