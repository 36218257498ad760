-- perigee.env - environment variables, and files of them.
--
-- Values are never part of a message: a variable may be a secret.  What is set but empty counts as not set.
-- The file given by --env-file comes after the environment (perigee.config reads it).

local errors = require "perigee.error"

local env = {}

local function check_name(where, name)
  if type(name) ~= "string" or not name:find "^[%a_][%w_]*$" then
    errors.invalid(where .. ": a variable's name is letters, digits and _, such as SXWL_TOKEN")
  end
end

--- The variable, or the fallback, or nil.
function env.get(name, fallback)
  check_name("env.get", name)
  local value = require("perigee.config").variable(name)
  if value == nil then return fallback end
  return value
end

--- The variable, or an error that says where to set it.
function env.require(name)
  check_name("env.require", name)
  local value = env.get(name)
  if value then return value end
  return error(errors.new {
    kind = "invalid",
    code = "config",
    variable = name,
    message = ("the variable %s is not set: set it in the environment (%s=…) or in a file for --env-file"):format(name, name),
  }, 0)
end

local function fail(source, number, what)
  -- The line may be a secret that lost its name: it is not repeated.
  error(errors.new { kind = "parse", code = "config", message = ("%s:%d: %s"):format(source, number, what) }, 0)
end

local function unquote(source, number, value)
  local quote = value:match "^[\"']"
  if not quote then return value end
  local inner = value:match("^" .. quote .. "(.*)" .. quote .. "$")
  if not inner then fail(source, number, "a quote is not closed") end
  return inner
end

--- Reads text of NAME=value lines into a table. Blank lines and lines that begin with # are left out, `export `
--- in front and quotes around a value are taken off; nothing is expanded. source stands in errors.
function env.parse(text, source)
  if type(text) ~= "string" then errors.invalid("env.parse: expected text, got " .. type(text)) end
  source = source or "env.parse"
  local variables, number = {}, 0
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    number = number + 1
    line = line:match "^%s*(.-)%s*$"
    if line ~= "" and line:sub(1, 1) ~= "#" then
      local name, value = line:gsub("^export%s+", ""):match "^([%a_][%w_]*)%s*=%s*(.*)$"
      if not name then fail(source, number, "not a NAME=value line") end
      if variables[name] then fail(source, number, name .. " is set twice") end
      variables[name] = unquote(source, number, value)
    end
  end
  return variables
end

--- Reads a file of NAME=value lines, such as .env, into a table. The environment does not change.
function env.file(path)
  if type(path) ~= "string" then errors.invalid("env.file: expected a path, got " .. type(path)) end
  local text, message, code = require("perigee.core.config").read_file(path)
  if not text then
    local complaint = { kind = "invalid", code = code, message = ("env.file: %s: %s"):format(path, message) }
    error(errors.new(complaint), 0)
  end
  return env.parse(text, path)
end

return env
