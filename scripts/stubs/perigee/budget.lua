---@meta perigee.budget

---@alias perigee.money perigee.amount|string an amount, or a text such as "5 CCD"
---@alias perigee.window "total"|"hour"|"day"|"week"|"month"

---@class perigee.budget.options
---@field total? perigee.money|perigee.money[]
---@field hour? perigee.money|perigee.money[]
---@field day? perigee.money|perigee.money[]
---@field week? perigee.money|perigee.money[]
---@field month? perigee.money|perigee.money[]
---@field utc_offset? string where windows begin: "+08:00"; default UTC
---@field name? string shown in errors and logs
---@field warn? number share of a limit, 0 to 1, at which to warn

---@class perigee.budget.line
---@field window perigee.window
---@field bounded boolean false for a total that is only kept
---@field limit? perigee.amount
---@field held perigee.amount
---@field unknown perigee.amount
---@field spent perigee.amount
---@field left? perigee.amount

---What may be spent, and what stands against it. See docs/budget.md.
---@class perigee.budget
local Budget = {}

---Settled, and presumed spent.
---@param window? perigee.window
---@param currency? string
---@return perigee.amount
function Budget:spent(window, currency) end

---Reserved, or sent and not settled yet.
---@param window? perigee.window
---@param currency? string
---@return perigee.amount
function Budget:held(window, currency) end

---Sent, outcome unknown: may have been charged.
---@param window? perigee.window
---@param currency? string
---@return perigee.amount
function Budget:unknown(window, currency) end

---What can still be spent; without a window, what the tightest limit leaves.
---@param window? perigee.window
---@param currency? string
---@return perigee.amount
function Budget:left(window, currency) end

---@return perigee.budget.line[]
function Budget:lines() end

---@return string
function Budget:name() end

---Adds what an earlier run paid.
---@param amount perigee.money
---@param options? { at?: integer, unknown?: boolean }
function Budget:count(amount, options) end

local budget = {}

---A new budget: at least one limit; all of them hold at once.
---@param options perigee.budget.options
---@return perigee.budget
function budget.new(options) end

---Calls f(…): every paid call in it, and in the tasks it spawns, counts against the budget.
---@generic T
---@param b perigee.budget|perigee.budget[]
---@param f fun(...): T
---@return T
function budget.with(b, f, ...) end

---A budget over the attempts of one piece of work; denies with code "max_cost".
---@param max_cost perigee.money|perigee.money[]
---@return perigee.budget
function budget.group(max_cost) end

---The budgets of the scope.
---@return perigee.budget[]
function budget.current() end

---The budgets of one call: its own, its client's, those of the scope.
---@param of_call? perigee.budget|perigee.budget[]
---@param of_client? perigee.budget|perigee.budget[]
---@return perigee.budget[]
function budget.collect(of_call, of_client) end

---@param value any
---@return boolean
function budget.is_budget(value) end

return budget
