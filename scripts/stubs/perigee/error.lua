---@meta perigee.error

---What went wrong, and whether it happened. See docs/error.md.

---@alias perigee.error.kind
---| "network" | "timeout" | "tls" | "http" | "auth" | "api" | "parse" | "invalid" | "denied" | "funds"
---| "job_failed" | "unavailable" | "limit" | "cancelled" | "closed"

---@class perigee.error.object
---@field kind perigee.error.kind
---@field outcome "none"|"unknown" whether the other side may have executed the request
---@field retryable boolean the same call can be sent again without risk
---@field message string
---@field code? string
---@field service? string
---@field operation? string
---@field status? integer
---@field body? string first 2 KB, redacted
---@field url? string
---@field attempt? integer
---@field elapsed? number
---@field retry_after? number
---@field jobID? string
---@field job_id? string
---@field infer_id? integer
---@field price? perigee.amount
---@field limit? perigee.amount
---@field left? perigee.amount

local err = {}

---The table itself as an error object; it must have `kind`.
---@param fields table
---@return perigee.error.object
function err.new(fields) end

---True for an error object, of that kind if one is given.
---@param value any
---@param kind? perigee.error.kind
---@return boolean
function err.is(value, kind) end

---Raises kind "invalid".
---@param message string
function err.invalid(message) end

---The string of the list most like the name.
---@param name string
---@param list string[]
---@return string?
function err.nearest(name, list) end

return err
