-- daemon_budget_spec.lua - the budget of a policy's table bounds its jobs and the calls it makes by itself.
local daemon = require "tests.support.daemon"
local json = require "perigee.json"

local SPENDER <const> = [[
  local sxwl = require "perigee.sxwl"
  local spec = {
    gpuNumber = 1, gpuType = "NVIDIA-GeForce-RTX-3090", imagePath = "registry/train:1", jobType = "GeneralJob",
    ckptPath = "/ckpt", ckptVol = 1000, modelPath = "/model", modelVol = 1000,
  }
  local function create()
    local fields = { stopType = 1, stopTime = 60 }
    for name, value in pairs(spec) do fields[name] = value end
    local ok, err = pcall(function() return sxwl.client {}:create_job(fields) end)
    print(ok and "created" or ("%s by %s"):format(err.code, err.budget))
  end
  return {
    name = "spender",
    budget = { total = "10 CNY", day = "10 CNY", tz = "Asia/Shanghai", warn = 0.6 },
    on = { ["budget.low"] = function(low) print(("%s has little left: %s"):format(low.budget, low.window)) end,
      ["job.denied"] = function(job) print("denied " .. job.name .. ": " .. job.reason) end },
    schedules = { { name = "spend", every = "1s", run = function(ctx)
      create()
      create()
      ctx.jobs.submit { service = "sxwl", name = "large", key = "1", max_cost = "7 CNY", spec = spec }
    end } },
  } ]]

local CONFIG <const> = [[return { sxwl = { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" } } }]]

describe("the budget of a policy", function()
  it("bounds its own paid calls and its jobs together, and perigee spend shows it", function()
    local world = daemon.world()
    finally(function() world:close() end)
    world:emulator()
    local config = world.folder .. "/config.lua"
    require("perigee.core.fs").write(config, CONFIG, { mode = "0600" })
    local child = world:start { "--config", config, world:policy("spender", SPENDER) }

    assert.is_true(child:read_until "denied large", daemon.log(child))

    local log = daemon.log(child)
    assert.truthy(log:find("created", 1, true), log)
    assert.truthy(log:find("over_budget by policy spender", 1, true), log)
    assert.truthy(log:find('of budget \\\\?"policy spender\\\\?" is 10 CNY, and 3 CNY is left'), log)
    assert.is_true(child:read_until "policy spender has little left: total", daemon.log(child)) -- a hook was told
    local shown = json.decode(world:run("spend", "--json").stdout).budgets[1]
    assert.equal("policy spender", shown.name)
    assert.equal("Asia/Shanghai", shown.zone)
    local told = world:call("spend", { by = "policy" })
    assert.equal("7 CNY", told.totals[1].held)
  end)
end)
