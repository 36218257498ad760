-- Distributed AI: estimates are drafts.  Who made the last one, keys that rest, and data that never mix: proved
-- on the emulator's ledger.
local helper = require "tests.helper"
local local_world = require "tests.services.local_world"
local sha256 = require "perigee.emulator.sha256"
local task = require "perigee.task"

local function write(folder, name, text)
  local path = folder .. "/" .. name
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

-- A trained job and n data sets of different content: jobID, remote paths, content ids.
local function prepare(here, client, jobs, count)
  local folder, paths, contents, ids = helper.tmpdir(), {}, {}, {}
  for i = 1, count do
    paths[i] = client:upload(write(folder, "d" .. i, "data " .. i))
    contents[paths[i]] = sha256.content_id("data " .. i)
  end
  for i = 1, jobs do
    client:estimate { model = "LSTM", jobName = "job" .. i, x_train = paths[1] }
    ids[i] = client:create_job { jobName = "job" .. i }
  end
  here.now = local_world.stepping(30, 2000)
  return ids, paths, contents
end

local function check_ledger(here, contents, expected)
  local entries = here:entries { kind = "inference" }
  assert.equal(expected, #entries)
  for _, entry in ipairs(entries) do assert.equal(contents[entry.data_path], entry.content_id) end
  return entries
end

describe("inference on one job", function()
  it("never mixes data of several tasks and two client objects", function()
    local here <close> = local_world.open { faults = "deai.estimate_inference:delay(20ms), deai.start_inference:delay(20ms)" }
    local clients = { here:deai(), here:deai() }
    local ids, paths, contents = prepare(here, clients[1], 1, 8)

    local results = task.map(paths, function(path, i)
      return clients[i % 2 + 1]:infer { jobID = ids[1], data_path = path }
    end)

    local by_id = {}
    for _, entry in ipairs(check_ledger(here, contents, 8)) do by_id[entry.infer_id] = entry end
    for i, result in ipairs(results) do
      assert.equal(paths[i], by_id[result.infer_id].data_path)
      assert.equal(by_id[result.infer_id].ccd_cost, result.ccd_cost:decimal())
      assert.truthy(result.result:find(contents[paths[i]]:sub(1, 12), 1, true))
    end
  end)

  it("raises invalid in a low-level start when another task has estimated meanwhile", function()
    local here <close> = local_world.open {}
    local first, second = here:deai(), here:deai()
    local ids, paths, contents = prepare(here, first, 1, 2)
    local ours, theirs = task.queue(1), task.queue(1)

    local a = task.spawn(function()
      first:estimate_inference { jobID = ids[1], data_path = paths[1] }
      ours:put(true)
      theirs:get()
      return helper.error_of(first.start_inference, first, { jobID = ids[1] })
    end)
    local b = task.spawn(function()
      ours:get()
      second:estimate_inference { jobID = ids[1], data_path = paths[2] }
      theirs:put(true)
      return second:start_inference { jobID = ids[1] }
    end)

    assert.equal("invalid", a:wait().kind)
    assert.truthy(b:wait())
    local entries = check_ledger(here, contents, 1)
    assert.equal(paths[2], entries[1].data_path)
  end)

  it("lets the task that estimated start, and the tasks it spawns", function()
    local here <close> = local_world.open {}
    local client = here:deai()
    local ids, paths = prepare(here, client, 1, 2)

    client:estimate_inference { jobID = ids[1], data_path = paths[1] }
    assert.truthy(client:start_inference { jobID = ids[1] })
    assert.truthy(task.spawn(function() return client:start_inference { jobID = ids[1] } end):wait())
  end)

  it("lets the main task start what tasks of its own have estimated", function()
    local here <close> = local_world.open {}
    local client = here:deai()
    local ids, paths, contents = prepare(here, client, 2, 1)

    task.map(ids, function(id) return client:estimate_inference { jobID = id, data_path = paths[1] } end)
    for _, id in ipairs(ids) do assert.truthy(client:start_inference { jobID = id }) end

    check_ledger(here, contents, 2)
  end)

  it("never starts on the data of a probe, also if the same task has waited", function()
    local here <close> = local_world.open { faults = "deai.submissions:error(500)" }
    local client = here:deai()
    local ids, paths = prepare(here, client, 1, 2)
    here.world.deai.jobs[ids[1]].trained_at = 0
    client:estimate_inference { jobID = ids[1], data_path = paths[2] }
    client:wait_job(ids[1], { x_train = paths[1] })

    assert.equal("invalid", helper.error_of(client.start_inference, client, { jobID = ids[1] }).kind)
    assert.equal(0, #here:entries { kind = "inference" })
  end)

  it("keeps price and owner of a draft when a later estimate is refused", function()
    local here <close> = local_world.open { faults = "deai.estimate_inference:error(400)=#2" }
    local client = here:deai()
    local ids, paths = prepare(here, client, 1, 1)
    client:estimate_inference { jobID = ids[1], data_path = paths[1] }
    local refused = task.spawn(function()
      return helper.error_of(client.estimate_inference, client, { jobID = ids[1], data_path = paths[1] })
    end)
    assert.equal("none", refused:wait().outcome)

    assert.equal("max_cost", helper.error_of(client.start_inference, client, { jobID = ids[1], max_cost = "0 CCD" }).code)
    assert.truthy(client:start_inference { jobID = ids[1] })
  end)

  it("mixes low-level calls and infer without mixing data", function()
    local here <close> = local_world.open { faults = "deai.estimate_inference:delay(10ms), deai.start_inference:delay(10ms)" }
    local client, other = here:deai(), here:deai()
    local ids, paths, contents = prepare(here, client, 1, 6)

    task.map(paths, function(path, i)
      if i % 2 == 0 then return client:infer { jobID = ids[1], data_path = path } end
      local estimated = other:estimate_inference { jobID = ids[1], data_path = path }
      local ok, err = pcall(other.start_inference, other, { jobID = ids[1] })
      assert.truthy(estimated)
      if not ok then assert.equal("invalid", err.kind) end
      return ok
    end)

    local seen = {}
    for _, entry in ipairs(here:entries { kind = "inference" }) do
      assert.is_nil(seen[entry.data_path])
      seen[entry.data_path] = true
      assert.equal(contents[entry.data_path], entry.content_id)
    end
  end)

  it("runs in parallel on different jobs", function()
    local here <close> = local_world.open { faults = "deai.estimate_inference:delay(1s), deai.start_inference:delay(1s)" }
    local client = here:deai()
    local ids, paths = prepare(here, client, 4, 1)
    local started = task.now()

    task.map(ids, function(id) client:infer { jobID = id, data_path = paths[1], wait = false } end)

    assert.is_true(task.now() - started < 6) -- one after the other would be 8 s
    assert.equal(4, #here:entries { kind = "inference" })
  end)

  it("counts the probe of wait_job as an estimate of whoever waits", function()
    local here <close> = local_world.open { faults = "deai.submissions:error(500)" }
    local client, other = here:deai(), here:deai()
    local ids, paths = prepare(here, client, 1, 2)
    here.world.deai.jobs[ids[1]].trained_at = 0
    local estimated, probed = task.queue(1), task.queue(1)
    local starter = task.spawn(function()
      client:estimate_inference { jobID = ids[1], data_path = paths[2] }
      estimated:put(true)
      probed:get()
      return helper.error_of(client.start_inference, client, { jobID = ids[1] })
    end)
    estimated:get()

    local waited = other:wait_job(ids[1], { x_train = paths[1] })
    probed:put(true)

    assert.equal(ids[1], waited.jobID)
    assert.equal("estimate", waited.by)
    assert.equal("invalid", starter:wait().kind)
    assert.equal(0, #here:entries { kind = "inference" })
  end)
end)

describe("training with one jobName", function()
  it("never mixes data of two clients", function()
    local here <close> = local_world.open { faults = "deai.estimate:delay(20ms), deai.create_job:delay(20ms)" }
    local clients = { here:deai(), here:deai() }
    local _, paths, contents = prepare(here, clients[1], 0, 6)

    local results = task.map(paths, function(path, i)
      return clients[i % 2 + 1]:train { model = "LSTM", jobName = "same", x_train = path }
    end)

    local by_id = {}
    for _, entry in ipairs(here:entries { kind = "job" }) do by_id[entry.jobID] = entry end
    for i, result in ipairs(results) do
      assert.equal(paths[i], by_id[result.jobID].x_train)
      assert.equal(contents[paths[i]], by_id[result.jobID].content_id)
    end
  end)

  it("raises invalid in create_job when another task has estimated the name meanwhile", function()
    local here <close> = local_world.open {}
    local client = here:deai()
    local _, paths = prepare(here, client, 0, 2)
    client:estimate { model = "LSTM", jobName = "n", x_train = paths[1] }
    task.spawn(function() client:estimate { model = "LSTM", jobName = "n", x_train = paths[2] } end):wait()

    local err = helper.error_of(client.create_job, client, { jobName = "n" })

    assert.equal("invalid", err.kind)
    assert.equal(0, #here:entries { kind = "job" })
  end)
end)

describe("a draft whose outcome is unclear", function()
  it("is not sent again, and its key rests before the next one", function()
    local here <close> = local_world.open { faults = "deai.estimate_inference:drop_after=1" }
    local client = here:deai { draft_rest = 0.3 }
    local ids, paths = prepare(here, client, 1, 2)

    local err = helper.error_of(client.estimate_inference, client, { jobID = ids[1], data_path = paths[1] })
    assert.equal("unknown", err.outcome)
    assert.equal(1, #here:entries { kind = "call", operation = "estimate_inference" })
    local start = helper.error_of(client.start_inference, client, { jobID = ids[1] })
    assert.equal("invalid", start.kind)

    local started = task.now()
    here:deai():estimate_inference { jobID = ids[1], data_path = paths[2] }
    assert.is_true(task.now() - started >= 0.25)
  end)

  it("does not keep other keys waiting", function()
    local here <close> = local_world.open { faults = "deai.estimate_inference:drop_after=1" }
    local client = here:deai { draft_rest = 30 }
    local ids, paths = prepare(here, client, 2, 1)
    helper.error_of(client.estimate_inference, client, { jobID = ids[1], data_path = paths[1] })
    local started = task.now()

    client:estimate_inference { jobID = ids[2], data_path = paths[1] }

    assert.is_true(task.now() - started < 5)
  end)
end)

describe("the list of inferences", function()
  local shows = require "perigee.deai_flows".shows_another

  it("shows a lost start beside one that was answered in the second in which it was sent", function()
    local known = { { sent = 10, answered = 11 } }

    assert.is_true(shows({ 11, 10 }, known, 11))
    assert.is_true(shows({ 11, 11 }, known, 11))
  end)

  it("does not take a known start for a lost one, in whatever second the service noted it", function()
    local known = { { sent = 10, answered = 11 } }

    assert.is_false(shows({ 10 }, known, 11))
    assert.is_false(shows({ 11 }, known, 11))
    assert.is_false(shows({ 3, 10 }, known, 11))
    assert.is_false(shows({}, known, 11))
  end)

  it("gives each of several known starts a row of its own", function()
    local known = { { sent = 10, answered = 10 }, { sent = 10, answered = 11 }, { sent = 11, answered = 12 } }

    assert.is_false(shows({ 12, 11, 10 }, known, 12))
    assert.is_true(shows({ 12, 12, 11, 10 }, known, 12))
  end)
end)

describe("a start whose reply is lost", function()
  it("is unknown and never sent again", function()
    local here <close> = local_world.open { faults = "deai.start_inference:drop_after=1" }
    local client = here:deai { draft_rest = 0.1 }
    local ids, paths = prepare(here, client, 1, 1)

    local err = helper.error_of(client.infer, client, { jobID = ids[1], data_path = paths[1] })

    assert.equal("unknown", err.outcome)
    assert.is_false(err.retryable)
    assert.equal(ids[1], err.jobID)
    assert.truthy(err.price)
    assert.truthy(err.intent)
    assert.equal(1, #here:entries { kind = "call", operation = "start_inference" })
    assert.equal(1, #here:entries { kind = "inference" })
  end)

  it("lets the key go on as soon as the list shows the start", function()
    local here <close> = local_world.open { faults = "deai.start_inference:drop_after=1" }
    local client = here:deai { draft_rest = 30 }
    local ids, paths = prepare(here, client, 1, 2)
    helper.error_of(client.infer, client, { jobID = ids[1], data_path = paths[1] })
    local started = task.now()

    client:infer { jobID = ids[1], data_path = paths[2], wait = false }

    assert.is_true(task.now() - started < 15)
    assert.equal(2, #here:entries { kind = "inference" })
  end)

  it("lets the key go on after its rest if the list shows none", function()
    local here <close> = local_world.open { faults = "deai.start_inference:drop_before=1" }
    local client = here:deai { draft_rest = 0.3 }
    local ids, paths = prepare(here, client, 1, 2)
    local err = helper.error_of(client.infer, client, { jobID = ids[1], data_path = paths[1] })
    assert.equal("unknown", err.outcome)

    client:infer { jobID = ids[1], data_path = paths[2], wait = false }

    assert.equal(1, #here:entries { kind = "inference" })
  end)
end)
