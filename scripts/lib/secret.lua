-- perigee.secret - values that are used but never shown.
--
-- A secret prints as [secret], wherever it is printed; its text is blanked in logs and errors from the moment
-- it is read.  Only :reveal() gives the text, for the header or field it is meant for.
-- What was read from a variable, a file or a credential remembers where: that place, never the text, is what a
-- journal keeps of it.

local config = require "perigee.core.config"
local core = require "perigee.core.secret"
local env = require "perigee.env"
local errors = require "perigee.error"
local fs = require "perigee.core.fs"

local secret = { of = core.of, is = core.is }

local sources = setmetatable({}, { __mode = "k" }) -- secret -> "env:NAME", "file:/path", "credential:name"

local function fail(message, ...)
  error(errors.new { kind = "auth", code = "missing_credentials", message = message:format(...) }, 0)
end

local function keep(text, source)
  local value = core.of(text)
  sources[value] = source
  return value
end

-- The text of a file without its line end.
local function content(path, private)
  local text, message, code = config.read_file(path, private)
  if code == "not_private" then
    fail("%s %s; it holds a secret, so keep others out: chmod 600 %s", path, message, path)
  elseif not text then
    fail("%s: %s", path, message)
  end
  text = text:gsub("[\r\n]+$", "")
  if text == "" then fail("%s is empty", path) end
  return text
end

--- The secret in a file that keeps others out (mode 600); the line end is taken off.
function secret.file(path)
  if type(path) ~= "string" then errors.invalid("secret.file: expected a path, got " .. type(path)) end
  return keep(content(path, true), "file:" .. fs.absolute(path))
end

--- The secret in the variable NAME, or in the file that NAME_FILE names.
function secret.env(name)
  local value = env.get(name)
  local path = not value and env.get(name .. "_FILE")
  if not value and not path then
    fail("%s is not set: set it in the environment, in a file for --env-file, or set %s_FILE to a file that holds it", name, name)
  end
  return keep(value or content(path, true), "env:" .. name)
end

--- The secret that systemd hands over under that name (LoadCredential=, SetCredentialEncrypted=).
function secret.credential(name)
  if type(name) ~= "string" or name == "" or name:find "[/%c]" or name:find "^%.%.?$" then
    errors.invalid "secret.credential: expected the name of a credential, such as \"hf_token\""
  end
  local folder = env.get "CREDENTIALS_DIRECTORY"
  if not folder then
    fail("there is no credential %s: CREDENTIALS_DIRECTORY is not set. systemd sets it for a service with LoadCredential=%s:/path",
      name, name)
  end
  -- systemd keeps the folder from others, and decides the modes in it
  return keep(content(folder .. "/" .. name, false), "credential:" .. name)
end

--- Where a secret comes from: "env:NAME", "file:/path", "credential:name"; nil if it was made from text.
function secret.source(value)
  if not core.is(value) then errors.invalid("secret.source: expected a secret, got " .. type(value)) end
  return sources[value]
end

--- The secret that is there now: the other way round.
function secret.from(source)
  local kind, name = tostring(source):match "^(%l+):(.+)$"
  if kind == "env" or kind == "file" or kind == "credential" then return secret[kind](name) end
  return errors.invalid(('secret.from: "%s" is no source: write env:NAME, file:/path or credential:name'):format(tostring(source)))
end

return secret
