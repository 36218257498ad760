-- Fault specifications, what they do to a call, and the ledger that knows the truth.

local client = require "tests.services.emulator_client"
local draws = require "perigee.emulator.random"
local faults = require "perigee.emulator.faults"
local json = require "perigee.json"

local function plans(text, calls, seed)
  local set = faults.new(text, draws.keyed(draws.new(seed or 1)))
  local list = {}
  for i = 1, calls do
    list[i] = set:plan("sxwl", "create_job")
  end
  return list
end

local function fired(text, calls, kind, seed)
  local numbers = {}
  for i, plan in ipairs(plans(text, calls, seed)) do
    if plan[kind] then
      numbers[#numbers + 1] = i
    end
  end
  return numbers
end

describe("a fault specification", function()
  it("says how often: always, the first n, numbered calls, by chance", function()
    assert.same({ 1, 2, 3 }, fired("sxwl.create_job:fail", 3, "fail"))
    assert.same({ 1, 2 }, fired("sxwl.create_job:fail=2", 5, "fail"))
    assert.same({ 3 }, fired("sxwl.create_job:fail=#3", 5, "fail"))
    assert.same({ 2, 3, 4 }, fired("sxwl.create_job:fail=#2-4", 9, "fail"))
    local by_chance = #fired("sxwl.create_job:fail=25%", 1000, "fail")
    assert.is_true(by_chance > 200 and by_chance < 300)
  end)

  it("repeats by seed", function()
    local text = "sxwl.*:drop_after=0.1"

    assert.same(fired(text, 200, "drop_after", 5), fired(text, 200, "drop_after", 5))
    assert.not_same(fired(text, 200, "drop_after", 5), fired(text, 200, "drop_after", 6))
  end)

  it("composes: rules add up, delays are summed, a rule more does not move the others", function()
    local alone = fired("sxwl.create_job:drop_after=0.2", 100, "drop_after")
    local together = fired("sxwl.create_job:drop_after=0.2; *.*:delay(100ms), sxwl.*:delay(1.5s)", 100, "drop_after")

    assert.same(alone, together)
    assert.near(1.6, plans("*.*:delay(100ms), sxwl.*:delay(1.5s)", 1)[1].delay, 1e-9)
  end)

  it("is refused with the rule and what would be right", function()
    for text, hint in pairs {
      ["sxwl.create:fail"] = "sxwl.create_job",
      ["sxwl.create_job:explode"] = "drop_after",
      ["deai.login:fail"] = "sxwl.create_job",
      ["sxwl.create_job:error(200)"] = "status",
      ["sxwl.create_job:delay(soon)"] = "seconds",
      ["sxwl.create_job:fail(3)"] = "parentheses",
      ["sxwl.create_job:fail=often"] = "by chance",
      ["sxwl.create_job:fail=1.5"] = "by chance",
      ["create_job"] = "drop_after",
      ["create job"] = "service.operation",
    } do
      local ok, err = pcall(faults.parse, text)
      assert.is_false(ok, text)
      assert.equal("invalid", err.kind)
      assert.truthy(err.message:find(hint, 1, true), err.message)
      assert.truthy(err.message:find(text, 1, true), err.message)
    end
  end)

  it("is about every operation if it names none", function()
    assert.near(0.5, plans("delay(500ms)", 1)[1].delay, 1e-9)
    assert.same({ 2 }, fired("drop_after=#2", 3, "drop_after"))
  end)

  it("can be replaced while the emulator runs, all or nothing", function()
    local c = client.new()
    local function put(text)
      return c:send("POST", "/__faults", text).status
    end

    assert.equal(200, put "sxwl.create_job:transient=1")
    assert.equal(400, put "sxwl.create_job:transient=1, nonsense")
    local first, second = select(2, c:sxwl_create()).status, select(2, c:sxwl_create()).status

    assert.same({ 400, 200 }, { first, second })
    assert.same({ { rule = "sxwl.create_job:transient=1", asked = 2, fired = 1 } }, json.decode(c:send("GET", "/__faults").body))
  end)

  it("may be empty", function()
    assert.same({}, faults.parse "")
    assert.same({}, faults.parse(nil))
  end)
end)

describe("a fault", function()
  local function create(fault)
    local c = client.new { faults = "sxwl.create_job:" .. fault }
    local _, response = c:sxwl_create()
    return response, #c.ledger:created "sxwl", c
  end

  it("drop_before closes before anything is executed, drop_after when all of it is", function()
    local before, made_before, c = create "drop_before"
    local after, made_after, d = create "drop_after"

    assert.same({ "before", 0 }, { before.drop, made_before })
    assert.same({ "after", 1 }, { after.drop, made_after })
    local row_before, row_after = c.ledger.by_operation["sxwl.create_job"], d.ledger.by_operation["sxwl.create_job"]
    assert.same({ calls = 1, executed = 0, replied = 0, faulted = 1 }, row_before)
    assert.same({ calls = 1, executed = 1, replied = 0, faulted = 1 }, row_after)
  end)

  it("error and error_after answer 5xx, without and with an execution", function()
    local before, made_before = create "error(500)"
    local after, made_after = create "error_after"

    assert.same({ 500, 0 }, { before.status, made_before })
    assert.same({ 502, 1 }, { after.status, made_after })
  end)

  it("rate_limit answers 429 with Retry-After", function()
    local response, made = create "rate_limit(7s)"

    assert.same({ 429, "7", 0 }, { response.status, response.headers["retry-after"], made })
  end)

  it("transient answers 400 as a service whose database is down", function()
    local response, made = create "transient"

    assert.same({ 400, 0 }, { response.status, made })
    assert.truthy(response.body:find("^dial tcp .*connection refused$"))
  end)

  it("garbage executes and answers 200 with a page that is no JSON", function()
    local response, made = create "garbage"

    assert.same({ 200, 1 }, { response.status, made })
    assert.has_error(function() json.decode(response.body) end)
  end)

  it("delay leaves the reply as it is and says how late it comes", function()
    local response, made = create "delay(3s)"

    assert.same({ 200, 3, 1 }, { response.status, response.delay, made })
  end)

  it("expired refuses a good token", function()
    local c = client.new { faults = "deai.jobs:expired=1" }
    c:login("demo@perigee.example", "open-sesame")

    assert.equal(401, c:deai("/panel/jobListByUser", { pageNo = 1, pageSize = 1 }).code)
    assert.equal(200, c:deai("/panel/jobListByUser", { pageNo = 1, pageSize = 1 }).code)
  end)

  it("no_id keeps the jobID back, never keeps a training and an inference unfinished", function()
    local c = client.new { faults = "deai.create_job:no_id=1, deai.create_job:never=#2, deai.start_inference:never" }
    c:login("demo@perigee.example", "open-sesame")
    local path = c:upload("a.csv", "1").msg
    c:estimate { x_train = path }
    local first, second = c:create(), c:create()
    c.now = c.now + 1e6
    c:login("demo@perigee.example", "open-sesame")
    local jobID = c.ledger:created("deai")[1].jobID
    c:deai("/deAI/inferenceCost", { jobID = jobID, data_path = path })
    c:deai("/deAI/inference", { jobID = jobID })
    c.now = c.now + 1000

    assert.is_nil(first.jobID)
    assert.equal(0, c:deai("/panel/subListByUser", { jobID = second.jobID, pageNo = 1, pageSize = 1 }).totalCount)
    assert.equal("", c:deai("/deAI/queryInferList", { jobID = jobID, pageNo = 1, pageSize = 1 }).data[1].tx_hash)
  end)
end)

describe("the ledger", function()
  it("sums what was billed, exactly, and shows it over HTTP", function()
    local c = client.new()
    local path = c:upload("a.csv", "1").msg
    local jobID = c:trained("job", path)
    c:deai("/deAI/inferenceCost", { jobID = jobID, data_path = path })
    c:deai("/deAI/inference", { jobID = jobID })

    local summary = json.decode(c:send("GET", "/__ledger").body)

    local ledger = require "perigee.emulator.ledger"
    local sum = ledger.pico(c.ledger:created("deai")[1].ccd_cost) + ledger.pico(c.ledger:inferences()[1].ccd_cost)
    assert.equal(ledger.decimal(sum), summary.deai.spent)
    assert.same({ 1, 1, 2, 1 }, { summary.deai.uploads, summary.deai.jobs, summary.deai.estimates, summary.deai.inferences })
    assert.same({ calls = 1, executed = 1, replied = 1, faulted = 0 }, summary.operations["deai.create_job"])
  end)

  it("counts started GPU minutes, until now or until the end", function()
    local c = client.new { sxwl = { job_seconds = 200, queue_seconds = 0 } }
    c:sxwl_create { gpuNumber = 2 }
    c.now = c.now + 61
    local running = c.ledger:summary(c.now).sxwl.gpu_minutes
    c.now = c.now + 1e5
    local over = c.ledger:gpu_use(c.now)[1]

    assert.equal(4, running)
    assert.equal("success", over.status)
    assert.equal(2 * math.ceil(over.seconds / 60), over.gpu_minutes)
    assert.is_true(over.seconds < 251)
  end)

  it("exports its entries as JSON lines, from any number on", function()
    local c = client.new()
    c:upload("a.csv", "1")

    local text = c:send("GET", "/__ledger?entries=2").body

    local first = json.decode(text:match "^[^\n]+")
    assert.equal(2, first.seq)
    assert.equal(#c.ledger.entries - 1, select(2, text:gsub("\n", "")))
  end)

  it("is the same for the same seed and calls", function()
    local function run(seed)
      local c = client.new { seed = seed }
      local path = c:upload("a.csv", "1").msg
      c:trained("job", path)
      c:sxwl_create()
      return c.ledger:json_lines()
    end

    assert.equal(run(3), run(3))
    assert.not_equal(run(3), run(4))
  end)
end)
