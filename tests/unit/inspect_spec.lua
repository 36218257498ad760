-- inspect_spec.lua - perigee.inspect: readable, bounded, the same every time, harmless to a terminal.
local inspect = require "perigee.inspect"
local amount = require "perigee.amount"
local errors = require "perigee.error"
local json = require "perigee.json"
local secret = require "perigee.secret"
local helper = require "tests.helper"

describe("inspect", function()
  it("sorts keys: numbers, then names, then the rest", function()
    assert.equal('{ 1, 2, [-1] = 0, [1.5] = 1, ["a b"] = 3, ["end"] = 4, z = 5, [true] = 6 }',
      inspect { 1, 2, [1.5] = 1, z = 5, ["a b"] = 3, ["end"] = 4, [true] = 6, [-1] = 0 })
  end)

  it("shows the values of this program as what they are", function()
    assert.equal('{ amount "0.05 CCD", json.null, json.array {}, json.number "500000000000000000000", 3.0, 0.1, [secret] }',
      inspect({ amount "0.05 CCD", json.null, json.array {}, json.number "500000000000000000000", 3.0, 0.1,
        secret.of "hunter22" }, { width = 200 }))
    assert.equal('error { kind = "denied", message = "too dear", outcome = "none", retryable = false }',
      inspect(errors.new { kind = "denied", message = "too dear" }))
  end)

  it("prints no addresses", function()
    assert.equal("{ <function>, <thread>, <file>, <table>, nan, inf }",
      (inspect { print, coroutine.create(print), io.stdout, setmetatable({}, { __tostring = function() return "table: 0x55aa" end }),
        0 / 0, math.huge }))
  end)

  it("orders entries whose keys have no order by their text, and cuts none of them in between", function()
    local value = { 1 }
    for i = 1, 9 do value[{}] = i end

    assert.equal("{ 1, [<table>] = 1, [<table>] = 2, [<table>] = 3, [<table>] = 4, [<table>] = 5, [<table>] = 6, "
      .. "[<table>] = 7, [<table>] = 8, [<table>] = 9 }", inspect(value, { width = 200 }))
    assert.equal("{ 1, … 9 more }", inspect(value, { items = 5 }))
  end)

  it("shows the first keys of a large table, wherever they stand in it", function()
    local value = { [true] = 1, "list" }
    for i = 1, 4000 do value[("k%05d"):format(i * 7919 % 4000)] = i end

    assert.equal('{ "list", k00000 = 4000, k00001 = 1679, … 3999 more }', inspect(value, { items = 3 }))
    assert.equal('{ … 4002 more }', inspect(value, { items = 0 }))
    local all = inspect(value, { items = 10000, width = 10 })
    assert.truthy(all:find("k03999 = %d+,\n  %[true%] = 1\n}$"))
  end)

  it("keeps Chinese text and escapes what a terminal would obey", function()
    assert.equal([["算想云 é\n\t\\\"\x1b[31m\xff\u{202e}\u{9b}"]], inspect "算想云 é\n\t\\\"\27[31m\xff\u{202e}\u{9b}")
    assert.equal([[{ ["\x1b]0;x"] = 1 }]], inspect { ["\27]0;x"] = 1 })
  end)

  it("shows cycles as such, and a table that stands twice twice", function()
    local cycle = { name = "c" }
    cycle.self = { cycle }
    local shared = { 1 }

    assert.equal('{ name = "c", self = { <cycle> } }', inspect(cycle))
    assert.equal("{ { 1 }, { 1 } }", inspect { shared, shared })
  end)

  it("breaks lines where a table is wider than it may be, measured in cells", function()
    assert.equal('{\n  a = "算想云",\n  b = { 1, 2 }\n}', inspect({ a = "算想云", b = { 1, 2 } }, { width = 20 }))
    assert.equal('{ a = "算想云", b = { 1, 2 } }', inspect({ a = "算想云", b = { 1, 2 } }, { width = 32 }))
  end)

  it("bounds depth, entries and strings, and says what is left out", function()
    assert.equal("{ { {…} }, {} }", inspect({ { { 1 } }, {} }, { depth = 2 }))
    local hundred = {}
    for i = 1, 100 do hundred[i] = i end
    assert.equal("{ 1, 2, … 98 more }", inspect(hundred, { items = 2 }))
    assert.equal('"算算算"… (3000 bytes)', inspect(("算"):rep(1000), { bytes = 10 }))
  end)

  it("stays small for a value that is large only on paper", function()
    local value = { 1 }
    for _ = 1, 60 do value = { value, value } end

    assert.is_true(#inspect(value, { depth = 100 }) < 2000000)
  end)

  it("survives a __tostring that raises", function()
    assert.equal("<table>", inspect(setmetatable({}, { __tostring = error })))
  end)

  it("names the option that it does not know", function()
    assert.matches('did you mean "depth"', helper.error_of(inspect, 1, { dept = 3 }).message, 1, true)
    assert.equal("invalid", helper.error_of(inspect, 1, { width = "wide" }).kind)
  end)
end)
