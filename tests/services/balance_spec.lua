-- balance_spec.lua - a look at the account's balance before a paid call, where that is asked for.
local amount = require "perigee.amount"
local budget = require "perigee.budget"
local deai = require "perigee.deai"
local errors = require "perigee.error"
local helper = require "tests.helper"
local local_world = require "tests.services.local_world"
local world = require "perigee.emulator.world"

local function training(here)
  local path = helper.tmpdir() .. "/data.csv"
  local file = assert(io.open(path, "wb"))
  file:write "pixels"
  file:close()
  local fields = {
    model = "CNN", epoch = 2, jobName = "digits", x_train = deai.file(path), y_train = deai.file(path),
    train_shard = 0.8, category = 10, channel = 1,
  }
  return here:deai(), fields
end

-- An account that has this much.
local function open(balance)
  local here = local_world.open {}
  here.world.deai:add_account { email = world.EMAIL, password = world.PASSWORD, balance = balance }
  return here
end

local function jobs(here)
  return #here:entries { kind = "job" }
end

local function reads(here)
  return here.world.ledger:calls("deai", "user")
end

describe("check_balance", function()
  it("of the client raises funds before anything is sent, with balance, price and what is held", function()
    local here <close> = open "0.0001"
    local client, fields = training(here)
    client.check_balance = true

    local err = helper.error_of(client.train, client, fields)

    assert.is_true(errors.is(err, "funds"))
    assert.equal("balance", err.code)
    assert.equal("none", err.outcome)
    assert.equal("0.0001 CCD", tostring(err.balance))
    assert.is_true(err.price > err.balance)
    assert.is_true(amount.is(err.held))
    for _, text in ipairs { "0.0001 CCD", tostring(err.price), tostring(err.held), "create_job" } do
      assert.truthy(err.message:find(text, 1, true), err.message)
    end
    assert.equal(0, here.world.ledger:calls("deai", "create_job"))
  end)

  it("of a budget does the same for the calls it governs, and for no others", function()
    local here <close> = open "0.0001"
    local client, fields = training(here)
    fields.budget = budget.new { total = "1000 CCD", check_balance = true }

    assert.equal("balance", helper.error_of(client.train, client, fields).code)
    fields.budget = budget.new { total = "1000 CCD" }
    assert.not_equal("balance", helper.error_of(client.train, client, fields).code) -- the service's own refusal

    assert.equal(1, reads(here))
  end)

  it("reads the balance once for many calls, and takes off what they cost", function()
    local here <close> = open "500"
    local client, fields = training(here)
    client.check_balance = true

    client:train(fields)
    client:train(fields)

    assert.equal(2, jobs(here))
    assert.equal(1, reads(here))
  end)

  it("looks again after a refusal: whoever tops up is seen at once", function()
    local here <close> = open "0.0001"
    local client, fields = training(here)
    client.check_balance = true
    helper.error_of(client.train, client, fields)
    here.world.deai:add_account { email = world.EMAIL, password = world.PASSWORD, balance = "500" }

    client:train(fields)

    assert.equal(1, jobs(here))
  end)

  it("denies if the balance cannot be read", function()
    local here <close> = local_world.open { faults = "deai.user:error(503)" }
    local client, fields = training(here)
    client.check_balance = true
    client.reads = require("perigee.retry").new { attempts = 1 }

    local err = helper.error_of(client.train, client, fields)

    assert.equal("none", err.outcome)
    assert.equal("user", err.operation)
    assert.equal(0, jobs(here))
  end)
end)
