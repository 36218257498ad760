-- fan_out_spec.lua - many inputs on one job: resumable, within its budget, nothing paid for twice.
-- The client is a small one of our own with a ledger, so that every way a call can end can be chosen; its
-- paid calls go through the spend kernel like those of the real one.
local amount = require "perigee.amount"
local budget = require "perigee.budget"
local errors = require "perigee.error"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local json = require "perigee.json"
local retry = require "perigee.retry"
local spend = require "perigee.core.spend"
local task = require "perigee.task"

local fan_out = require "perigee.fan_out"

-- ---- a client with a ledger ---------------------------------------------------------------------------------

local Client = {}
Client.__index = Client

-- behave(input, number of its starts so far) -> nil, or what goes wrong: "unknown", "lost", "refused",
-- "hangs", "price"
local function make_client(behave)
  return setmetatable({
    behave = behave or function() end, ledger = {}, rows = {}, starts = {}, uploads = {}, next_id = 1,
    price = "0.5 CCD", busy = 0, most_busy = 0, clock = os.time(),
  }, Client)
end

function Client:upload(path)
  task.sleep(0)
  local input = fs.read(path)
  self.uploads[#self.uploads + 1] = input
  return "remote/" .. input
end

local function execute(self, input)
  self.clock = self.clock + 1
  local id = self.next_id
  self.next_id = id + 1
  self.ledger[#self.ledger + 1] = input
  local row = {
    id = id, tx_hash = "0x" .. id, result = "result of " .. input, ccd_cost = "0.4", submitTime = self.clock,
  }
  table.insert(self.rows, 1, row)
  return row
end

local function unknown_error(permit, price)
  permit:answered "unknown"
  error(errors.new {
    kind = "network", outcome = "unknown", message = "no reply came", price = price, intent = permit:intent_id(),
  }, 0)
end

function Client:infer(t)
  local input = t.data_path:match "remote/(.*)"
  self.starts[input] = (self.starts[input] or 0) + 1
  local fault = self.behave(input, self.starts[input])
  local price = fault == "price" and amount.ccd "9" or amount(self.price)
  local permit <close> = spend.request {
    operation = "start_inference", service = "deai", price = price, max_cost = t.max_cost,
    budgets = budget.collect(t.budget),
  }
  permit:sent()
  task.sleep(0)
  if fault == "refused" then
    permit:answered "none"
    error(errors.new { kind = "api", retryable = true, message = "busy" }, 0)
  elseif fault == "lost" then
    unknown_error(permit, price)
  end
  local row = execute(self, input)
  if fault == "unknown" then unknown_error(permit, price) end
  permit:answered("created", tostring(row.id))
  t.on_start { jobID = t.jobID, infer_id = row.id, price = price }
  self.busy = self.busy + 1
  self.most_busy = math.max(self.most_busy, self.busy)
  task.sleep(0.02)
  self.busy = self.busy - 1
  if fault == "hangs" then error(errors.new { kind = "timeout", message = "it did not end" }, 0) end
  permit:settle(amount.ccd(row.ccd_cost))
  return { infer_id = row.id, result = row.result, tx_hash = row.tx_hash, ccd_cost = amount.ccd(row.ccd_cost) }
end

function Client:wait_inference(infer_id)
  for _, row in ipairs(self.rows) do
    if row.id == infer_id then return row end
  end
  error(errors.new { kind = "timeout", message = "it did not end" }, 0)
end

function Client:inferences()
  local at = 0
  return function()
    at = at + 1
    return self.rows[at]
  end
end

-- ---- tools ---------------------------------------------------------------------------------------------------

local quick = retry.new { attempts = 4, base = 0.001 }

local function make_files(inputs)
  local dir = helper.tmpdir()
  local files = {}
  for i, input in ipairs(inputs) do
    files[i] = ("%s/%03d.csv"):format(dir, i)
    fs.write(files[i], input)
  end
  return files, dir .. "/results.jsonl"
end

local function inputs(n)
  local list = {}
  for i = 1, n do list[i] = "input-" .. i end
  return list
end

local function run(client, files, results, more)
  local options = { jobID = "77", files = files, results = results, retry = quick }
  for k, v in pairs(more or {}) do options[k] = v end
  return fan_out.run(client, options)
end

local function ledger_counts(client)
  local counts = {}
  for _, input in ipairs(client.ledger) do counts[input] = (counts[input] or 0) + 1 end
  return counts
end

local function assert_nothing_twice(client)
  for input, count in pairs(ledger_counts(client)) do assert.equal(1, count, input) end
end

-- ---- specs -----------------------------------------------------------------------------------------------------

describe("fan_out", function()
  it("runs every input once and reports in the order of the files", function()
    local client = make_client()
    local files, results = make_files(inputs(20))

    local report = run(client, files, results, { concurrency = 4 })

    assert.equal(20, report.done)
    assert.equal("8 CCD", tostring(report.cost))
    for i, item in ipairs(report.items) do
      assert.equal("result of input-" .. i, item.result)
      assert.equal(files[i], item.file)
    end
    assert_nothing_twice(client)
    assert.equal(20, #client.ledger)
    assert.is_true(client.most_busy > 1 and client.most_busy <= 4)
  end)

  it("writes what a person and a program can read", function()
    local files, results = make_files { "a" }

    run(make_client(), files, results)

    local states, last = {}, nil
    for line in fs.lines(results) do
      last = json.decode(line)
      states[#states + 1] = last.state or "run"
    end
    assert.same({ "run", "starting", "running", "done" }, states)
    assert.equal(fs.sha256(files[1]), last.sha256)
    assert.equal("0.4 CCD", last.cost)
    assert.equal("result of a", last.result)
    assert.equal(1, last.infer_id)
  end)

  it("does nothing again when everything is done", function()
    local client = make_client()
    local files, results = make_files(inputs(5))
    run(client, files, results)

    local report = run(client, files, results)

    assert.equal(5, report.done)
    assert.equal(5, #client.ledger)
    assert.equal(5, #client.uploads)
    assert.equal("result of input-3", report.items[3].result)
  end)

  it("takes inputs with the same bytes as one", function()
    local client = make_client()
    local files, results = make_files { "a", "b", "a" }

    local report = run(client, files, results)

    assert.equal(2, #client.ledger)
    assert.equal(2, report.total)
    assert.equal("result of a", report.items[3].result)
  end)

  it("starts no more when the budget cannot take the next item, and lets the running end", function()
    local client = make_client()
    local files, results = make_files(inputs(10))
    local b = budget.new { total = "2 CCD" }

    local report = run(client, files, results, { budget = b, concurrency = 2 })

    assert.equal(10, report.done + report.not_started)
    assert.is_true(report.done >= 4 and report.done < 10)
    assert.equal("over_budget", report.stopped.code)
    assert.equal(report.done, #client.ledger)
    assert.is_true(b:spent() <= amount.ccd "2")
    assert.equal("0 CCD", tostring(b:held()))
    assert.is_true(require("perigee.summary").is_partly_done())
  end)

  it("shares its budget with the runs before it", function()
    local client = make_client()
    local files, results = make_files(inputs(10))
    local first = run(client, files, results, { budget = budget.new { total = "2 CCD" }, concurrency = 1 })

    local b = budget.new { total = "2.5 CCD" }
    local second = run(client, files, results, { budget = b, concurrency = 1 })
    local same = run(client, files, results, { budget = b, concurrency = 1 })

    assert.equal(4, first.done)
    assert.equal(6, second.done)
    assert.equal(6, same.done)
    assert.equal("2.4 CCD", tostring(b:spent()))
    assert_nothing_twice(client)
  end)

  it("passes over an input whose price is above max_cost", function()
    local client = make_client(function(input) return input == "input-2" and "price" or nil end)
    local files, results = make_files(inputs(4))

    local report = run(client, files, results, { max_cost = "1 CCD" })

    assert.equal(3, report.done)
    assert.equal("not_started", report.items[2].state)
    assert.equal("max_cost", report.items[2].error.code)
  end)

  it("never starts an input of unknown outcome again", function()
    local client = make_client(function(input, n) return input:find "[23]" and n == 1 and "unknown" or nil end)
    local files, results = make_files(inputs(4))

    local first = run(client, files, results)
    local second = run(client, files, results)

    assert.equal(2, first.unknown)
    assert.equal(2, second.unknown)
    assert.equal(4, #client.ledger)
    assert_nothing_twice(client)
  end)

  it("settles one unknown input by the one row nobody claims", function()
    local client = make_client(function(input) return input == "input-2" and "unknown" or nil end)
    local files, results = make_files(inputs(4))
    local b = budget.new { total = "100 CCD" }

    local report = run(client, files, results, { budget = b })

    assert.equal(4, report.done)
    assert.equal("result of input-2", report.items[2].result)
    assert.equal("0 CCD", tostring(b:unknown()))
    assert.equal("1.6 CCD", tostring(b:spent()))
    assert_nothing_twice(client)
  end)

  it("leaves inputs in doubt when it cannot tell which of them a row belongs to", function()
    local client = make_client(function(input)
      return input == "input-2" and "unknown" or input == "input-3" and "lost" or nil
    end)
    local files, results = make_files(inputs(4))

    local report = run(client, files, results)

    assert.equal(2, report.unknown)
    assert.equal(2, report.done)
  end)

  it("leaves an input in doubt when somebody else has used the job as well", function()
    local client = make_client(function(input) return input == "input-2" and "unknown" or nil end)
    local files, results = make_files(inputs(3))
    local plain_infer = client.infer
    function client:infer(t)
      if #self.ledger == 0 then table.insert(self.rows, 1, { tx_hash = "0xother", submitTime = self.clock }) end
      return plain_infer(self, t)
    end

    local report = run(client, files, results)

    assert.equal(1, report.unknown)
    assert.equal("unknown", report.items[2].state)
  end)

  it("never takes a row of somebody else's, made shortly before or long after, for an input in doubt", function()
    for _, seconds in ipairs { 0, 3600 } do
      local client = make_client(function(input) return input == "input-2" and "lost" or nil end)
      local files, results = make_files(inputs(2))
      local theirs = { tx_hash = "0xother", result = "theirs", submitTime = os.time() + seconds }
      if seconds == 0 then table.insert(client.rows, 1, theirs) end
      local first = run(client, files, results)
      if seconds > 0 then table.insert(client.rows, 1, theirs) end

      assert.equal("unknown", first.items[2].state)
      assert.equal("unknown", run(client, files, results).items[2].state)
    end
  end)

  it("leaves an input in doubt when the list could not be read before the first start", function()
    local client = make_client(function(input) return input == "input-2" and "unknown" or nil end)
    local files, results = make_files(inputs(2))
    function client.inferences()
      error(errors.new { kind = "unavailable", message = "not offered" }, 0)
    end
    run(client, files, results)
    client.inferences = nil

    assert.equal("unknown", run(client, files, results).items[2].state)
  end)

  it("leaves an input in doubt when the list shows no start of it", function()
    local client = make_client(function(input) return input == "input-2" and "lost" or nil end)
    local files, results = make_files(inputs(3))
    local b = budget.new { total = "100 CCD" }

    local report = run(client, files, results, { budget = b })
    run(client, files, results, { budget = b })

    assert.equal(1, report.unknown)
    assert.equal("0.5 CCD", tostring(b:unknown()))
    assert.equal(1, client.starts["input-2"])
  end)

  it("starts again what was refused, a few times", function()
    local client = make_client(function(_, n) return n < 3 and "refused" or nil end)
    local files, results = make_files(inputs(3))

    local report = run(client, files, results)

    assert.equal(3, report.done)
    assert_nothing_twice(client)
  end)

  it("notes what failed, and takes it up in the next run", function()
    local broken = true
    local client = make_client(function(input) return broken and input == "input-1" and "refused" or nil end)
    local files, results = make_files(inputs(2))

    local first = run(client, files, results)
    broken = false
    local second = run(client, files, results)

    assert.equal(1, first.failed)
    assert.equal("api", first.items[1].error.kind)
    assert.equal(2, second.done)
    assert_nothing_twice(client)
  end)

  it("fetches in the next run what was started and not waited for", function()
    local client = make_client(function(input) return input == "input-1" and "hangs" or nil end)
    local files, results = make_files(inputs(2))

    local first = run(client, files, results)
    local second = run(client, files, results)

    assert.equal(1, first.running)
    assert.equal(2, second.done)
    assert.equal("result of input-1", second.items[1].result)
    assert_nothing_twice(client)
  end)

  it("takes a start that a dead process did not finish noting for unknown", function()
    local client = make_client()
    local files, results = make_files(inputs(3))
    fs.write(results, json.encode { run = "dead", jobID = "77" } .. "\n"
      .. json.encode { sha256 = fs.sha256(files[1]), state = "starting", at = os.time() } .. "\n"
      .. json.encode({ sha256 = fs.sha256(files[2]), state = "done" }):sub(1, 30))

    local report = run(client, files, results)
    local again = run(client, files, results)

    assert.equal("unknown", report.items[1].state)
    assert.truthy(fs.read(results):find('"state":"unknown"', 1, true)) -- listed, for whoever reads the file
    assert.equal(2, report.done)
    assert.equal(2, again.done)
    assert.is_nil(client.starts["input-1"])
  end)

  it("refuses a file it cannot read in the middle, and another job's", function()
    local client = make_client()
    local files, results = make_files(inputs(1))
    local head = json.encode { run = "r", jobID = "77" } .. "\n"
    fs.write(results, head .. "not json\n" .. json.encode { sha256 = "00", state = "done" } .. "\n")
    assert.equal("results_file", helper.error_of(run, client, files, results).code)

    fs.write(results, json.encode { run = "r", jobID = "78" } .. "\n")
    local err = helper.error_of(run, client, files, results)

    assert.truthy(err.message:find("job 78", 1, true))
    assert.equal(0, #client.ledger)
  end)

  it("keeps a second run out of the same results file", function()
    local client = make_client(function() task.sleep(0.05) end)
    local files, results = make_files(inputs(2))
    local first = task.spawn(run, client, files, results)
    helper.eventually(function() return next(client.starts) ~= nil end)

    local err = helper.error_of(run, client, files, results)
    local report = first:wait()

    assert.equal("locked", err.code)
    assert.equal(2, report.done)
    assert.equal(2, run(client, files, results).done)
    assert_nothing_twice(client)
  end)

  it("can be cancelled, and goes on where it was", function()
    local client = make_client()
    local files, results = make_files(inputs(12))
    local child = task.spawn(run, client, files, results, { concurrency = 3 })
    helper.eventually(function() return #client.ledger >= 4 end)

    child:cancel "enough"
    assert.is_true(errors.is(helper.error_of(child.wait, child), "cancelled"))
    local report = run(client, files, results)

    assert.equal(12, report.done + report.unknown)
    assert_nothing_twice(client)
  end)

  it("raises what makes every start fail, with the report", function()
    local client = make_client()
    function client.infer() error(errors.new { kind = "funds", message = "the balance is too low" }, 0) end
    local files, results = make_files(inputs(3))

    local err = helper.error_of(run, client, files, results, { concurrency = 1 })

    assert.equal("funds", err.kind)
    assert.equal(3, err.report.not_started)
  end)

  it("starts nothing if one of the files is missing", function()
    local client = make_client()
    local files, results = make_files(inputs(2))
    files[3] = files[1] .. ".missing"

    local err = helper.error_of(run, client, files, results)

    assert.equal("ENOENT", err.code)
    assert.equal(0, #client.uploads)
  end)

  it("names what is wrong with its options", function()
    local client = make_client()
    assert.truthy(helper.error_of(fan_out.run, client, { jobId = "7" }).message:find 'did you mean "jobID"')
    assert.truthy(helper.error_of(fan_out.run, client, { jobID = 7 }).message:find "text of digits")
    assert.truthy(helper.error_of(fan_out.run, client, { jobID = "7", files = {} }).message:find "results")
  end)

  it("tells of each item as it ends", function()
    local client = make_client()
    local files, results = make_files(inputs(3))
    local seen = {}

    run(client, files, results, { on_item = function(item, counts)
      seen[#seen + 1] = item.state .. " " .. counts.ended .. "/" .. counts.total
    end })

    assert.same({ "done 1/3", "done 2/3", "done 3/3" }, seen)
  end)
end)
