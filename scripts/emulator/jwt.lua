-- jwt.lua - tokens of the emulator: JSON web tokens, HS256, really signed.
--
-- Distributed AI issues them with exactly two claims, `Email` and `exp`; SXWL's usually have no expiry.

local json = require "perigee.json"
local sha256 = require "perigee.emulator.sha256"
local wire = require "perigee.emulator.wire"

local jwt = {}

local ALPHABET <const> = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
local HEADER <const> = wire.ordered { "alg", "HS256", "typ", "JWT" }

--- Base64url without padding.
function jwt.base64url(bytes)
  local out = {}
  for i = 1, #bytes, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    local bits = a << 16 | (b or 0) << 8 | (c or 0)
    for k = 0, (c and 3) or (b and 2) or 1 do
      local index = (bits >> (18 - 6 * k) & 63) + 1
      out[#out + 1] = ALPHABET:sub(index, index)
    end
  end
  return table.concat(out)
end

--- The bytes, or nil if the text is not base64url.
function jwt.from_base64url(text)
  local out, bits, count = {}, 0, 0
  for i = 1, #text do
    local index = ALPHABET:find(text:sub(i, i), 1, true)
    if not index then
      return nil
    end
    bits, count = (bits << 6 | index - 1) & 0xffffff, count + 6
    if count >= 8 then
      count = count - 8
      out[#out + 1] = string.char(bits >> count & 255)
    end
  end
  return table.concat(out)
end

--- A signed token.  claims: a value for wire.encode.
function jwt.sign(claims, secret)
  local signed = jwt.base64url(wire.encode(HEADER)) .. "." .. jwt.base64url(wire.encode(claims))
  return signed .. "." .. jwt.base64url(sha256.hmac(secret, signed))
end

--- The claims, or nil and "malformed", "signature" or "expired".
function jwt.verify(token, secret, now)
  local signed, payload, signature = token:match "^([%w_-]+%.([%w_-]+))%.([%w_-]+)$"
  if not signed then
    return nil, "malformed"
  elseif jwt.base64url(sha256.hmac(secret, signed)) ~= signature then
    return nil, "signature"
  end
  local ok, claims = pcall(json.decode, jwt.from_base64url(payload))
  if not ok or type(claims) ~= "table" then
    return nil, "malformed"
  elseif claims.exp and now >= claims.exp then
    return nil, "expired"
  end
  return claims
end

return jwt
