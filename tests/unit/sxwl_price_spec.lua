-- What an SXWL job may cost: worst case, the longest stopTime that fits, and what is derived afterwards.
local amount = require "perigee.amount"
local price = require "perigee.sxwl_price"

local function cny(text) return amount.cny(text) end

describe("the price of an SXWL job", function()
  it("is gpuNumber times stopTime times the price for an hour, rounded up", function()
    assert.equal("7 CNY", tostring(price.of(cny "7", 1, 60)))
    assert.equal("0.233333333333333334 CNY", tostring(price.of(cny "7", 2, 1)))
  end)

  it("has a worst case only with stopType 1 and a price", function()
    local prices = { G = cny "60" }
    local fields = { gpuType = "G", gpuNumber = 2, stopType = "1", stopTime = 5 }

    assert.equal("10 CNY", tostring(price.worst_case(prices, fields)))
    assert.same({ n = 2, nil, "price" }, table.pack(price.worst_case({}, fields)))
    fields.stopType = "0"
    assert.same({ n = 2, nil, "bound" }, table.pack(price.worst_case(prices, fields)))
  end)

  it("decides the longest stopTime that fits, to the minute", function()
    for _, case in ipairs {
      { "60", 1, "5", 5 }, { "60", 1, "4.999", 4 }, { "60", 2, "5", 2 }, { "7", 3, "1", 2 }, { "60", 1, "0.5", 0 },
      { "7", 1, "100", 857 }, { "0", 1, "1", 2147483647 }, { "0.000001", 1, "100000000000", 2147483647 },
    } do
      local minutes = price.longest(cny(case[1]), case[2], cny(case[3]))
      assert.equal(case[4], minutes)
    end
  end)

  it("is never derived above the worst case, and counts started minutes", function()
    assert.equal("2 CNY", tostring(price.derived(cny "60", 1, 61, cny "5")))
    assert.equal("1 CNY", tostring(price.derived(cny "60", 1, 0, cny "5")))
    assert.equal("5 CNY", tostring(price.derived(cny "60", 1, 3600, cny "5")))
    assert.is_nil(price.derived(nil, 1, 3600, nil))
  end)
end)
