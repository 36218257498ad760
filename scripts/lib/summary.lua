-- perigee.summary: what a run did and what it cost, as a table for people and as JSON.  -- internal
-- The figures are the engines' own (perigee.core.ops, perigee.core.spend); nothing is counted here.  Spent,
-- held and unknown are never added up into one figure.

local term = require "perigee.core.term"

local summary = {}

local SCHEMA_VERSION <const> = 1

local partly_done = false

--- Remembers that something was left undone on purpose (a fan-out that ran out of budget): exit code 6.
function summary.mark_partly_done()
  partly_done = true
end

function summary.is_partly_done()
  return partly_done
end

-- ---- figures ---------------------------------------------------------------------------------------------

local no_calls = { calls = 0, failed = 0, retries = 0 }

-- An engine that no script has asked for has nothing to tell.
local function calls()
  local ops = package.loaded["perigee.core.ops"]
  return ops and ops.stats() or no_calls
end

local function spend()
  return require("perigee.core.spend").figures()
end

local function is_zero(amount)
  return not amount:decimal():find "[1-9]"
end

--- The money of the run so far: { {currency=, spent={text=, zero=}, held=, unknown=}, … }
function summary.money()
  local list = {}
  for _, sum in ipairs(spend().sums) do
    local row = { currency = sum.currency }
    for _, field in ipairs { "spent", "held", "unknown", "derived", "presumed" } do
      row[field] = { text = tostring(sum[field]), digits = sum[field]:decimal(), zero = is_zero(sum[field]) }
    end
    list[#list + 1] = row
  end
  return list
end

--- True if the outcome of a paid call is unknown.
function summary.has_unknown()
  return spend().unknown > 0
end

--- Remote jobs that go on though nobody waits for them: { {service=, id=, worst_cost=, how=}, … }
local function left_behind()
  local service = package.loaded["perigee.service"]
  local list = service and table.move(service.left_behind(), 1, #service.left_behind(), 1, {}) or {}
  local jobs = package.loaded["perigee.jobs"]
  for _, entry in ipairs(jobs and jobs._left() or {}) do list[#list + 1] = entry end
  return list
end

-- Models whose charges are this far from their estimates are told of.
local TELLING <const> = 0.05

--- What the journal knows of charges beside estimates, as far as there is something to say; asked for at the end of a
--- run that has settled something.
local function estimates()
  local journal = package.loaded["perigee.core.journal"]
  if spend().settled == 0 or not journal or not journal.status().open then return nil end
  local ok, rows = pcall(require("perigee.task").deadline, 2, require("perigee.spend_report").ratios)
  local list = {}
  for _, row in ipairs(ok and rows or {}) do
    if row.ratio and math.abs(row.ratio - 1) >= TELLING then list[#list + 1] = row end
  end
  return #list > 0 and list or nil
end

--- All figures: { calls=, failed=, retries=, denied=, denied_by=, unpriced=, unknown=, slowest=, money= }
function summary.collect()
  local asked, paid = calls(), spend()
  local all = {
    calls = asked.calls,
    failed = asked.failed,
    retries = asked.retries,
    slowest = asked.slowest and { operation = asked.slowest, seconds = asked.slowest_seconds } or nil,
    denied = 0,
    denied_by = {},
    unpriced = paid.unpriced,
    ungoverned = paid.ungoverned,
    unknown = paid.unknown,
    money = summary.money(),
    left_behind = left_behind(),
  }
  for reason, count in pairs(paid.denied) do
    all.denied = all.denied + count
    if count > 0 then all.denied_by[reason] = count end
  end
  return all
end

-- ---- for people ------------------------------------------------------------------------------------------

--- Rows of cells in columns that line up, whatever the script of the text; numbers to the right.
function summary.columns(rows, right)
  local widths, lines = {}, {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do
      widths[i] = math.max(widths[i] or 0, term.width(cell))
    end
  end
  for _, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do
      local pad = (" "):rep(widths[i] - term.width(cell))
      cells[i] = right[i] and pad .. cell or cell .. pad
    end
    lines[#lines + 1] = (table.concat(cells, "  "):gsub("%s+$", ""))
  end
  return lines
end

local function seconds_text(seconds)
  if seconds < 1 then return ("%d ms"):format(seconds * 1000 // 1) end
  if seconds < 60 then return ("%.1f s"):format(seconds) end
  return require("perigee.job_words").took(seconds)
end

local function reasons(denied_by)
  local list = {}
  for reason, count in pairs(denied_by) do
    list[#list + 1] = ("%s %d"):format(reason, count)
  end
  table.sort(list)
  return table.concat(list, ", ")
end

local function indent(out, lines)
  for _, line in ipairs(lines) do
    out[#out + 1] = "  " .. line
  end
end

--- The closing table. all: of collect(), with elapsed and exit_code.
function summary.render(all)
  local out = { ("perigee: summary, %s, exit code %d"):format(seconds_text(all.elapsed), all.exit_code) }
  local rows = {
    { "calls", tostring(all.calls), all.failed > 0 and ("%d failed"):format(all.failed) or "" },
    { "retries", tostring(all.retries), "" },
    { "denied", tostring(all.denied), reasons(all.denied_by) },
  }
  if all.unknown > 0 then rows[#rows + 1] = { "unknown", tostring(all.unknown), "may have been charged" } end
  if all.unpriced > 0 then rows[#rows + 1] = { "unpriced", tostring(all.unpriced), "paid calls without a price" } end
  if all.slowest then rows[#rows + 1] = { "slowest", seconds_text(all.slowest.seconds), all.slowest.operation } end
  indent(out, summary.columns(rows, { false, true, false }))
  if #all.money > 0 then
    local money = { { "money", "spent", "held", "unknown" } }
    for _, row in ipairs(all.money) do
      money[#money + 1] = { row.currency, row.spent.digits, row.held.digits, row.unknown.digits }
    end
    indent(out, summary.columns(money, { false, true, true, true }))
  end
  if all.estimates then indent(out, require("perigee.spend_report").ratio_lines(all.estimates)) end
  return table.concat(out, "\n") .. "\n"
end

--- The very last lines: what goes on remotely, what it may cost at most, and how to stop it.
function summary.render_left_behind(entries)
  if #entries == 0 then return "" end
  local out = {
    #entries == 1 and "perigee: a remote job goes on, and is paid for:"
      or ("perigee: %d remote jobs go on, and are paid for:"):format(#entries),
  }
  for _, entry in ipairs(entries) do
    local cost = entry.worst_cost and "worst cost " .. tostring(entry.worst_cost) or "still paid for"
    local is_command = entry.how and entry.how:find "^perigee "
    out[#out + 1] = ("  %s %s, %s"):format(entry.service, tostring(entry.id), cost)
    out[#out + 1] = is_command and "    stop it with: " .. entry.how or "    it " .. (entry.how or "cannot be stopped")
  end
  return table.concat(out, "\n") .. "\n"
end

-- ---- for machines ----------------------------------------------------------------------------------------

local function by_currency(money, field)
  local object = {}
  for _, row in ipairs(money) do
    object[row.currency] = row[field].digits
  end
  return object
end

--- The same as a JSON object; amounts are strings of decimal digits.
function summary.json(all)
  local json = require "perigee.json"
  local object = {
    schema_version = SCHEMA_VERSION,
    exit_code = all.exit_code,
    elapsed = all.elapsed,
    calls = all.calls,
    failed = all.failed,
    retries = all.retries,
    denied = all.denied,
    denied_by = all.denied_by,
    unpriced = all.unpriced,
    ungoverned = all.ungoverned,
    unknown_outcomes = all.unknown,
    slowest = all.slowest,
    estimates = all.estimates,
    left_behind = #all.left_behind > 0 and all.left_behind or nil,
    spent = by_currency(all.money, "spent"),
    held = by_currency(all.money, "held"),
    unknown = by_currency(all.money, "unknown"),
    derived = by_currency(all.money, "derived"),
    presumed = by_currency(all.money, "presumed"),
  }
  return json.encode(object) .. "\n"
end

--- A reader never sees half a file: it is written beside its place and moved there. False if it cannot be.
local function write_file(path, text)
  local beside = path .. ".part"
  local file, problem = io.open(beside, "wb")
  local ok = file ~= nil
  if file then
    ok, problem = file:write(text)
    local closed, why = file:close()
    if ok then ok, problem = closed, why end
  end
  if ok then ok, problem = os.rename(beside, path) end
  if not ok then
    os.remove(beside)
    term.write("err", ("perigee: cannot write the summary to %s: %s\n"):format(path, problem), true)
  end
  return ok
end

--- Ends a run: the table on standard error if a service was called, the file if one is wanted. Returns the
--- exit code: a run that went well but for its file has failed.
function summary.close(options)
  local all = summary.collect()
  all.elapsed, all.exit_code, all.estimates = options.elapsed, options.exit_code, estimates()
  if options.file and not write_file(options.file, summary.json(all)) and all.exit_code == 0 then all.exit_code = 1 end
  if all.calls > 0 and not term.is_quiet() then term.write("err", summary.render(all), true) end
  local jobs = package.loaded["perigee.jobs"]
  if jobs then term.write("err", jobs._unsent(), true) end
  term.write("err", summary.render_left_behind(all.left_behind), true)
  return all.exit_code
end

return summary
