---@meta perigee.retry

---@alias perigee.duration number|string seconds, or "500ms", "5s", "2m", "1h"

---@class perigee.retry.options
---@field attempts? integer calls in all (default 5)
---@field elapsed? perigee.duration no attempt starts later than this after the first
---@field base? perigee.duration the first wait (default 1 s); doubles with each attempt
---@field cap? perigee.duration the longest wait (default 60 s)
---@field jitter? "full"|"none"
---@field retry_after? perigee.duration the longest Retry-After that is honoured (default 5 min)
---@field on? string[]|string|fun(err: perigee.error, attempt: integer): boolean? kinds of errors, or a function
---@field service? string whose bucket the repeats are taken from
---@field max_cost? perigee.money bounds all attempts of one run together
---@field max_cost_per_attempt? perigee.money bounds the paid calls of one attempt

---@class perigee.retry.try
---@field attempt integer 1, 2, …
---@field last_error? perigee.error

---@class perigee.retry.policy
local Policy = {}

---Calls f until it returns, and returns what it returned; raises the last error.
---@generic T
---@param f fun(try: perigee.retry.try): T
---@return T
function Policy:run(f) end

---Seconds to wait after the n-th failure.
---@param n integer
---@param err? perigee.error
---@return number
function Policy:delay(n, err) end

local retry = {}

---A policy: what is repeated, how soon, how often. See docs/retry.md.
---@param options perigee.retry.options
---@return perigee.retry.policy
function retry.new(options) end

return retry
