-- deai_account.lua - tokens, locks, drafts and uploads of Distributed AI.  -- internal
--
-- All of it is state of an account, not of a client object: two clients with one address and one e-mail share
-- it.  Three rules of the service shape this file.  A token lives an hour and cannot be refreshed, so many
-- waiting calls share one login, and a refused password is not tried again at once.  An estimate is a draft
-- that the next create on the same key picks up, so whoever made the last one is remembered.  Uploads of one
-- name in one second are one file, so names are made unique and no two of one name are in flight.

local errors = require "perigee.error"
local fs = require "perigee.fs"
local journal = require "perigee.core.journal"
local jwt = require "perigee.core.jwt"
local clock = require "perigee.core.task"
local log = require "perigee.log"
local service = require "perigee.service"
local task = require "perigee.task"

local account = {}

local RENEW_BEFORE <const> = 60 -- seconds before its end in which a token is not used any more
local TOKEN_LIFE <const> = 3600 -- of a token whose claims cannot be read
local UNSURE_LIFE <const> = 60 -- of one that had ended when it came, by our clock
local FRUITLESS <const> = 2 -- logins in a row whose token was refused at once, before we pause
local REMEMBERED <const> = 10000 -- uploads whose path is known, at least
local PAUSE <const>, LONGEST_PAUSE <const> = 60, 3600

--- The state of the account behind a client.
function account.state(client)
  return service.shared("account|" .. client.key, function()
    return {
      fruitless = 0, login_failures = 0, serial = 0, skew = 0, drafts = {}, resting = {}, starts = {}, uploads = {},
      older_uploads = {}, upload_count = 0, open = {}, trainings = {},
    }
  end)
end

-- ---- tokens ------------------------------------------------------------------------------------------------------

-- Seconds for which a token that came just now may be used.  exp is the service's time: its own clock decides.
-- A token that is over when it comes tells that the clocks differ, not that it is useless.
local function life_of(token, date)
  local ok, exp = pcall(jwt.expiry, token)
  local life = ok and exp and exp - (date or os.time()) or TOKEN_LIFE
  if life <= 0 then return UNSURE_LIFE end
  return life - math.min(RENEW_BEFORE, life / 10)
end

local function usable(state, stale)
  return state.token and state.token ~= stale and clock.now() < state.expires
end

-- A password that was refused is refused again without asking, until a pause is over.
local function check_refused(state, client)
  local refused = state.refused
  if not refused or refused.password ~= client.password or clock.now() >= refused.until_ then return end
  error(errors.new {
    kind = "auth", code = "login_refused", service = "deai", operation = "login", outcome = "none",
    retryable = false, status = refused.err.status,
    message = ("the password of %s was refused; it is not tried again for %d s"):format(
      client.account, math.ceil(refused.until_ - clock.now())),
  }, 0)
end

-- Who raises an error adds fields of his own to it.
local function copy_of(err)
  local copy = {}
  for name, value in pairs(err) do copy[name] = value end
  return errors.new(copy)
end

local function note_failure(client, state, err)
  state.login_failures = state.login_failures + 1
  state.login_failed = { password = client.password, err = copy_of(err) }
end

local function login(client, state)
  local ok, reply, meta = pcall(function()
    return client.logins:run(function(try)
      return client.conn:call("login", { email = client.account, passwd = client.password }, { attempt = try.attempt })
    end)
  end)
  if not ok then
    if errors.is(reply, "auth") then
      local pause = client.refused_pause or state.refused and math.min(state.refused.pause * 2, LONGEST_PAUSE) or PAUSE
      state.refused = { password = client.password, until_ = clock.now() + pause, pause = pause, err = reply }
      state.token = nil
    end
    if errors.is(reply) and reply.kind ~= "cancelled" then note_failure(client, state, reply) end
    error(reply, 0)
  end
  state.refused = nil
  if meta.date then state.skew = meta.date - os.time() end
  state.token, state.worked = reply.token, false
  state.expires = clock.now() + life_of(reply.token, meta.date)
  state.fruitless = state.fruitless + 1
end

-- One login at a time, and who has waited for it shares how it ended: a service that is down is asked by one.
local function shared_login(client, state, stale)
  local before = state.login_failures
  local lock <close> = service.lock(client, "login", "") -- luacheck: ignore 211
  if usable(state, stale) then return end
  check_refused(state, client)
  local failed = state.login_failures ~= before and state.login_failed
  if failed and failed.password == client.password then error(copy_of(failed.err), 0) end
  login(client, state)
end

--- Puts a token on the client's connection, logging in if there is none; `stale` is one that was refused.
--- Returns the token.
function account.authorize(client, stale)
  local state = account.state(client)
  if not usable(state, stale) then shared_login(client, state, stale) end
  client.conn:token(state.token)
  return state.token
end

--- The token was taken.
function account.accepted(client, token)
  local state = account.state(client)
  if token == state.token then state.fruitless, state.storm_until = 0, nil end
end

--- After a refusal: true if another token is worth a try.  Logins that change nothing are paused.
function account.renew(client, token, err)
  local state, now = account.state(client), clock.now()
  if err.operation == "login" then return false end
  if state.token ~= token then return true end -- another call has logged in meanwhile
  if state.fruitless >= FRUITLESS then
    local pausing = not state.storm_until or now < state.storm_until
    state.storm_until = pausing and (state.storm_until or now + PAUSE) or now + PAUSE
    if pausing then return false end
  end
  state.expires = 0
  return true
end

-- ---- drafts -------------------------------------------------------------------------------------------------------

-- Who may use a draft: the whole console session; else the task that made it, tasks it spawned since, and tasks
-- of which neither they nor one they come from has estimated that key (a script may price in tasks and start
-- from its main one).  A probe's draft is nobody's.
local LINEAGE <const> = "perigee.deai.drafts"

local function lineage()
  local session = task.get_local "perigee.session"
  if session == nil then return task.get_local(LINEAGE) or {}, nil end
  local sessions = service.shared("draft sessions", function() return {} end)
  sessions[session] = sessions[session] or {}
  return sessions[session], session
end

local function remember(key, id)
  local mine, session = lineage()
  if session ~= nil then
    mine[key] = id
    return
  end
  local copy = {}
  for k, v in pairs(mine) do copy[k] = v end
  copy[key] = id
  task.set_local(LINEAGE, copy)
end

-- A draft or start that may still arrive would take the place of the next one: the key rests first.
local function rest(state, key)
  local resting = state.resting[key]
  while resting do
    local left = resting.until_ - clock.now()
    if resting.settled and resting.settled() then break end
    if left <= 0 then break end
    task.sleep(math.min(left, resting.settled and 5 or left))
  end
  state.resting[key] = nil
end

local function rest_from_now(client, state, key, settled)
  state.resting[key] = { until_ = clock.now() + client.draft_rest, settled = settled }
end

--- An estimate under the lock of its key: {price=, id=}.  The caller holds the lock.
function account.draft(client, operation, key, fields, options)
  local state = account.state(client)
  rest(state, key)
  local before = state.drafts[key]
  state.drafts[key] = nil
  state.serial = state.serial + 1
  local ok, reply, meta = pcall(service.call, client, operation, fields, { timeout = options.timeout })
  if not ok then
    if errors.is(reply) and (reply.outcome == "unknown" or reply.kind == "cancelled") then
      state.drafts[key] = { unclear = true }
      rest_from_now(client, state, key)
    else
      state.drafts[key] = before -- refused: the service still has the one before
    end
    error(reply, 0)
  end
  if meta.date then state.skew = meta.date - os.time() end
  local draft = { id = state.serial, price = reply.ccd_cost, probe = options.probe, session = select(2, lineage()) }
  state.drafts[key] = draft
  if not draft.probe then remember(client.key .. "|" .. key, draft.id) end
  return draft
end

--- Forgets the draft of a key that is not used again: a process that lives for months makes many.
function account.forget(client, key)
  local state = account.state(client)
  state.drafts[key], state.resting[key] = nil, nil
end

-- ---- drafts of other processes ------------------------------------------------------------------------------------

-- A name for a draft that no other process and no other VM gives.
local function name_draft(state, draft)
  state.nonce = state.nonce or ("%s-%08x"):format(journal.process_id() or "", math.random(0, 0xffffffff))
  return ("draft %s-%d"):format(state.nonce, draft.id)
end

--- What the holder of a key's lock leaves to the next, in this process or another: which draft the service has seen
--- last, or until when (wall time) that is unclear.
function account.note(client, key)
  local state = account.state(client)
  local draft, resting = state.drafts[key], state.resting[key]
  if not draft then return nil end
  if not draft.note and draft.unclear then
    draft.note = ("unclear %d"):format(os.time() + (resting and math.ceil(resting.until_ - clock.now()) or 0))
  end
  draft.note = draft.note or name_draft(state, draft)
  return draft.note
end

--- Takes in the note of the key's last holder: a draft that it does not name was followed by somebody else's.
function account.heed(client, key, note)
  local state = account.state(client)
  local draft = state.drafts[key]
  if note == (draft and draft.note) then return end
  local ends = note and tonumber(note:match "^unclear (%d+)$")
  if note and not ends then
    state.drafts[key] = { foreign = true, note = note }
    return
  end
  state.drafts[key] = { unclear = true, note = note } -- a holder that died leaves no note
  local seconds = math.min((ends or 0) - os.time(), client.draft_rest)
  if seconds <= 0 then return end
  state.resting[key] = { until_ = clock.now() + seconds }
  log.warn("draft.rests", { key = key, seconds = seconds, why = "a request of another process may still reach the service" })
end

-- ---- whose a draft is ---------------------------------------------------------------------------------------------

local function is_ours(draft, key)
  if draft.foreign then return false end
  local mine, session = lineage()
  if draft.probe or draft.session ~= session then return false end
  return mine[key] == draft.id or (mine[key] == nil and session == nil)
end

--- The last draft of the key, if the caller made it (or nobody in this process did: then {}).
function account.own_draft(client, operation, key, what)
  local draft = account.state(client).drafts[key]
  if not draft then return {} end
  if draft.unclear then
    errors.invalid(("%s: it is unclear which estimate of %s the service has seen last; estimate again"):format(operation, what))
  end
  if not is_ours(draft, client.key .. "|" .. key) then
    errors.invalid(("%s: somebody else has estimated %s meanwhile, and the service would run that; estimate again, "
      .. "or use the call that does both under one lock"):format(operation, what))
  end
  return draft
end

--- An unclear create: the key rests until `settled` says that it did start, or its time is over.
function account.rest(client, key, settled)
  local state = account.state(client)
  state.drafts[key] = { unclear = true }
  rest_from_now(client, state, key, settled)
end

-- ---- uploads ------------------------------------------------------------------------------------------------------

-- What the service is told the file is called: unique for its content, and safe in a header and a path.
local function remote_name(path, hash)
  local base = path:match "[^/]*$":gsub('[%c"\\/:*?<>|]', "_")
  if not utf8.len(base) then base = base:gsub("[\x80-\xff]", "_") end
  if #base > 200 then base = base:sub(-200):gsub("^[\x80-\xbf]+", "") end
  return hash:sub(1, 8) .. "-" .. base
end

--- Uploads a local file and returns its remote path.
function account.upload(client, path, options)
  local hash = fs.sha256(path)
  local name = remote_name(path, hash)
  local state = account.state(client)
  local lock <close> = service.lock(client, "upload", name) -- luacheck: ignore 211
  local reply = service.with_progress(options.progress, function(cell)
    return (service.call(client, "upload", { file = path, name = name }, { timeout = options.timeout, progress = cell }))
  end)
  local remote = reply.msg
  local before = state.uploads[remote] or state.older_uploads[remote]
  if before and before ~= hash then
    error(errors.new {
      kind = "api", code = "upload_collision", service = "deai", operation = "upload", outcome = "unknown",
      retryable = false,
      message = ("the service stored %s under %s, which stood for other bytes: jobs that use it may read either"):format(
        path, remote),
    }, 0)
  end
  state.uploads[remote], state.upload_count = hash, state.upload_count + 1
  if state.upload_count >= REMEMBERED then -- two generations: a process that lives for months does not grow
    state.older_uploads, state.uploads, state.upload_count = state.uploads, {}, 0
  end
  return remote
end

return account
