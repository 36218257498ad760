---@meta perigee.amount

---Exact money: make it from text, combine it with operators. See docs/amount.md.
---@class perigee.amount
---@operator add(perigee.amount|string): perigee.amount
---@operator sub(perigee.amount|string): perigee.amount
---@operator mul(integer|string): perigee.amount
---@operator div(integer|string): perigee.amount
---@operator unm: perigee.amount
---@operator concat(any): string
local value = {}

---@alias perigee.rounding "up"|"down"|"half_even"

---The product, rounded once (default "up").
---@param factor integer|string decimal text such as "1.5"
---@param rounding? perigee.rounding
---@return perigee.amount
function value:mul(factor, rounding) end

---The quotient, rounded once (default "up").
---@param divisor integer|string decimal text such as "1.5"
---@param rounding? perigee.rounding
---@return perigee.amount
function value:div(divisor, rounding) end

---The number alone: "0.05".
---@return string
function value:decimal() end

---The base units of 1e-18: "50000000000000000".
---@return string
function value:base() end

---@return string currency "CCD"
function value:currency() end

---@return -1|0|1
function value:sign() end

---@class perigee.amount.module
---@overload fun(text: string|perigee.amount): perigee.amount
local amount = {}

---@param text string|perigee.amount|perigee.json.number "0.05"
---@return perigee.amount
function amount.ccd(text) end

---@param text string|perigee.amount|perigee.json.number "12.50"
---@return perigee.amount
function amount.cny(text) end

---@param text string|perigee.amount|perigee.json.number
---@param currency string "CCD"
---@return perigee.amount
function amount.of(text, currency) end

---A whole number of base units (1e-18).
---@param units string|integer|perigee.json.number
---@param currency string
---@return perigee.amount
function amount.base(units, currency) end

---@param currency string
---@return perigee.amount
function amount.zero(currency) end

---@param value any
---@return boolean
function amount.is(value) end

---a / b as decimal text of at most 18 decimals.
---@param a perigee.amount|string
---@param b perigee.amount|string
---@param rounding? perigee.rounding
---@return string
function amount.ratio(a, b, rounding) end

---@param list (perigee.amount|string)[]
---@param currency? string needed for an empty list
---@return perigee.amount
function amount.sum(list, currency) end

---@param ... perigee.amount|string
---@return perigee.amount
function amount.max(...) end

---@param ... perigee.amount|string
---@return perigee.amount
function amount.min(...) end

return amount
