---@meta perigee.callback
---The receiver of job callbacks: hints that it is time to ask. See docs/callback.md.
---@class perigee.callback.module
local callback = {}

---@class perigee.callback.bell
---@field ring fun()
---@field sleep fun(seconds: number|string): boolean true if it was rung

---@class perigee.callback.claim unverified
---@field status? string
---@field job_id? string
---@field url? string

---@class perigee.callback.receiver
---@field url string where it listens
---@field public_url string what callback URLs begin with
local receiver = {}

---@param options? {listen?: string, public_url?: string}
---@return perigee.callback.receiver
function callback.receiver(options) end

---The job's callback URL, and the bell that a callback rings.
---@param key string
---@return string url
---@return perigee.callback.bell bell
function receiver:register(key) end

---What a callback of the job claims, or nil when the time has passed.
---@param key string
---@param seconds number|string
---@return perigee.callback.claim?
function receiver:wait(key, seconds) end

---@param key string
function receiver:unregister(key) end

---Stops listening.
function receiver:close() end

return callback
