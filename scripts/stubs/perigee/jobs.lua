---@meta perigee.jobs

---@alias perigee.job.state "planned"|"denied"|"held"|"submitting"|"running"|"unknown"|"succeeded"|"failed"|"stopped"|"expired"

---@class perigee.job.retry
---@field attempts? integer in all (default 5)
---@field base? perigee.duration
---@field cap? perigee.duration
---@field jitter? "full"|"none"
---@field on? string[] kinds of errors (default { "job_failed", "retryable" })
---@field elapsed? perigee.duration

---@class perigee.job.submit
---@field service "sxwl"|"deai"
---@field kind? "job"|"train"|"infer"
---@field name string what people call the job
---@field key? string with the name it is the job's identity
---@field spec table fields of the service
---@field max_cost? perigee.money bounds all attempts together
---@field max_cost_per_attempt? perigee.money
---@field budget? string|perigee.budget|(string|perigee.budget)[] durable budgets
---@field deadline? perigee.duration "6h", "2026-11-22T08:00:00Z"
---@field retry? perigee.job.retry
---@field on_unknown? "wait"|"retry"|"fail"
---@field unreachable_after? perigee.duration
---@field tags? string[]
---@field attach? "finished"

---@class perigee.job.filter
---@field state? perigee.job.state
---@field active? boolean
---@field service? "sxwl"|"deai"
---@field policy? string
---@field name? string
---@field since? number seconds since 1970
---@field limit? integer (default 100)
---@field after? string an id, for the next page

---A job, as of the last call about it. See docs/jobs.md.
---@class perigee.job
---@field id string
---@field name string
---@field key string
---@field service "sxwl"|"deai"
---@field kind string
---@field state perigee.job.state
---@field reason? string
---@field attempt integer
---@field attempts integer
---@field price? perigee.amount worst case of this attempt
---@field cost? perigee.amount what was charged
---@field spent? perigee.amount of all attempts
---@field result? table
---@field error? perigee.error.object
---@field remote_id? string
---@field spec table
---@field tags string[]
---@field created_at number
---@field started_at? number
---@field ended_at? number
local Job = {}

---Waits for its end; raises what it failed with.
---@param options? { timeout?: perigee.duration }
---@return perigee.job
function Job:wait(options) end

---@return perigee.job.state
function Job:status() end

---@return perigee.job
function Job:stop() end

---@return string
function Job:why() end

local jobs = {}

---Submits a job, or attaches to the one with the same name, key and spec.
---@param t perigee.job.submit
---@return perigee.job
function jobs.submit(t) end

---@param name string|perigee.job a name, an id, or the first digits of one
---@param key? string
---@return perigee.job?
function jobs.get(name, key) end

---@param filter? perigee.job.filter
---@return perigee.job[]
function jobs.list(filter) end

---@generic T: perigee.job|perigee.job[]|string
---@param job T
---@param options? { timeout?: perigee.duration }
---@return T
function jobs.wait(job, options) end

---@param job perigee.job|string
---@return perigee.job
function jobs.stop(job) end

return jobs
