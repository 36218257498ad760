-- journal_money_cases.lua - the cases of journal_cases.lua about money, and those that end things: they come last.
local assert = require "luassert"

return function(case)
  -- ---- money ---------------------------------------------------------------------------------------------------

  local function reserve(j, price, lines, more)
    local fields = { intent = j.id(), operation = "create_job", service = "sxwl", price = price, lines = lines }
    for name, value in pairs(more or {}) do fields[name] = value end
    return j.call("permit.reserve", fields), fields.intent
  end

  local function sums(row)
    return ("%s|%s|%s"):format(row.held, row.unknown, row.spent)
  end

  case("hold a price in all lines or in none", function(j)
    local day = j.line("both", "day", 20000, "1 CCD")
    local total = j.line("both", "total", 0, "10 CCD")

    local rows = reserve(j, "0.6 CCD", { day, total })
    assert.same({ "0.6 CCD|0 CCD|0 CCD", "0.6 CCD|0 CCD|0 CCD" }, { sums(rows[1]), sums(rows[2]) })
    assert.is_nil(rows[1].denied)

    local denied, intent = reserve(j, "0.5 CCD", { day, total })
    assert.equal(1, denied[1].denied)
    assert.is_nil(denied[2].denied)
    assert.equal("0.6 CCD|0 CCD|0 CCD", sums(denied[1]))
    assert.same({}, j.call("permit.get", { intent = intent }))
    assert.equal("0.6 CCD|0 CCD|0 CCD", sums(j.call("budget.lines", { lines = { total } })[1]))

    assert.is_nil(reserve(j, "0.4 CCD", { day, total })[1].denied) -- up to the limit itself
  end)

  case("keep windows, numbers and currencies apart", function(j)
    reserve(j, "1 CCD", { j.line("apart", "day", 1) })
    for _, other in ipairs { j.line("apart", "day", 2), j.line("apart", "week", 1), j.line("other", "day", 1),
      j.line("apart", "day", 1, nil, "CNY") } do
      local zero = "0 " .. other.currency
      assert.equal(zero .. "|" .. zero .. "|" .. zero, sums(j.call("budget.lines", { lines = { other } })[1]))
    end
  end)

  case("move a permit's amount between the sums, and change it on the way", function(j)
    local line = j.line("moving", "total", 0, "10 CCD")
    local _, intent = reserve(j, "2 CCD", { line })
    local function now() return sums(j.call("budget.lines", { lines = { line } })[1]) end
    j.call("permit.intent", { intent = intent })
    j.call("permit.move", { intent = intent, state = "sent", bucket = "held" })
    assert.equal("2 CCD|0 CCD|0 CCD", now())
    j.call("permit.move", { intent = intent, state = "unknown", bucket = "unknown" })
    assert.equal("0 CCD|2 CCD|0 CCD", now())
    j.call("permit.move", { intent = intent, state = "created", bucket = "held", remote_id = "r-1" })
    assert.equal("2 CCD|0 CCD|0 CCD", now())
    j.call("permit.move", { intent = intent, state = "settled", bucket = "spent", amount = "1.5 CCD" })
    assert.equal("0 CCD|0 CCD|1.5 CCD", now())
    local permit = j.call("permit.get", { intent = intent })[1]
    assert.equal("settled spent 1.5 CCD r-1 2 CCD", table.concat({ permit.state, permit.bucket, permit.amount, permit.remote_id,
      permit.price }, " "))
    assert.truthy(permit.reserved_at <= permit.sent_at and permit.sent_at <= permit.answered_at
      and permit.answered_at <= permit.ended_at)
  end)

  case("refuse transitions of a permit that cannot be", function(j)
    local _, intent = reserve(j, "1 CCD", {})
    j.refused("order", "permit.move", { intent = intent, state = "sent", bucket = "held" })
    j.call("permit.intent", { intent = intent })
    j.refused("order", "permit.intent", { intent = intent })
    j.call("permit.move", { intent = intent, state = "released", bucket = "none" })
    j.refused("order", "permit.move", { intent = intent, state = "sent", bucket = "held" })
    j.refused("not_found", "permit.intent", { intent = j.id() })
    j.refused("not_found", "permit.move", { intent = j.id(), state = "sent", bucket = "held" })
  end)

  case("never reserve one intent twice", function(j)
    local line = j.line("once", "total", 0)
    local _, intent = reserve(j, "1 CCD", { line })
    j.refused(nil, "permit.reserve", { intent = intent, operation = "o", service = "s", price = "1 CCD", lines = { line } })
    assert.equal("1 CCD|0 CCD|0 CCD", sums(j.call("budget.lines", { lines = { line } })[1]))
  end)

  case("list permits by state, job, key and operation, newest first", function(j)
    local job = "job-" .. j.id()
    local intents = {}
    for i = 1, 3 do
      local _, intent = reserve(j, i .. " CCD", {}, { job = job, key = "key-" .. i, attempt = i })
      table.insert(intents, 1, intent)
    end
    local function list(fields)
      local found = {}
      for _, permit in ipairs(j.call("permit.list", fields)) do found[#found + 1] = permit.intent end
      return found
    end
    assert.same(intents, list { job = job })
    assert.same({ intents[1] }, list { job = job, limit = 1 })
    assert.same({ intents[2] }, list { job = job, key = "key-2" })
    assert.same({}, list { job = job, state = "sent" })
    assert.same(intents, list { job = job, operation = "create_job", state = "reserved" })
  end)

  case("take a permit back that is nobody else's", function(j)
    local _, intent = reserve(j, "1 CCD", {})
    assert.equal(j.core.process_id(), j.call("permit.take", { intent = intent })[1].process)
    j.refused("not_found", "permit.take", { intent = j.id() })
  end)

  case("presume spent what has been unknown for long", function(j)
    local line = j.line("presumed", "total", 0)
    local _, intent = reserve(j, "3 CCD", { line })
    j.call("permit.intent", { intent = intent })
    j.call("permit.move", { intent = intent, state = "unknown", bucket = "unknown" })
    assert.same({}, j.call("permit.presume", { before = 1000 }))

    local found
    for _, permit in ipairs(j.call("permit.presume", { before = os.time() * 1000 + 60000 })) do
      if permit.intent == intent then found = permit end
    end

    assert.equal("unknown spent 1", table.concat({ found.state, found.bucket, found.presumed }, " "))
    assert.equal("0 CCD|0 CCD|3 CCD", sums(j.call("budget.lines", { lines = { line } })[1]))
    j.call("permit.move", { intent = intent, state = "released", bucket = "none" }) -- found out later
    assert.equal("0 CCD|0 CCD|0 CCD", sums(j.call("budget.lines", { lines = { line } })[1]))
  end)

  case("count a line that is named twice once, and a price in another currency nowhere", function(j)
    local line = j.line("twice", "total", 0)
    local yuan = j.line("twice", "total", 0, "1 CNY", "CNY")
    reserve(j, "2 CCD", { line, line, yuan })
    assert.equal("2 CCD|0 CCD|0 CCD", sums(j.call("budget.lines", { lines = { line } })[1]))
    assert.equal("0 CNY|0 CNY|0 CNY", sums(j.call("budget.lines", { lines = { yuan } })[1]))
  end)

  case("correct the report when a settled permit turns out otherwise", function(j)
    local model = "M" .. j.id()
    local _, intent = reserve(j, "2 CCD", {}, { model = model })
    j.call("permit.intent", { intent = intent })
    local function counts()
      for _, row in ipairs(j.call "ratio.list") do
        if row.model == model then return row.count .. " " .. row.actual end
      end
    end
    j.call("permit.move", { intent = intent, state = "settled", bucket = "spent", amount = "1 CCD" })
    assert.equal("1 1 CCD", counts())
    j.call("permit.move", { intent = intent, state = "settled", bucket = "spent", amount = "1.5 CCD" })
    assert.equal("1 1.5 CCD", counts())
    j.call("permit.move", { intent = intent, state = "released", bucket = "none" })
    assert.is_nil(counts())
    assert.is_nil(j.call("permit.get", { intent = intent })[1].amount)
  end)

  case("count what was paid elsewhere", function(j)
    local line = j.line("elsewhere", "total", 0)
    j.call("budget.count", { lines = { line }, amount = "0.1 CCD" })
    j.call("budget.count", { lines = { line }, amount = "0.2 CCD" })
    j.call("budget.count", { lines = { line }, amount = "1 CCD", unknown = true })
    assert.equal("0 CCD|1 CCD|0.3 CCD", sums(j.call("budget.lines", { lines = { line } })[1]))
  end)

  case("add up exactly, beyond what a float or 64 bits hold", function(j)
    local line = j.line("exact", "total", 0)
    for _ = 1, 3 do reserve(j, "9223372036.000000000000000001 CCD", { line }) end
    assert.equal("27670116108.000000000000000003 CCD", j.call("budget.lines", { lines = { line } })[1].held)
  end)

  local function pay(j, price, charge, more)
    local _, intent = reserve(j, price, {}, more)
    j.call("permit.intent", { intent = intent })
    j.call("permit.move", { intent = intent, state = "settled", bucket = "spent", amount = charge, derived = charge == nil })
    return intent
  end

  local function group(rows, name)
    for _, row in ipairs(rows) do
      if row.group == name then return row end
    end
  end

  case("report money by policy, job, tag, service, operation and day", function(j)
    local name = "rep-" .. j.id()
    pay(j, "1 XRP", "0.5 XRP", { policy = name, job = name, tags = '["' .. name .. '","say \\"hi\\""]', operation = name, service = name })
    pay(j, "2 XRP", nil, { policy = name, job = name, tags = '["' .. name .. '"]', operation = name, service = name })
    reserve(j, "4 XRP", {}, { policy = name, job = name, tags = '["' .. name .. '"]', operation = name, service = name })
    for _, by in ipairs { "policy", "job", "tag", "service", "operation" } do
      local row = group(j.call("spend.report", { by = by }), name)
      assert.equal("XRP|4 XRP|0 XRP|2.5 XRP|2 XRP|0 XRP|3", table.concat({ row.currency, row.held, row.unknown, row.spent,
        row.derived, row.presumed, row.permits }, "|"))
    end
    assert.equal("0.5 XRP", group(j.call("spend.report", { by = "tag" }), 'say "hi"').spent)
    local days = j.call("spend.report", { by = "day" })
    assert.truthy(#days > 0 and days[1].group:find "^%d%d%d%d%-%d%d%-%d%d$")
    for _, row in ipairs(j.call("spend.report", { by = "policy", since = os.time() * 1000 + 60000 })) do
      assert.not_equal(name, row.group)
    end
  end)

  case("keep what was charged beside what was estimated, of reported charges", function(j)
    local model = "M" .. j.id():sub(1, 6)
    pay(j, "1 CCD", "0.5 CCD", { model = model })
    pay(j, "2 CCD", "1.5 CCD", { model = model })
    pay(j, "2 CCD", nil, { model = model })
    local found
    for _, row in ipairs(j.call "ratio.list") do
      if row.model == model then found = row end
    end
    assert.equal("sxwl 2 3 CCD 2 CCD", table.concat({ found.service, found.count, found.estimate, found.actual }, " "))
  end)

  case("find nothing wrong with itself", function(j)
    assert.same({}, j.call "journal.verify")
  end)

  case("let finished jobs and ended permits go when their time is over, and keep the totals", function(j)
    local name = "old-" .. j.id()
    local job = j.job { policy = name }
    local active = j.job { policy = name }
    j.call("job.move", { id = job.id, fence = job.fence, state = "stopped", decisions = { { kind = "k", text = "t" } } })
    pay(j, "1 XAU", "0.5 XAU", { policy = name })
    local _, open = reserve(j, "2 XAU", {}, { policy = name })
    local lines = { j.line("elsewhere", "total", 0) }
    local before = sums(j.call("budget.lines", { lines = lines })[1])

    j.call("journal.compact", {})
    assert.truthy(j.call("job.get", { id = job.id })[1], "90 days are kept")
    j.wait_ms(2)
    local counts = j.call("journal.compact", { keep_days = 0 })[1]

    assert.truthy(counts.jobs >= 1 and counts.permits >= 1 and counts.decisions >= 1)
    assert.is_nil(j.call("job.get", { id = job.id })[1])
    assert.same({}, j.call("decision.list", { job = job.id }))
    assert.truthy(j.call("job.get", { id = active.id })[1])
    assert.truthy(j.call("permit.get", { intent = open })[1])
    local row = group(j.call("spend.report", { by = "policy" }), name)
    assert.equal("0.5 XAU|2 XAU|2", table.concat({ row.spent, row.held, row.permits }, "|"))
    assert.equal(before, sums(j.call("budget.lines", { lines = lines })[1]))
    assert.same({}, j.call "journal.verify")
  end)

  case("give up what the process had when it leaves", function(j)
    local line = j.line("leaving", "total", 0)
    local ends = {}
    for _, state in ipairs { "reserved", "intent", "sent", "created" } do
      local _, intent = reserve(j, "1 CCD", { line })
      ends[state] = intent
      if state ~= "reserved" then j.call("permit.intent", { intent = intent }) end
      if state == "sent" or state == "created" then j.call("permit.move", { intent = intent, state = state, bucket = "held" }) end
    end
    local job = j.job {}
    local number = j.call("hook.begin", { policy = "leaving", hook = "h" })[1].number
    local lock = "lock-" .. j.id()
    j.call("lock.take", { name = lock })

    j.call "process.leave"

    local function state_of(intent)
      local permit = j.call("permit.get", { intent = intent })[1]
      return permit.state .. " " .. permit.bucket
    end
    assert.equal("released none", state_of(ends.reserved))
    assert.equal("unknown unknown", state_of(ends.intent))
    assert.equal("unknown unknown", state_of(ends.sent))
    assert.equal("settled spent", state_of(ends.created))
    assert.equal("0 CCD|2 CCD|1 CCD", sums(j.call("budget.lines", { lines = { line } })[1]))
    local left = j.call("job.get", { id = job.id })[1]
    assert.is_nil(left.process)
    assert.truthy(left.fence > job.fence)
    local hook = j.call("hook.list", { policy = "leaving" })[1]
    assert.equal(number, hook.number)
    assert.equal("interrupted", hook.outcome)
    assert.equal(1, j.call("lock.take", { name = lock })[1].taken)
  end)
end
