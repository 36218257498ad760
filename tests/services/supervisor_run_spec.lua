-- From submit to the end of a job, on virtual time, against the emulator.
local play = require "tests.support.supervised".play

describe("a supervised job of SXWL", function()
  it("is priced, gated, reserved, created, watched and settled, and says so", function()
    local out = play([[
      local id = submit {}
      local job = wait(id)
      print(job.state, job.price, job.cost, job.attempt, job.result.status)
      print(said())
      print(kinds(id))
      print(created())
    ]])

    assert.equal("succeeded\t10 CNY\t0.4 CNY\t1\tsuccess\n" .. "job.submitted job.running job.succeeded\n"
      .. "submit price reserve create poll settle\n" .. "1\n", out)
  end)

  it("gets a stopTime from max_cost, or from its deadline if that comes first, and carries its intent", function()
    local out = play([[
      local bodies = {}
      world.before = function(request)
        if request.path:find "userJob$" and request.method == "POST" then bodies[#bodies + 1] = json.decode(request.body) end
      end
      local one = submit { name = "money", max_cost = "2 CNY" }
      wait(one)
      wait(submit { name = "time", deadline = "10m" })
      for _, body in ipairs(bodies) do print(body.stopType, body.stopTime) end
      print(bodies[1].env.PERIGEE_INTENT == sup.verbs.why(one).attempts[1].intent, #bodies[1].env.PERIGEE_INTENT)
    ]])

    assert.equal("1\t20\n1\t10\ntrue\t32\n", out)
  end)

  it("is denied without a price, saying what is missing, and sends nothing", function()
    local out = play([[
      local job = wait(submit({}, { gpuType = "NVIDIA-GeForce-RTX-4090" }))
      print(job.state, job.error.code, job.reason)
      print(created(), said())
    ]])

    assert.equal("denied\tno_price\twhat a job on NVIDIA-GeForce-RTX-4090 costs is not known: put prices = "
      .. '{["NVIDIA-GeForce-RTX-4090"] = "7 CNY/h"} into the configuration\n' .. "0\tjob.submitted job.denied\n", out)
  end)

  it("fails before anything is sent for a GPU type that the service does not offer, naming those it does", function()
    local out = play([[
      clients.sxwl.prices["NVIDIA-GeForce-RTX-3091"] = clients.sxwl.prices[spec.gpuType]
      local job = wait(submit({}, { gpuType = "NVIDIA-GeForce-RTX-3091" }))
      print(job.state, job.error.kind, job.reason)
      print(created())
    ]])

    assert.equal('failed\tinvalid\tjobs.submit: gpuType "NVIDIA-GeForce-RTX-3091" is not offered; there is '
      .. "NVIDIA-GeForce-RTX-3090, NVIDIA-GeForce-RTX-4090\n0\n", out)
  end)

  it("is denied when one minute is above max_cost", function()
    local out = play([[
      local job = wait(submit { max_cost = "0.05 CNY" })
      print(job.state, job.error.code, created())
    ]])

    assert.equal("denied\tmax_cost\t0\n", out)
  end)

  it("is the one that is there for the same name, key and spec", function()
    local out = play([[
      local id = submit { key = "k" }
      print(submit { key = "k" } == id, wait(id).state, created())
    ]])

    assert.equal("true\tsucceeded\t1\n", out)
  end)
end)
