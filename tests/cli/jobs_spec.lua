-- jobs_spec.lua - durable jobs as a person meets them: scripts that are run again, killed, or over too soon.
-- (The commands are in jobs_command_spec.lua.)
local durable = require "tests.support.durable"
local fs = require "perigee.fs"
local spawn = require "tests.support.spawn"

describe("durable jobs", function()
  local world
  before_each(function() world = durable.open() end)

  it("are attached to by a second run, which creates nothing and says so", function()
    world:serve { speed = 1000000 }
    finally(function() world:close() end)
    local first = world:run(durable.script(durable.RUNNING))
    assert.equal(0, first.status, first.stderr)
    local id = first.stdout:match "running%s+(%x+)"
    assert.truthy(first.stderr:find("a remote job goes on", 1, true), first.stderr)
    assert.truthy(first.stderr:find("stop it with: perigee jobs stop " .. id, 1, true), first.stderr)

    local second = world:run(durable.script "print(job:wait().state)")

    assert.equal(0, second.status, second.stderr)
    assert.equal("succeeded\n", second.stdout)
    assert.truthy(second.stderr:find('job "训练" (' .. id .. ") was there already", 1, true), second.stderr)
    assert.is_nil(second.stderr:find("a remote job goes on", 1, true))
    local third = world:run(durable.script())
    assert.equal(1, third.status)
    assert.truthy(third.stderr:find('attach = "finished"', 1, true), third.stderr)
    assert.equal("succeeded\n", world:run(durable.script("print(job:wait().state)", "", 'attach = "finished",')).stdout)
    assert.equal(1, world:created())
  end)

  it("are sent before their script ends, and one that could not be is named", function()
    world:serve { faults = "sxwl.create_job:never, sxwl.create_job:transient=#2-9" }
    finally(function() world:close() end)
    local sent, unsent = world:run(durable.script()), world:run(durable.script("", "", 'key = "2",'))

    assert.equal(1, world:created())
    assert.truthy(sent.stderr:find("a remote job goes on", 1, true), sent.stderr)
    assert.equal(0, unsent.status, unsent.stderr)
    assert.truthy(unsent.stderr:find 'key "2" %(%x+%) is planned, and nothing of it was sent: run this script again', unsent.stderr)
  end)

  it("survive kill -9 of their program: the next run finds the job, and one create is in the ledger", function()
    world:serve { speed = 1000000 }
    finally(function() world:close() end)
    local code = durable.script(durable.RUNNING .. " require('perigee.task').sleep(60)")
    local child <close> = spawn.start({ "run", "-e", code }, { env = world.env })
    assert.is_true(child:read_until "running")
    child:kill "KILL"
    child:wait()

    local second = world:run(durable.script "print(job:wait().state)")

    assert.equal("succeeded\n", second.stdout, second.stderr)
    assert.equal(1, world:created())
  end)

  it("keep their secrets out of the journal, and send what is in the variable", function()
    world:serve { faults = "sxwl.create_job:never" }
    finally(function() world:close() end)
    local code = durable.script(durable.RUNNING, 'env = { HF_TOKEN = secret.env "HF_TOKEN" }')
    local result = world:run(code, { HF_TOKEN = "hf-0123456789abcdef" })
    assert.equal(0, result.status, result.stderr)

    local bytes = ""
    for _, name in ipairs(fs.list(world.env.PERIGEE_STATE)) do
      if name:find "^journal" then bytes = bytes .. fs.read(world.env.PERIGEE_STATE .. "/" .. name) end
    end
    assert.truthy(bytes:find("env:HF_TOKEN", 1, true))
    assert.is_nil(bytes:find("0123456789abcdef", 1, true))
    assert.is_nil((result.stdout .. result.stderr):find("0123456789abcdef", 1, true))
    local shown = world:perigee("jobs", "show", "训练")
    assert.truthy(shown.stdout:find("env:HF_TOKEN", 1, true), shown.stdout .. shown.stderr)
    assert.equal("hf-0123456789abcdef", world.emulator.ledger:created("sxwl")[1].job.body.env.HF_TOKEN)
  end)

  it("refuse another spec under their name, naming what differs, and end a run with 1", function()
    world:serve { faults = "sxwl.create_job:never" }
    finally(function() world:close() end)
    world:run(durable.script(durable.RUNNING))

    local other = world:run(durable.script("", 'runCommand = "true"'))

    assert.equal(1, other.status)
    assert.truthy(other.stderr:find("(other: runCommand)", 1, true), other.stderr)
    assert.equal(1, world:created())
  end)

  it("count against a budget of their script, also in a process that has never heard of it", function()
    world:serve { faults = "sxwl.create_job:never" }
    finally(function() world:close() end)
    local budget = 'budget = require("perigee.budget").new { name = "mine", total = "6 CNY" },'
    world:run(durable.script(durable.RUNNING, "", budget))

    local second = world:run(durable.script("job:wait()", "", 'key = "2", budget = "mine",'))

    assert.equal(4, second.status, second.stderr)
    assert.truthy(second.stderr:find("mine", 1, true), second.stderr)
    assert.equal(1, world:created())
  end)
end)
