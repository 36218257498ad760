-- amount_spec.lua - perigee.amount: what scripts can do with money, and what they are told when they cannot.
local amount = require "perigee.amount"
local json = require "perigee.json"
local helper = require "tests.helper"

local function refusal(f, ...)
  local err = helper.error_of(f, ...)
  assert.equal("invalid", err.kind)
  return err.message
end

describe("making an amount", function()
  it("reads text with a currency, and text with a currency of its own", function()
    assert.equal("0.05 CCD", tostring(amount "0.05 CCD"))
    assert.equal("0.05 CCD", tostring(amount.ccd "0.05"))
    assert.equal("12.5 CNY", tostring(amount.cny "12.50"))
    assert.equal("3 EUR", tostring(amount.of("3", "EUR")))
    assert.equal("0 CCD", tostring(amount.zero "CCD"))
  end)

  it("takes an amount where it takes text", function()
    local a = amount "1 CCD"

    assert.equal(a, amount(a))
    assert.equal(a, amount.ccd(a))
  end)

  it("reads base units from digits, integers and exact JSON numbers", function()
    assert.equal("0.027870365208168 CCD", tostring(amount.base("27870365208168000", "CCD")))
    assert.equal("0.027870365208168 CCD", tostring(amount.base(27870365208168000, "CCD")))
    assert.equal("500 CCD", tostring(amount.base(json.decode "500000000000000000000", "CCD")))
  end)

  it("refuses a Lua number and names the line to write", function()
    assert.matches('write amount.ccd "0.05"', refusal(amount.ccd, 0.05), 1, true)
    assert.matches('write amount.cny "12.5"', refusal(amount.cny, 12.5), 1, true)
    assert.matches('write amount.ccd "5"', refusal(amount, 5), 1, true)
    assert.matches('write amount "2 EUR"', refusal(amount.of, 2, "EUR"), 1, true)
    assert.matches("a float is not exact", refusal(amount.base, 1e15, "CCD"), 1, true)
  end)

  it("refuses another currency, no currency, and what is no amount", function()
    assert.matches("expected CCD, got CNY", refusal(amount.ccd, "1 CNY"), 1, true)
    assert.matches("names no currency", refusal(amount, "1"), 1, true)
    assert.matches("got nil", refusal(amount, nil), 1, true)
    assert.matches("got table", refusal(amount.ccd, {}), 1, true)
    assert.matches("more than 18 decimals", refusal(amount.ccd, "0.0000000000000000001"), 1, true)
    assert.matches("exponent", refusal(amount.ccd, "1e3"), 1, true)
    assert.matches("beyond", refusal(amount.ccd, "170141183460469231732"), 1, true)
  end)
end)

describe("arithmetic of amounts", function()
  local a, b = amount "0.3 CCD", amount "0.1 CCD"

  it("adds, subtracts, negates and compares exactly", function()
    assert.equal("0.4 CCD", tostring(a + b))
    assert.equal("0.2 CCD", tostring(a - b))
    assert.equal("-0.3 CCD", tostring(-a))
    assert.is_true(b + b + b == a)
    assert.is_true(b < a and b <= a and a <= a and a > b and a ~= b)
    assert.equal(1, a:sign())
    assert.equal(-1, (b - a):sign())
    assert.equal(0, (a - a):sign())
  end)

  it("takes text as the other operand", function()
    assert.equal("1.3 CCD", tostring(a + "1 CCD"))
    assert.is_true(a < amount "1 CCD")
  end)

  it("raises on another currency, but finds the two unequal", function()
    local yuan = amount "0.3 CNY"

    assert.matches("0.3 CCD and 0.3 CNY are of different currencies",
      refusal(function() return a + yuan end), 1, true)
    assert.matches("different currencies", refusal(function() return a < yuan end), 1, true)
    assert.is_false(a == yuan)
  end)

  it("multiplies and divides by integers and decimal text, rounding away from zero unless told", function()
    assert.equal("0.9 CCD", tostring(a * 3))
    assert.equal("0.9 CCD", tostring(3 * a))
    assert.equal("0.45 CCD", tostring(a * "1.5"))
    assert.equal("0.033333333333333334 CCD", tostring(b / 3))
    assert.equal("0.033333333333333333 CCD", tostring(b:div("3", "down")))
    assert.equal("-0.033333333333333334 CCD", tostring(-b / "3"))
    assert.equal("0.000000000000000002 CCD", tostring(amount.base("5", "CCD"):div(2, "half_even")))
    assert.equal("0.000000000000000003 CCD", tostring(amount.base("5", "CCD"):mul "0.5"))
  end)

  it("refuses float factors, products of amounts, zero divisors and overflow", function()
    assert.matches('write the factor as text, "1.5"', refusal(function() return a * 1.5 end), 1, true)
    assert.matches("an amount", refusal(function() return a * b end), 1, true)
    assert.matches("amount.ratio", refusal(function() return a / b end), 1, true)
    assert.matches("by zero", refusal(function() return a / 0 end), 1, true)
    assert.matches("beyond", refusal(function() return amount "170141183460469231731 CCD" * 2 end), 1, true)
    assert.matches("half_even", refusal(a.mul, a, "2", "nearest"), 1, true)
    assert.matches('amount.ccd "1"', refusal(function() return a + 1 end), 1, true)
  end)

  it("gives the ratio of two amounts as decimal text", function()
    assert.equal("3", amount.ratio(a, b))
    assert.equal("0.333333333333333334", amount.ratio(b, a))
    assert.equal("0.333333333333333333", amount.ratio(b, a, "down"))
  end)

  it("sums lists, and needs a currency for an empty one", function()
    assert.equal("1.4 CCD", tostring(amount.sum { a, b, "1 CCD" }))
    assert.equal("0 CCD", tostring(amount.sum({}, "CCD")))
    assert.matches("an empty list needs a currency", refusal(amount.sum, {}), 1, true)
    assert.matches("different currencies", refusal(amount.sum, { a, amount "1 CNY" }), 1, true)
    assert.matches("different currencies", refusal(amount.sum, { amount "1 CNY" }, "CCD"), 1, true)
  end)

  it("finds the greatest and the least", function()
    assert.equal(a, amount.max(b, a, b))
    assert.equal(b, amount.min(a, b, a))
  end)
end)

describe("an amount as a value", function()
  it("shows decimals, base units and currency, and joins with text", function()
    local a = amount "0.05 CCD"

    assert.equal("0.05", a:decimal())
    assert.equal("50000000000000000", a:base())
    assert.equal("CCD", a:currency())
    assert.equal("costs 0.05 CCD now", "costs " .. a .. " now")
    assert.is_true(amount.is(a))
    assert.is_false(amount.is "0.05 CCD")
  end)

  it("survives its text, whatever it is", function()
    local state = 12345
    for _ = 1, 2000 do
      state = (state * 6364136223846793005 + 1442695040888963407)
      local digits = ("%d%d"):format(state, (state >> 7) % 1000000007)
      local a = amount.base(digits, "CCD")
      assert.equal(a, amount(tostring(a)))
      assert.equal(a, amount.ccd(a:decimal()))
      assert.equal(a, amount.base(a:base(), "CCD"))
      assert.equal(a, a + a - a)
    end
  end)

  it("keeps its class to itself", function()
    assert.equal("protected", getmetatable(amount "1 CCD"))
    assert.has_error(function() return (amount "1 CCD").nothing.more end)
  end)
end)
