---@meta perigee.policy

---@class perigee.policy.decision
---@field decision "allow"|"deny"|"hold"|"retry"|"give_up"
---@field why? string
---@field expires? number seconds
---@field after? number seconds
---@field spec? table

---@class perigee.policy.job what a hook gets
---@field id string
---@field name string
---@field key string
---@field service "deai"|"sxwl"
---@field kind "job"|"train"|"infer"
---@field state string
---@field attempt integer
---@field attempts integer
---@field price? string "0.05 CCD"
---@field cost? string "0.05 CCD"
---@field spent? string "0.05 CCD"
---@field spec table
---@field tags string[]
---@field policy? string
---@field error? { kind: string, code?: string, message: string }
---@field result? table
---@field remote_id? string
---@field created_at number
---@field started_at? number
---@field reason? string

---@class perigee.policy.context
---@field name string of the schedule
---@field policy string
---@field scheduled_at number
---@field deadline? number
---@field jobs table perigee.jobs
---@field log table perigee.log
---@field notify table perigee.notify
---@field store table perigee.store

---@class perigee.policy.schedule
---@field name string
---@field cron? string
---@field every? number|string
---@field offset? number|string
---@field tz? string
---@field overlap? "skip"|"buffer_one"|"buffer_all"|"cancel_other"|"terminate_other"|"allow_all"
---@field catchup? number|string
---@field jitter? number|string
---@field timeout? number|string
---@field run fun(ctx: perigee.policy.context)

---@class perigee.policy.table what a policy file returns
---@field name string
---@field applies? fun(job: perigee.policy.job): boolean
---@field budget? perigee.budget.options
---@field retry? table
---@field on? table<string, fun(job: perigee.policy.job, data?: table): perigee.policy.decision?>
---@field schedules? perigee.policy.schedule[]
---@field notify? table
---@field max_failures? integer failures in a row after which the daemon pauses it; default 5
---@field run? fun(words: string[]): any

local policy = {}

---job.submit: nothing speaks against this job.
---@return perigee.policy.decision
function policy.allow() end

---job.submit: the job ends as denied.
---@param why string
---@return perigee.policy.decision
function policy.deny(why) end

---job.submit, job.unknown: a person decides.
---@param why string
---@param options? { expires?: number|string }
---@return perigee.policy.decision
function policy.hold(why, options) end

---job.failed, job.unknown: one more attempt.
---@param options? { after?: number|string, spec?: table, why?: string }
---@return perigee.policy.decision
function policy.retry(options) end

---job.failed: retry or give_up, as options of retry.new say.
---@param options table
---@param job perigee.policy.job
---@return perigee.policy.decision
function policy.retry_of(options, job) end

---job.failed, job.unknown: no further attempt.
---@param why string
---@return perigee.policy.decision
function policy.give_up(why) end

---What a hook has returned, read; raises for what the event cannot be answered with.
---@param event string
---@param value any
---@return perigee.policy.decision?
function policy.decision(event, value) end

---Everything that is wrong with a policy's table.
---@param t perigee.policy.table
---@param file? string
---@return { field: string, message: string }[]
function policy.check(t, file) end

return policy
