-- emulator_spec.lua - `:emulator` at the prompt: what is rehearsed touches nothing real.
--
-- What stands for the real services is an emulator, too: another one, whose ledger says what has reached it.
local fs = require "perigee.fs"
local helper = require "tests.helper"
local http = require "perigee.http"
local json = require "perigee.json"
local spawn = require "tests.support.spawn"

local JOB <const> = [[{ gpuNumber = 1, gpuType = "NVIDIA-GeForce-RTX-3090", jobType = "Pytorch", imagePath = "i", ckptPath = "/c", ]]
  .. [[ckptVol = "10", modelPath = "/m", modelVol = "10", stopType = "1", stopTime = 60 }]]

local PRICED <const> = "priced = sxwl.client { prices = { ['NVIDIA-GeForce-RTX-3090'] = '7 CNY/h' } }"

-- The services, the variables that lead to them, and a state directory.
local function real_services()
  local child = spawn.start { "emulator", "--listen", "127.0.0.1:0", "--speed", "1000" }
  assert.is_true(child:read_until "SXWL_TOKEN")
  local env = {}
  for name, value in child:output():gmatch "export ([%u_]+)='([^\n]*)'\n" do env[name] = value end
  local real = { child = child, env = env, state = helper.tmpdir() }
  function real.ledger()
    return json.decode(http.get((env.SXWL_BASE_URL:gsub("/api$", "/__ledger"))).body)
  end
  return setmetatable(real, { __close = function()
    child:kill "TERM"
    child:wait()
  end })
end

-- Runs these lines at a prompt without a terminal.
local function session(real, lines, ...)
  return spawn.run({ "repl", "--yes", "--state", real.state, ... }, { stdin = table.concat(lines, "\n") .. "\n", env = real.env })
end

local function succeeded(result)
  assert.equal(0, result.status, result.stdout .. result.stderr)
  return result.stdout
end

describe(":emulator", function()
  it("rehearses with the user's own names, and nothing reaches the real services", function()
    local real <close> = real_services()
    local out = succeeded(session(real, {
      "function create() return sxwl:create_job " .. JOB .. " end",
      ":emulator on seed=7", "rehearsed = create()", "create()", ":emulator ledger", ":emulator off",
      "print('before', #sxwl:jobs():all())", "create()", "print('after', #sxwl:jobs():all())",
    }))
    assert.truthy(out:find("SXWL: 2 jobs", 1, true), out)
    assert.truthy(out:find("before\t0\n", 1, true), out)
    assert.truthy(out:find("after\t1\n", 1, true), out)
    assert.equal(1, #real.ledger().sxwl.jobs)
  end)

  it("keeps money, jobs and stored values apart, and in memory", function()
    local real <close> = real_services()
    local out = succeeded(session(real, {
      ":emulator on", "store.set('colour', 'red')",
      "jobs.submit { name = 'rehearsal', service = 'sxwl', max_cost = '50 CNY', spec = " .. JOB .. " }",
      "b = budget.new { name = 'tests', total = '100 CNY' }", PRICED, "x = priced:create_job " .. JOB:gsub("}$", ", budget = b }"),
      "print('there', store.get 'colour', #jobs.list())", ":spend", ":emulator off",
      "print('here', store.get 'colour', #jobs.list())", ":jobs all", ":spend",
      ":emulator on", "print('again', store.get 'colour', #jobs.list())",
    }, "--no-history"))
    assert.truthy(out:find("there\tred\t1\n", 1, true), out)
    assert.truthy(out:find("here\tnil\t0\nno jobs\nnothing was paid\n", 1, true), out)
    assert.truthy(out:find("again\tred\t1\n", 1, true), out)
    assert.equal(0, #real.ledger().sxwl.jobs)
    local result = spawn.run({ "spend", "--json", "--state", real.state }, { env = real.env })
    assert.equal(0, #json.decode(result.stdout).budgets)
  end)

  it("takes a `:yes on` for itself alone: real money is asked about as before", function()
    local real <close> = real_services()
    local result = spawn.run({ "repl", "--state", real.state }, { env = real.env, stdin = table.concat({
      "function create() return sxwl:create_job " .. JOB .. " end",
      ":emulator on", ":yes on", "rehearsed = create()", "print 'rehearsed'", ":emulator off", "create()", "",
    }, "\n") })
    assert.truthy(result.stdout:find("rehearsed\n", 1, true), result.stdout .. result.stderr)
    assert.truthy(result.stderr:find("not_confirmed", 1, true), result.stderr)
    assert.equal(4, result.status)
    assert.equal(0, #real.ledger().sxwl.jobs)
  end)

  it("refuses clients, jobs and budgets that were kept from the real services, and the other way round", function()
    local real <close> = real_services()
    for _, lines in ipairs {
      { "kept = sxwl", ":emulator on", "kept:create_job " .. JOB },
      { "kept = sxwl", ":emulator on", "kept:jobs():all()" },
      { "kept = jobs", ":emulator on", "kept.submit { name = 'x', service = 'sxwl', max_cost = '50 CNY', spec = " .. JOB .. " }" },
      { "kept = store", ":emulator on", "kept.set('colour', 'red')" },
      { "kept = require 'perigee.sxwl'", ":emulator on", "kept.client():jobs():all()" },
      { ":emulator on", "kept = sxwl", ":emulator off", "kept:create_job " .. JOB },
      { "kept = budget.new { total = '100 CNY' }", ":emulator on", "sxwl:create_job " .. JOB:gsub("}$", ", budget = kept }") },
      { ":emulator on", ("sxwl.client { base_url = %q, token = 'x' }"):format(real.env.SXWL_BASE_URL) },
    } do
      local result = session(real, lines)
      assert.equal(1, result.status, result.stdout)
      assert.truthy(result.stderr:find "services" or result.stderr:find "on the emulator", result.stderr)
    end
    assert.equal(0, #real.ledger().sxwl.jobs)
  end)

  it("lets what works on the real services go on meanwhile, and what rehearses go on afterwards", function()
    local real <close> = real_services()
    local out = succeeded(session(real, {
      "gate = task.queue(1)", "do gate:get() x = sxwl:create_job " .. JOB .. " end &", ":emulator on",
      "there = task.queue(1)", "do there:get() y = sxwl:create_job " .. JOB .. " end &", "gate:put(1)",
      "while not x do task.sleep(0.01) end", ":emulator off", "there:put(1)", "while not y do task.sleep(0.01) end",
      ":emulator on", ":emulator ledger",
    }))
    assert.truthy(out:find("a task goes on there", 1, true), out)
    assert.truthy(out:find("SXWL: 1 jobs", 1, true), out)
    assert.equal(1, #real.ledger().sxwl.jobs)
  end)

  it("counts budgets of the session anew there", function()
    local real <close> = real_services()
    local out = succeeded(session(real, {
      "function create() " .. PRICED .. " return priced:create_job " .. JOB .. " end",
      "create()", ":emulator on", "create()", "print(pcall(create))", ":emulator off",
    }, "--budget", "10 CNY"))
    assert.truthy(out:find("false\tsxwl.create_job: denied: the price 7 CNY does not fit", 1, true), out)
    assert.equal(1, #real.ledger().sxwl.jobs)
  end)

  it("begins anew with reset: jobs are gone, and tasks of before are stopped", function()
    local real <close> = real_services()
    local out = succeeded(session(real, {
      ":emulator on speed=50", "sxwl:create_job " .. JOB, "do task.sleep(3600) end &", ":emulator reset seed=2 speed=7",
      "print('jobs', #sxwl:jobs():all())", ":tasks", ":emulator",
    }))
    assert.truthy(out:find("jobs\t0\n", 1, true), out)
    assert.truthy(out:find("no tasks", 1, true), out)
    assert.truthy(out:find("seed 2, speed 7", 1, true), out)
  end)

  it("injects faults, and says what it does not know", function()
    local real <close> = real_services()
    local result = session(real, { ":emulator on faults=sxwl.jobs:garbage=100%", "print(pcall(function() return sxwl:jobs():all() end))",
      ":emulator faults none", "#sxwl:jobs():all()", ":emulator faults sxwl.jbos:error=1" })
    assert.equal(2, result.status)
    assert.truthy(result.stdout:find("false\t", 1, true))
    assert.truthy(result.stdout:find("no faults\n0\n", 1, true), result.stdout)
    assert.truthy(result.stderr:find("jbos", 1, true), result.stderr)
    assert.truthy(session(real, { ":emulator on spee=3" }).stderr:find("did you mean speed?", 1, true))
    assert.truthy(session(real, { ":emulator off" }).stderr:find("not on an emulator", 1, true))
  end)

  it("saves what was rehearsed as a script that does the same for real", function()
    local real <close> = real_services()
    local path = real.state .. "/plan.lua"
    succeeded(session(real, { ":emulator on", "id = sxwl:create_job " .. JOB, "sxwl:stop_job(id)", ":save " .. path }))
    local run = spawn.run({ "run", path }, { env = real.env })
    assert.equal(0, run.status, run.stderr)
    local sums = real.ledger().sxwl
    assert.equal(1, #sums.jobs)
    assert.equal(1, sums.stops)
    assert.equal("0600", fs.stat(path).mode)
  end)
end)
