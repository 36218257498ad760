-- perigee.report: an uncaught error as a text for people.  -- internal
-- Says what happened, what it means for the money, what to do, and where in the script.  Pure: takes an
-- error, gives text; nothing is printed here.

local errors = require "perigee.error"
local escape = require("perigee.core.term").escape

local report = {}

-- What a person can do about an error of this kind.
local advice = {
  network = "Check the connection and the address of the service, then run the script again.",
  timeout = "The service was slow: try again later, or give the call a longer timeout.",
  tls = "The certificate was refused. Check the clock of this machine and the CA certificates; "
    .. "do not turn verification off for a service that takes money.",
  http = "The service answered with an HTTP error: look at its status, then run the script again.",
  auth = "Check the credentials; a token may have expired.",
  api = "The service refused the call: its own words are above.",
  parse = "The reply was not what the service documents: perhaps a proxy answered in its place.",
  invalid = "Correct the script at the line below; nothing was sent.",
  denied = "Raise max_cost or the budget if the price is right; else leave it.",
  funds = "Top up the account, then run the script again.",
  job_failed = "Look at the job's own log; perigee.retry can submit such jobs again within a max_cost.",
  unavailable = "The service does not offer this now: choose something else, or try later.",
  limit = "A limit of perigee was reached; if the size is right, raise the limit in the call.",
  closed = "Something was used after it was closed: correct the script at the line below.",
}

-- Where the code says more than the kind.
local advice_by_code = {
  usage = "Correct the command line; `perigee help COMMAND` tells more.",
  config = "Correct the setting named above; nothing was sent.",
  journal = "Make the journal writable again, as the message says, then run the script again; nothing was sent.",
  no_budget = "Name a budget that is in the configuration, or give the job one that has a name.",
  runaway = "Let the script wait now and then (task.sleep(0) is enough), or do less in one go.",
  grace = "Let errors of kind cancelled pass: a loop around pcall has to end when it sees one.",
  memory = "Keep less at a time, or allow more with --max-memory.",
}

for word, text in pairs {
  full = "Make room on the disk (or raise the quota), then run it again.",
  readonly = "Make the state directory writable for this user, or name another one with --state.",
  locked = "End the program that keeps it locked (a shell of sqlite3, a backup), then run it again.",
  corrupt = "`perigee journal verify` says where it is damaged; docs/journal.md says how to put a backup in its place.",
  newer = "Install the version that the message names, or a later one.",
  open = "Mend what the message names, or name another state directory with --state.",
  io = "Look at the system's log for errors of the disk, then run it again.",
} do
  advice_by_code["journal_" .. word] = text
end

local unknown_advice = "Do not just run it again: look in the service's own list first whether it is there. "
  .. "perigee has not sent it a second time."

local unpaid_advice = "Run it again once the service answers: nothing is charged for this call."

local function sums_text(sums, field)
  local list = {}
  for _, sum in ipairs(sums or {}) do
    if not sum[field].zero then list[#list + 1] = sum[field].text end
  end
  return list[1] and table.concat(list, ", ")
end

--- What the run as a whole has cost so far, as a sentence.  What had no price is not called nothing.
local function run_money(context)
  local sums, unpriced = context.sums, context.unpriced or 0
  local text = "This run has spent " .. (sums_text(sums, "spent") or unpriced > 0 and "an unknown sum" or "nothing")
  if unpriced > 0 then text = text .. "; " .. unpriced .. (unpriced == 1 and " paid call" or " paid calls") .. " had no price" end
  local held, unknown = sums_text(sums, "held"), sums_text(sums, "unknown")
  if held then text = text .. "; " .. held .. " is held" end
  if unknown then text = text .. "; whether " .. unknown .. " was charged is unknown" end
  return text .. "."
end

-- Calls whose reply can be lost, and that are never charged.
local UNPAID <const> = { upload = true, estimate_cnn = true, estimate_lstm = true, estimate_inference = true,
  stop_job = true, delete_job = true }

local function unpaid(err)
  return err.service ~= nil and UNPAID[err.operation] == true
end

local function call_money(err)
  if err.outcome == "unknown" and unpaid(err) then
    return "It is unknown whether the service executed the call; it is not one that is charged."
  elseif err.outcome == "unknown" then
    local price = err.price and (" (" .. tostring(err.price) .. ")") or ""
    return "It is unknown whether the service executed the call" .. price .. ": it may be charged, and stays held."
  elseif err.kind == "timeout" and err.code == "wait" then
    if err.state == "planned" or err.state == "held" then return "Only the wait for it has ended; nothing of it is at the service now." end
    return "What it runs is charged: only the wait for it has ended."
  elseif err.kind == "job_failed" and (err.code == "stopped" or err.code == "expired") and not err.cost then
    return "It was ended before anything of it was started: it cost nothing."
  elseif err.kind == "job_failed" and err.code ~= "stopped" and err.code ~= "expired" then
    return "The job ran and failed: what it used until then is charged."
  elseif err.kind == "job_failed" then
    return "What it used until it was ended is charged."
  elseif err.kind == "denied" then
    return "Nothing was sent, so this call cost nothing."
  elseif err.service and err.operation then
    return "The service did not execute this call: it cost nothing."
  end
end

local function where(err)
  local list = {}
  if err.service or err.operation then
    list[#list + 1] = table.concat({ err.service or nil, err.operation or nil }, " ")
  end
  if err.status then list[#list + 1] = "HTTP " .. tostring(err.status) end
  if err.code and err.code ~= "" then list[#list + 1] = "code " .. tostring(err.code) end
  if err.attempt and err.attempt ~= 1 then list[#list + 1] = "attempt " .. tostring(err.attempt) end
  if err.url then list[#list + 1] = tostring(err.url) end
  for _, id in ipairs { "job_id", "jobID", "infer_id" } do
    if err[id] then list[#list + 1] = id .. " " .. tostring(err[id]) end
  end
  return table.concat(list, ", ")
end

-- Frames of the program's own start, and of raising itself, are of no use to the author of a script.
local useless = { "perigee/scripts/lib/run%.lua", "perigee/scripts/lib/repl[_%l]*%.lua", "^%s*%[C%]: in %?$",
  "^%s*%(%.%.%.tail calls%.%.%.%)$", "%[C%]: in function 'error'$",
  "%[C%]: in method 'wait'$", "%[C%]: in metamethod 'close'$" }

-- Frames inside the program: of use only where no frame of the script is left.
local inside = { "^%s*perigee/scripts/", "^%s*%[C%]: in function 'perigee%." }

local function is_any(line, patterns)
  for _, pattern in ipairs(patterns) do
    if line:find(pattern) then return true end
  end
  return false
end

local function script_frames(traceback, fallback)
  local all, of_script = {}, {}
  for line in (traceback or ""):gmatch "[^\n]+" do
    line = line:gsub("in local 'script'$", "in main chunk")
    if not is_any(line, useless) then
      all[#all + 1] = escape(line)
      if not is_any(line, inside) then of_script[#of_script + 1] = escape(line) end
    end
  end
  if #of_script > 1 then return of_script end
  return fallback and #all > 1 and all or {}
end

--- The value of a plain error(…).
local function plain_message(err)
  if type(err) == "string" then return err end
  local meta = getmetatable(err)
  if type(meta) == "table" and meta.__tostring then return tostring(err) end
  return ("the script raised a %s as its error"):format(type(err))
end

--- Appends a paragraph: the first line behind its label, the others below it.
local function paragraph(lines, label, text)
  if not text or text == "" then return end
  local first = true
  for line in text:gmatch "[^\n]+" do
    lines[#lines + 1] = ("  %-7s%s"):format(first and label or "", escape(line))
    first = false
  end
end

-- Codes of errors that are no fault at a line of the script.
local no_line = { missing_credentials = true, config = true, usage = true, daemon_stuck = true, daemon_lost = true,
  not_yours = true }

--- Where the error began, if that was in another task, and how it came to the script's end.
local function frames(traceback, origin)
  local last = script_frames(traceback, true)
  local first = origin ~= traceback and script_frames(origin, false) or {}
  if #first == 0 then return last end
  first[1] = "stack traceback of the task that failed:"
  if #last > 0 then last[1] = "it was waited for at:" end
  return table.move(last, 1, #last, #first + 1, first)
end

--- For the prompt, which has sentences of its own on the rest: {where=, money=, todo=}, as far as there is something to
--- say; money is that of the one call.
function report.parts(err)
  return {
    where = where(err),
    money = call_money(err),
    todo = err.hint or (err.outcome == "unknown" and (unpaid(err) and unpaid_advice or unknown_advice))
      or advice_by_code[err.code] or advice[err.kind],
  }
end

--- The lines of a traceback that are of use to whoever wrote the script, escaped; {} if there are none.
function report.frames(traceback, origin)
  return frames(traceback, origin)
end

-- Kinds whose advice is for whoever runs a command, not for the author of a script.
local FOR_COMMANDS <const> = { auth = true, tls = true, funds = true }

--- The error of a command other than run, as text: nothing of it is a script's.
function report.render_command(err)
  local lines = { escape("perigee: " .. err.message) }
  paragraph(lines, "money", call_money(err))
  paragraph(lines, "do", err.hint or advice_by_code[err.code] or FOR_COMMANDS[err.kind] and advice[err.kind])
  return table.concat(lines, "\n") .. "\n"
end

--- report.render(err, {traceback=, origin=, sums=}) -> text with a line end. origin: traceback of the task in
--- which the error began; sums: summary.money(); unpriced: paid calls whose price is not known; command: it ended a
--- command of perigee's own, which has no script and spends nothing.
function report.render(err, context)
  context = context or {}
  local lines = {}
  if errors.is(err) then
    lines[1] = escape(("perigee: %s: %s"):format(err.kind, err.message))
    local parts = report.parts(err)
    paragraph(lines, "where", parts.where)
    local call = parts.money
    local money = not context.command and run_money(context)
    paragraph(lines, "money", call and money and call .. "\n" .. money or call or money)
    paragraph(lines, "do", parts.todo)
  else
    lines[1] = escape("perigee: " .. plain_message(err))
    paragraph(lines, "money", run_money(context))
    local memory = err == "not enough memory"
    paragraph(lines, "do", memory and advice_by_code.memory or "Correct the script at the line above.")
  end
  if not (errors.is(err) and (context.command or no_line[err.code])) then
    for _, line in ipairs(frames(context.traceback, context.origin)) do
      lines[#lines + 1] = line
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

-- Exit codes by how much they matter: where several apply, the first.
local weights = { 5, 6, 4, 3, 2, 1 }

local function code_of(err)
  if not errors.is(err) then return 1 end
  if err.outcome == "unknown" then return 5 end
  if err.code == "partly_done" then return 6 end
  if err.kind == "denied" then return 4 end
  if err.code == "usage" then return 2 end
  if err.kind == "auth" or err.code == "config" then return 3 end
  return 1
end

--- report.exit_code(err) -> the exit code of a script that ended with err; err.errors counts as well.
function report.exit_code(err)
  local seen = { [code_of(err)] = true }
  local more = errors.is(err) and err.errors
  for _, other in ipairs(type(more) == "table" and more or {}) do
    seen[code_of(other)] = true
  end
  return report.weightiest(seen)
end

local COMMAND_CODES <const> = { not_found = 4, ambiguous = 2, no_journal = 3 }

--- The exit code of a command other than run that ended with err.
function report.command_exit_code(err)
  return err.kind == "invalid" and COMMAND_CODES[err.code] or report.exit_code(err)
end

--- report.weightiest{[code] = true, …} -> the code that wins, or 0.
function report.weightiest(codes)
  for _, code in ipairs(weights) do
    if codes[code] then return code end
  end
  return 0
end

return report
