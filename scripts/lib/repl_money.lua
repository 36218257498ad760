-- perigee.repl_money: asks a person before a session pays.  -- internal
--
-- A paid call of a session is staged.  Under its locks it finds its price and comes to the gate (perigee.permit), which
-- has no answer yet and raises; the locks are free then, limits that deny have denied.  The person is asked, however
-- long that takes.  After a yes the call runs anew: it takes its locks, finds its price again, and the answer is used
-- up by the permit it gets.  A price that went up, or another thing to pay for, has no answer, and is asked about.
--
-- What belongs to a session is kept in session.money, since there can be two sets of these modules in one VM.

local amount = require "perigee.amount"
local errors = require "perigee.error"
local judge = require "perigee.permit".judge
local task = require "perigee.task"

local money = {}

local STAGE <const> = "perigee.session.plan" -- task-local: the plan of the call under way
local INPUT <const> = "perigee.entry" -- task-local: a table that is the input's own
local TITLES <const> = { deai = "Distributed AI", sxwl = "SXWL" }

local function kept(session)
  local state = rawget(session, "money")
  if not state then
    state = { turn = {}, grants = setmetatable({}, { __mode = "k" }) }
    session.money = state
  end
  return state
end

local function escape(text)
  return require("perigee.core.term").escape(tostring(text))
end

--- Whether the calling line pays without being asked about (`--yes`, `:yes on`).  A yes that was given on an emulator is
--- good there alone.
function money.is_unasked(session)
  return (task.get_local "perigee.world" or session).yes == true
end

-- ---- prices ----------------------------------------------------------------------------------------------------

-- Whether a yes to `asked` is one to `price`, too; nil is "not known", which only covers the same.
local function covers(asked, price)
  if asked == nil or price == nil then return asked == price end
  return asked:currency() == price:currency() and price <= asked
end

-- What is bought: an answer is good for nothing else.
local function identity(request, about)
  return table.concat({ request.service, request.operation, request.account or "", request.key or "", about.draft or "" }, "|")
end

-- ---- answers for all of an input -----------------------------------------------------------------------------------

local function granted(session, price)
  local input = task.get_local(INPUT)
  local grants = input and kept(session).grants[input]
  local most = price and grants and grants[price:currency()]
  return most ~= nil and price ~= nil and covers(most, price)
end

local function grant(session, price)
  local all = kept(session).grants
  local input = task.get_local(INPUT)
  local grants = all[input] or {}
  all[input] = grants
  local before = grants[price:currency()]
  grants[price:currency()] = before and amount.max(before, price) or price
end

-- ---- errors ----------------------------------------------------------------------------------------------------

local function denied(code, request, message, more)
  local err = errors.new {
    kind = "denied", code = code, outcome = "none", retryable = false, service = request.service, operation = request.operation,
    account = request.account, price = request.price, message = message,
  }
  for name, value in pairs(more or {}) do err[name] = value end
  error(err, 0)
end

local function cost_of(request)
  return request.price and "costs " .. tostring(request.price) or "has no known price"
end

local function not_confirmed(request)
  denied("not_confirmed", request, ("%s %s, and there is nobody to ask"):format(request.operation, cost_of(request)), {
    hint = "Run it at a terminal, where it asks, or with --yes if the price is right.",
  })
end

local function declined(session, request)
  local off = session.kind == "console" and "--yes" or "`:yes on`"
  denied("declined", request, ("%s %s, and the answer was no"):format(request.operation, cost_of(request)), {
    hint = ("If the price is right, run it again and answer y; %s turns the questions off."):format(off),
  })
end

-- ---- what is asked -----------------------------------------------------------------------------------------------

local function what_of(request)
  local title, key = TITLES[request.service] or request.service, escape(request.key or "")
  if request.service == "sxwl" then return ("%s: a job on %s"):format(title, key) end
  if request.operation == "create_job" then return ('%s: the training "%s"'):format(title, key) end
  return ("%s: an inference on job %s"):format(title, key)
end

local function row(name, text)
  return ("  %-11s %s"):format(name, text)
end

-- Who pays, and where: a client may have been made for another account, or for an emulator.
local function payer_of(client)
  return escape(client.account and ("%s at %s"):format(client.account, client.base_url) or client.base_url)
end

local function price_rows(lines, request, plan, each, about)
  local count = plan.count
  if not each then
    lines[#lines + 1] = row("price", "not known" .. (about.note and ": " .. about.note or ""))
    local bound = request.no_worst_case and "nothing ends the job by itself, and nothing bounds what it costs"
      or "nothing bounds what this call costs"
    lines[#lines + 1] = row("worst case", bound)
    return
  end
  local estimated = request.service == "deai" and ", unless the service charges more than it has estimated" or ""
  lines[#lines + 1] = row(count > 1 and "price each" or "price", ("%s, %s"):format(tostring(each), about.note or "as estimated"))
  lines[#lines + 1] = row("worst case", ("%s%s%s"):format(tostring(plan.worst),
    count > 1 and (" for %d %s"):format(count, plan.noun) or "", estimated))
end

local function limit_rows(lines, request, limits)
  if request.max_cost then lines[#lines + 1] = row("max_cost", tostring(request.max_cost)) end
  for _, one in ipairs(limits) do
    local window = one.window == "total" and "in all" or ("this %s, %s"):format(one.window, one.zone)
    lines[#lines + 1] = row("left", ("%s of %s %s%s"):format(tostring(one.left), tostring(one.limit), window,
      one.budget ~= "" and (' (budget "%s")'):format(escape(one.budget)) or ""))
  end
  if #limits == 0 and not request.max_cost then lines[#lines + 1] = row("limits", "none: no max_cost and no budget applies") end
end

local function least_left(limits)
  local least
  for _, one in ipairs(limits) do
    if not least then
      least = one.left
    elseif least:currency() == one.left:currency() then
      least = amount.min(least, one.left)
    end
  end
  return least
end

-- The sum of what a plan may come to: count times the price, and no more than max_cost.
local function worst_of(plan, price)
  if plan.worst_given then return plan.worst_given end
  if not price then return nil end
  local worst = price * plan.count
  local most = plan.max_cost and amount(plan.max_cost)
  return most and most:currency() == worst:currency() and amount.min(most, worst) or worst
end

-- Why one is asked again.
local function change_row(answer, request, about)
  if not answer then return nil end
  if answer.id ~= identity(request, about) then return row("asked again", "another estimate was made since you said yes") end
  if not covers(answer.each, request.price) then
    return row("asked again", ("you said yes to %s, and the price has changed"):format(tostring(answer.each or "an unknown price")))
  end
  return nil
end

-- unasked: {plan=, request=, about=, limits=}
local function question_of(plan, unasked)
  local request, about = unasked.request, unasked.about
  local price, limits = request.price, unasked.limits
  plan.noun, plan.worst = plan.noun or "attempts", worst_of(plan, price)
  local lines = {}
  lines[1] = about.title or what_of(request)
  lines[#lines + 1] = change_row(plan.answer, request, about)
  if about.client then lines[#lines + 1] = row("service", payer_of(about.client)) end
  price_rows(lines, request, plan, price, about)
  limit_rows(lines, request, limits)
  local balance = about.client and require("perigee.balance").peek(about.client)
  if balance then lines[#lines + 1] = row("balance", tostring(balance)) end
  local all = price ~= nil and task.get_local(INPUT) ~= nil
  lines[#lines + 1] = all and ("Pay? [y]es, [n]o, [a]ll of this line up to %s each:"):format(tostring(price)) or "Pay? [y]es, [n]o:"
  return {
    text = table.concat(lines, "\n"), operation = request.operation, service = request.service, price = price,
    worst = plan.worst, left = least_left(limits), count = plan.count, all = all, balance = balance,
  }
end

-- ---- asking ------------------------------------------------------------------------------------------------------

-- One question at a time for each session; true for a yes.  `all` may have come in while others were asked.
local function ask(session, plan, unasked)
  local price = unasked.request.price
  if not session.ask then not_confirmed(unasked.request) end
  local question = question_of(plan, unasked)
  local turn <close> = task.lock(kept(session).turn) -- luacheck: ignore 211
  if money.is_unasked(session) or granted(session, price) then return true end
  local reply = session.ask(question)
  if reply == "all" and question.all then
    grant(session, price)
    return true
  end
  if reply == "nobody" then not_confirmed(unasked.request) end
  return reply == "yes"
end

-- Asks, and keeps the answer with the plan.  One of a plan whose calls have prices of their own that became dearer is
-- asked about by itself: the others have their answer.
local function settle(session, plan, unasked)
  local alone = plan.answer and plan.worst_given
  local asked = alone and { count = 1, answer = plan.answer } or plan
  if plan.answer and not alone then plan.count = math.max(1, plan.answer.count) end
  if not ask(session, asked, unasked) then declined(session, unasked.request) end
  plan[alone and "once" or "answer"] = {
    id = identity(unasked.request, unasked.about), each = unasked.request.price, count = asked.count, sum = asked.worst,
  }
end

-- ---- the gate's side -----------------------------------------------------------------------------------------------

local NOTHING <const> = { give_back = function() end }

-- A part of an answer for one call, or nil.
local function part_of(answer, request, about)
  local price = request.price
  if not answer or answer.count < 1 or answer.id ~= identity(request, about) or not covers(answer.each, price) then return nil end
  if price and price > answer.sum then return nil end
  answer.count = answer.count - 1
  answer.sum = price and answer.sum - price
  local given = false
  return { asked = true, give_back = function()
    if given then return end
    given = true
    answer.count, answer.sum = answer.count + 1, price and answer.sum + price
  end }
end

--- What allows this request: a ticket, whose give_back() makes the answer good for another try.  Raises `denied`, or,
--- within staged(), what makes that ask.
function money.take(session, request, about)
  if money.is_unasked(session) or granted(session, request.price) then return NOTHING end
  local plan = task.get_local(STAGE)
  local part = plan and (part_of(plan.answer, request, about) or part_of(plan.once, request, about))
  if part then return part end
  local limits = judge(request)
  if not plan then not_confirmed(request) end
  return denied("not_confirmed", request, "nobody was asked yet", {
    unasked = { plan = plan, request = request, about = about, limits = limits },
  })
end

-- f() with a task-local value: the results of pcall, packed.
local function with_plan(plan, f)
  local outer = task.get_local(STAGE)
  task.set_local(STAGE, plan)
  local results = table.pack(pcall(f))
  task.set_local(STAGE, outer)
  return results
end

--- A plan for several calls that are asked about once: count of them, noun for people ("attempts"), max_cost of all.
function money.plan(count, noun, max_cost)
  return { count = count, noun = noun, max_cost = max_cost }
end

--- Asks about a plan before its first call.  requests: one for each call, with the price found for it.  Raises `denied`
--- for a no.  Where a limit denies the cheapest of them nobody is asked: its own call will say so.
function money.confirm(session, plan, requests, about)
  if money.is_unasked(session) or #requests == 0 then return end
  local cheapest, dearest, sum = requests[1], requests[1], nil
  for _, one in ipairs(requests) do
    if one.price < cheapest.price then cheapest = one end
    if one.price > dearest.price then dearest = one end
    sum = sum and sum + one.price or one.price
  end
  plan.count, plan.worst_given = #requests, sum
  local ok, limits = pcall(judge, cheapest)
  if not ok and errors.is(limits, "denied") then return end
  if not ok then error(limits, 0) end
  settle(session, plan, { plan = plan, request = dearest, about = about, limits = limits })
end

--- Asks about one call that a supervisor will make: {plan=, request=, about=, limits=}, about.title in place of what a
--- request tells.  Raises `denied` for a no, and where there is nobody to ask.
function money.confirm_call(session, call)
  settle(session, call.plan, call)
end

money.not_confirmed = not_confirmed

--- f(), asked about as often as its gate has no answer; see permit.staged.  No part of f has an effect before its gate.
function money.staged(session, plan, f)
  plan = plan or money.plan(1)
  while true do
    local results = with_plan(plan, f)
    if results[1] then return table.unpack(results, 2, results.n) end
    local err = results[2]
    local unasked = errors.is(err, "denied") and err.unasked
    if not unasked or unasked.plan ~= plan then error(err, 0) end
    settle(session, plan, unasked)
  end
end

return money
