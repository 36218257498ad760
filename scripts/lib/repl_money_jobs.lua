-- repl_money_jobs.lua - a session's jobs: what they may cost is asked before anything is in the journal.  -- internal
--
-- A job is sent by a supervisor, here or in the daemon, later and perhaps more than once; so the question is put when it
-- is submitted, for all of its attempts, at the price that the supervisor quotes.  The answer goes into the job's own
-- options (`confirmed`), and whoever sends it keeps to it: an attempt that would cost more is held, as a job is that a
-- policy holds, and a person is asked again.

local amount = require "perigee.amount"
local errors = require "perigee.error"
local json = require "perigee.json"
local log = require "perigee.log"
local money = require "perigee.repl_money"
local task = require "perigee.task"

local money_jobs = {}

local ENDED <const> = { failed = true, stopped = true, expired = true, denied = true }
local OPERATIONS <const> = { infer = "start_inference", train = "create_job", job = "create_job" }

local function amount_of(text)
  return text and amount(text) or nil
end

-- The limits of a quote with amounts in place of their text.
local function limits_of(quote)
  local limits = {}
  for i, one in ipairs(quote.limits or {}) do
    limits[i] = { budget = one.budget, window = one.window, zone = one.zone, limit = amount(one.limit), left = amount(one.left) }
  end
  return limits
end

local function title(what, job)
  local key = job.key ~= nil and job.key ~= "" and (" (%s)"):format(job.key) or ""
  return require("perigee.core.term").escape(("%s %s%s"):format(what, job.name or job.id, key))
end

-- Asks for `count` attempts at the price of the quote; raises `denied` for a no.
local function confirm(session, what, job, quote, count)
  if money.is_unasked(session) then return end
  local request = {
    service = job.service, operation = OPERATIONS[job.kind], key = job.name, price = amount_of(quote.price),
    max_cost = amount_of(quote.max_cost),
  }
  money.confirm_call(session, {
    plan = money.plan(count, "attempts", quote.max_cost), request = request, limits = limits_of(quote),
    about = { title = title(what, job), note = quote.text },
  })
end

-- Before anything is asked of a service: is there somebody to ask?
local function check_askable(session, job)
  if money.is_unasked(session) or session.ask then return end
  money.not_confirmed { service = job.service, operation = OPERATIONS[job.kind] or "jobs.submit" }
end

-- ---- the paid verbs ----------------------------------------------------------------------------------------------

local function submit(session, call, prepared)
  check_askable(session, prepared)
  local options = json.decode(prepared.options)
  local confirmed = "any"
  if not money.is_unasked(session) then
    -- A job that is there is attached to, and costs nothing; should it be gone by then, nothing is confirmed.
    confirmed = "none"
    if not call("get", { name = prepared.name, key = prepared.key }) then
      local quote = call("quote", prepared)
      confirm(session, "the job", prepared, quote, options.retry and options.retry.attempts or 1)
      confirmed = quote.price
    end
  end
  local copy = {}
  for name, value in pairs(prepared) do copy[name] = value end
  options.confirmed = confirmed
  copy.options = json.encode(options)
  return call("submit", copy)
end

local function need(call, id)
  local job = call("get", { id = id })
  if job then return job end
  return errors.invalid(("there is no job %s"):format(tostring(id)))
end

local function retry(session, call, args)
  local job = need(call, args.id)
  check_askable(session, job)
  local confirmed = "any"
  if not money.is_unasked(session) then
    confirmed = "none" -- one that cannot be retried now says so itself
    if ENDED[job.state] then
      local quote = call("quote", { id = args.id, spec = args.spec })
      confirm(session, "another attempt of the job", job, quote, 1)
      confirmed = quote.price
    end
  end
  return call("retry", { id = args.id, spec = args.spec, who = args.who, confirmed = confirmed })
end

-- The answer is for the price that was shown: should another be there by then, that is asked about.
local function approve(session, call, args)
  while true do
    local job = need(call, args.id)
    check_askable(session, job)
    if job.state == "held" then
      confirm(session, "the held job", job, { price = job.price, text = job.reason, max_cost = job.options.max_cost }, 1)
    end
    local ok, view = pcall(call, "approve", { id = args.id, who = args.who, price = job.price })
    if ok then return view end
    if not errors.is(view, "invalid") or view.code ~= "other_price" then error(view, 0) end
  end
end

local PAID <const> = { submit = submit, retry = retry, approve = approve }

--- call(verb, args) of a backend, for a session.
function money_jobs.call(session, call, verb, args)
  local paid = PAID[verb]
  if not paid then return call(verb, args) end
  return paid(session, call, args)
end

-- ---- jobs that are held for want of a yes ----------------------------------------------------------------------------

local function ask_held(session, call, job)
  local ok, err = task.try(approve, session, call, { id = job.id, who = "the prompt" })
  if ok or not err then return end
  if errors.is(err) and err.code == "declined" and job.options.confirmed ~= nil then
    task.try(call, "deny", { id = job.id, why = "the answer at the prompt was no" })
  else
    log.warn("job.held", { job = job.id, name = job.name, why = errors.is(err) and err.message or tostring(err) })
  end
end

--- What a supervisor in the session's own VM tells its events to: a job that is held is asked about.
function money_jobs.watch(session, call)
  return function(event, data)
    if event == "job.held" and (session.ask or money.is_unasked(session)) then task.detach(ask_held, session, call, data.job) end
  end
end

return money_jobs
