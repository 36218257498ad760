-- internal: notify_settings.lua - reading `notify = { webhook =, command =, on =, min_interval = }` of the configuration or
-- of a policy.

local check_options = require "perigee.options"
local core = require "perigee.core.time"
local errors = require "perigee.error"
local secret = require "perigee.core.secret"

local notify_settings = {}

local FIELDS <const> = { "webhook", "command", "on", "min_interval", "emulator" }
local MIN_INTERVAL <const> = "5m"
local LONGEST_INTERVAL <const> = 86400

--- What messages are sent about.
notify_settings.EVENTS = { "approval.expiring", "budget.low", "daemon.crashed", "job.failed", "job.held", "job.unknown",
  "journal.unwritable", "login.refused", "policy.paused", "policy.stale", "sweep.found" }

local function is_url(text)
  return text:find "^https?://[^%s/]+" ~= nil and not text:find "[%s%c]"
end

-- A URL, a secret, or the name of one: env:NAME, file:/path, credential:name.
local function check_webhook(where, value)
  if value == nil or secret.is(value) then return value end
  local text = type(value) == "string" and value or ""
  if is_url(text) or text:find "^env:[%a_][%w_]*$" or text:find "^file:/." or text:find "^credential:." then return value end
  return errors.invalid(where .. '.webhook is a URL such as "https://example.org/hook", or "env:NAME", "file:/path", "credential:name" '
    .. "of one that is a secret")
end

local function check_command(where, value)
  if value == nil then return nil end
  if type(value) == "string" then
    errors.invalid(('%s.command is a list of words, for no shell reads it: { "mail", "-s", "perigee", "me@example.org" }'):format(where))
  end
  local words = type(value) == "table" and #value or 0
  for i = 1, words do
    if type(value[i]) ~= "string" or value[i]:find "%z" or i == 1 and value[i] == "" then words = 0 end
  end
  if words == 0 then errors.invalid(where .. '.command is a list of words, such as { "/usr/local/bin/alert" }') end
  return value
end

-- The name of an event in `on`, or an error with the nearest.
local function known_event(where, name)
  for _, event in ipairs(notify_settings.EVENTS) do
    if event == name then return name end
  end
  return check_options.refuse(where .. ".on", "event", tostring(name), notify_settings.EVENTS)
end

-- A list of names, and names with true or false; with nothing but false, all the others.
local function read_on(where, on)
  local set, some = {}, on == nil
  if on ~= nil and type(on) ~= "table" then
    errors.invalid(where .. '.on is a list of events, such as { "job.failed", "budget.low" }')
  end
  for key, value in pairs(on or {}) do
    if math.type(key) == "integer" then
      set[known_event(where, value)] = true
      some = true
    elseif type(value) ~= "boolean" then
      errors.invalid(('%s.on["%s"] is true or false'):format(where, tostring(key)))
    else
      set[known_event(where, key)] = value
      some = some or value
    end
  end
  if on ~= nil and some then return set end
  for _, event in ipairs(notify_settings.EVENTS) do
    if set[event] == nil then set[event] = true end
  end
  return set
end

local function read_interval(where, value)
  local ok, seconds = pcall(core.seconds, value == nil and MIN_INTERVAL or value)
  if not ok or seconds < 0 or seconds > LONGEST_INTERVAL then
    errors.invalid(('%s.min_interval is a time up to "1d", such as "5m"; not %s'):format(where, tostring(value)))
  end
  return seconds
end

--- The settings, read: { webhook, command, on = set of events, min_interval = seconds, emulator }.  Raises `invalid`, naming the field.
function notify_settings.read(t, where)
  where = where or "notify"
  if type(t) ~= "table" then errors.invalid(where .. ' must be a table, such as { webhook = "https://example.org/hook" }') end
  check_options.check(where, t, FIELDS)
  if t.webhook == nil and t.command == nil then errors.invalid(where .. " names neither webhook nor command") end
  if t.emulator ~= nil and type(t.emulator) ~= "boolean" then
    errors.invalid(where .. ".emulator is true or false: whether messages are sent with --emulator, too")
  end
  return {
    emulator = t.emulator or false,
    webhook = check_webhook(where, t.webhook),
    command = check_command(where, t.command),
    on = read_on(where, t.on),
    min_interval = read_interval(where, t.min_interval),
  }
end

return notify_settings
