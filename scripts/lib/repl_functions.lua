-- repl_functions.lua - what a function or module is called, and what it takes.  -- internal
--
-- Pure; reads loaded modules raw and changes nothing.

local functions = {}

-- Scripts may change this table.
local getinfo, getlocal = debug.getinfo, debug.getlocal

-- The name of a module at the prompt: perigee's without its prefix, Lua's own; nil for others.
local function prompt_name(module)
  if type(module) ~= "string" then return nil end
  return module:match "^perigee%.([%l_]+)$" or not module:find "[%./]" and module or nil
end

-- What a module calls the value.
local function name_in(members, value, short)
  local found = members == value and short or nil
  for key, member in next, members do
    if member == value and type(key) == "string" and not key:find "^_" then found = short .. "." .. key end
  end
  return found and found:gsub("^_G%.", "")
end

--- The public name of a function or module: "task.map", "string.format"; nil if it has none.
function functions.name(value)
  local best
  for module, members in next, package.loaded do
    local short = prompt_name(module)
    local found = short and type(members) == "table" and name_in(members, value, short)
    if found and found ~= "_G" then
      local better = not best or #found < #best or #found == #best and found < best
      best = better and found or best
    end
  end
  return best
end

--- What stands between the parentheses of a function, and what debug.getinfo says of one written in Lua.  Of one in C
--- the stubs say it; "…" for what they do not know.
function functions.parameters(f, name)
  local info = getinfo(f, "uS")
  if info.what == "C" then
    local module, member = (name or ""):match "^([%l_]+)%.([%w_]+)$"
    return module and require("perigee.repl_help_stubs").parameters(module, member) or "…"
  end
  local names = {}
  for i = 1, info.nparams do names[i] = getlocal(f, i) end
  if info.isvararg then names[#names + 1] = "..." end
  return table.concat(names, ", "), info
end

return functions
