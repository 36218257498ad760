-- job_literals.lua - finds secrets that were written out where a journal would keep them.  -- internal
--
-- Names decide, not values: a literal under a name that looks like one of a secret is refused, with the line to
-- write instead.  Pure: reads tables and text, and never puts a value into a message.

local errors = require "perigee.error"
local secret = require "perigee.core.secret"

local literals = {}

-- Words that make a name one of a secret, where they end it; with true also where they stand in front.
local WORDS <const> = { token = false, password = true, passwd = true, pwd = false, pass = false, passphrase = true, secret = true,
  secrets = true, credential = true, credentials = true, apikey = true, accesskey = true, privatekey = true, secretkey = true,
  pat = false, bearer = true }
local PAIRS <const> = { "api key", "access key", "private key", "secret key", "auth key", "signing key", "encryption key", "ssh key",
  "account key", "deploy key" }
-- A name that ends so is about a secret: the place or the size of one.
local ABOUT <const> = { file = true, path = true, dir = true, folder = true, name = true, count = true, limit = true, length = true,
  size = true, type = true, ttl = true, expiry = true }
-- Ends of names that were written without a mark between the words: hftoken, dbpassword.
local ENDS <const> = { "token$", "password$", "passwd$", "secret$", "apikey$", "accesskey$", "privatekey$", "secretkey$", "credentials?$",
  "passphrase$" }

-- "hfApiToken", "HF_API_TOKEN", "--hf-api-token" -> { "hf", "api", "token" }
local function words_of(name)
  local words = {}
  name = name:gsub("(%l)(%u)", "%1 %2"):gsub("(%u)(%u%l)", "%1 %2")
  for word in name:lower():gmatch "%w+" do words[#words + 1] = word end
  return words
end

local function ends_so(word)
  for _, pattern in ipairs(ENDS) do
    if word:find(pattern) then return true end
  end
  return false
end

--- True for a name under which people keep secrets: HF_TOKEN, dbPassword, "--api-key".
function literals.looks_secret(name)
  local words = words_of(name)
  local last = words[#words]
  if not last or ABOUT[last] then return false end
  if WORDS[last] ~= nil or ends_so(last) then return true end
  for i, word in ipairs(words) do
    if WORDS[word] then return true end
    for _, pair in ipairs(PAIRS) do
      if words[i + 1] and word .. " " .. words[i + 1] == pair then return true end
    end
  end
  return false
end

-- A path to a file of credentials is none of them, and neither is a number of tokens or a switch.
local function harmless(name, text)
  if text == "" or text == "true" or text == "false" then return true end
  local words = words_of(name)
  local last = words[#words]
  return last == "credentials" and text:find "^/" or last == "token" and #text <= 6 and text:find "^%d+$"
end

local function refuse(where, place, line)
  errors.invalid(("%s: %s looks like a secret that is written out, and the journal would keep it: write %s"):format(where, place, line))
end

-- A variable's name for a name of another form: "--hf-token" -> "HF_TOKEN".
local function variable_for(name)
  return table.concat(words_of(name), "_"):upper()
end

-- `--token abc`, `API_KEY=abc`, `?token=abc` and `://me:abc@` inside of a text; "$X" and "${X}" are no literals.
local function check_text(where, place, text)
  if text:find "://[^/%s:@]+:[^/%s@$]+@" then
    refuse(where, "the password of an address in " .. place, "the address without it, and give it to the job as env = "
      .. '{ PASSWORD = secret.env "PASSWORD" }')
  end
  local function check(name, value)
    if not literals.looks_secret(name) or value:find "^%$" or harmless(name, value) then return end
    local variable = variable_for(name)
    refuse(where, ("%s in %s"):format(name, place), ('env = { %s = secret.env "%s" }, and let the job read it there'):format(variable,
      variable))
  end
  for name, value in text:gmatch "([%w_%-]+)=([^%s&;]+)" do check(name, value) end
  local option
  for word in text:gmatch "%S+" do
    if option and not word:find "^%-" then check(option, word) end
    option = word:match "^%-%-?[%w_%-]+$"
  end
end

local function check_value(where, path, name, value)
  local place = table.concat(path, ".")
  if type(value) ~= "string" then return end
  if literals.looks_secret(name) and not harmless(name, value) then
    local variable = name:find "^[%a_][%w_]*$" and name or variable_for(name)
    local line = ('%s = secret.env "%s"'):format(variable == name and name or ("[%q]"):format(name), variable)
    if #path > 2 then line = ("%s = { %s }"):format(path[#path - 1], line) end
    refuse(where, place, line)
  end
  check_text(where, place, value)
end

--- Raises `invalid` for the first literal in the table, by name, that looks like a secret.
function literals.check(where, value, path)
  path = path or { "spec" }
  local names = {}
  for name in pairs(value) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    local one = value[name]
    local below = table.move(path, 1, #path, 1, {})
    below[#below + 1] = tostring(name)
    if type(one) == "table" and getmetatable(one) == nil and #path < 8 then
      literals.check(where, one, below)
    elseif not secret.is(one) then
      check_value(where, below, tostring(name), one)
    end
  end
end

return literals
