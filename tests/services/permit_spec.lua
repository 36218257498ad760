-- permit_spec.lua - no create leaves without a permit, whoever calls the engine, and each permit is for one.
local errors = require "perigee.error"
local helper = require "tests.helper"
local local_world = require "tests.services.local_world"
local ops = require "perigee.core.ops"
local spend = require "perigee.core.spend"

local SXWL_JOB = {
  gpuNumber = 1, gpuType = "NVIDIA-GeForce-RTX-3090", imagePath = "registry/train:1", jobType = "GeneralJob",
  ckptPath = "/ckpt", ckptVol = "1000", modelPath = "/model", modelVol = "1000", stopType = "1", stopTime = 60,
}

local CREATES = {
  { service = "sxwl", operation = "create_job", fields = SXWL_JOB },
  { service = "deai", operation = "create_job", fields = { jobName = "digits", computation = "Distributed AI", batchSize = 64 } },
  { service = "deai", operation = "start_inference", fields = { jobID = "77" } },
}

local function permit_for(service, operation)
  return spend.request { service = service, operation = operation, price = "1 CCD", max_cost = "1 CCD" }
end

local function executions(here, create)
  return here.world.ledger:calls(create.service, create.operation)
end

describe("the engine", function()
  it("has no create that this file does not try", function()
    local tried, missing = {}, {}
    for _, create in ipairs(CREATES) do tried[create.service .. "." .. create.operation] = true end
    for _, service in ipairs(ops.services()) do
      for _, operation in ipairs(ops.describe(service).operations) do
        local name = service .. "." .. operation.name
        if operation.effect == "create" and not tried[name] then missing[#missing + 1] = name end
      end
    end
    assert.same({}, missing)
  end)

  for _, create in ipairs(CREATES) do
    local name = create.service .. "." .. create.operation

    local function call(here, permit)
      local client = here[create.service](here)
      client:authorize(create.operation)
      return client.conn:call(create.operation, create.fields, { permit = permit })
    end

    it("refuses " .. name .. " without a permit", function()
      local here <close> = local_world.open { seed = 3 }

      local err = helper.error_of(call, here, nil)

      assert.is_true(errors.is(err, "invalid"))
      assert.truthy(err.message:find("permit", 1, true))
      assert.equal(0, executions(here, create))
    end)

    it("refuses " .. name .. " with what is no permit, or another call's, or a used one", function()
      local here <close> = local_world.open { seed = 3 }
      local other <close> = permit_for(create.service, "something_else")
      local released <close> = permit_for(create.service, create.operation)
      released:release()
      local sent <close> = permit_for(create.service, create.operation)
      sent:sent()
      local closed = permit_for(create.service, create.operation)
      closed:close()

      for _, wrong in ipairs { {}, "permit", other, released, sent, closed } do
        assert.is_true(errors.is(helper.error_of(call, here, wrong), "invalid"))
      end

      assert.equal(0, executions(here, create))
      sent:answered "none"
    end)

    it("sends " .. name .. " with its permit, once", function()
      local here <close> = local_world.open { seed = 3 }
      local permit <close> = permit_for(create.service, create.operation)

      pcall(call, here, permit) -- the emulator may refuse it for want of a draft: it was sent
      local again = helper.error_of(call, here, permit)

      assert.is_true(errors.is(again, "invalid"))
      assert.equal(1, executions(here, create))
    end)
  end
end)
