-- sha256.lua - SHA-256, HMAC and hex, in Lua.
--
-- For the emulator alone: it signs its tokens and links and names uploads by their content, and must not need
-- more than a Lua state to do so.  About 2 MB/s: nothing for large files (`sha256.content_id` is bounded).

local sha256 = {}

local K <const> = {}
local INITIAL <const> = {}
do -- fractional parts of the square roots of the first 8 and the cube roots of the first 64 primes
  local function fraction(x)
    return math.floor((x - math.floor(x)) * 0x1p32)
  end
  local n, candidate = 0, 2
  while n < 64 do
    local prime = true
    for d = 2, math.floor(math.sqrt(candidate)) do
      if candidate % d == 0 then
        prime = false
        break
      end
    end
    if prime then
      n = n + 1
      K[n] = fraction(candidate ^ (1 / 3))
      if n <= 8 then
        INITIAL[n] = fraction(candidate ^ 0.5)
      end
    end
    candidate = candidate + 1
  end
end

local function rotate(x, n)
  return (x >> n | x << (32 - n)) & 0xffffffff
end

-- One block of 64 bytes at `from` into the state h; w is scratch.
local function compress(h, w, data, from)
  for i = 1, 16 do
    w[i] = string.unpack(">I4", data, from + (i - 1) * 4)
  end
  for i = 17, 64 do
    local x, y = w[i - 15], w[i - 2]
    local s0 = rotate(x, 7) ~ rotate(x, 18) ~ (x >> 3)
    local s1 = rotate(y, 17) ~ rotate(y, 19) ~ (y >> 10)
    w[i] = (w[i - 16] + s0 + w[i - 7] + s1) & 0xffffffff
  end
  local a, b, c, d, e, f, g, last = table.unpack(h)
  for i = 1, 64 do
    local s1 = rotate(e, 6) ~ rotate(e, 11) ~ rotate(e, 25)
    local t1 = last + s1 + ((e & f) ~ (~e & g)) + K[i] + w[i]
    local s0 = rotate(a, 2) ~ rotate(a, 13) ~ rotate(a, 22)
    local t2 = s0 + ((a & b) ~ (a & c) ~ (b & c))
    last, g, f, e = g, f, e, (d + t1) & 0xffffffff
    d, c, b, a = c, b, a, (t1 + t2) & 0xffffffff
  end
  for i, v in ipairs { a, b, c, d, e, f, g, last } do
    h[i] = (h[i] + v) & 0xffffffff
  end
end

--- The 32 bytes of the digest.
function sha256.digest(data)
  local padding = "\x80" .. ("\0"):rep((55 - #data) % 64) .. string.pack(">I8", #data * 8)
  local h, w = { table.unpack(INITIAL) }, {}
  local whole = #data - #data % 64
  for from = 1, whole, 64 do
    compress(h, w, data, from)
  end
  local tail = data:sub(whole + 1) .. padding
  for from = 1, #tail, 64 do
    compress(h, w, tail, from)
  end
  return string.pack(">I4I4I4I4I4I4I4I4", table.unpack(h))
end

function sha256.to_hex(bytes)
  return (bytes:gsub(".", function(c)
    return ("%02x"):format(c:byte())
  end))
end

function sha256.hex(data)
  return sha256.to_hex(sha256.digest(data))
end

--- HMAC-SHA256 (RFC 2104), 32 bytes.
function sha256.hmac(key, message)
  if #key > 64 then
    key = sha256.digest(key)
  end
  key = key .. ("\0"):rep(64 - #key)
  local function pad(byte)
    return (key:gsub(".", function(c)
      return string.char(c:byte() ~ byte)
    end))
  end
  return sha256.digest(pad(0x5c) .. sha256.digest(pad(0x36) .. message))
end

local WHOLE <const>, END_PIECE <const> = 256 * 1024, 128 * 1024

--- A name for some bytes.  Up to 256 KiB it is their SHA-256; of longer data, that of both ends and the size,
--- so that a large upload does not hold up the loop.
function sha256.content_id(data)
  if #data <= WHOLE then
    return sha256.hex(data)
  end
  return sha256.hex(data:sub(1, END_PIECE) .. data:sub(-END_PIECE) .. #data)
end

return sha256
