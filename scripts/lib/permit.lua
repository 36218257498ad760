-- permit.lua - the one place that asks the spend kernel for a permit, and what has to come before.  -- internal
--
-- Nothing is paid for a session (the REPL, a console) that a person has not said yes to.  The gate is here, where the
-- permit is asked for, and it fails closed: a call of a session without an answer that covers its price is denied.
-- The question itself is put by staged(), around the critical section and not in it: the gate raises, which frees
-- every lock on the way out, staged() asks, and the section runs anew with the answer (perigee.repl_money).

local errors = require "perigee.error"
local spend = require "perigee.core.spend"
local task = require "perigee.task"

local permit = {}

local guarded -- the session that all tasks of this VM belong to
local tickets = setmetatable({}, { __mode = "k" }) -- permit -> the part of an answer it has used

--- From now on every task of this VM that is in no other session is in this one, the supervisor's included.  For a VM
--- that is there for a session.
function permit.guard(session)
  guarded = session
end

--- The session of the calling task, or nil.
function permit.session()
  return task.get_local "perigee.session" or guarded
end

--- Runs f, which takes locks, finds a price and pays.  In a session a person is asked in between, with none of that
--- held, and f runs again.  plan: nil, or what several calls share that are asked about once (perigee.repl_money).
function permit.staged(plan, f)
  local session = permit.session()
  if not session then return f() end
  return require("perigee.repl_money").staged(session, plan, f)
end

--- A plan for `count` calls that are asked about once; noun: what people call them.  max_cost bounds them together.
--- nil where nobody is asked.
function permit.plan(count, noun, max_cost)
  if not permit.session() then return nil end
  return require("perigee.repl_money").plan(count, noun, max_cost)
end

--- Asks about such a plan before its first call; requests: as for request(), one for each call, with its price.
function permit.confirm(plan, requests, about)
  if plan then require("perigee.repl_money").confirm(permit.session(), plan, requests, about or {}) end
end

--- Whether a price is within what was confirmed when a job was submitted at a prompt: the text of an amount, "any" or
--- "none"; nil for a job that was not.
function permit.is_confirmed(confirmed, price)
  if confirmed == nil or confirmed == "any" then return true end
  if confirmed == "none" or price == nil then return false end
  local ok, within = pcall(function() return price <= require "perigee.amount"(confirmed) end)
  return ok and within
end

local function check_job(request, confirmed)
  if permit.is_confirmed(confirmed, request.price) then return end
  local words = confirmed == "none" and "nobody has confirmed its price yet" or confirmed .. " were confirmed"
  error(errors.new {
    kind = "denied", code = "not_confirmed", outcome = "none", retryable = false, service = request.service,
    operation = request.operation, price = request.price,
    message = ("%s, and by now it costs %s"):format(words, tostring(request.price)),
  }, 0)
end

--- spend.request, after the question whether a person has agreed.  about: {client=, draft= (its id), note= (what the
--- price is made of), confirmed= (of a job, see is_confirmed)}.
function permit.request(request, about)
  local session, ticket = permit.session(), nil
  if about and about.confirmed ~= nil then
    check_job(request, about.confirmed)
  elseif session then
    ticket = require("perigee.repl_money").take(session, request, about or {})
  end
  if not ticket then return spend.request(request) end
  request.agreed = ticket.asked
  local ok, made = pcall(spend.request, request)
  if not ok then
    ticket.give_back()
    error(made, 0)
  end
  tickets[made] = ticket
  return made
end

--- What request() would be denied for by the limits that apply: raises `denied`, or gives them, as
--- perigee.core.spend.judge does.  Holds nothing; the figures of durable budgets are brought up to date.
function permit.judge(request)
  local config = require "perigee.config"
  local lists = { request.budgets or {}, #config.budgets() > 0 and require("perigee.budgets").defaults() or {} }
  for _, list in ipairs(lists) do
    for _, one in ipairs(list) do
      if one:durable() then one:lines() end
    end
  end
  return spend.judge(request)
end

--- The request of this permit has certainly had no effect: the answer that allowed it is good for another try.
function permit.unused(made)
  local ticket = tickets[made]
  tickets[made] = nil
  if ticket then ticket.give_back() end
end

return permit
