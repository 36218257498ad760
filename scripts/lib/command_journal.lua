-- perigee.command_journal: `perigee journal verify|export|backup|compact`: the journal as a file to be looked after.  -- internal
-- Works on the file itself, beside a daemon and beside runs.

local command = require "perigee.control_command"
local errors = require "perigee.error"
local fs = require "perigee.fs"
local json = require "perigee.json"
local state = require "perigee.state"
local term = require "perigee.core.term"

local command_journal = {}

local FAILED <const> = 1
local PAGE <const> = 500 -- records of an export that are in memory at a time
local DAY <const> = 86400

local usage = command.usage

local function call(verb, args)
  return require("perigee.core.journal").call(verb, args or {})
end

local function size_words(bytes)
  if bytes < 1e6 then return ("%.0f kB"):format(bytes / 1e3) end
  return ("%.1f MB"):format(bytes / 1e6)
end

local function count_words(n, one)
  return ("%d %s%s"):format(n, one, n == 1 and "" or "s")
end

-- ---- the verbs -------------------------------------------------------------------------------------------------------

local verbs = {}

-- A journal that is too damaged to be opened has been looked at as well.
function verbs.verify(options)
  local ok, found = pcall(call, "journal.verify")
  if not ok then
    if not (errors.is(found, "unavailable") and found.code == "journal_corrupt") then error(found, 0) end
    found = { { problem = found.message } }
  end
  local problems = {}
  for i, row in ipairs(found) do problems[i] = row.problem end
  if options.json then
    command.print_json { ok = #problems == 0, problems = json.array(problems) }
  elseif #problems == 0 then
    print "the journal is sound, and its sums agree with its permits"
  else
    for _, problem in ipairs(problems) do command.say(problem) end
    command.notice(("perigee: %s; `perigee journal export` saves what can be read, a backup can be put in its place"):format(
      count_words(#problems, "problem")))
  end
  return #problems == 0 and 0 or FAILED
end

-- Calls put(table, line) for each record, in pages.
local function each_record(put)
  for _, row in ipairs(call "journal.export") do
    local after
    repeat
      local page = call("journal.export", { table = row.table, after = after, limit = PAGE })
      for _, record in ipairs(page) do put(record.table, record.line) end
      after = page[#page] and page[#page].key
    until #page < PAGE
  end
end

function verbs.export(options)
  if options.json then
    local tables = {}
    for _, row in ipairs(call "journal.export") do tables[row.table] = json.array {} end
    each_record(function(name, line) table.insert(tables[name], json.decode(line)) end)
    command.print_json { tables = tables }
    return 0
  end
  each_record(function(name, line) term.write("out", ('{"table":%s,"record":%s}\n'):format(json.encode(name), line)) end)
  return 0
end

function verbs.backup(options)
  local path = options.args[2]
  local bytes = call("journal.backup", { path = path })[1].bytes
  if options.json then
    command.print_json { path = path, bytes = bytes }
  else
    print(("%s holds the journal as of now, %s"):format(path, size_words(bytes)))
  end
  return 0
end

function verbs.compact(options)
  local keep = options.keep and math.floor(options.keep / DAY)
  local gone = call("journal.compact", { keep_days = keep, whole = true })[1]
  if options.json then
    command.print_json(gone)
  else
    print(("%s, %s and %s went; their money stays in the daily totals. The file has %s now"):format(
      count_words(gone.jobs, "job"), count_words(gone.permits, "permit"), count_words(gone.decisions, "decision"),
      size_words(gone.bytes)))
  end
  return 0
end

local WORDS <const> = { verify = 1, export = 1, backup = 2, compact = 1 }

local function check_words(options)
  local name = options.args[1]
  local count = WORDS[name]
  if not count then
    local names = { "verify", "export", "backup", "compact" }
    local near = errors.nearest(name, names)
    usage("there is no `perigee journal %s`%s; there is %s", name, near and ("; did you mean %s?"):format(near) or "",
      table.concat(names, ", "))
  end
  if #options.args ~= count then usage("journal %s takes %s", name, count == 2 and "the PATH of a new file" or "no more words") end
  if options.keep and name ~= "compact" then usage("--keep is for journal compact") end
  if options.keep and options.keep < DAY then usage "--keep takes one day or more, such as 30d" end
  return name
end

--- Does what the first word says; returns the exit code.
function command_journal.start(host)
  local options = host.options
  local name = check_words(options)
  local directory = state.directory()
  if directory ~= ":memory:" and not fs.exists(directory .. "/journal.db") then
    error(errors.new {
      kind = "invalid", code = "no_journal",
      message = ("there is no journal in %s; --state or PERIGEE_STATE names another directory"):format(directory),
    }, 0)
  end
  return verbs[name](options)
end

return command_journal
