-- why.lua - the story of a job: what was decided, why, with the figures; its money; what comes next.  -- internal
--
-- text() is pure: it makes words of the document that gather() reads from the journal, so that the command, the
-- REPL and a daemon tell the same story.

local columns = require "perigee.columns"
local json = require "perigee.json"
local term = require "perigee.core.term"
local time = require "perigee.time"
local words = require "perigee.job_words"

local why = {}

-- ---- what comes next, and what a person can do --------------------------------------------------------------------

local NEXT <const> = {}

function NEXT.planned(job, now)
  if job.wake_at and job.wake_at > now then return ("it is tried %s"):format(words.ago(job.wake_at, now)) end
  return "its price is asked for, gates and policies decide, and it is sent"
end

function NEXT.held(job, now)
  return ("it waits for a person; without an answer it is denied%s"):format(
    job.expires_at and (" %s (%s)"):format(words.ago(job.expires_at, now), time.format(job.expires_at // 1)) or "")
end

function NEXT.submitting()
  return "its request is on its way; when the answer is lost the job becomes unknown, and is never sent blindly again"
end

function NEXT.running(job, now)
  local text = "its status is read again and again until it ends; a callback makes the next reading come at once"
  local deadline = job.options and job.options.deadline
  return deadline and ("%s; its deadline is %s"):format(text, words.ago(deadline / 1000, now)) or text
end

local UNKNOWN <const> = {
  wait = "it stays so until it is found or a person decides (on_unknown = \"wait\")",
  retry = "when the service's list certainly does not have it, it is sent again (on_unknown = \"retry\")",
  fail = "when it is not found, it counts as failed (on_unknown = \"fail\")",
}

function NEXT.unknown(job)
  return "it is looked for at the service; " .. (UNKNOWN[job.options and job.options.on_unknown or "wait"] or UNKNOWN.wait)
end

--- A sentence on what happens next.
function why.next(whole, now)
  local job = whole.job
  local describe = NEXT[job.state]
  if not describe then return ("nothing: it %s"):format(words.ended[job.state] or "has ended") end
  if not whole.owner then
    return "nothing for now: no program looks after it. Run its script again, or start `perigee daemon` on this state directory"
  end
  return describe(job, now or time.now())
end

local CAN <const> = {
  planned = { "stop" }, held = { "approve", "deny", "stop" }, submitting = { "stop" }, running = { "stop" },
  unknown = { "adopt", "forget" }, failed = { "retry" }, expired = { "retry" }, stopped = { "retry" }, denied = { "retry" },
  succeeded = {},
}

local COMMANDS <const> = {
  approve = { "perigee approve %s", "let it go" },
  deny = { "perigee deny %s", "refuse it; nothing is sent" },
  stop = { "perigee jobs stop %s", "stop it at the service; an unfinished job loses its volumes" },
  retry = { "perigee jobs retry %s", "send it again, as a new attempt" },
  adopt = { "perigee jobs adopt %s REMOTE_ID", "it is the job REMOTE_ID of the service: `perigee jobs sweep` lists those nobody tracks" },
  forget = { "perigee jobs forget %s", "say that it was not started: its money is free, and it can be retried" },
}

--- What one can do: a list of {command, what it does}.
function why.can(job)
  local list = json.array()
  for _, name in ipairs(CAN[job.state] or {}) do
    local command, effect = COMMANDS[name][1]:format(words.short(job)), COMMANDS[name][2]
    if name == "stop" and job.service == "deai" then
      effect = "stop looking after it; Distributed AI cannot stop it: it goes on and stays billed"
    end
    list[#list + 1] = { command = command, effect = effect }
  end
  return list
end

-- ---- the parts of the text ----------------------------------------------------------------------------------------

local function value_text(value)
  if type(value) == "table" then return json.encode(value) end
  if math.type(value) == "float" and value == math.floor(value) then return tostring(math.tointeger(value)) end
  return tostring(value)
end

-- Figures of a decision that its sentence does not name already, in the order of their names.
local function figures(decision, job)
  local names, parts = {}, {}
  for name, value in pairs(decision.data or {}) do
    if value ~= job.remote_id then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local text = value_text(decision.data[name])
    if name:find "_at$" and tonumber(text) then text = time.format(tonumber(text) / 1000) end
    if text ~= "" and not decision.text:find(text, 1, true) then
      parts[#parts + 1] = ("%s %s"):format(name, text)
    end
  end
  return table.concat(parts, ", ")
end

-- Times of one day stand without their date, after the first of it.
local function moment(at, last)
  if not at then return "" end
  local day, clock = time.format(at, nil, "%Y-%m-%d"), time.format(at, nil, "%H:%M:%S")
  if last.day == day then return clock end
  last.day = day
  return day .. " " .. clock
end

local function render_decisions(decisions, job)
  if #decisions == 0 then return "  nothing yet\n" end
  local rows, last = {}, {}
  for i, decision in ipairs(decisions) do
    local more = figures(decision, job)
    local text = decision.text
    if decision.policy and not text:find(decision.policy, 1, true) then text = ("policy %s: %s"):format(decision.policy, text) end
    rows[i] = { moment(decision.at, last), decision.kind, more ~= "" and ("%s  [%s]"):format(text, more) or text }
  end
  return columns.render(rows, { indent = "  ", right = { true } })
end

local function attempt_money(attempt)
  if attempt.cost then return ("cost %s%s"):format(attempt.cost, attempt.derived and " (derived)" or "") end
  return attempt.price and "at most " .. attempt.price or ""
end

-- Ids of Distributed AI have up to 78 digits; the whole one stands at the top.
local function shortened(id)
  return #id > 44 and ("%s…%s"):format(id:sub(1, 12), id:sub(-6)) or id
end

local function render_attempts(attempts, now)
  if #attempts == 0 then return "" end
  local rows = { { "#", "STATE", "STARTED", "MONEY", "REMOTE ID", "ERROR" } }
  for i, attempt in ipairs(attempts) do
    local err = attempt.error
    rows[i + 1] = {
      attempt.attempt, attempt.state or "", words.ago(attempt.started_at, now), attempt_money(attempt), shortened(attempt.remote_id or ""),
      type(err) == "table" and (err.message or err.code or err.kind) or "",
    }
  end
  return "\nATTEMPTS\n" .. columns.render(rows, { indent = "  " })
end

local function is_zero(text)
  return not text:match("^%S+"):find "[1-9]"
end

local function render_money(whole)
  local lines = {}
  for _, sum in ipairs(whole.money) do
    local how = sum.presumed and " (presumed)" or sum.derived and " (derived from time)" or ""
    local unknown = is_zero(sum.unknown) and "" or (", and %s may have been charged"):format(sum.unknown)
    lines[#lines + 1] = ("  held %s, spent %s%s%s\n"):format(sum.held, sum.spent, how, unknown)
  end
  if #lines == 0 then lines[1] = "  nothing is held, and nothing was spent\n" end
  local options = whole.job.options or {}
  if options.max_cost then
    lines[#lines + 1] = ("  all attempts together at most %s (max_cost)%s\n"):format(options.max_cost,
      whole.job.spent and ("; %s of it count so far"):format(tostring(whole.job.spent)) or "")
  end
  if options.max_cost_per_attempt then
    lines[#lines + 1] = ("  each attempt at most %s (max_cost_per_attempt)\n"):format(options.max_cost_per_attempt)
  end
  if options.budget then
    lines[#lines + 1] = ("  within the budget %s\n"):format(table.concat(options.budget, ", "))
  end
  return "\nMONEY\n" .. table.concat(lines)
end

local function headline(whole, now)
  local job = whole.job
  local text = ("job %s %s, %s"):format(words.identity(job), words.sentence(job), words.ago(job.changed_at or job.created_at, now))
  if job.reason and job.reason ~= "" then text = ("%s: %s"):format(text, job.reason) end
  local facts = { job.service .. (job.kind ~= "job" and " " .. job.kind or "") }
  if job.remote_id then facts[#facts + 1] = "remote id " .. job.remote_id end
  if job.policy then facts[#facts + 1] = "submitted by policy " .. job.policy end
  if job.tags and #job.tags > 0 then facts[#facts + 1] = "tags " .. table.concat(job.tags, " ") end
  if whole.owner and words.is_active(job.state) then
    facts[#facts + 1] = ("looked after by %s, process %s"):format(whole.owner.mine and "this program" or whole.owner.kind, whole.owner.pid)
  end
  return text .. "\n  " .. table.concat(facts, ", ") .. "\n"
end

--- The story in words.  whole: of gather().
function why.text(whole, now)
  now = now or time.now()
  local parts = {
    headline(whole, now), "\nWHAT HAPPENED (UTC)\n", render_decisions(whole.decisions, whole.job), render_attempts(whole.attempts, now),
    render_money(whole), "\nWHAT COMES NEXT\n  ", why.next(whole, now), "\n",
  }
  local rows = {}
  for i, one in ipairs(why.can(whole.job)) do rows[i] = { one.command, one.effect } end
  if #rows > 0 then
    parts[#parts + 1] = "\nWHAT YOU CAN DO\n"
    parts[#parts + 1] = columns.render(rows, { indent = "  " })
  end
  return term.escape(table.concat(parts)) -- names, and words of services and policies, stand in all of it
end

--- The whole story of a job as plain data, by its row in the journal.
function why.gather(row)
  local whole = require("perigee.job_record").whole(row)
  whole.next = why.next(whole)
  whole.can = why.can(whole.job)
  return whole
end

return why
