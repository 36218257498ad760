-- journal_cases.lua - what the verbs of docs/journal.md do, as cases that every engine has to pass.
--
-- Returns { {name, function(j)}, … } in order; those about money are in journal_money_cases.lua.  journal_child.lua runs
-- them in a process of their own, on the state directory that it was started with; j has call, id, refused, job, line.
local assert = require "luassert"

local cases = {}

local function case(name, f)
  cases[#cases + 1] = { name, f }
end

-- ---- fields --------------------------------------------------------------------------------------------------

case("refuse an unknown verb, naming it", function(j)
  local err = j.refused(nil, "permit.resreve", {})
  assert.truthy(err.message:find("permit.resreve", 1, true))
end)

case("refuse an unknown field, a missing one and one of a wrong type, naming verb and field", function(j)
  local wrong = {
    { "permit.get", { intnt = j.id() }, "intnt" },
    { "permit.get", {}, "intent" },
    { "permit.get", { intent = 7 }, "intent" },
    { "permit.get", { intent = "short" }, "intent" },
    { "permit.move", { intent = j.id(), state = "gone", bucket = "none" }, "state" },
    { "permit.reserve", { intent = j.id(), operation = "o", service = "s", price = "5 bananas" }, "price" },
    { "permit.reserve", { intent = j.id(), operation = "o", service = "s", price = "-5 CCD" }, "price" },
    { "permit.reserve", { intent = j.id(), operation = "o", service = "s", price = "5" }, "price" },
    { "permit.reserve", { intent = j.id(), operation = "o", service = "s", lines = { { budget = "b" } } }, "window" },
    { "permit.reserve", { intent = j.id(), operation = "o", service = "s", lines = { { bugdet = "b" } } }, "bugdet" },
    { "budget.lines", { lines = "none" }, "lines" },
    { "job.list", { active = 2 }, "active" },
    { "job.list", { active = "yes" }, "active" },
    { "job.get", { name = "alone" }, "id" },
    { "store.set", { space = "s", name = "n", value = 5 }, "value" },
    { "lock.take", { name = { { a = 1 } } }, "name" },
    { "outbox.done", { id = "x", outcome = "lost" }, "outcome" },
    { "spend.report", { by = "colour" }, "by" },
  }
  for _, one in ipairs(wrong) do
    local err = j.refused("field", one[1], one[2])
    assert.truthy(err.message:find(one[1], 1, true), err.message)
    assert.truthy(err.message:find('"' .. one[3] .. '"', 1, true), err.message)
  end
end)

case("refuse what no table of fields is, before anything is asked", function(j)
  for _, fields in ipairs { { 1, 2 }, { a = print }, { a = 1.5 }, { a = { b = 1 } }, { a = "zero\0byte" }, { [true] = 1 } } do
    j.refused(nil, "process.list", fields)
  end
  local deep = {}
  for _ = 1, 10 do deep = { { a = deep } } end
  j.refused(nil, "process.list", { a = deep })
end)

case("take booleans as 0 and 1, and amounts as their text", function(j)
  local amount = require "perigee.amount"
  local intent = j.id()
  j.call("permit.reserve", { intent = intent, operation = "o", service = "s", price = amount "0.05 CCD", governed = true })
  local permit = j.call("permit.get", { intent = intent })[1]
  assert.equal("0.05 CCD", permit.price)
  assert.equal(1, permit.governed)
end)

case("know the process that asks", function(j)
  local mine
  for _, row in ipairs(j.call "process.list") do
    if row.mine == 1 then mine = row end
  end
  assert.equal(j.core.process_id(), mine.process)
  assert.equal("run", mine.kind)
  assert.equal(1, mine.alive)
  assert.truthy(mine.pid > 0 and mine.begun_at > 0 and mine.beat_at >= mine.begun_at)
end)

-- ---- jobs ----------------------------------------------------------------------------------------------------

case("attach the same name, key and spec; refuse another spec and a finished job", function(j)
  local job, fields = j.job {}
  assert.equal(1, job.created)
  assert.equal(j.core.process_id(), job.process)

  fields.id = j.id()
  local again = j.call("job.submit", fields)[1]
  assert.equal(0, again.created)
  assert.equal(job.id, again.id)
  assert.equal(job.fence, again.fence)

  fields.hash = "another"
  j.refused("other_spec", "job.submit", fields)
  fields.hash = "hash"
  j.call("job.move", { id = job.id, fence = job.fence, state = "failed" })
  j.refused("finished", "job.submit", fields)
  fields.attach = "finished"
  local finished = j.call("job.submit", fields)[1]
  assert.equal("failed", finished.state)
  assert.equal(0, finished.created)
end)

case("find a job by id, by a prefix that fits one, and by name and key", function(j)
  local stem = j.id():sub(1, 20)
  local first, fields = j.job { id = stem .. "aa" }
  j.job { id = stem .. "bb" }
  local function get(what) return j.call("job.get", what)[1] end
  assert.equal(first.id, get({ id = first.id }).id)
  assert.equal(first.id, get({ id = stem .. "a" }).id)
  assert.equal(first.id, get({ name = fields.name, key = fields.key }).id)
  assert.is_nil(get { id = "nothing-begins-so" })
  assert.is_nil(get { id = stem .. "_" })
  assert.is_nil(get { name = fields.name, key = "other" })
  j.refused("ambiguous", "job.get", { id = stem })
end)

case("move a job only under the fence of its owner", function(j)
  local job = j.job {}
  local moved = j.call("job.move", { id = job.id, fence = job.fence, state = "submitting", attempt = 1 })[1]
  assert.equal("submitting", moved.state)
  assert.equal(1, moved.attempt)
  j.refused("fenced", "job.move", { id = job.id, fence = job.fence + 1, state = "running" })

  j.call("job.release", { id = job.id })
  local taken = j.call("job.claim", { id = job.id })[1]

  assert.truthy(taken.fence > job.fence)
  j.refused("fenced", "job.move", { id = job.id, fence = job.fence, state = "running" })
  assert.equal("running", j.call("job.move", { id = job.id, fence = taken.fence, state = "running" })[1].state)
  j.refused("not_found", "job.move", { id = "no such job", fence = 1 })
end)

case("refuse states that cannot follow, and change nothing then", function(j)
  local job = j.job {}
  j.refused("order", "job.move", { id = job.id, fence = job.fence, state = "running", reason = "no", decisions = {
    { kind = "note", text = "lost" } } })
  local now = j.call("job.get", { id = job.id })[1]
  assert.equal("planned", now.state)
  assert.is_nil(now.reason)
  assert.same({}, j.call("decision.list", { job = job.id }))
end)

case("take a value of a job away with empty text or 0", function(j)
  local job = j.job {}
  local function move(fields)
    fields.id, fields.fence = job.id, job.fence
    return j.call("job.move", fields)[1]
  end
  local full = move { reason = "why", wake_at = 5, error = "{}", price = "1 CCD" }
  assert.equal("why 5 {} 1 CCD", table.concat({ full.reason, full.wake_at, full.error, full.price }, " "))
  local empty = move { reason = "", wake_at = 0, error = "" }
  assert.is_nil(empty.reason or empty.wake_at or empty.error)
  assert.equal("1 CCD", empty.price)
end)

case("keep a finished job its owner's, who may make it active again", function(j)
  local job = j.job {}
  local ended = j.call("job.move", { id = job.id, fence = job.fence, state = "failed" })[1]
  assert.equal(j.core.process_id(), ended.process)
  assert.truthy(ended.ended_at)
  local again = j.call("job.move", { id = job.id, fence = ended.fence, state = "planned" })[1]
  assert.equal(job.fence, again.fence)
  assert.is_nil(again.ended_at)
end)

case("note when a job began and ended", function(j)
  local job = j.job {}
  local function move(state) return j.call("job.move", { id = job.id, fence = job.fence, state = state })[1] end
  assert.is_nil(move("submitting").started_at)
  local started = move("running").started_at
  assert.truthy(started >= job.created_at)
  assert.is_nil(move("running").ended_at)
  local ended = move "succeeded"
  assert.truthy(ended.ended_at >= started)
  assert.equal(started, ended.started_at)
end)

case("keep attempts, made once and then changed, in their order", function(j)
  local job = j.job {}
  local function move(attempts) j.call("job.move", { id = job.id, fence = job.fence, attempts = attempts }) end
  move { { attempt = 1, intent = j.id(), state = "submitting", price = "1 CCD" } }
  move { { attempt = 1, state = "failed", cost = "0.5 CCD" }, { attempt = 2, state = "submitting" } }
  local rows = j.call("attempt.list", { job = job.id })
  assert.equal(2, #rows)
  assert.equal("1 failed 1 CCD 0.5 CCD", table.concat({ rows[1].attempt, rows[1].state, rows[1].price, rows[1].cost }, " "))
  assert.truthy(rows[1].intent)
  assert.equal("2 submitting", table.concat({ rows[2].attempt, rows[2].state }, " "))
end)

case("list decisions in the order in which they were made", function(j)
  local job = j.job {}
  j.call("job.move", { id = job.id, fence = job.fence, decisions = { { kind = "submit", text = "one", data = '{"a":1}' },
    { kind = "gate", text = "two", policy = "p" } } })
  j.call("job.note", { id = job.id, kind = "note", text = "three" })
  local rows = j.call("decision.list", { job = job.id })
  local texts = {}
  for i, row in ipairs(rows) do
    texts[i] = row.text
    assert.equal(job.id, row.job)
    assert.truthy(i == 1 or row.number > rows[i - 1].number)
  end
  assert.same({ "one", "two", "three" }, texts)
  assert.equal('{"a":1}', rows[1].data)
  assert.equal("p", rows[2].policy)
  j.refused("not_found", "job.note", { id = "no such job", kind = "note", text = "x" })
end)

case("claim jobs that nobody has, within a limit, and no others", function(j)
  j.call("job.claim", {})
  local ids = {}
  for i = 1, 3 do ids[i] = j.job({}).id end
  j.call("job.release", {})
  assert.equal(2, #j.call("job.claim", { limit = 2 }))
  local rest = #j.call("job.claim", {})
  assert.truthy(rest >= 1)
  assert.same({}, j.call("job.claim", {}))
  for _, id in ipairs(ids) do
    assert.equal(j.core.process_id(), j.call("job.get", { id = id })[1].process)
  end
end)

case("own a job that is attached while nobody has it", function(j)
  local job, fields = j.job {}
  j.call("job.release", { id = job.id })
  assert.is_nil(j.call("job.get", { id = job.id })[1].process)
  local again = j.call("job.submit", fields)[1]
  assert.equal(j.core.process_id(), again.process)
  assert.truthy(again.fence > job.fence)
end)

case("list jobs by what they are, newest first, in pages", function(j)
  local policy = "p-" .. j.id()
  local ids = {}
  for i = 1, 5 do table.insert(ids, 1, j.job({ policy = policy, service = i == 1 and "deai" or "sxwl" }).id) end
  local function list(fields)
    fields.policy = policy
    local found = {}
    for _, job in ipairs(j.call("job.list", fields)) do found[#found + 1] = job.id end
    return found
  end
  assert.same(ids, list {})
  assert.same({ ids[1], ids[2] }, list { limit = 2 })
  assert.same({ ids[3], ids[4] }, list { limit = 2, after = ids[2] })
  assert.same({ ids[5] }, list { service = "deai" })
  j.call("job.move", { id = ids[1], fence = 1, state = "stopped" })
  assert.same({ ids[1] }, list { state = "stopped" })
  assert.same({ ids[1] }, list { active = false })
  assert.equal(4, #list { active = true })
  assert.equal(5, #list { mine = true })
  assert.equal(0, #list { orphan = true })
  j.call("job.release", { id = ids[2] })
  assert.same({ ids[2] }, list { orphan = true })
  assert.equal(0, #list { since = os.time() * 1000 + 60000 })
end)

case("count jobs by state, service and policy", function(j)
  local policy = "p-" .. j.id()
  for _ = 1, 3 do j.job { policy = policy } end
  local job = j.job { policy = policy }
  j.call("job.move", { id = job.id, fence = job.fence, state = "stopped" })
  local counts = {}
  for _, row in ipairs(j.call "job.counts") do
    if row.policy == policy then counts[row.state] = row.count end
  end
  assert.same({ planned = 3, stopped = 1 }, counts)
end)

case("hand a request to the owner, once", function(j)
  local job = j.job {}
  j.call("job.ask", { id = job.id, request = '{"stop":true}' })
  local asked = j.call "job.asked"
  assert.equal(1, #asked)
  assert.equal('{"stop":true}', asked[1].request)
  assert.equal(job.id, asked[1].id)
  assert.same({}, j.call "job.asked")
  j.refused("not_found", "job.ask", { id = "no such job", request = "{}" })
  j.call("job.move", { id = job.id, fence = job.fence, state = "stopped" })
  j.refused("finished", "job.ask", { id = job.id, request = "{}" })
end)

-- ---- the rest ------------------------------------------------------------------------------------------------

case("keep values with a version that each write changes", function(j)
  local space, name = "space-" .. j.id(), "counter"
  local function set(value, version)
    return j.call("store.set", { space = space, name = name, value = value, version = version })[1].version
  end
  assert.same({}, j.call("store.get", { space = space, name = name }))
  local first = set("1", 0)
  j.refused("conflict", "store.set", { space = space, name = name, value = "x", version = 0 })
  local second = set("2", first)
  j.refused("conflict", "store.set", { space = space, name = name, value = "x", version = first })
  assert.truthy(second ~= first)
  local row = j.call("store.get", { space = space, name = name })[1]
  assert.equal("2", row.value)
  assert.equal(second, row.version)
  j.refused("conflict", "store.delete", { space = space, name = name, version = first })
  assert.equal(1, j.call("store.delete", { space = space, name = name, version = second })[1].deleted)
  assert.equal(0, j.call("store.delete", { space = space, name = name })[1].deleted)
  assert.truthy(set("3") > second, "a version comes back after a deletion")
end)

case("list values by name, by prefix and in pages", function(j)
  local space = "space-" .. j.id()
  for _, name in ipairs { "b", "a", "ab", "B", "预算", "a%", "a_" } do
    j.call("store.set", { space = space, name = name, value = name })
  end
  local function names(fields)
    fields.space = space
    local found = {}
    for _, row in ipairs(j.call("store.list", fields)) do
      assert.equal(row.name, row.value)
      found[#found + 1] = row.name
    end
    return table.concat(found, " ")
  end
  assert.equal("B a a% a_ ab b 预算", names {})
  assert.equal("a a% a_ ab", names { prefix = "a" })
  assert.equal("a_", names { prefix = "a_" })
  assert.equal("B a", names { limit = 2 })
  assert.equal("a% a_", names { limit = 2, after = "a" })
end)

case("give a lock to one holder, and his note to the next", function(j)
  local name = "lock-" .. j.id()
  local first = j.call("lock.take", { name = name })[1]
  assert.equal(1, first.taken)
  assert.is_nil(first.note)
  local second = j.call("lock.take", { name = name })[1]
  assert.equal(0, second.taken)
  assert.equal(j.core.process_id(), second.process)
  assert.truthy(second.pid > 0 and second.kind == "run" and second.since > 0)
  j.call("lock.free", { name = name, note = "draft 7" })
  assert.equal("draft 7", j.call("lock.take", { name = name })[1].note)
  j.call("lock.free", { name = name })
  assert.is_nil(j.call("lock.take", { name = name })[1].note)
end)

case("put a message into the outbox once, and give it until it is done", function(j)
  local id = j.id()
  local function put(fields)
    fields.event, fields.target, fields.body = "job.failed", "webhook", "{}"
    return j.call("outbox.put", fields)[1].created
  end
  local function due(wanted)
    for _, row in ipairs(j.call "outbox.due") do
      if row.id == wanted then return row end
    end
  end
  assert.equal(1, put { id = id })
  assert.equal(0, put { id = id })
  assert.equal(0, due(id).tries)
  j.call("outbox.later", { id = id, not_before = os.time() * 1000 + 60000, error = "503" })
  assert.is_nil(due(id))
  j.call("outbox.later", { id = id, not_before = 0, error = "504" })
  assert.equal(2, due(id).tries)
  assert.equal("504", due(id).error)
  j.call("outbox.done", { id = id, outcome = "sent" })
  assert.is_nil(due(id))
  assert.equal(0, put { id = id }) -- known for a while
  j.refused("not_found", "outbox.later", { id = id, not_before = 0 })
  j.refused("not_found", "outbox.done", { id = "no such message", outcome = "sent" })
  local listed = j.call("outbox.list", { limit = 1 })[1]
  assert.equal("sent", listed.outcome)
  assert.truthy(listed.ended_at)
end)

case("remember hooks, and how many failed in a row", function(j)
  local policy = "p-" .. j.id()
  local function run(hook, outcome)
    local number = j.call("hook.begin", { policy = policy, hook = hook, scheduled_at = 5 })[1].number
    if outcome then j.call("hook.end", { number = number, outcome = outcome, error = outcome == "failed" and "why" or nil }) end
    return number
  end
  run("nightly", "failed")
  run("nightly", "done")
  run("nightly", "failed")
  local last = run("nightly", "timeout")
  run("job.failed", "failed")
  run("job.failed", "done")
  run("job.failed", "skipped")
  run("job.submit", "done")
  j.refused("not_found", "hook.end", { number = 99999999, outcome = "failed" })
  local rows = j.call("hook.list", { policy = policy, hook = "nightly" })
  assert.equal(4, #rows)
  assert.equal(last, rows[1].number)
  assert.equal("timeout", rows[1].outcome)
  assert.equal("why", rows[2].error)
  assert.equal(1, #j.call("hook.list", { policy = policy, limit = 1 }))
  local failures = {}
  for _, row in ipairs(j.call "hook.last") do
    if row.policy == policy then failures[row.hook] = row.failures end
  end
  assert.same({ nightly = 2, ["job.failed"] = 0, ["job.submit"] = 0 }, failures)
end)

case("export each record as a line of JSON, in pages", function(j)
  local json = require "perigee.json"
  local space = "space-" .. j.id()
  for i = 1, 3 do j.call("store.set", { space = space, name = "n" .. i, value = '{"text":"预算 \\"' .. i .. '\\""}' }) end
  local found, after = {}, nil
  repeat
    local rows = j.call("journal.export", { table = "store", after = after, limit = 2 })
    for _, row in ipairs(rows) do
      assert.equal("store", row.table)
      local record = json.decode(row.line)
      if record.space == space then found[#found + 1] = record.name end
      after = row.key
    end
  until #rows < 2
  table.sort(found)
  assert.same({ "n1", "n2", "n3" }, found)
  local tables = {}
  for _, row in ipairs(j.call "journal.export") do tables[row.table] = true end
  assert.truthy(tables.permits and tables.jobs and tables.store)
end)

require "tests.services.journal_money_cases"(case)

return cases
