-- perigee.repl_commands: what begins with a colon at the prompt: `:jobs`, `:spend`, `:save` and the others.  -- internal
--
-- Each command is { name=, usage=, summary=, console=, run=function(session, argument) -> text }; run may wait and raise.  A
-- wrong argument is answered with the usage and, if one is near, the right word.  Modules are loaded when a command needs
-- them.  What reads jobs and money goes through session.require, since an emulator of the session has its own, or through
-- session.reports, which a console has in their place: { jobs=, job=, why=, spend= }, functions that give text.

local errors = require "perigee.error"

local commands = {}

local list, by_name = {}, {}

local RECENT <const> = 24 * 3600 -- seconds for which jobs that have ended are shown
local MOST_JOBS <const> = 50
local TAIL <const>, KEPT <const> = 20, 1000 -- lines of the log

-- ---- arguments ---------------------------------------------------------------------------------------------------------

--- Raises what is wrong with the words after a command. near: the word that may have been meant.
function commands.misused(command, problem, near)
  error(errors.new {
    kind = "invalid", code = "usage",
    message = (":%s: %s%s"):format(command.name, problem, near and ("; did you mean %s?"):format(near) or ""),
    hint = "usage: " .. command.usage,
  }, 0)
end

local misused = commands.misused

-- The words of the argument.
local function words_of(argument)
  local words = {}
  for word in argument:gmatch "%S+" do words[#words + 1] = word end
  return words
end

local function no_argument(command, argument)
  if argument ~= "" then misused(command, "takes no argument") end
end

local function need_argument(command, argument, what)
  if argument == "" then misused(command, what .. " is missing") end
  return argument
end

local function one_of(command, word, known)
  for _, name in ipairs(known) do
    if name == word then return word end
  end
  return misused(command, ("there is no %s"):format(word), errors.nearest(word, known))
end

-- A module of perigee as this session has it.
local function use(session, name)
  return (session.require or require)(name)
end

local function add(command)
  list[#list + 1] = command
  by_name[command.name] = command
  for _, name in ipairs(command.also or {}) do by_name[name] = command end
end

-- ---- jobs and money -------------------------------------------------------------------------------------------------------

local function job_list(session, filter, options)
  local views, more = use(session, "perigee.job_record").list(filter, options)
  local text = use(session, "perigee.jobs_report").list(views, {
    width = session.columns(), empty = options.all and "no jobs"
      or "no jobs that are active or were submitted within a day; :jobs all shows the others",
  })
  return more and ("%sthere are more than %d; `perigee jobs list --all --limit N` shows them\n"):format(text, #views) or text
end

local function is_state(word)
  for _, state in ipairs(require("perigee.job_words").STATES) do
    if state == word then return true end
  end
  return false
end

-- The row of the job, or an error that names what can be meant.
local function find_job(session, command, word)
  local row = use(session, "perigee.job_record").find(word)
  if row then return row end
  local known = table.move(require("perigee.job_words").STATES, 1, 10, 2, { "all" })
  for _, view in ipairs((use(session, "perigee.job_record").list({}, { limit = MOST_JOBS, all = true }))) do
    known[#known + 1] = view.name
  end
  return misused(command, ("there is no job %s"):format(word), errors.nearest(word, known))
end

add {
  name = "jobs", usage = ":jobs [all | STATE | JOB]", console = "read",
  summary = "the jobs of the journal; those in a state; one with all its fields",
  run = function(session, argument)
    local reports, word = session.reports, argument
    if word:find "%s" then misused(by_name.jobs, "takes one word") end
    if reports and (word == "" or word == "all" or is_state(word)) then return reports.jobs(word) end
    if reports then return reports.job(word) end
    local options = { limit = MOST_JOBS, recent = RECENT, all = word == "all" }
    if word == "" or word == "all" then return job_list(session, {}, options) end
    if is_state(word) then return job_list(session, { state = word }, options) end
    local row = find_job(session, by_name.jobs, word)
    return use(session, "perigee.jobs_report").show(use(session, "perigee.job_record").whole(row))
  end,
}

local VIEWS <const> = { "total", "policy", "job", "tag", "day", "service", "operation" }

add {
  name = "spend", usage = ":spend [by policy|job|tag|day|service|operation] [since DATE|AGE]", console = "read",
  summary = "what was spent, is held, is unknown, and what the budgets leave",
  run = function(session, argument)
    local command, asked, words = by_name.spend, {}, words_of(argument)
    local i = 1
    while words[i] do
      local word, value = one_of(command, words[i], { "by", "since", "until" }), words[i + 1]
      if not value then misused(command, ("what follows %s is missing"):format(word)) end
      if word == "by" then one_of(command, value, VIEWS) end
      asked[word] = value
      i = i + 2
    end
    if session.reports then return session.reports.spend(asked) end
    local report = use(session, "perigee.spend_report")
    for _, name in ipairs { "since", "until" } do
      if asked[name] then
        local ok, at = pcall(report.moment, name, asked[name])
        if not ok then misused(command, ("%s takes a date such as 2026-11-01 (UTC) or an age such as 7d"):format(name)) end
        asked[name] = at
      end
    end
    return report.render(report.collect(asked))
  end,
}

add {
  name = "why", usage = ":why JOB", console = "read",
  summary = "what was decided about a job, why, and what comes next",
  run = function(session, argument)
    local command = by_name.why
    need_argument(command, argument, "the job, its id, the first digits of it, or its name,")
    if session.reports then return session.reports.why(argument) end
    local why = use(session, "perigee.why")
    return why.text(why.gather(find_job(session, command, argument)))
  end,
}

-- ---- tasks -------------------------------------------------------------------------------------------------------------

local function span(seconds)
  if seconds < 60 then return ("%d s"):format(seconds // 1) end
  return require("perigee.job_words").took(seconds)
end

local function first_line(text)
  local line, more = text:match "^%s*([^\n]*)(.*)$"
  return more:find "%S" and line .. " …" or line
end

--- The tasks of the session's lines that have not ended: { {label=, task=, entry=, waits=}, … }. Those of a line with `&`
--- go by its number, those that lines have started otherwise by "#" and their id.
function commands.tasks_of(session)
  local numbers, found, core = {}, {}, require "perigee.core.task"
  local own = core.current():id()
  for _, one in ipairs(session.tasks) do numbers[one.task:id()] = one.number end
  for _, one in ipairs(core.list "perigee.entry") do
    local id, entry = one.task:id(), one.value
    local ours = session.entries[entry.number] == entry and id ~= own
    if ours and (numbers[id] or not one.waits:find "^has ended") then
      found[#found + 1] = { label = numbers[id] and tostring(numbers[id]) or "#" .. id, number = numbers[id], task = one.task,
        entry = entry, waits = one.waits }
    end
  end
  table.sort(found, function(a, b)
    if (a.number or 1e9) ~= (b.number or 1e9) then return (a.number or 1e9) < (b.number or 1e9) end
    return a.task:id() < b.task:id()
  end)
  return found
end

add {
  name = "tasks", usage = ":tasks", console = "read",
  summary = "what runs in this session, and what each task waits for",
  run = function(session, argument)
    no_argument(by_name.tasks, argument)
    local found = commands.tasks_of(session)
    if #found == 0 then return "no tasks\n" end
    local rows, now = { { "TASK", "SINCE", "LINE", "STATE" } }, require("perigee.core.task").now()
    for i, one in ipairs(found) do
      rows[i + 1] = { one.label, span(now - one.entry.began), first_line(one.entry.text), one.waits }
    end
    for _, row in ipairs(rows) do row[3] = require("perigee.core.term").cut(row[3], 50) end
    return require("perigee.columns").render(rows)
  end,
}

add {
  name = "cancel", usage = ":cancel TASK… | all", console = "read",
  summary = "stop tasks of this session, by their numbers in :tasks; a remote job goes on",
  run = function(session, argument)
    local command = by_name.cancel
    need_argument(command, argument, "the number of a task (:tasks lists them), or all,")
    local found, chosen, labels = commands.tasks_of(session), {}, {}
    for i, one in ipairs(found) do labels[i] = one.label end
    for _, word in ipairs(words_of(argument)) do
      local before = #chosen
      for _, one in ipairs(found) do
        if word == "all" or word == one.label or word == "[" .. one.label .. "]" then chosen[#chosen + 1] = one end
      end
      if #chosen == before and word ~= "all" then
        misused(command, ("no task %s runs"):format(word), errors.nearest(word, labels))
      end
    end
    if #chosen == 0 then return "no tasks\n" end
    for _, one in ipairs(chosen) do
      one.entry.cancelled = true
      one.task:cancel "cancelled with :cancel"
    end
    return #chosen == 1 and ("task %s is cancelled\n"):format(chosen[1].label) or ("%d tasks are cancelled\n"):format(#chosen)
  end,
}

-- ---- measuring ---------------------------------------------------------------------------------------------------------------

-- Counters of the engines, as far as they are loaded.
local function figures(session)
  local calls = package.loaded["perigee.core.ops"] and require("perigee.core.ops").stats().calls or 0
  local paid = use(session, "perigee.core.spend").figures()
  local sums = {}
  for _, sum in ipairs(paid.sums) do sums[sum.currency] = sum end
  return { at = require("perigee.core.task").now(), calls = calls, sent = paid.sent, sums = sums }
end

local function seconds_text(seconds)
  if seconds < 1 then return ("%.1f ms"):format(seconds * 1000) end
  if seconds < 60 then return ("%.2f s"):format(seconds) end
  return span(seconds)
end

local function count(n, what)
  return n == 1 and ("1 %s"):format(what) or ("%d %ss"):format(n, what)
end

--- "took 1.20 s, 3 calls, 1 of them paid; spent 0.05 CCD, held 7 CNY"
local function difference(before, after)
  local text = ("took %s, %s"):format(seconds_text(after.at - before.at), count(after.calls - before.calls, "call"))
  if after.sent > before.sent then text = ("%s, %d of them paid"):format(text, after.sent - before.sent) end
  local parts, currencies = {}, {}
  for currency in pairs(after.sums) do currencies[#currencies + 1] = currency end
  table.sort(currencies)
  for _, currency in ipairs(currencies) do
    local now, old = after.sums[currency], before.sums[currency]
    for _, name in ipairs { "spent", "held", "unknown" } do
      local change = old and now[name] - old[name] or now[name]
      if change:sign() ~= 0 then parts[#parts + 1] = ("%s %s"):format(name, change) end
    end
  end
  return #parts > 0 and ("%s; %s"):format(text, table.concat(parts, ", ")) or text
end

add {
  name = "time", usage = ":time LINE",
  summary = "run a line, and say how long it took, how many calls it made and what they cost",
  run = function(session, argument)
    need_argument(by_name.time, argument, "the line")
    if argument:find "^[:?]" then misused(by_name.time, "takes a line of Lua") end
    local before = figures(session)
    local outcome = session:eval(argument)
    local told = difference(before, figures(session)) .. "\n"
    if outcome.ok then return outcome.text .. told end
    session.say(told)
    return error(outcome.error, 0)
  end,
}

-- ---- the log -----------------------------------------------------------------------------------------------------------------

local LEVELS <const> = { "debug", "info", "warn", "error", "off" }

--- Has the program keep its last log lines, for `:log`; called when a session begins.
function commands.keep_log()
  require("perigee.core.log").keep("info", KEPT)
end

local function tail(n)
  local lines = require("perigee.core.log").kept(1, n)
  local out = {}
  for i, line in ipairs(lines) do out[i] = require("perigee.core.term").escape(line.text) .. "\n" end
  return table.concat(out)
end

local function shown_from(level)
  return level == "off" and "no log lines are shown\n" or ("log lines are shown from level %s on\n"):format(level)
end

add {
  name = "log", usage = ":log [tail [N] | debug | info | warn | error | off]",
  summary = "the last log lines; the level from which they are shown as they come",
  run = function(_, argument)
    local command, core, words = by_name.log, require "perigee.core.log", words_of(argument)
    if #words == 0 or words[1] == "tail" then
      local n = words[2] and math.tointeger(tonumber(words[2])) or not words[2] and TAIL
      if not n or n < 1 or n > KEPT then misused(command, ("tail takes a number of lines, 1 to %d"):format(KEPT)) end
      local head = #words == 0 and shown_from(core.level()) or ""
      local text = tail(n)
      return head .. (text ~= "" and text or "nothing was logged\n")
    end
    local known = table.move(LEVELS, 1, #LEVELS, 2, { "tail" })
    local level = one_of(command, words[1], known)
    if #words > 1 then misused(command, "takes one level") end
    core.set_level(level)
    core.keep(level == "debug" and "debug" or "info", KEPT)
    return shown_from(level)
  end,
}

-- ---- files -------------------------------------------------------------------------------------------------------------------

add {
  name = "save", usage = ":save [-f] FILE",
  summary = "write this session as a script for `perigee run`; -f replaces a file",
  run = function(session, argument)
    local force, path = false, argument
    if path:find "^%-f%s" or path == "-f" then force, path = true, path:match "^%-f%s*(.*)$" end
    need_argument(by_name.save, path, "the file")
    return require("perigee.repl_save").write(session, path, force)
  end,
}

-- The statements of a file, each with the line it begins in.
local function statements(session, text)
  local found, part, first, number = {}, nil, 1, 0
  for line in (text .. "\n"):gmatch "(.-)\r?\n" do
    number = number + 1
    if number == 1 and line:find "^#" then line = "" end
    if part == nil then first = number end
    part = part and part .. "\n" .. line or line
    if not session:incomplete(part) then
      if part:find "%S" then found[#found + 1] = { text = part, line = first } end
      part = nil
    end
  end
  return found, part and first
end

add {
  name = "load", usage = ":load FILE",
  summary = "run a file in this session, statement by statement, as if it were typed; the first error ends it",
  run = function(session, argument)
    need_argument(by_name.load, argument, "the file")
    local fs, last = require "perigee.fs", ""
    if not fs.exists(argument) then misused(by_name.load, ("there is no file %s"):format(argument)) end
    local found, open = statements(session, fs.read(argument))
    for i, one in ipairs(found) do
      if one.text:find "^%s*:load%s" then misused(by_name.load, ("%s:%d: a file loads no other"):format(argument, one.line)) end
      local outcome = session:eval(one.text)
      if not outcome.ok then
        session.say(("%s:%d: failed; %s before it\n"):format(argument, one.line, count(i - 1, "statement") .. " ran"))
        error(outcome.error, 0)
      end
      if i < #found then session.say(outcome.text) else last = outcome.text end
      if session.leaving then break end
    end
    if open then
      session.say(last)
      errors.invalid(("%s ends in the middle of the statement that begins in line %d"):format(argument, open))
    end
    return last
  end,
}

-- ---- the session itself ---------------------------------------------------------------------------------------------------------

add {
  name = "emulator", usage = ":emulator [on [seed=N] [speed=N] [faults=SPEC] | off | reset | faults [SPEC] | ledger]",
  summary = "rehearse: both services emulated, with money and state of their own; off goes back to the real ones",
  run = function(session, argument) return require("perigee.repl_emulator").command(session, argument, by_name.emulator) end,
}

local function rehearses(session)
  return session.world ~= nil or require("perigee.config").switch "emulator"
end

add {
  name = "yes", usage = ":yes [on | off]",
  summary = "on: paid calls go without being asked about; budgets and max_cost still hold",
  run = function(session, argument)
    local place = session.world or session -- a yes on an emulator is none to real money
    if argument ~= "" then
      local on = one_of(by_name.yes, argument, { "on", "off" }) == "on"
      if on and not session.ask and not rehearses(session) then misused(by_name.yes, "nobody can be asked here: start it with --yes") end
      place.yes = on
    end
    return place.yes and "paid calls are not asked about; budgets and max_cost still hold\n"
      or "each paid call is asked about\n"
  end,
}

add {
  name = "clear", usage = ":clear", summary = "clear the screen",
  run = function(session, argument)
    no_argument(by_name.clear, argument)
    if session.clear then session.clear() end
    return ""
  end,
}

--- All commands in lines: usage and what each does.
function commands.overview(known)
  local rows = {}
  for i, command in ipairs(known or list) do rows[i] = { command.usage, command.summary } end
  local widest, lines = 0, {}
  for _, row in ipairs(rows) do widest = #row[1] <= 34 and math.max(widest, #row[1]) or widest end
  for i, row in ipairs(rows) do
    local fits = #row[1] <= widest
    lines[i] = fits and ("  %-" .. widest .. "s  %s\n"):format(row[1], row[2])
      or ("  %s\n%s%s\n"):format(row[1], (" "):rep(widest + 4), row[2])
  end
  return table.concat(lines)
end

add {
  name = "help", also = { "h" }, usage = ":help [NAME]  or  ?NAME", console = "read",
  summary = "these commands, or what a function, a field, an error or a command is",
  run = function(session, argument)
    local help = require "perigee.repl_help"
    if argument == "" then return help.overview(session) end
    local text, near = help.text(argument, session)
    if text then return text end
    if type(near) == "table" then near = table.concat(near, ", ") end
    return misused(by_name.help, ("nothing is known by the name %s"):format(argument), near)
  end,
}

add {
  name = "quit", also = { "q", "exit" }, usage = ":quit", summary = "leave; what runs remotely goes on", console = "read",
  run = function(session, argument)
    no_argument(by_name.quit, argument)
    session.leaving = true
    return ""
  end,
}

-- ---- finding -----------------------------------------------------------------------------------------------------------------

local function finder(known)
  local names = {}
  for _, command in ipairs(known) do
    names[#names + 1] = command.name
    for _, name in ipairs(command.also or {}) do names[#names + 1] = name end
  end
  return function(name)
    local command = by_name[name]
    for _, one in ipairs(known) do
      if one == command then return command end
    end
    return nil, errors.nearest(name, names)
  end
end

commands.list = list
commands.find = finder(list)

--- Those that a console has, as an object with list and find.
function commands.for_console()
  local known = {}
  for _, command in ipairs(list) do
    if command.console then known[#known + 1] = command end
  end
  return { list = known, find = finder(known), overview = function() return commands.overview(known) end }
end

return commands
