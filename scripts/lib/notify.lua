-- perigee.notify - messages to people: through a webhook or a program, each once, also when the process dies in between.
--
-- A message is first written to the journal and then sent (scripts/lib/notify_worker.lua): by the daemon of the state
-- directory if one runs, else by the program that made it.

local check_options = require "perigee.options"
local errors = require "perigee.error"
local journal = require "perigee.core.journal"
local log = require "perigee.log"
local message = require "perigee.notify_message"
local worker = require "perigee.notify_worker"

local notify = {}

local FIELDS <const> = { "event", "text", "job", "data" }
local WAYS <const> = { "webhook", "command" }
local UNWRITABLE_AGAIN <const> = 3600 -- seconds after which the journal's failure is told once more

local own_policy -- in a policy's VM: its name, if it says itself where messages go
local told_unwritable -- when it was told that the journal cannot be written

-- ---- outbox ---------------------------------------------------------------------------------------------------------

-- Settings and the name of the policy they are of.  A policy's own go before those of the configuration.
local function settings_for(policy, event)
  local own = policy and worker.settings(policy)
  if own and (event == nil or own.on[event]) then return own, policy end
  return worker.settings(nil), nil
end

-- Writes the message down for each way; the number of those that are new, and their ids.
local function put(m, settings, policy)
  local new, ids = 0, {}
  for _, way in ipairs(WAYS) do
    if settings[way] then
      local target = policy and way .. "@" .. policy or way
      local id = message.id(m, target)
      local job = m.job and m.job.id
      local row = journal.call("outbox.put", { id = id, event = m.event, target = target, body = message.body(m, id), job = job })[1]
      if row.created == 1 then new, ids[#ids + 1] = new + 1, id end
    end
  end
  return new, ids
end

-- Without a journal there is no outbox: at once, once, and whatever becomes of it.
local function send_directly(m, settings)
  for _, way in ipairs(WAYS) do
    if settings[way] and worker.is_rehearsal(settings) then
      worker.rehearse(m.event, way, m.text)
    elseif settings[way] then
      local ok, why = worker.send(settings, way, message.body(m, message.id(m, way)))
      log[ok and "info" or "error"](ok and "notify.sent" or "notify.given_up", { event = m.event, target = way, why = why })
    end
  end
end

local function is_unwritable(err)
  return errors.is(err, "unavailable") and tostring(err.code):find "^journal" ~= nil
end

local function tell_unwritable(why)
  local now = require("perigee.core.task").now()
  if told_unwritable and now - told_unwritable < UNWRITABLE_AGAIN then return end
  local settings = worker.settings(nil)
  if not settings or not settings.on["journal.unwritable"] then return end
  told_unwritable = now
  send_directly(message.new("journal.unwritable", { why = why }), settings)
end

-- ---- for the daemon ---------------------------------------------------------------------------------------------------

--- An event of the daemon: becomes a message if the configuration, or the policy it is about, wants one.
function notify.event(event, data)
  data = data or {}
  if event == "journal.unwritable" then return tell_unwritable(data.why or data.error) end
  local settings, policy = settings_for(data.policy or type(data.job) == "table" and data.job.policy, event)
  if not settings or not settings.on[event] then return end
  local ok, err = pcall(put, message.new(event, data), settings, policy)
  if ok then return worker.wake() end
  if not is_unwritable(err) then error(err, 0) end
  log.error("notify.lost", { event = event, why = err.message })
  tell_unwritable(err.message)
end

--- Starts to send what stands in the outbox, until the program ends.  options.policies: function(name) -> the `notify` of
--- the policy of that name.
function notify.start(options)
  options = check_options.check("notify.start", options, { "policies" })
  if options.policies then worker.use_policies(options.policies) end
  return worker.start()
end

--- Sends what is due now.
function notify.flush()
  return worker.flush()
end

--- In a policy's VM: the policy whose code runs here, and its `notify`.
function notify.use(policy, t)
  own_policy = policy
  worker.use_policies(function(name)
    if name == policy then return t end
  end)
end

--- Sends a message in each configured way, at once and without the outbox: a list of { way, ok, why, elapsed }.
function notify.test()
  local settings = worker.settings(nil)
  if not settings then
    errors.invalid('nothing is configured: write notify = { webhook = "https://…" } or notify = { command = { "prog" } } '
      .. "into the configuration")
  end
  local now = require("perigee.core.task").now
  local results = {}
  for _, way in ipairs(WAYS) do
    if settings[way] then
      local m = message.new("test", {}, "a test of perigee notify: messages arrive here")
      local started = now()
      local ok, why = worker.send(settings, way, message.body(m, message.id(m, way)))
      results[#results + 1] = { way = way, ok = ok or false, why = why, elapsed = now() - started }
    end
  end
  return results
end

-- ---- for scripts ------------------------------------------------------------------------------------------------------

-- Whether somebody else sends what this VM writes down.
local function is_served()
  local link = package.loaded["perigee.link"]
  return link and link.upstream ~= nil
end

local function outcome_of(ids)
  for _, row in ipairs(journal.call("outbox.list", { limit = 100 })) do
    for _, id in ipairs(ids) do
      if row.id == id and row.outcome ~= "sent" then return "queued" end
    end
  end
  return "sent"
end

--- Sends a message.  event: a word for machines (default "message"); text: the sentence; job: a job it is about, or its
--- id; data: more, for machines.  Returns "sent", "queued" (it is sent later) or "known" (it was sent before).
function notify.send(t)
  check_options.check("notify.send", t, FIELDS)
  if t == nil or type(t.text) ~= "string" or not t.text:find "%S" then
    errors.invalid 'notify.send needs a text: notify.send { text = "the nightly training is done" }'
  end
  local event = t.event == nil and "message" or t.event
  if type(event) ~= "string" or not event:find "^[%w_.-]+$" then
    errors.invalid 'notify.send: event is a word such as "training.done"'
  end
  if t.data ~= nil and type(t.data) ~= "table" then errors.invalid "notify.send: data must be a table" end
  local data = {}
  for key, value in pairs(t.data or {}) do data[key] = value end
  data.job, data.policy = t.job, own_policy
  local settings, policy = settings_for(own_policy)
  if not settings then
    errors.invalid 'notify.send: nothing is configured; write notify = { webhook = "https://…" } into the configuration'
  end
  local new, ids = put(message.new(event, data, t.text), settings, policy)
  if new == 0 then return "known" end
  if is_served() then return "queued" end
  local ok, err = pcall(worker.look_soon)
  if errors.is(err, "cancelled") then error(err, 0) end
  return ok and outcome_of(ids) or "queued"
end

return notify
