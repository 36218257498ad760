-- deai_prices.lua - what the emulated Distributed AI asks and bills.
--
-- Estimates come as a JSON integer in 1e-18 CCD, charges as a decimal string cut to 12 decimals, and the two
-- differ a little: so does the service.  Inside, a price is a Lua integer of 1e-15 CCD (up to 9,223 CCD) with
-- three more digits that only the estimate shows: exact, and beyond 2^53 and 2^64 where it is written out.

local prices = {}

local EPOCH <const>, EPOCH_BYTE <const> = 2600000000000, 130000000 -- 1e-15 CCD: 0.0026 CCD, and for each byte
local RUN <const>, RUN_BYTE <const> = 13000000000000, 90000000
local MOST <const> = 9000 * 1000000000000000

local function price(draw, units, ...)
  units = math.floor(math.min(units * (1 + 0.06 * draw("price", ...)), MOST))
  return { femto = units, tail = math.floor(1000 * draw("price tail", ...)) }
end

--- The price of a training: grows with epochs and bytes.  words: what the chance depends on.
function prices.training(draw, epochs, bytes, ...)
  return price(draw, (epochs + 0.0) * (EPOCH + EPOCH_BYTE * bytes), ...)
end

--- The price of one inference.
function prices.inference(draw, bytes, ...)
  return price(draw, RUN + RUN_BYTE * (bytes + 0.0), ...)
end

--- The number token of an estimate: whole 1e-18 CCD.
function prices.token(quoted)
  return ("%d%03d"):format(quoted.femto, quoted.tail)
end

--- What is billed for it, in 1e-12 CCD: up to 0.4 % beside the estimate, cut.
function prices.charge(draw, quoted, ...)
  local shift = math.floor(8000 * draw("charge", ...)) - 4000
  return (quoted.femto + quoted.femto // 1000000 * shift) // 1000
end

return prices
