-- A second supervisor over the rows that a dead one left: in each state, nothing is lost and nothing is paid twice.
local play = require "tests.support.supervised".play

-- Words for rows as a dead process leaves them: left(state, …) makes a job in that state that is nobody's.
local WORDS <const> = [[
  sup:stop()
  local prepared = require "perigee.job_spec".prepare {
    service = "sxwl", name = "left", max_cost = "10 CNY", spec = spec, on_unknown = ON_UNKNOWN,
  }
  local INTENT = ("0123456789abcdef"):rep(2)
  local function row(changes)
    local job = journal.call("job.submit", {
      id = "abcdef123456", name = "left", key = "", service = "sxwl", kind = "job", spec = prepared.spec, hash = prepared.hash,
      options = prepared.options, state = "planned",
    })[1]
    for _, change in ipairs(changes) do
      change.id, change.fence = job.id, job.fence
      journal.call("job.move", change)
    end
    journal.call("job.release", { id = job.id })
  end
  local function permit(...)
    journal.call("permit.reserve", {
      intent = INTENT, operation = "create_job", service = "sxwl", price = "10 CNY", governed = 1, job = "abcdef123456", attempt = 1,
      lines = {},
    })
    for _, step in ipairs { ... } do
      if step == "intent" then journal.call("permit.intent", { intent = INTENT })
      elseif step == "created" then
        journal.call("permit.move", { intent = INTENT, state = "created", bucket = "held", amount = "10 CNY", remote_id = remote })
      else
        local bucket = step == "unknown" and "unknown" or step == "released" and "none" or "held"
        journal.call("permit.move", { intent = INTENT, state = step, bucket = bucket, amount = "10 CNY" })
      end
    end
  end
  local submitting = {
    state = "submitting", attempt = 1, intent = INTENT, price = "10 CNY",
    attempts = { {
      attempt = 1, intent = INTENT, state = "submitting", price = "10 CNY", started_at = os.time() * 1000,
      spec = '{"terms":{"gpus":1,"hourly":"6 CNY","stopTime":100}}',
    } },
  }
  -- The job on the service that the dead process made.
  local function create()
    local fields = { stopType = "1", stopTime = 100, env = { PERIGEE_INTENT = INTENT } }
    for name, value in pairs(spec) do fields[name] = value end
    remote = world:sxwl():create_job(fields)
    return remote
  end
  local function finish(seconds)
    restart()
    local job = wait("abcdef123456", seconds or 7200)
    print(job.state, job.attempt, created(), job.remote_id == remote)
    return job
  end
]]

local function left(text, options)
  return (play(WORDS .. text, options))
end

describe("a job whose process has died", function()
  it("and that was planned goes on", function()
    assert.equal("succeeded\t1\t1\tfalse\n", left [[ row {} finish() ]])
  end)

  it("between reserve and writing the attempt down: its permit was never sent, and is given back", function()
    assert.equal("succeeded\t1\t1\tfalse\nsettled:0.4 CNY released:10 CNY\n", left [[
      permit("intent", "unknown") row {} finish() print(permits "abcdef123456")
    ]])
  end)

  it("and that was submitting without its permit's intent goes on", function()
    assert.equal("succeeded\t1\t1\tfalse\n", left [[ permit("released") row { submitting } finish() ]])
  end)

  it("and that was sent and not answered is found on the service, and not made again", function()
    assert.equal("succeeded\t1\t1\ttrue\nsettled:0.4 CNY\n", left [[
      permit("intent", "sent", "unknown") row { submitting } create() finish() print(permits "abcdef123456")
    ]])
  end)

  it("and that was not sent after its intent stays unknown, as long as nobody decides", function()
    assert.equal("unknown\t1\t0\ttrue\n", left [[ permit("intent", "unknown") row { submitting } finish() ]])
  end)

  it("and that was not sent after its intent is sent again with on_unknown = retry", function()
    assert.equal("succeeded\t2\t1\tfalse\nsettled:0.4 CNY released:10 CNY\n", (play("ON_UNKNOWN = 'retry'\n" .. WORDS .. [[
      permit("intent", "unknown") row { submitting } finish() print(permits "abcdef123456")
    ]])))
  end)

  it("between the answer and writing it down is running", function()
    assert.equal("succeeded\t1\t1\ttrue\nsettled:0.4 CNY\njob.adopted job.succeeded\n", left [[
      create() permit("intent", "created") row { submitting } finish() print(permits "abcdef123456") print(said())
    ]])
  end)

  it("and that was running is looked at again, never sent again", function()
    assert.equal("succeeded\t1\t1\ttrue\nsettled:0.4 CNY\n", left [[
      create() permit("intent", "created")
      row { submitting, { state = "running", remote_id = remote, attempts = { { attempt = 1, state = "running", remote_id = remote } } } }
      finish() print(permits "abcdef123456")
    ]])
  end)

  it("between the settlement and the end of the job counts its cost once", function()
    assert.equal("succeeded\t1\t1\ttrue\n0.7 CNY\tsettled:0.7 CNY\n", left [[
      create() permit("intent", "created")
      row { submitting, { state = "running", remote_id = remote, attempts = { { attempt = 1, state = "running", remote_id = remote } } } }
      journal.call("permit.move", { intent = INTENT, state = "settled", bucket = "spent", amount = "0.7 CNY", derived = true })
      print(finish().cost, permits "abcdef123456")
    ]])
  end)

  it("is settled though the kernel's own record was lost", function()
    assert.equal("succeeded\t1\t1\ttrue\n0.4 CNY\tsettled:0.4 CNY\n", left [[
      create() permit("intent", "sent")
      row { submitting, { state = "running", remote_id = remote, attempts = { { attempt = 1, state = "running", remote_id = remote } } } }
      print(finish().cost, permits "abcdef123456")
    ]])
  end)

  it("and that was running without its permit is seen through all the same", function()
    assert.equal("succeeded\t1\t1\ttrue\n", left [[
      create()
      row { submitting, { state = "running", remote_id = remote, attempts = { { attempt = 1, state = "running", remote_id = remote } } } }
      finish()
    ]])
  end)

  it("in the middle of a send is found: the reply that nobody read was a yes", function()
    local out = play([[
      local id = submit {}
      sleep(5)
      print(job(id).state)
      restart()
      print(wait(id).state, created())
    ]], {faults = "sxwl.create_job:delay(8s)=1"})

    assert.equal("submitting\nsucceeded\t1\n", out)
  end)
end)

describe("a supervisor that drains", function()
  it("takes nothing more, waits for the answer of what is being sent, and hands its jobs over", function()
    local out = play([[
      local id = submit {}
      sleep(1)
      sup:drain(20)
      print(job(id).state, job(id).process, pcall(submit, { name = "late" }))
      restart()
      print(wait(id).state, created())
    ]], {faults = "sxwl.create_job:delay(8s)=1"})

    assert.equal("running\tnil\tfalse\tunavailable: the program is about to end and takes no more jobs\nsucceeded\t1\n",
      (out:gsub(" %[[^\n]*%]", "")))
  end)
end)
