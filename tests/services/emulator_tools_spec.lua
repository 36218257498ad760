-- What the emulator is made of: digests, tokens, the JSON writer, multipart, draws.

local draws = require "perigee.emulator.random"
local jwt = require "perigee.emulator.jwt"
local multipart = require "perigee.emulator.multipart"
local sha256 = require "perigee.emulator.sha256"
local wire = require "perigee.emulator.wire"

describe("emulator sha256", function()
  it("gives the digests of FIPS 180-4", function()
    assert.equal("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", sha256.hex "")
    assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", sha256.hex "abc")
    assert.equal(
      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
      sha256.hex "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
    )
    assert.equal("ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb", sha256.hex(("a"):rep(64)))
  end)

  it("gives the codes of RFC 4231, with short and long keys", function()
    assert.equal(
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
      sha256.to_hex(sha256.hmac("Jefe", "what do ya want for nothing?"))
    )
    assert.equal(
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
      sha256.to_hex(sha256.hmac(("\xaa"):rep(131), "Test Using Larger Than Block-Size Key - Hash Key First"))
    )
  end)

  it("names large data by both ends and the size", function()
    local large = ("x"):rep(300 * 1024)

    assert.not_equal(sha256.content_id(large), sha256.content_id(large .. "x"))
    assert.not_equal(sha256.content_id(large), sha256.content_id("y" .. large:sub(2)))
  end)
end)

describe("emulator tokens", function()
  it("verify until they expire, and not when touched", function()
    local token = jwt.sign(wire.ordered { "Email", "a@b", "exp", 100 }, "secret")

    assert.equal("a@b", jwt.verify(token, "secret", 99.9).Email)
    assert.same({ nil, "expired" }, { jwt.verify(token, "secret", 100) })
    assert.same({ nil, "signature" }, { jwt.verify(token, "other", 0) })
    assert.same({ nil, "malformed" }, { jwt.verify("a.b", "secret", 0) })
  end)

  it("round-trip every length of base64url", function()
    for n = 0, 12 do
      local bytes = ("\255\0\127/+"):rep(3):sub(1, n)
      assert.equal(bytes, jwt.from_base64url(jwt.base64url(bytes)))
    end
  end)
end)

describe("emulator wire", function()
  it("keeps order, long numbers, empty arrays and control characters", function()
    local value = wire.ordered { "z", wire.raw "123456789012345678901234567890", "a", wire.array {}, "t", 'q"\\\n\1' }

    assert.equal('{"z":123456789012345678901234567890,"a":[],"t":"q\\"\\\\\\n\\u0001"}', wire.encode(value))
  end)

  it("writes & < > as Go does where asked", function()
    assert.equal('"a\\u0026b\\u003c\\u003e"', wire.encode_go "a&b<>")
    assert.equal('"a&b<>"', wire.encode "a&b<>")
  end)

  it("sorts the names of plain tables", function()
    assert.equal('{"a":1,"b":[1,2],"c":true}', wire.encode { c = true, b = { 1, 2 }, a = 1 })
  end)
end)

describe("emulator multipart", function()
  it("reads parts with quoted boundaries and escaped names", function()
    local body = '--x y\r\nContent-Disposition: form-data; name="file"; filename="a%22b.csv"\r\n\r\n1\r\n--x y--\r\n'

    local parts = multipart.parse('multipart/form-data; boundary="x y"', body)

    assert.same({ { name = "file", file_name = 'a"b.csv', body = "1" } }, parts)
  end)
end)

describe("emulator draws", function()
  it("depend on the seed and the words, not on their order", function()
    local one, two = draws.keyed(draws.new(9)), draws.keyed(draws.new(9))
    local first = one("price", "a")
    two("price", "b")

    assert.equal(first, two("price", "a"))
    assert.not_equal(first, one("price", "b"))
    assert.not_equal(one("ab", "c"), one("a", "bc"))
    assert.not_equal(first, draws.keyed(draws.new(10))("price", "a"))
  end)

  it("are spread evenly over [0, 1)", function()
    local draw, counts = draws.keyed(draws.new(1)), { 0, 0, 0, 0 }
    for i = 1, 4000 do
      local x = draw("n", i)
      counts[1 + math.floor(4 * x)] = counts[1 + math.floor(4 * x)] + 1
    end
    for _, count in ipairs(counts) do
      assert.is_true(count > 900 and count < 1100)
    end
  end)
end)
