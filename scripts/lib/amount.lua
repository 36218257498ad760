-- perigee.amount - exact money.
--
-- An amount is a whole number of 1e-18 units of one currency, 128 bits wide.  It is made from text, never from
-- a Lua number; operators are exact or raise; two currencies never mix.  The arithmetic is C
-- (host/amount.c); this file only gives it its face.

local core = require "perigee.core.amount"

local amount = {
  of = core.of,
  base = core.base,
  zero = core.zero,
  is = core.is,
  ratio = core.ratio,
  sum = core.sum,
  max = core.max,
  min = core.min,
}

--- An amount of CCD: amount.ccd "0.05".
function amount.ccd(text)
  return core.of(text, "CCD")
end

--- An amount of CNY: amount.cny "12.50".
function amount.cny(text)
  return core.of(text, "CNY")
end

return setmetatable(amount, {
  __call = function(_, text)
    return core.parse(text)
  end,
})
