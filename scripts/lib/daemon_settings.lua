-- perigee.daemon_settings: what a daemon was told on the command line, in the environment and in its file.  -- internal

local config = require "perigee.config"
local fs = require "perigee.fs"
local errors = require "perigee.error"
local state = require "perigee.state"

local settings = {}

local GRACE <const> = 30
local DAY <const> = 86400
local FIELDS <const> = { "path", "memory", "step", "timeout" }

local function refuse(source, message)
  error(errors.new { kind = "invalid", code = "config", message = ("%s: %s"):format(source, message) }, 0)
end

-- Sizes and times are written as on the command line.
local function read(host, source, where, option, value)
  if value == nil then return nil end
  local result, complaint = host.read_option(option, tostring(value))
  if result == nil then refuse(source, ("%s takes %s, not '%s'"):format(where, complaint, tostring(value))) end
  return result
end

local function check_fields(source, where, entry)
  for name in pairs(entry) do
    local known = name == 1
    for _, field in ipairs(FIELDS) do known = known or field == name end
    if not known then
      local near = errors.nearest(tostring(name), FIELDS)
      refuse(source, ("%s: there is no field %s%s"):format(where, tostring(name), near and (", did you mean %s?"):format(near) or ""))
    end
  end
end

-- A name without a slash or an ending is one of the program's own policies; a path is relative to the file.
local function file_of(path, folder)
  if path:find "^/" or not path:find "[/.]" then return path end
  return folder and folder .. "/" .. path or path
end

local function read_entry(host, source, i, entry, folder)
  local where = ("policies[%d]"):format(i)
  if type(entry) == "string" then entry = { entry } end
  if type(entry) ~= "table" then refuse(source, where .. ' is a path, or { "path", memory =, step =, timeout = }') end
  check_fields(source, where, entry)
  local path = entry[1] or entry.path
  if type(path) ~= "string" then refuse(source, where .. " names no file") end
  return {
    file = file_of(path, folder),
    memory = read(host, source, where .. ".memory", "max-memory", entry.memory),
    step = read(host, source, where .. ".step", "max-step", entry.step),
    timeout = read(host, source, where .. ".timeout", "grace", entry.timeout),
  }
end

-- The files of a folder, in the order of their names; folders inside it are for helpers.
local function add_entry(entries, entry)
  local stat = entry.file:find "/" and fs.stat(entry.file) or nil
  if not stat or stat.type ~= "folder" then
    entries[#entries + 1] = entry
    return
  end
  local names = fs.list(entry.file)
  table.sort(names)
  for _, name in ipairs(names) do
    if name:find "^[^.].*%.lua$" then
      entries[#entries + 1] = { file = entry.file:gsub("/+$", "") .. "/" .. name, folder = entry.file,
        memory = entry.memory, step = entry.step, timeout = entry.timeout }
    end
  end
end

--- The policies: those of the command line, else those of the configuration file; a list of { file=, memory=, step=,
--- timeout=, folder= the folder that was named in place of the file }.
function settings.policies(host)
  local given, source, folder = host.options.args or {}, "the command line", nil
  if #given == 0 then
    local file, path = config.file()
    given, source = file.policies or {}, path
    folder = path and path:match "^(.*)/[^/]*$"
    if type(given) ~= "table" then refuse(source, "policies is a list of files") end
  end
  local entries = {}
  for i, entry in ipairs(given) do
    local one = read_entry(host, source, i, entry, folder)
    one.memory = one.memory or config.option "max_memory"
    one.step = one.step or config.option "max_step"
    add_entry(entries, one)
  end
  return entries
end

-- How long what has ended stays in the journal, in whole days; nil if nothing was said.
local function keep_days()
  local keep, source = config.option "keep"
  if keep and keep < DAY then refuse(source, "keep takes one day or more, such as 30d") end
  return keep and math.floor(keep / DAY)
end

--- Everything else: directory (or ":memory:"), listen, admin_listen, public_url, watch, grace (seconds), keep_days.
function settings.read(host)
  local directory = state.directory()
  if not config.option "state" and host.options.emulator then directory = ":memory:" end
  return {
    directory = directory,
    listen = config.option "listen",
    admin_listen = config.option "admin_listen",
    public_url = config.option "public_url",
    watch = config.option "watch",
    grace = config.option "grace" or GRACE,
    keep_days = keep_days(),
  }
end

--- Raises if what is said of messages is wrong.
function settings.check_messages()
  local ok, err = pcall(require("perigee.notify_worker").settings)
  if not ok and errors.is(err, "invalid") then err.code = "config" end
  if not ok then error(err, 0) end
end

--- What a policy's VM is told of the program's settings.
function settings.for_policies(host)
  local options = {}
  for _, name in ipairs(host.option_names) do
    local field = name:gsub("-", "_")
    local ok, value = pcall(config.option, field)
    if ok then options[field] = value end
  end
  options.config, options.env_file = host.options.config, host.options.env_file
  return { options = options, option_names = host.option_names, fixed = config.fixed() }
end

return settings
