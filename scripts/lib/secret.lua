-- perigee.secret - values that are used but never shown.
--
-- A secret prints as [secret], wherever it is printed; its text is blanked in logs and errors from the moment
-- it is read.  Only :reveal() gives the text, for the header or field it is meant for.

local config = require "perigee.core.config"
local core = require "perigee.core.secret"
local env = require "perigee.env"
local errors = require "perigee.error"

local secret = { of = core.of, is = core.is }

local function fail(message, ...)
  error(errors.new { kind = "auth", code = "missing_credentials", message = message:format(...) }, 0)
end

--- The secret in a file that keeps others out (mode 600); the line end is taken off.
function secret.file(path)
  if type(path) ~= "string" then errors.invalid("secret.file: expected a path, got " .. type(path)) end
  local text, message, code = config.read_file(path, true)
  if code == "not_private" then
    fail("%s %s; it holds a secret, so keep others out: chmod 600 %s", path, message, path)
  elseif not text then
    fail("%s: %s", path, message)
  end
  text = text:gsub("[\r\n]+$", "")
  if text == "" then fail("%s is empty", path) end
  return core.of(text)
end

--- The secret in the variable NAME, or in the file that NAME_FILE names.
function secret.env(name)
  local value = env.get(name)
  if value then return core.of(value) end
  local path = env.get(name .. "_FILE")
  if path then return secret.file(path) end
  return fail("%s is not set: set it in the environment, in a file for --env-file, or set %s_FILE to a file that holds it", name, name)
end

return secret
