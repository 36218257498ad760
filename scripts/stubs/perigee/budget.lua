---@meta perigee.budget

---@alias perigee.money perigee.amount|string an amount, or a text such as "5 CCD"
---@alias perigee.window "total"|"hour"|"day"|"week"|"month"

---@class perigee.budget.options
---@field total? perigee.money|perigee.money[]
---@field hour? perigee.money|perigee.money[]
---@field day? perigee.money|perigee.money[]
---@field week? perigee.money|perigee.money[]
---@field month? perigee.money|perigee.money[]
---@field tz? string the time zone of the windows: "Asia/Shanghai"; default UTC
---@field utc_offset? string in place of a zone: "+08:00"
---@field name? string with a name it stands in the journal, shared with all that use the same name
---@field warn? number share of a limit, 0 to 1, at which to warn; default 0.8, 0 never
---@field check_balance? boolean look at the account's balance before a paid call of Distributed AI

---@class perigee.budget.line
---@field window perigee.window
---@field zone? string of the window; a total has none
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

---The time zone of its windows.
---@return string
function Budget:zone() end

---True if its figures are the journal's.
---@return boolean
function Budget:durable() end

---Adds what an earlier run paid.
---@param amount perigee.money
---@param options? { at?: integer, unknown?: boolean }
function Budget:count(amount, options) end

local budget = {}

---A new budget: at least one limit; all of them hold at once.
---@param options perigee.budget.options
---@return perigee.budget
function budget.new(options) end

---A budget of this process alone; its name is for people.
---@param options perigee.budget.options
---@return perigee.budget
function budget.own(options) end

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

---Has the journal know what the budget is, so that others can find it by its name.
---@param b perigee.budget
function budget.keep(b) end

---The durable budget of that name, as the journal knows it.
---@param name string
---@return perigee.budget?
function budget.find(name) end

---Whether one of them asks for a look at the balance.
---@param list perigee.budget[]
---@return boolean
function budget.checks_balance(list) end

---@param value any
---@return boolean
function budget.is_budget(value) end

return budget
