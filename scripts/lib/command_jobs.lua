-- perigee.command_jobs: `perigee jobs …`: looking at jobs, and acting on one.  -- internal
--
-- Looking reads the journal.  Acting goes to the daemon if one runs; else to the program that supervises the job, as a
-- request in the journal; else this process takes the job, does it, and lets go of it again.

local command = require "perigee.control_command"
local errors = require "perigee.error"
local json = require "perigee.json"
local state = require "perigee.state"
local term = require "perigee.core.term"
local words = require "perigee.job_words"

local command_jobs = {}

local RECENT <const> = 24 * 3600 -- seconds for which jobs that have ended are listed without --all
local LIMIT <const> = 50
local WHO_WORDS <const> = { run = "a running script", daemon = "the daemon", repl = "a REPL", command = "another command" }

local usage = command.usage

-- ---- what all have in common -----------------------------------------------------------------------------------------

--- f() with a journal that is there: its result.
function command_jobs.with_journal(f)
  local directory = state.directory()
  if directory == ":memory:" or require("perigee.fs").exists(directory .. "/journal.db") then return f() end
  return error(errors.new {
    kind = "invalid", code = "no_journal",
    message = ("there is no journal in %s: no job was ever submitted there (--state or PERIGEE_STATE names another directory)"):format(
      directory),
  }, 0)
end

--- The row of the job that the last word and --key name.
function command_jobs.job_of(options, word)
  return require("perigee.job_record").need(word or options.args[#options.args], options.key)
end

-- ---- looking ---------------------------------------------------------------------------------------------------------

local verbs = {}

function verbs.list(options)
  if options.status then
    local ok, err = pcall(words.check_state, "--status", options.status)
    if not ok then usage("%s", err.message) end
  end
  local views, more = require("perigee.job_record").list({
    state = options.status, policy = options.policy, service = options.service, name = options.name,
  }, { limit = options.limit or LIMIT, all = options.all, recent = RECENT })
  if options.json then
    command.print_json { jobs = json.array(views), more = more }
    return 0
  end
  term.write("out", require("perigee.jobs_report").list(views, {
    width = term.is_tty "out" and term.columns() or nil,
    empty = options.all and "no jobs" or "no jobs that are active or were submitted within a day; --all shows the others",
  }))
  if more then command.notice(("perigee: there are more than %d; --limit N shows them"):format(#views)) end
  return 0
end

function verbs.show(options)
  local whole = require("perigee.job_record").whole(command_jobs.job_of(options))
  if options.json then
    command.print_json(whole)
  else
    term.write("out", require("perigee.jobs_report").show(whole))
  end
  return 0
end

-- ---- acting ----------------------------------------------------------------------------------------------------------

local DONE <const> = {
  stop = "is stopped", retry = "is planned again", adopt = "is adopted", forget = "is forgotten",
}

-- Does it wherever that is right: {by = "daemon" | "owner" | "this", job = view}.
local function act(row, verb, args)
  args.id, args.who = row.id, command.who()
  local client = require("perigee.control").reach(state.directory())
  if client then return { by = "daemon", job = client:call("jobs." .. verb, args) } end
  local job = require("perigee.job_backend").once(verb, args, args.who)
  return { by = job.asked and "owner" or "this", job = job }
end

local function owner_words(row)
  local owner = require("perigee.job_record").owner(row)
  return owner and ("%s (process %s on %s)"):format(WHO_WORDS[owner.kind] or owner.kind, owner.pid, owner.host) or "its program"
end

local function report_action(options, row, verb, result)
  local job = type(result.job) == "table" and result.job or row
  if options.json then
    command.print_json { by = result.by, job = { id = row.id, name = row.name, key = row.key, state = job.state, reason = job.reason } }
    return 0
  end
  if result.by == "owner" then
    command.say(("job %s: %s looks after it and was asked to; `perigee jobs show %s` tells when it is done"):format(words.identity(row),
      owner_words(row), words.short(row)))
    return 0
  end
  command.say(("job %s %s"):format(words.identity(row), DONE[verb]))
  if verb == "stop" and row.service == "deai" and row.remote_id then
    print("Distributed AI offers no way to stop a job: nobody looks after it any more, but it goes on and stays billed.")
  elseif result.by == "this" and words.is_active(job.state) then
    print("No program looks after it now: run its script again, or start `perigee daemon` on this state directory.")
  end
  return 0
end

local function one_job(options, verb, count, what)
  if #options.args ~= count then usage("jobs %s takes %s", verb, what) end
  return command_jobs.job_of(options, options.args[2])
end

function verbs.stop(options)
  local row = one_job(options, "stop", 2, "one JOB")
  return report_action(options, row, "stop", act(row, "stop", {}))
end

function verbs.retry(options)
  local row = one_job(options, "retry", 2, "one JOB")
  return report_action(options, row, "retry", act(row, "retry", {}))
end

function verbs.adopt(options)
  local row = one_job(options, "adopt", 3, "a JOB and the id that it has at the service")
  return report_action(options, row, "adopt", act(row, "adopt", { remote_id = options.args[3] }))
end

-- What it means for the money.
local function forget_text(row)
  local price = row.price and (" %s"):format(row.price) or ""
  local money = row.state == "unknown" and ("the%s held for it is free again, as if it had never been started"):format(price)
    or row.state == "running" and ("what it has used until now counts as spent, the rest of the%s is free"):format(price)
    or "nothing is held for it"
  return ("Job %s is %s: %s. If it runs at the service, it goes on and is billed, and perigee does not look any more."):format(
    words.identity(row), row.state, money)
end

-- Forgetting cannot be taken back, and is about money: a person says yes.
local function confirm(options, row)
  local text = forget_text(row)
  if options.yes then return true end
  if not (term.is_tty "stdin" and term.is_tty "err") then
    usage("%s Without a terminal, say --yes if that is what you want", text)
  end
  term.write("err", text .. "\nForget it? [y/N] ", true)
  local answer = io.read "l"
  return answer ~= nil and answer:lower():find "^%s*y" ~= nil
end

function verbs.forget(options)
  local row = one_job(options, "forget", 2, "one JOB")
  if not confirm(options, row) then
    command.notice "perigee: nothing was changed"
    return 1
  end
  return report_action(options, row, "forget", act(row, "forget", {}))
end

function verbs.sweep(options)
  if #options.args > 1 then usage "jobs sweep takes no words" end
  local client = require("perigee.control").reach(state.directory())
  local result = client and client:call("jobs.sweep", {}, { timeout = 300 }) or require("perigee.job_backend").once("sweep", {})
  if options.json then
    command.print_json { found = json.array(result.found), failures = json.array(result.failures or {}) }
  else
    term.write("out", require("perigee.jobs_report").sweep(result))
    if #result.found > 0 then
      command.notice "perigee: `perigee jobs adopt JOB REMOTE_ID` ties one to an unknown job; others are stopped at the service's console"
    end
  end
  return 0
end

--- `perigee jobs [WHAT [JOB…]]`; what: list (default), show, stop, retry, adopt, forget, sweep.
function command_jobs.start(host)
  local options = host.options
  local name = options.args[1] or "list"
  local verb = verbs[name]
  if not verb then
    local names = { "list", "show", "stop", "retry", "adopt", "forget", "sweep" }
    local near = errors.nearest(name, names)
    usage("there is no `perigee jobs %s`%s; there is %s", name, near and ("; did you mean %s?"):format(near) or "",
      table.concat(names, ", "))
  end
  if name == "show" and #options.args ~= 2 then usage "jobs show takes one JOB" end
  if name == "list" and #options.args > 1 then usage("jobs list takes no words; did you mean `perigee jobs show %s`?", options.args[2]) end
  return command_jobs.with_journal(function() return verb(options) end)
end

return command_jobs
