-- perigee.config: settings and credentials, from wherever the user put them.  -- internal
-- Order: flags, environment, --env-file, configuration file.  Nothing is read before somebody asks, so that
-- a script that needs no settings starts without touching a file.  Secrets are registered for blanking the
-- moment they are read, and are never part of a message.

local core = require "perigee.core.config"
local errors = require "perigee.error"

local config = {}

-- What can be set besides the options of `perigee run`: path in the file, variable, whether it is a secret
-- (then NAME_FILE and field_file name a file that holds it).
local settings = {
  ["deai.email"] = { variable = "DEAI_EMAIL" },
  ["deai.password"] = { variable = "DEAI_PASSWORD", secret = true },
  ["deai.base_url"] = { variable = "DEAI_BASE_URL" },
  ["deai.check_balance"] = {},
  ["sxwl.token"] = { variable = "SXWL_TOKEN", secret = true },
  ["sxwl.base_url"] = { variable = "SXWL_BASE_URL" },
  ["sxwl.prices"] = {},
}

-- Fields of the file that are not options of `perigee run`.
local sections = {
  deai = { "email", "password", "password_file", "base_url", "check_balance" },
  sxwl = { "token", "token_file", "base_url", "prices" },
}

-- Tables of the file that the daemon reads (scripts/lib/daemon_settings.lua, notify.lua).
local lists = { "notify", "policies" }

-- Fields of each of the file's budgets (perigee.budgets): those of budget.new, and whose calls it is for.
local budget_fields = { "name", "total", "hour", "day", "week", "month", "tz", "utc_offset", "warn", "check_balance",
  "policy", "tag" }

-- Options that only make sense for one run, and are not read from the file.
local not_in_file = { help = true, execute = true, emulator = true, env_file = true, seed = true, config = true,
  yes = true, attach = true, write = true }

-- How a missing credential is got.
local advice = {
  ["deai.email"] = "It is the e-mail address of your account at the Distributed AI console (phoenix.global).",
  ["deai.password"] = "It is the password of your account at the Distributed AI console (phoenix.global).",
  ["sxwl.token"] = "Log in at the SXWL console (llm.sxwl.ai) and copy the access token of your account.",
}

local flags = {} -- options given on the command line
local option_names = {} -- every option that the file may set: log_level, …
local read_option -- function(name, text) -> value | nil, complaint
local fixed = {} -- settings the program itself decides: the emulator's addresses
local loaded = {} -- file and path, env: each once it was read

local function fail(message, ...)
  error(errors.new { kind = "invalid", code = "config", message = message:format(...) }, 0)
end

--- Tells the options of the command line, the names of all options, and how their text is read.
function config.start(options, names, reader)
  flags, read_option, loaded, fixed = options, reader, {}, {}
  option_names = {}
  for _, name in ipairs(names) do
    local field = name:gsub("-", "_")
    if not not_in_file[field] then option_names[field] = name end
  end
end

--- Reads the files again. Raises, and keeps what was read before, if they are wrong; else a function that goes back to that.
function config.reload()
  local before = loaded
  local function back() loaded = before end
  loaded = {}
  local ok, err = pcall(config.read_files)
  if ok then return back end
  back()
  error(err, 0)
end

--- Sets a setting for this process, above everything else.
function config.fix(name, value)
  fixed[name] = value
end

--- What the program itself has decided, to hand it to another VM: { name = value }.
function config.fixed()
  local copy = {}
  for name, value in pairs(fixed) do copy[name] = value end
  return copy
end

-- ---- the files ---------------------------------------------------------------------------------------------

local function default_path()
  if flags.config then return flags.config, true end
  local explicit = os.getenv "PERIGEE_CONFIG"
  if explicit and explicit ~= "" then return explicit, true end
  local base = os.getenv "XDG_CONFIG_HOME"
  if not base or base:sub(1, 1) ~= "/" then
    local home = os.getenv "HOME"
    if not home or home == "" then return nil end
    base = home .. "/.config"
  end
  return base .. "/perigee/config.lua", false
end

--- Every field must be one that is read: a misspelt budget must not go unnoticed.
local function check_fields(path, tbl, known, prefix)
  local names = {}
  for name in pairs(tbl) do
    names[#names + 1] = tostring(name)
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local found = false
    for _, k in ipairs(known) do
      found = found or k == name
    end
    if not found then
      local near = errors.nearest(name, known)
      fail("%s: unknown field %s%s%s", path, prefix, name, near and (", did you mean " .. prefix .. near .. "?") or "")
    end
  end
end

local function check_budgets(path, list)
  if list == nil then return end
  if type(list) ~= "table" then fail("%s: budgets must be a list of tables", path) end
  local count = 0
  for _ in pairs(list) do
    count = count + 1
  end
  if count ~= #list then fail("%s: budgets must be a list of tables, { { name = … }, … }", path) end
  local names = {}
  for i, one in ipairs(list) do
    local where = ("budgets[%d]"):format(i)
    if type(one) ~= "table" then fail("%s: %s must be a table, such as { name = \"team\", day = \"5 CCD\" }", path, where) end
    check_fields(path, one, budget_fields, where .. ".")
    for _, field in ipairs { "name", "policy", "tag" } do
      local value = one[field]
      if value ~= nil and (type(value) ~= "string" or value == "") then fail("%s: %s.%s must be a text", path, where, field) end
    end
    if not one.name then fail("%s: %s has no name, under which the journal keeps what it has spent", path, where) end
    if one.policy and one.tag then fail("%s: %s is for a policy or for a tag, not both: write two", path, where) end
    if names[one.name] then fail("%s: two budgets are named %s", path, one.name) end
    names[one.name] = true
  end
end

local function check_file(path, file)
  local known = { "budgets" }
  for name in pairs(sections) do
    known[#known + 1] = name
  end
  for name in pairs(option_names) do
    known[#known + 1] = name
  end
  for _, name in ipairs(lists) do
    known[#known + 1] = name
  end
  table.sort(known)
  check_fields(path, file, known, "")
  for _, section in ipairs { "deai", "sxwl" } do
    local value = file[section]
    if value ~= nil and type(value) ~= "table" then fail("%s: %s must be a table", path, section) end
    if value then check_fields(path, value, sections[section], section .. ".") end
  end
  check_budgets(path, file.budgets)
end

local function load_file()
  local path, explicit = default_path()
  if not path then return {} end
  local text, message, code = core.read_file(path, true)
  if not text then
    if code == "not_found" and not explicit then return {} end
    if code == "not_private" then
      fail("%s %s; it holds credentials, so keep others out: chmod 600 %s", path, message, path)
    end
    fail("%s: %s", path, message)
  end
  local chunk, syntax = load(text, "@" .. path, "t", {})
  if not chunk then fail("%s", syntax) end
  local ok, file = pcall(chunk)
  if not ok then fail("%s", tostring(file)) end
  if type(file) ~= "table" then fail("%s must return a table", path) end
  check_file(path, file)
  return file, path
end

local function load_env_file(path)
  local text, message = core.read_file(path)
  if not text then fail("--env-file %s: %s", path, message) end
  return require("perigee.env").parse(text, path)
end

local function settings_file()
  if not loaded.file then
    loaded.file, loaded.path = load_file()
  end
  return loaded.file, loaded.path
end

--- The table of the configuration file and its path; an empty one if there is none.  Raises for a wrong one.
config.file = settings_file

local function env_file()
  if not loaded.env then
    loaded.env = flags.env_file and load_env_file(flags.env_file) or {}
  end
  return loaded.env, flags.env_file
end

--- Reads them now, to see whether they can be read.
function config.read_files()
  settings_file()
  env_file()
end

-- ---- settings ----------------------------------------------------------------------------------------------

local function variable(name)
  local value = os.getenv(name)
  if value and value ~= "" then return value, "the environment" end
  local env, path = env_file()
  value = env[name]
  if value and value ~= "" then return value, path end
end

--- The variable NAME of the environment or of --env-file, and where it came from, or nil.
config.variable = variable

local function file_field(path)
  local section, field = path:match "^(.-)%.(.+)$"
  local file, source = settings_file()
  return file[section] and file[section][field], source
end

local function read_secret_file(path, source)
  if path:sub(1, 2) == "~/" then path = (os.getenv "HOME" or "~") .. path:sub(2) end
  local text, message = core.read_file(path)
  if not text then fail("%s names %s: %s", source, path, message) end
  text = text:gsub("[\r\n]+$", "")
  if text == "" then fail("%s names %s, which is empty", source, path) end
  return text
end

local function keep(value)
  core.add_secret((value:gsub("^Bearer%s+", "")))
  return value
end

local function lookup(name)
  local setting = settings[name]
  if fixed[name] ~= nil then return fixed[name], "perigee" end
  if setting.variable then
    local value, source = variable(setting.variable)
    if value then return value, source end
    if setting.secret then
      local path = variable(setting.variable .. "_FILE")
      if path then return read_secret_file(path, setting.variable .. "_FILE"), path end
    end
  end
  local value, source = file_field(name)
  if value ~= nil then return value, source end
  if setting.secret then
    local path = file_field(name .. "_file")
    if path then return read_secret_file(path, source .. ": " .. name .. "_file"), path end
  end
end

--- The value of a setting ("deai.email", "sxwl.prices") and where it came from, or nil.
function config.get(name)
  if not settings[name] then errors.invalid("config: no setting " .. tostring(name)) end
  local value, source = lookup(name)
  if value ~= nil and settings[name].secret then
    if type(value) ~= "string" then fail("%s: %s must be a string", source, name) end
    keep(value)
  end
  return value, source
end

--- The value of a setting, or an error that says how to come by it.
function config.need(name)
  local value, source = config.get(name)
  if value ~= nil then return value, source end
  local setting = settings[name]
  local path = default_path() or "~/.config/perigee/config.lua"
  error(
    errors.new {
      kind = "auth",
      code = "missing_credentials",
      service = name:match "^[^.]+",
      setting = name,
      message = ("%s is not set"):format(setting.variable),
      hint = table.concat({
        advice[name] or "",
        ("Set it in the environment (%s=…%s), in a file for --env-file,"):format(
          setting.variable,
          setting.secret and " or " .. setting.variable .. "_FILE=path" or ""
        ),
        ("or as %s in %s (mode 600)."):format(name, path),
        "To try the script without an account: perigee run --emulator FILE",
      }, "\n"),
    },
    0
  )
end

--- True if a switch that stands on the command line alone was given ("emulator").
function config.switch(name)
  return flags[name] == true
end

--- An option of `perigee run` ("log_level"): from the flags, PERIGEE_LOG_LEVEL, or the file; or nil.
function config.option(name)
  if flags[name] ~= nil then return flags[name], "the command line" end
  local value, source = variable("PERIGEE_" .. name:upper())
  if value == nil then
    local file, path = settings_file()
    value, source = file[name], path
    if value == nil or value == false then return nil end
  end
  local read, complaint = read_option(option_names[name], value == true and "" or tostring(value))
  if complaint then fail("%s: %s takes %s, not '%s'", source, name, complaint, tostring(value)) end
  return read, source
end

--- What is wrong with the values of the configuration file: a list of messages.  Raises if the file as a whole is.
function config.problems()
  local file, path = settings_file()
  local names, problems = {}, {}
  for name in pairs(option_names) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = file[name]
    local complaint = value ~= nil and value ~= false
      and select(2, read_option(option_names[name], value == true and "" or tostring(value)))
    if complaint then problems[#problems + 1] = ("%s: %s takes %s, not '%s'"):format(path, name, complaint, tostring(value)) end
  end
  return problems
end

--- The budgets of the file, as they are written there, and its path.
function config.budgets()
  local file, path = settings_file()
  return file.budgets or {}, path
end

--- Blanks every secret known so far.
config.redact = core.redact

--- The variables that hold credentials, each with the value false: env of a program that has no need for them.
function config.without_credentials()
  local env = {}
  for _, setting in pairs(settings) do
    if setting.secret then env[setting.variable] = false end
  end
  return env
end

return config
