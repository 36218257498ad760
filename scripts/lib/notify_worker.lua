-- internal: notify_worker.lua - takes messages out of the journal's outbox and sends them, until they arrived or a day is over.
--
-- What is not sent yet stands in the journal only, so that a process that dies leaves nothing out; one process at a time
-- sends (lock "notify").  A message that was sent when the process died before it could note that is sent again:
-- its id is the same.

local config = require "perigee.config"
local errors = require "perigee.error"
local journal = require "perigee.core.journal"
local json = require "perigee.json"
local log = require "perigee.log"
local message = require "perigee.notify_message"
local read_settings = require "perigee.notify_settings".read
local secret = require "perigee.secret"
local sync = require "perigee.core.sync"
local task = require "perigee.task"
local time = require "perigee.time"

local worker = {}

local LOCK <const> = "notify"
local LOOK <const> = 5 -- seconds between looks at the outbox
local FIRST_WAIT <const>, LONGEST_WAIT <const> = 10, 3600 -- seconds between tries
local GIVE_UP_AFTER <const> = 86400 * 1000 -- ms
local MOST_DUE <const> = 5000
local HISTORY <const> = 500
local LARGEST_REPLY <const> = 64 * 1024
local SECRET_PATH <const> = 16 -- bytes from which on the path of a webhook counts as a password
local SOON <const> = 3 -- seconds a message of this program waits for others who send
local WEBHOOK_TIMEOUT <const>, COMMAND_TIMEOUT <const> = 30, 60

local policy_table = function() return nil end -- the `notify` of a policy by its name
local bell = sync.semaphore(0)
local sent_at -- when something went last, by target and event; nil before the first look

-- ---- where messages go ----------------------------------------------------------------------------------------------

--- The settings of the configuration, or with a name those of that policy; nil if there are none.
function worker.settings(policy)
  local t, where
  if policy then
    t, where = policy_table(policy), ("notify of policy %s"):format(policy)
  else
    local file, path = config.file()
    t, where = file.notify, ("%s: notify"):format(path or "configuration")
  end
  return t and read_settings(t, where)
end

--- Says where the `notify` tables of policies are found: function(name) -> table or nil.
function worker.use_policies(find)
  policy_table = find
end

local function url_of(webhook)
  local url = secret.is(webhook) and webhook:reveal() or webhook
  if not url:find "^https?://" then url = secret.from(webhook):reveal() end
  if not url:find "^https?://[^%s/]+" or url:find "[%s%c]" then errors.invalid "the webhook's secret holds no URL" end
  -- whoever knows the path of such a URL can write there
  local path = url:match "^https?://[^/]+/(.+)$"
  if path and #path >= SECRET_PATH then
    secret.of(url)
    secret.of(path)
  end
  return url
end

local function post(webhook, body)
  local reply = require("perigee.http").post(url_of(webhook), {
    body = body, headers = { ["Content-Type"] = "application/json" }, timeout = WEBHOOK_TIMEOUT, redirects = 0, max_body = LARGEST_REPLY,
  })
  if reply.status >= 200 and reply.status < 300 then return end
  local redirect = reply.status >= 300 and reply.status < 400 and ", a redirect, which is not followed" or ""
  error(errors.new { kind = "http", status = reply.status, message = ("the webhook answers with %d%s"):format(reply.status, redirect) }, 0)
end

local function run_command(words, body)
  local result = require("perigee.proc").run {
    args = words, env = config.without_credentials(), stdin = body, timeout = COMMAND_TIMEOUT, output_cap = LARGEST_REPLY,
  }
  if result.status == 0 and result.signal == 0 then return end
  local how = result.timed_out and ("took longer than %d s"):format(COMMAND_TIMEOUT)
    or result.signal ~= 0 and ("was ended by signal %d"):format(result.signal) or ("exits with %d"):format(result.status)
  local said = result.stderr:match "^%s*([^\n]*)" or ""
  error(errors.new { kind = "unavailable", code = "command",
    message = ("%s %s%s"):format(words[1], how, said ~= "" and ": " .. said:sub(1, 200) or "") }, 0)
end

-- What went wrong in at most 500 bytes of UTF-8, without secrets: a program may have said anything.
local function reason(err)
  local text = config.redact(errors.is(err) and err.message or tostring(err)):sub(1, 500)
  if utf8.len(text) then return text end
  return (text:gsub("[\x80-\xff]", "?"))
end

--- Sends one body in one way ("webhook", "command"): true, or nil and why not, without secrets.
function worker.send(settings, way, body)
  local ok, err
  if way == "webhook" then
    ok, err = pcall(post, settings.webhook, body)
  else
    ok, err = pcall(run_command, settings.command, body)
  end
  if ok then return true end
  if errors.is(err, "cancelled") then error(err, 0) end
  return nil, reason(err)
end

--- With --emulator nobody is called, unless the settings say so: a rehearsal must not page people.
function worker.is_rehearsal(settings)
  return config.switch "emulator" and not settings.emulator
end

--- Tells the log what would have been sent.
function worker.rehearse(event, target, text)
  log.info("notify.rehearsed", { event = event, target = target, text = text })
end

-- ---- one look at the outbox --------------------------------------------------------------------------------------------

local function now_ms()
  return math.floor(time.now() * 1000)
end

local function group_key(row)
  return row.target .. "\0" .. row.event
end

local function remember_history()
  if sent_at then return end
  sent_at = {}
  for _, row in ipairs(journal.call("outbox.list", { limit = HISTORY })) do
    if row.outcome == "sent" then
      local key = group_key(row)
      sent_at[key] = math.max(sent_at[key] or 0, row.ended_at or 0)
    end
  end
end

-- The rows in groups of one target and event, in the order of their oldest.
local function groups_of(rows)
  local groups, by_key = {}, {}
  for _, row in ipairs(rows) do
    local key = group_key(row)
    if not by_key[key] then
      by_key[key] = { key = key, target = row.target, event = row.event }
      groups[#groups + 1] = by_key[key]
    end
    table.insert(by_key[key], row)
  end
  return groups
end

local function put_off(group, why)
  local now = now_ms()
  task.map(group, function(row)
    if now - (row.put_at or now) >= GIVE_UP_AFTER then
      log.error("notify.given_up", { event = row.event, target = row.target, id = row.id, why = why })
      journal.call("outbox.done", { id = row.id, outcome = "given_up" })
    else
      local wait = math.min(LONGEST_WAIT, FIRST_WAIT * 2 ^ math.min(row.tries or 0, 20))
      journal.call("outbox.later", { id = row.id, not_before = now + math.floor(wait * 1000), error = why })
    end
  end)
end

local function deliver(group, way, settings)
  local bodies = {}
  for i, row in ipairs(group) do bodies[i] = row.body end
  local body, ok, why = #bodies == 1 and bodies[1] or message.merged(bodies), true, nil
  if worker.is_rehearsal(settings) then
    worker.rehearse(group.event, group.target, json.decode(body).text)
  else
    ok, why = worker.send(settings, way, body)
  end
  if not ok then
    log.warn("notify.failed", { event = group.event, target = group.target, why = why })
    put_off(group, why)
    return nil, why
  end
  sent_at[group.key] = now_ms()
  -- at once, so that one commit has them all
  task.map(group, function(row) return journal.call("outbox.done", { id = row.id, outcome = "sent" }) end)
  log.info("notify.sent", { event = group.event, target = group.target, count = #group })
  return true
end

-- The way of its target, whether its settings could be read, and they or why not.
local function way_of(group)
  local way, policy = group.target:match "^(%l+)@?(.*)$"
  return way, pcall(worker.settings, policy ~= "" and policy or nil)
end

-- Whether the group waits for the end of its interval.
local function is_early(group, settings)
  local last = sent_at[group.key]
  return last ~= nil and now_ms() < last + settings.min_interval * 1000
end

-- failed: targets that did not work in this look, with why.
local function handle(group, failed)
  local way, ok, settings = way_of(group)
  if not ok and errors.is(settings, "cancelled") then error(settings, 0) end
  if not ok or not settings or not settings[way] then
    return put_off(group, ok and "it is configured no more" or reason(settings))
  end
  if is_early(group, settings) then return end
  if failed[group.target] then return put_off(group, failed[group.target]) end
  local sent, why = deliver(group, way, settings)
  if not sent then failed[group.target] = why end
end

-- Whether anything can be done now: a look at nothing must not write, and taking the lock does.
local function is_anything_due()
  local rows = journal.call("outbox.due", { limit = MOST_DUE })
  if #rows == 0 then return false end
  remember_history()
  for _, group in ipairs(groups_of(rows)) do
    local _, ok, settings = way_of(group)
    if not ok or not settings or not is_early(group, settings) then return true end
  end
  return false
end

--- Sends what is due.  False if another process does.
function worker.look()
  if not is_anything_due() then return true end
  local row = journal.call("lock.take", { name = LOCK })[1]
  if row.taken ~= 1 then return false end
  local lock <close> = journal.lock(LOCK) -- luacheck: ignore lock
  local failed = {}
  for _, group in ipairs(groups_of(journal.call("outbox.due", { limit = MOST_DUE }))) do handle(group, failed) end
  return true
end

--- Sends what is due, after who sends just now.
function worker.look_soon()
  local deadline = time.monotonic() + SOON
  while not worker.look() and time.monotonic() < deadline do task.sleep(0.1) end
end

-- ---- the worker --------------------------------------------------------------------------------------------------------

local function run()
  while true do
    local ok, err = pcall(worker.look)
    if not ok and errors.is(err, "cancelled") then error(err, 0) end
    if not ok then log.warn("notify.outbox", { why = errors.is(err) and err.message or tostring(err) }) end
    task.try(task.deadline, LOOK, bell.take, bell)
  end
end

--- Looks again at once.
function worker.wake()
  bell:give()
end

--- Starts the task that sends; it ends with the program.
function worker.start()
  return task.detach(run)
end

--- Sends what is due, for the end of a program.
function worker.flush()
  return worker.look()
end

return worker
