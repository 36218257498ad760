-- A journal that cannot be written for a while: nothing is started, what runs stays watched, nothing is forgotten.
local play = require "tests.support.supervised".play

-- full = true: every write of jobs and permits from Lua fails.
local WORDS <const> = [[
  local errors = require "perigee.error"
  local call = journal.call
  local WRITES = { ["job.move"] = true, ["job.note"] = true, ["job.submit"] = true, ["job.asked"] = true, ["permit.move"] = true }
  function journal.call(verb, args)
    if full and WRITES[verb] then
      error(errors.new { kind = "unavailable", code = "journal_full", message = "the disk is full", outcome = "none" }, 0)
    end
    return call(verb, args)
  end
]]

local function scene(text, options)
  return (play(WORDS .. text, options))
end

describe("while the journal cannot be written", function()
  it("a running job is watched, and its end is written down later; it is said once", function()
    local out = scene [[
      local id = submit {}
      sleep(20)
      full = true
      local reads = 0
      world.before = function(request) if request.path:find "job_status" then reads = reads + 1 end end
      sleep(1000)
      print(job(id).state, reads > 5, said())
      full = false
      print(wait(id).state, created(), permits(id))
    ]]

    assert.equal("running\ttrue\tjob.submitted job.running journal.unwritable\nsucceeded\t1\tsettled:0.4 CNY\n", out)
  end)

  it("a job that was planned is not sent, and goes on later", function()
    local out = scene [[
      function ask(event)
        if event == "job.submit" then full = true end
        return { decision = "allow" }
      end
      local id = submit {}
      sleep(600)
      print(job(id).state, created(), said())
      function ask() end
      full = false
      print(wait(id).state, created())
    ]]

    assert.equal("planned\t0\tjob.submitted journal.unwritable\nsucceeded\t1\n", out)
  end)

  it("the answer of a create is kept until it can be written", function()
    local out = scene [[
      world.before = function(request)
        if request.method == "POST" and request.path:find "userJob$" then full = true end
      end
      local id = submit {}
      sleep(60)
      world.before = nil
      print(job(id).state, created())
      full = false
      print(wait(id).state, created(), job(id).attempt, permits(id))
    ]]

    assert.equal("submitting\t1\nsucceeded\t1\t1\tsettled:0.3 CNY\n", out)
  end)

  it("nothing new is taken", function()
    local out = scene [[
      full = true
      local ok, err = pcall(submit, {})
      print(ok, err.kind, err.code)
    ]]

    assert.equal("false\tunavailable\tjournal_full\n", out)
  end)
end)
