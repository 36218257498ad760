-- perigee.repl_locals: top-level locals that stay from one input to the next.  -- internal
--
-- An input is compiled inside a function whose upvalues are joined to the variables that earlier inputs have declared.
-- So they are what they would be in one script: closures share them, a second `local x` is a new variable, and <const>
-- stays constant.  At its end an input hands over a closure that holds what it has declared itself.

local source = require "perigee.repl_source"

-- Scripts may change this table.
local getinfo, getlocal, getupvalue = debug.getinfo, debug.getlocal, debug.getupvalue
local setupvalue, upvaluejoin = debug.setupvalue, debug.upvaluejoin

local locals = {}

local KEEP <const> = "__perigee_keep" -- what the end of an input calls
local DEEPEST <const> = 200 -- frames in which the input of an error is looked for

-- ---- variables -------------------------------------------------------------------------------------------

local function variable_of(holder, index, attribute)
  return {
    holder = holder, index = index, attribute = attribute,
    get = function() return (select(2, getupvalue(holder, index))) end,
  }
end

-- One that no closure shares: a constant, or what an error has left.
local function new_variable(value, attribute)
  local function holder() return value end
  return variable_of(holder, 1, attribute)
end

-- The last declaration of each name, by name; _ENV is never kept: it would change what later inputs mean.
local function last_of(list)
  local found = {}
  for _, one in ipairs(list) do
    if one.name ~= "_ENV" then found[one.name] = one end
  end
  return found
end

local function names_of(list)
  local names = {}
  for name in pairs(last_of(list)) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- ---- compiling -------------------------------------------------------------------------------------------

-- The text with a call at its end that hands over its locals.
local function with_keep(text, study)
  local names = names_of(study.locals)
  if #names == 0 then return text end
  local call = (" ;%s(function() return %s end) "):format(KEEP, table.concat(names, ", "))
  if study.returns then return text:sub(1, study.returns - 1) .. call .. text:sub(study.returns) end
  return text .. "\n" .. call
end

-- The text inside a function that shares the variables; its lines keep their numbers.
local function wrapped(text, study, variables)
  local parts, shared = { "local " .. KEEP }, {}
  for name in pairs(study.names) do
    if variables[name] then shared[#shared + 1] = name end
  end
  table.sort(shared)
  for _, name in ipairs(shared) do
    parts[#parts + 1] = ("local %s%s"):format(name, variables[name].attribute == "const" and " <const> = ..." or "")
  end
  return table.concat(parts, "; ") .. "; return function(...) " .. text .. "\nend"
end

local function join(f, variables, keep)
  local i, name = 1, getupvalue(f, 1)
  while name do
    if name == KEEP then
      setupvalue(f, i, keep)
    elseif variables[name] then
      upvaluejoin(f, i, variables[name].holder, variables[name].index)
    end
    i = i + 1
    name = getupvalue(f, i)
  end
  return f
end

--- Takes over what the closure holds; names of variables that were closed at the end of their input.
local function take(variables, study, closure)
  local values, held, closed = table.pack(closure()), {}, {}
  local i, name = 1, getupvalue(closure, 1)
  while name do
    held[name] = i
    i = i + 1
    name = getupvalue(closure, i)
  end
  local declared = last_of(study.locals)
  for at, one in ipairs(names_of(study.locals)) do
    local attribute = declared[one].attribute
    if attribute == "close" then
      closed[#closed + 1] = one
    elseif held[one] then
      variables[one] = variable_of(closure, held[one], attribute)
    else
      variables[one] = new_variable(values[at], attribute)
    end
  end
  return closed
end

-- A variable to be closed keeps the call from being a tail call, which would leave no frame of the input.
local VALUES <const> = "local __perigee_tail <close> = nil; return "

--- Lua that is complete as a function over env and the variables, and what it declares (for rescue), or nil and what is
--- wrong with it. echoes: it is taken as an expression if it can be one. What it declares is in variables when it has
--- run; study.closed then names what was closed.
function locals.compile(text, chunkname, env, variables, echoes)
  local plain, problem = load(echoes and VALUES .. text or text, chunkname, "t", env)
  local body = plain and echoes and VALUES .. text or text
  if not plain then plain, problem = load(text, chunkname, "t", env) end
  if not plain then return nil, problem end
  local study = source.study(text)
  study.chunkname = chunkname
  local shares = #study.locals > 0
  for name in pairs(study.names) do shares = shares or variables[name] ~= nil end
  if not shares then return plain, study end
  -- A label at the very end must stay there, because a goto passes a `local`: then these are not kept.
  local made = load(wrapped(with_keep(body, study), study, variables), chunkname, "t", env)
  if not made then made, problem = load(wrapped(body, study, variables), chunkname, "t", env) end
  if not made then return nil, problem end
  local function keep(closure) study.closed = take(variables, study, closure) end
  return join(made(), variables, keep), study
end

-- ---- after an error --------------------------------------------------------------------------------------

local function rescue_frame(variables, study, level)
  local want = 1
  for i = 1, 250 do
    local name, value = getlocal(level + 1, i)
    if name == nil then return end
    local at = want
    while study.locals[at] and study.locals[at].name ~= name do at = at + 1 end
    if study.locals[at] then
      want = at + 1
      if study.locals[at].attribute ~= "close" and name ~= "_ENV" then
        variables[name] = new_variable(value, study.locals[at].attribute)
      end
    end
  end
end

--- Keeps what an input had declared when it failed, with the values of that moment. For its message handler.
function locals.rescue(variables, study, f)
  if #study.locals == 0 then return end
  for level = 2, DEEPEST do
    local info = getinfo(level, "f")
    if info == nil then return end
    if info.func == f then
      rescue_frame(variables, study, level) -- no tail call: it counts frames
      return
    end
  end
end

return locals
