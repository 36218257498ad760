-- journal_random.lua - makes arg[1] random calls of the journal's verbs, the same ones each time for the seed arg[2], and prints
-- what each was answered, without what differs from run to run: the engines must print the same.
--
-- Everything is drawn from small pools, so that calls meet: permits are moved that were reserved, jobs that were released.
local core = require "perigee.core.journal"
local errors = require "perigee.error"
local json = require "perigee.json"
local task = require "perigee.task"

local state = tonumber(arg[2])

-- 0 … n - 1; a generator of our own, since every run must draw the same.
local function draw(n)
  state = (state * 6364136223846793005 + 1442695040888963407)
  return (state >> 33) % n
end

local function one_of(list) return list[draw(#list) + 1] end

local function maybe(value, odds)
  if draw(odds or 2) == 0 then return value end
end

local function id(n) return ("%08x"):format(draw(n) + 1):rep(4) end

local function money() return one_of { "0.5 CCD", "1 CCD", "2.25 CCD", "3 CNY", "0.000000000000000001 CCD" } end

local function text() return one_of { "a", "b", "", "预算", "it's \"quoted\"", "%_" } end

local function lines()
  local list = {}
  for i = 1, draw(3) do
    list[i] = {
      budget = one_of { "one", "two" }, window = one_of { "total", "day" }, number = 0, currency = one_of { "CCD", "CNY" },
      limit = maybe(one_of { "5 CCD", "8 CCD", "6 CNY" }),
    }
  end
  return list
end

local JOB_STATES <const> = { "planned", "held", "submitting", "running", "unknown", "succeeded", "failed", "stopped", "denied", "expired" }
local POLICIES <const> = { "p", "q" }
local SERVICES <const> = { "sxwl", "deai" }
local DAY <const> = 86400 * 1000
local TAGS <const> = { '[1,"x",null]', '["x"]', '["x","y z"]', "[]", '["say \\"hi\\"","预算"]' }

-- A state and the bucket that goes with it.
local PLACES <const> = { { "sent", "held" }, { "unknown", "unknown" }, { "unknown", "spent" }, { "created", "held" },
  { "settled", "spent" },
  { "released", "none" } }

local function move_of_permit()
  local place = one_of(PLACES)
  return { intent = id(12), state = place[1], bucket = place[2], amount = maybe(money(), 4), derived = maybe(true),
    presumed = maybe(true, 4), remote_id = maybe(text(), 4) }
end

local function job() return "job-" .. draw(8) end

local function fields_of_job()
  local n = draw(8)
  return {
    id = "job-" .. n, name = "name " .. n, key = one_of { "", "k" }, service = one_of(SERVICES), kind = "job", spec = text(),
    hash = one_of { "h", "h", "h", "g" }, state = one_of(JOB_STATES), policy = maybe(one_of(POLICIES)), tags = maybe(one_of(TAGS)),
    price = maybe(money()), attach = maybe("finished", 4),
  }
end

local function move_of_job()
  local found = core.call("job.get", { id = job() })[1]
  local moved = {
    id = found and found.id or job(), fence = found and draw(8) > 0 and found.fence or draw(4), state = maybe(one_of(JOB_STATES)),
    reason = maybe(text()), wake_at = maybe(draw(3), 4), attempt = maybe(draw(3)), price = maybe(money(), 4), cost = maybe(money(), 4),
    result = maybe(text(), 4), error = maybe(text(), 4), remote_id = maybe(text(), 4), policy = maybe(one_of(POLICIES), 8),
  }
  if draw(2) == 0 then moved.attempts = { { attempt = draw(3), state = maybe(text()), cost = maybe(money()) } } end
  if draw(2) == 0 then moved.decisions = { { kind = "k", text = text(), data = maybe "{}" }, { kind = "k", text = "second" } } end
  return moved
end

-- How the fields of each verb are drawn.
local makers = {
  { "permit.reserve", function()
    return { intent = id(12), operation = one_of { "create_job", "start_inference" }, service = one_of(SERVICES), price = maybe(money(), 1),
      key = maybe(text()), job = maybe(job()), attempt = maybe(draw(3)), policy = maybe(one_of(POLICIES)), tags = maybe(one_of(TAGS)),
      model = maybe(one_of { "CNN", "LSTM" }), governed = maybe(true), lines = lines() }
  end },
  { "permit.intent", function() return { intent = id(12) } end },
  { "permit.move", move_of_permit },
  { "permit.move", move_of_permit },
  { "permit.move", move_of_permit },
  { "permit.get", function() return { intent = id(12) } end },
  { "permit.list", function()
    return { state = maybe(one_of { "sent", "settled", "unknown" }), job = maybe(job()), key = maybe(text()),
      operation = maybe "create_job",
      limit = maybe(draw(4)) }
  end },
  { "permit.take", function() return { intent = id(12) } end },
  { "permit.presume", function() return { before = draw(10) == 0 and 99999999999999 or 5 } end },
  { "budget.lines", function() return { lines = lines() } end },
  { "budget.count", function() return { lines = lines(), amount = money(), unknown = maybe(true) } end },
  { "spend.report", function()
    return { by = one_of { "total", "policy", "job", "tag", "day", "service", "operation" }, since = maybe(one_of { 0, 5, DAY }, 4),
      ["until"] = maybe(one_of { -1, 0, 1, DAY, 99999999999999 }, 4) }
  end },
  { "ratio.list", function() return {} end },
  { "job.submit", fields_of_job },
  { "job.move", move_of_job },
  { "job.move", move_of_job },
  { "job.get", function()
    return draw(2) == 0 and { id = one_of { job(), "job", "j", "" } } or { name = "name " .. draw(8), key = one_of { "", "k" } }
  end },
  { "job.list", function()
    return { state = maybe(one_of(JOB_STATES), 4), active = maybe(draw(2), 4), service = maybe(one_of(SERVICES), 4),
      mine = maybe(draw(2), 4), policy = maybe(one_of(POLICIES), 4),
      orphan = maybe(draw(2), 4), limit = maybe(draw(4), 4), after = maybe(job(), 6) }
  end },
  { "job.counts", function() return {} end },
  { "job.note", function() return { id = job(), kind = "note", text = text(), policy = maybe "p" } end },
  { "job.claim", function() return { limit = maybe(1 + draw(3)), id = maybe(job()) } end },
  { "job.release", function() return { id = maybe(job(), 1) } end },
  { "job.ask", function() return { id = job(), request = "{}" } end },
  { "job.asked", function() return {} end },
  { "attempt.list", function() return { job = job() } end },
  { "decision.list", function() return { job = maybe(job(), 1), limit = maybe(1 + draw(3)) } end },
  { "store.get", function() return { space = one_of { "s", "t" }, name = text() } end },
  { "store.set", function() return { space = one_of { "s", "t" }, name = text(), value = text(), version = maybe(draw(4), 4) } end },
  { "store.delete", function() return { space = one_of { "s", "t" }, name = text(), version = maybe(draw(4), 6) } end },
  { "store.list", function()
    return { space = one_of { "s", "t" }, prefix = maybe(text()), after = maybe(text(), 4), limit = maybe(1 + draw(3), 4) }
  end },
  { "lock.take", function() return { name = text() } end },
  { "lock.free", function() return { name = text(), note = maybe(text()) } end },
  { "outbox.put", function()
    return { id = id(4), event = "e", target = "t", body = text(), not_before = maybe(one_of { 0, 99999999999999 }) }
  end },
  { "outbox.due", function() return { limit = maybe(1 + draw(2)) } end },
  { "outbox.later", function() return { id = id(4), not_before = one_of { 0, 99999999999999 }, error = maybe(text()) } end },
  { "outbox.done", function() return { id = id(4), outcome = one_of { "sent", "given_up" } } end },
  { "outbox.list", function() return { limit = maybe(1 + draw(2)) } end },
  { "hook.begin", function() return { policy = one_of(POLICIES), hook = one_of { "h", "i" }, job = maybe(job()) } end },
  { "hook.end", function()
    return { number = draw(12), outcome = one_of { "done", "failed", "timeout", "skipped" }, error = maybe(text()) }
  end },
  { "hook.list", function() return { policy = maybe(one_of(POLICIES)), hook = maybe "h", limit = maybe(1 + draw(3)) } end },
  { "hook.last", function() return {} end },
  { "journal.verify", function() return {} end },
  { "journal.compact", function() return { keep_days = one_of { 0, 0, 90 } } end },
}

-- Now and then a field that is not there, one too many, or one of a wrong type.
local function spoil(fields)
  local names = {}
  for name in pairs(fields) do names[#names + 1] = name end
  table.sort(names)
  local kind = draw(3)
  if kind == 0 or #names == 0 then
    fields.unheard_of = 1
  elseif kind == 1 then
    fields[one_of(names)] = nil
  else
    fields[one_of(names)] = one_of { 1.0, math.mininteger, "\u{1F4B0}", true, {}, { { a = 1 } }, ("x"):rep(5000) }
  end
end

local DIFFERS <const> = { process = true, pid = true, host = true, since = true, bytes = true, not_before = true, at = true }

-- What differs from run to run; times are told apart from nothing only.
local function plain(verb, rows)
  local list = {}
  for i, row in ipairs(rows) do
    local copy = {}
    for name, value in pairs(row) do
      -- a decision's number says only which came first; one may come again once retention has taken the last ones
      local differs = DIFFERS[name] or name:find "_at$" or verb == "decision.list" and name == "number"
      copy[name] = differs and "some" or value
    end
    list[i] = json.encode(copy)
  end
  return list
end

local UNORDERED <const> = { ["job.counts"] = true, ["spend.report"] = true }

for _ = 1, tonumber(arg[1]) do
  local maker = one_of(makers)
  local fields = maker[2]()
  if draw(20) == 0 then spoil(fields) end
  if maker[1] == "journal.compact" then task.sleep(0.002) end -- so that what has ended is older than now
  local ok, answer = pcall(core.call, maker[1], fields)
  if ok then
    answer = plain(maker[1], answer)
    if UNORDERED[maker[1]] then table.sort(answer) end
    print(maker[1], table.concat(answer, " "))
  else
    print(maker[1], errors.is(answer) and answer.kind .. " " .. (answer.code or answer.message) or answer)
  end
end
