---@meta perigee.fan_out

---@class perigee.fan_out.options
---@field jobID string
---@field files string[]
---@field results string path of the results file
---@field concurrency? integer inputs worked on at once (default 16)
---@field budget? perigee.budget|perigee.budget[]
---@field max_cost? perigee.money the most one input may cost
---@field timeout? perigee.duration for the wait for one result
---@field retry? perigee.retry.policy for starts that certainly did not happen
---@field on_item? fun(item: perigee.fan_out.item, counts: { ended: integer, total: integer })

---@class perigee.fan_out.item
---@field file string
---@field sha256 string
---@field state "done"|"failed"|"unknown"|"running"|"not_started"
---@field infer_id? integer
---@field cost? perigee.amount
---@field result? any
---@field tx_hash? string
---@field error? perigee.error

---@class perigee.fan_out.report
---@field total integer inputs with different bytes
---@field done integer
---@field failed integer
---@field unknown integer
---@field running integer
---@field not_started integer
---@field cost? perigee.amount
---@field items perigee.fan_out.item[] one for each file
---@field stopped? perigee.error the denial that ended it early

local fan_out = {}

---Many inputs on one job, resumable from its results file. See docs/fan_out.md.
---@param client table
---@param options perigee.fan_out.options
---@return perigee.fan_out.report
function fan_out.run(client, options) end

return fan_out
