-- service.lua - what the clients of both services share.  -- internal
--
-- The engine (perigee.core.ops) makes one exchange; here several become one call: reads with retries, of
-- which this file is the only owner, a rate for status reads, paid calls with their permit, waits that poll,
-- and what is left behind when a wait is left.  State that must hold across client objects (locks, drafts,
-- tokens) is in one table of the VM, service.shared.

local amount = require "perigee.amount"
local budget = require "perigee.budget"
local checks = require "perigee.options"
local core = require "perigee.core.ops"
local clock = require "perigee.core.task"
local errors = require "perigee.error"
local log = require "perigee.log"
local permits = require "perigee.permit"
local retry = require "perigee.retry"
local task = require "perigee.task"
local world = require "perigee.world"

local service = {}

local STATUS_RATE <const> = 5 -- status reads a second for each service, all clients together
local MOST_LEFT <const> = 1000 -- jobs left behind that the end of a run can name
local answer_grace = 15 -- seconds a paid request may still wait for its answer after a cancel
-- What can be waited out: the service could not be asked, or did not make sense.
local PASSING <const> = { network = true, timeout = true, http = true, parse = true, unavailable = true, tls = true }
local FIRST_POLL <const>, POLL_FACTOR <const>, LAST_POLL <const>, POLL_JITTER <const> = 2, 1.5, 60, 0.2

--- State shared by all clients of this VM under a name; `make` builds it the first time.
function service.shared(name, make)
  local all = core.shared()
  local state = all[name]
  if not state then
    state = make()
    all[name] = state
  end
  return state
end

--- Those whose names begin with `prefix`, as a list in the order of their names.
function service.shared_under(prefix)
  local all, names, list = core.shared(), {}, {}
  for name in pairs(all) do
    if name:sub(1, #prefix) == prefix then names[#names + 1] = name end
  end
  table.sort(names)
  for i, name in ipairs(names) do list[i] = all[name] end
  return list
end

-- ---- options and errors ------------------------------------------------------------------------------------

service.check_options, service.seconds = checks.check, checks.seconds

--- Raises `invalid` unless value is of one of the types named.
function service.check_type(where, value, ...)
  for _, wanted in ipairs { ... } do
    if type(value) == wanted then return value end
  end
  return errors.invalid(("%s must be a %s, not a %s"):format(where, table.concat({ ... }, " or a "), type(value)))
end

--- A rate: more than 0 a second, or nil.
function service.rate(where, value)
  if value == nil then return nil end
  if type(value) ~= "number" or not (value > 0 and value < math.huge) then
    errors.invalid(where .. " must be a number of more than 0 a second")
  end
  return value
end

--- The text of a string or of a perigee.secret.
function service.reveal(where, value)
  local secret = require "perigee.secret"
  return service.check_type(where, secret.is(value) and value:reveal() or value, "string")
end

--- Raises `invalid` for limits that are none, before anything is sent.  Returns the options of a paid call.
function service.paid_options(options)
  budget.collect(options.budget)
  for _, name in ipairs { "max_cost", "max_cost_per_attempt" } do
    if options[name] ~= nil then service.money(name, options[name]) end
  end
  return { max_cost = options.max_cost, max_cost_per_attempt = options.max_cost_per_attempt, budget = options.budget }
end

--- Raises `invalid`, naming the line to write, unless value is money.
function service.money(name, value)
  if type(value) == "number" then
    errors.invalid(("%s is a Lua number, which is never money: write %s = \"%s CCD\""):format(name, name, value))
  end
  local ok, exact = pcall(amount, value)
  if not ok then errors.invalid(("%s: %s"):format(name, errors.is(exact) and exact.message or tostring(exact))) end
  return exact
end

--- Adds to an error object what only the caller knows (ids, a price) and raises it.
function service.raise(err, fields)
  if errors.is(err) then
    for name, value in pairs(fields or {}) do
      if err[name] == nil then err[name] = value end
    end
  end
  error(err, 0)
end

--- f(…) whose errors carry the fields too.
function service.annotated(fields, f, ...)
  local results = table.pack(pcall(f, ...))
  if not results[1] then service.raise(results[2], fields) end
  return table.unpack(results, 2, results.n)
end

-- ---- clients -------------------------------------------------------------------------------------------------

local function repeats(name, on)
  return retry.new { attempts = 4, base = 0.5, cap = 10, elapsed = 120, service = name, on = on }
end

--- What every client has: a connection, a key that says where and who, the budgets of all its calls.
--- methods:authorize() must put a valid token on the connection; methods:renew(token) replaces a refused one
--- and says whether that is worth another try.
function service.new_client(name, methods, options)
  budget.collect(options.budget) -- what is none is refused here, not at the first paid call
  local conn = core.connect { service = name, base_url = options.base_url, transport = options.transport }
  world.check_address(conn:base_url())
  return setmetatable({
    service = name,
    conn = conn,
    base_url = conn:base_url(),
    account = options.account,
    key = table.concat({ name, conn:base_url(), options.account or "" }, "|"),
    budget = options.budget,
    timeout = options.timeout,
    reads = repeats(name, function(err) return err.retryable and err.operation ~= "login" end),
    logins = repeats(name), -- a read whose login failed is not repeated: the login was
    rate = options.status_rate or STATUS_RATE,
  }, methods)
end

--- Waits for the lock of `kind` and `id` on this account; keep it in a <close> variable.  Kinds in methods.shared_locks
--- are locked against other processes too: what their last holder left is given to methods:heed(kind|id, note), and
--- methods:note(kind|id) says what is left to the next.
function service.lock(client, kind, id)
  local name = table.concat({ client.key, kind, id }, "|")
  local own = task.lock(name)
  if not (client.shared_locks and client.shared_locks[kind]) then return own end
  local key = kind .. "|" .. id
  return require("perigee.service_lock").take(name, own, function(note) client:heed(key, note) end, function()
    return client:note(key)
  end)
end

-- ---- one call --------------------------------------------------------------------------------------------------

local effects = {} -- "service.operation" -> "read", "draft", "create", "stop"; once a session has asked

-- The line of a session that this task works for learns that something other than reading has gone out for it.
local function note_effect(client, operation)
  local entry = task.get_local "perigee.entry"
  if not entry then return end
  local name = client.service .. "." .. operation
  if not effects[name] then
    for _, def in ipairs(core.describe(client.service).operations) do effects[client.service .. "." .. def.name] = def.effect end
  end
  if effects[name] ~= "read" then entry.touched = (entry.touched or 0) + 1 end
end

local function exchange(client, operation, fields, options, attempt)
  world.check "this client"
  note_effect(client, operation)
  local authorized, token = pcall(client.authorize, client, operation)
  if not authorized then return false, token end
  local ok, reply, meta = pcall(client.conn.call, client.conn, operation, fields, {
    timeout = options.timeout or client.timeout,
    attempt = attempt,
    permit = options.permit,
    progress = options.progress,
  })
  if ok then client:accepted(token) end
  return ok, reply, meta, token
end

--- One exchange, and one more after a new login if the token was refused.  Returns the reply and
--- {status, elapsed, date}.
function service.call(client, operation, fields, options, attempt)
  options = options or {}
  local ok, reply, meta, token = exchange(client, operation, fields, options, attempt)
  if not ok and errors.is(reply, "auth") and client:renew(token, reply) then
    ok, reply, meta = exchange(client, operation, fields, options, (attempt or 1) + 1)
  end
  if not ok then error(reply, 0) end
  return reply, meta
end

--- A read: repeated, within bounds, while its error says that it can be.
function service.read(client, operation, fields, options)
  return client.reads:run(function(try)
    return service.call(client, operation, fields, options, try.attempt)
  end)
end

--- Waits for this service's next turn to read a status.
function service.take_turn(client)
  local lane = service.shared("lane|" .. client.service, function() return { next = 0 } end)
  local now = clock.now()
  local at = math.max(now, lane.next)
  lane.next = at + 1 / client.rate
  if at > now then task.sleep(at - now) end
end

--- A status read outside of a wait: with its turn and retries.
function service.read_status(client, operation, fields, options)
  service.take_turn(client)
  return service.read(client, operation, fields, options)
end

-- ---- paid calls --------------------------------------------------------------------------------------------------

--- Options of a call that say what it may cost.  terms: {key=, price=, no_worst_case=, model=, draft=, note=}.
local function request_permit(client, operation, options, terms)
  local budgets = budget.collect(options.budget, client.budget)
  require("perigee.balance").check(client, operation, terms.price, budgets)
  return permits.request({
    service = client.service,
    operation = operation,
    account = client.account,
    key = terms.key,
    price = terms.price,
    no_worst_case = terms.no_worst_case,
    model = terms.model,
    max_cost = options.max_cost,
    max_cost_per_attempt = options.max_cost_per_attempt,
    budgets = budgets,
  }, { client = client, draft = terms.draft, note = terms.note })
end

--- At the end of this program an answer is waited for no longer than so many seconds. Returns how long it is then.
function service.bound_answers(seconds)
  answer_grace = math.min(answer_grace, seconds)
  return answer_grace
end

-- Once the request is out, a cancel waits a while for the answer: it says what the money was spent on.
local function send_paid(client, operation, fields, options, permit, attempt)
  return task.shield(answer_grace, exchange, client, operation, fields, {
    timeout = options.timeout,
    permit = permit,
  }, attempt)
end

--- A create: gate, permit, request.  Never sent twice, but that one refused for its token is sent once more
--- after a login, with a permit of its own.  Returns the reply and the permit, which the caller settles or
--- closes.  An error of unknown outcome has `intent` and `permit`.
function service.pay(client, operation, fields, options, terms)
  for attempt = 1, 2 do
    client:authorize(operation)
    local permit = request_permit(client, operation, options, terms)
    local ok, reply, meta, token = send_paid(client, operation, fields, options, permit, attempt)
    if ok then return reply, permit, meta end
    if errors.is(reply) then
      reply.price = reply.price or terms.price
      if permit:state() == "unknown" then
        -- Also when the wait for the answer was cancelled: the request had left.
        reply.outcome, reply.retryable, reply.intent = "unknown", false, permit:intent_id()
        return nil, permit, reply
      end
    end
    permits.unused(permit)
    permit:close()
    if attempt == 2 or not errors.is(reply, "auth") or not client:renew(token, reply) then error(reply, 0) end
  end
end

--- The same, but an unknown outcome is raised like any error.
function service.pay_or_raise(client, operation, fields, options, terms)
  local reply, permit, err = service.pay(client, operation, fields, options, terms)
  if reply then return reply, permit, err end
  permit:close()
  error(err, 0)
end

--- One create under a permit that the caller has: sent once, never again here.  Returns the reply; raises.  An error
--- whose request had left has outcome "unknown"; `renewed` says that another try would go out with a new token.
function service.send_once(client, operation, fields, permit, timeout)
  client:authorize(operation)
  local ok, reply, _, token = send_paid(client, operation, fields, { timeout = timeout }, permit, 1)
  if ok then return reply end
  if errors.is(reply) then
    if permit:state() == "unknown" then
      reply.outcome, reply.retryable, reply.intent = "unknown", false, permit:intent_id()
    elseif errors.is(reply, "auth") then
      reply.renewed = client:renew(token, reply)
    end
  end
  error(reply, 0)
end

--- True for an error that says nothing about the call itself: the service could not be asked, or made no sense.
function service.passes(err)
  return errors.is(err) and (PASSING[err.kind] or err.retryable) or false
end

-- ---- uploads: progress without a callback in C ---------------------------------------------------------------------

--- f(cell) while report(sent, total) is called some five times a second.
function service.with_progress(report, f)
  if not report then return f(nil) end
  service.check_type("progress", report, "function")
  local cell = core.progress()
  local last
  local function tell()
    local sent, total = cell:read()
    if sent ~= last then
      last = sent
      report(sent, total)
    end
  end
  local scope <close> = task.scope()
  local watcher = scope:spawn(function()
    while true do
      task.sleep(0.2)
      tell()
    end
  end)
  local result = f(cell)
  watcher:cancel "the upload has ended"
  tell()
  return result
end

-- ---- waits -----------------------------------------------------------------------------------------------------------

local function jittered(seconds)
  return seconds * (1 + POLL_JITTER * (2 * clock.random() - 1))
end

-- "answer", "unreadable", or nil for an error that ends the wait.
local function waits_out(options, err)
  if not errors.is(err) or err.kind == "cancelled" then return nil end
  return options.passing and options.passing(err) or PASSING[err.kind] and "unreadable" or nil
end

--- Polls until look() returns something, for at most `timeout` seconds; returns that.
---   look()      one reading, without retries of its own; may raise
---   passing     function(err) -> "answer" if the service has said "not yet" with it, "unreadable" if it could not
---               be asked, or nil (default: what is no answer at all is "unreadable")
---   patience    seconds for which readings may fail in a row (default an hour): unreachable is not failed
---   bell        of perigee.callback: polls at once, and often again, when it rings
---   not_before  clock.now() of a moment at which one reading is wanted (a deadline of the job's)
---   on_poll     called after each reading that found nothing
---   on_timeout  function() -> the error to raise
function service.poll(client, options, look)
  local started, interval = clock.now(), FIRST_POLL
  local failing_since
  while true do
    service.take_turn(client)
    local ok, found = pcall(look)
    if ok and found ~= nil then return found end
    local now = clock.now()
    if ok then
      failing_since = nil
    else
      local verdict = waits_out(options, found)
      if verdict == "answer" then
        failing_since = nil
        core.count_answer()
      else
        failing_since = failing_since or now
      end
      if not verdict or now - (failing_since or now) > (options.patience or 3600) then error(found, 0) end
      log.debug("poll.failed", { service = client.service, kind = found.kind, error = found.message })
    end
    if options.on_poll then options.on_poll(now - started) end
    local left = started + options.timeout - now
    if left <= 0 then error(options.on_timeout(), 0) end
    local pause = math.min(jittered(interval), left)
    if options.not_before and now < options.not_before then pause = math.min(pause, options.not_before - now) end
    interval = math.min(interval * POLL_FACTOR, LAST_POLL)
    if not options.bell then
      task.sleep(pause)
    elseif options.bell.sleep(pause) then
      interval = FIRST_POLL
    end
  end
end

-- ---- what is left behind -------------------------------------------------------------------------------------------------

--- Notes a remote job that goes on though nobody waits for it any more, and says so.
function service.leave(entry)
  local left = service.shared("left", function() return {} end)
  left[#left + 1] = entry
  if #left > MOST_LEFT then table.remove(left, 1) end
  log.warn("job.goes_on", entry)
end

--- All of them, oldest first: {service, id, cost, how} each.  The end of a run names them.
function service.left_behind()
  return service.shared("left", function() return {} end)
end

--- A value of the configuration: the caller's, else from flags, environment and files.
function service.setting(value, name, needed)
  if value ~= nil then return value end
  local config = require "perigee.config"
  if needed then return (config.need(name)) end
  return (config.get(name))
end

return service
