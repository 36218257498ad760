-- json_spec.lua - perigee.json: no digit lost, nothing but JSON accepted, the same bytes every time.
local json = require "perigee.json"
local amount = require "perigee.amount"
local helper = require "tests.helper"

local function refusal(kind, f, ...)
  local err = helper.error_of(f, ...)
  assert.equal(kind, err.kind)
  return err.message
end

-- ---- random documents ------------------------------------------------------------------------------------

-- A small generator of its own, so that a failing document can be made again from its seed.
local function generator(seed)
  local state = seed * 2 + 1
  return function(n)
    state = state * 6364136223846793005 + 1442695040888963407
    return ((state >> 33) ~ (state >> 15)) % n + 1
  end
end

local CHARACTERS <const> = { "a", "Z", "0", " ", '"', "\\", "/", "\n", "\t", "\0", "\x7f", "é", "算", "😀", "[]", "{" }

local function random_string(random)
  local out = {}
  for i = 1, random(12) - 1 do
    out[i] = CHARACTERS[random(#CHARACTERS)]
  end
  return table.concat(out)
end

local SCALARS <const> = {
  function(random) return random(2000) - 1000 end,
  function(random) return (random(1 << 31) << 33 ~ random(1 << 31)) >> (random(64) - 1) end,
  function(random) return (string.unpack("d", string.pack("i4i4", random(1 << 31) - 1, random(1 << 29)))) end,
  function(random) return (random(2000000) - 1000000) / 1000 end,
  function(random) return random(1000) * 1.0 end,
  function(random) return random(2) == 1 end,
  random_string,
  function() return json.null end,
  function() return json.number "500000000000000000000" end,
  function() return json.number "0.10000000000000000001" end,
}

local function random_value(random, depth)
  local choice = random(#SCALARS + (depth > 0 and 6 or 0))
  if SCALARS[choice] then
    return SCALARS[choice](random)
  end
  local out = {}
  if choice % 2 == 0 then
    for i = 1, random(6) - 1 do
      out[i] = random_value(random, depth - 1)
    end
    return json.array(out)
  end
  for _ = 1, random(6) - 1 do
    out[random_string(random)] = random_value(random, depth - 1)
  end
  return out
end

local function same(a, b)
  if math.type(a) ~= math.type(b) or type(a) ~= type(b) then return false end
  if type(a) ~= "table" then return a == b end
  if next(a) == nil and json.is_array(a) ~= json.is_array(b) then return false end
  for k, v in pairs(a) do
    if not same(v, b[k]) then return false end
  end
  for k in pairs(b) do
    if a[k] == nil then return false end
  end
  return true
end

describe("json.decode", function()
  it("gives integers as integers and decimals as floats", function()
    local list = json.decode "[0, -1, 9007199254740993, 9223372036854775807, -9223372036854775808, 1.0, 1e3, 0.1, -0]"

    assert.same({ 0, -1, 9007199254740993, math.maxinteger, math.mininteger, 1.0, 1000.0, 0.1, -0.0 }, list)
    for i = 1, 5 do assert.equal("integer", math.type(list[i])) end
    for i = 6, 9 do assert.equal("float", math.type(list[i])) end
    assert.equal("-0.0", tostring(list[9]))
  end)

  it("keeps every digit of a number that neither an integer nor a float can hold", function()
    for _, token in ipairs { "500000000000000000000", "-9223372036854775809", "0.1234567890123456789", "1e400",
      "0.10000000000000001" } do
      local number = json.decode(token)

      assert.is_true(json.is_number(number))
      assert.equal(token, tostring(number))
      assert.equal(token, json.encode(number))
      assert.equal(number, json.decode(token))
    end
    assert.equal("0.123456789012345678 CCD", tostring(amount.ccd(json.decode "0.123456789012345678")))
  end)

  it("tells an empty array from an empty object, and null from nothing", function()
    local value = json.decode '{"a":[],"o":{},"n":null,"d":[[],[{}]]}'

    assert.is_true(json.is_array(value.a))
    assert.is_false(json.is_array(value.o))
    assert.equal(json.null, value.n)
    assert.equal('{"a":[],"d":[[],[{}]],"n":null,"o":{}}', json.encode(value))
  end)

  it("reads scalars, blanks, escapes and Chinese text", function()
    assert.equal("算想云 é 😀 /\n", json.decode ' "算想云 \\u00e9 \\ud83d\\ude00 \\/\\n" ')
    assert.equal(true, json.decode "true")
    assert.equal(json.null, json.decode "null")
    assert.equal(7, json.decode "\t7\r\n")
    assert.equal("a\0b", json.decode '"a\\u0000b"')
  end)

  it("refuses what is not JSON, and says where", function()
    for text, problem in pairs {
      ["[01]"] = "line 1, column 3 (byte 2): a number has a leading zero",
      ["[0x10]"] = "column 3",
      ["[1,]"] = "a comma before a closing bracket",
      ["NaN"] = "expected a value",
      ["[Infinity]"] = "expected a value",
      ['{"a":1,\n "\\u0061":2}'] = "line 2, column 2 (byte 9): a key that this object has already",
      ['"\xff"'] = "not UTF-8",
      ['"\\ud800"'] = "surrogate",
      ["{} {}"] = "something follows the value",
      [""] = "nothing",
    } do
      assert.matches(problem, refusal("parse", json.decode, text), 1, true)
    end
  end)

  it("bounds depth and size", function()
    local deep = ("["):rep(101) .. ("]"):rep(101)

    assert.matches("100 deep", refusal("limit", json.decode, deep), 1, true)
    assert.equal("table", type(json.decode(deep, { max_depth = 101 })))
    assert.matches("the limit is 10", refusal("limit", json.decode, "[1,2,3,4,5,6]", { max_bytes = 10 }), 1, true)
    assert.matches("max_depth", refusal("invalid", json.decode, "1", { max_dept = 3 }), 1, true)
    refusal("invalid", json.decode, "1", { max_depth = 513 })
    refusal("invalid", json.decode, 1)
  end)

  it("finds duplicate keys in large documents without slowing down", function()
    local parts = {}
    for i = 1, 100000 do
      parts[i] = ('"k%d":%d'):format(i, i)
    end
    local started = os.clock()

    refusal("parse", json.decode, "{" .. table.concat(parts, ",") .. ',"k7":1}')

    assert.is_true(os.clock() - started < 20)
  end)

  it("leaves strings alone that look like marks of its own", function()
    for _, text in ipairs { "\xc3\xbfn1", "n1", "a", ("f"):rep(33) .. "n1", "\u{ff}" .. ("0"):rep(32) .. "a" } do
      local value = json.decode(json.encode { text, {}, json.array {}, 2.0 })

      assert.equal(text, value[1])
      assert.is_true(json.is_array(value[3]))
    end
  end)
end)

describe("json.encode", function()
  it("sorts keys by their bytes, without blanks", function()
    assert.equal('{"":0,"A":1,"a":{"x":1,"y":2},"aa":3,"é":4}',
      json.encode { a = { y = 2, x = 1 }, A = 1, aa = 3, ["é"] = 4, [""] = 0 })
  end)

  it("prints integers exactly and floats with the fewest digits that read back", function()
    assert.equal("[27870365208168000,-9223372036854775808,0.1,0.30000000000000004,3.0,1e+300,5e-324]",
      json.encode { 27870365208168000, math.mininteger, 0.1, 0.1 + 0.2, 3.0, 1e300, 5e-324 })
  end)

  it("prints marked tables as arrays even when empty", function()
    assert.equal('{"a":[],"b":{},"c":[1]}', json.encode { a = json.array {}, b = {}, c = json.array { 1 } })
    assert.equal("[]", json.encode(json.array()))
  end)

  it("escapes control bytes and keeps UTF-8", function()
    assert.equal([["\u0000\n\"\\/\u007f算😀"]], json.encode "\0\n\"\\/\x7f算😀")
  end)

  it("refuses what JSON cannot say, naming the place", function()
    local cycle = { list = {} }
    cycle.list[1] = cycle
    for problem, value in pairs {
      ["a table that contains itself at .list[1]"] = cycle,
      ["an array with holes at .x"] = { x = { 1, nil, 3 } },
      ["neither an array nor has only string keys"] = { 1, a = 2 },
      ["a function at .a.b"] = { a = { b = print } },
      ["an amount (services differ"] = { price = amount "1 CCD" },
      ["a string that is not UTF-8 at [2]"] = { "ok", "\xff" },
      ["a string that is not UTF-8 at .?"] = { ["\x01\xff"] = 1 },
      ["NaN"] = 0 / 0,
      ["an infinite number at [1]"] = { math.huge },
      ["a thread"] = coroutine.create(print),
      ["an array with holes"] = { [3] = 1 },
    } do
      assert.matches(problem, refusal("invalid", json.encode, value), 1, true)
    end
    refusal("invalid", json.encode, json.array { a = 1 })
  end)

  it("bounds depth and size", function()
    local deep = {}
    for _ = 1, 100 do deep = { deep } end

    refusal("limit", json.encode, deep)
    assert.equal(202, #json.encode(deep, { max_depth = 101 }))
    refusal("limit", json.encode, { ("x"):rep(100) }, { max_bytes = 50 })
  end)

  it("prints a table that stands in two places twice", function()
    local shared = { 1 }
    assert.equal('{"a":[1],"b":[1]}', json.encode { a = shared, b = shared })
  end)
end)

describe("json.array and json.number", function()
  it("marks the table it is given, unless that has a metatable", function()
    local list = {}

    assert.equal(list, json.array(list))
    assert.equal(list, json.array(list))
    refusal("invalid", json.array, setmetatable({}, {}))
    refusal("invalid", json.array, "text")
  end)

  it("takes only JSON numbers", function()
    assert.equal('[1.50,1e3]', json.encode { json.number "1.50", json.number "1e3" })
    for _, text in ipairs { "", "01", "1.", "0x1", "nan", " 1", "1 " } do
      refusal("invalid", json.number, text)
    end
  end)
end)

describe("random documents", function()
  it("come back equal, kinds of numbers and empty tables included, and print the same again", function()
    for seed = 1, 3000 do
      local value = random_value(generator(seed), 4)
      local text = json.encode(value)
      local back = json.decode(text)

      assert(same(value, back), "seed " .. seed .. ": " .. text)
      assert.equal(text, json.encode(back))
    end
  end)

  it("either read to the end or raise a parse error when bytes are damaged", function()
    for seed = 1, 3000 do
      local random = generator(seed)
      local text = json.encode(random_value(random, 4))
      local at = random(#text)
      local damaged = text:sub(1, at - 1) .. string.char(random(256) - 1) .. text:sub(at + random(3) - 1)
      local ok, result = pcall(json.decode, damaged)

      if ok then
        assert(same(result, json.decode(json.encode(result))), "seed " .. seed)
      else
        assert.equal("parse", result.kind)
      end
    end
  end)
end)
