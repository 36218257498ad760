---@meta perigee.task

---Many things at once. See docs/task.md.

---@alias perigee.duration number|string seconds, or "500ms" "5s" "5m" "2h" "1d"

---@class perigee.task.handle
local handle = {}

---Waits for the end: the results of its function, or its error raised.
---@return any ...
function handle:wait() end

---Tells it to stop.
---@param reason? string
---@return perigee.task.handle
function handle:cancel(reason) end

---@return "ready"|"running"|"waiting"|"done"|"failed"|"cancelled"
function handle:status() end

---@return integer
function handle:id() end

---@class perigee.task.scope.options
---@field deadline? perigee.duration bounds everything in the scope
---@field grace? perigee.duration how long clean-up may wait (5 s)

---@class perigee.task.scope
local scope = {}

---Starts a task in the scope.
---@param f function
---@param ... any
---@return perigee.task.handle
function scope:spawn(f, ...) end

---Cancels its tasks; the body goes on.
---@param reason? string
function scope:cancel(reason) end

---Leaves it: waits for its tasks.
function scope:close() end

---@class perigee.task.permit
local permit = {}

---Gives it back.
function permit:release() end

---@class perigee.task.queue
local queue = {}

---Adds a value; waits while the queue is full.
---@param value any
function queue:put(value) end

---True and the oldest value, or false once it is closed and empty.
---@return boolean, any
function queue:get() end

---Values until it is closed and empty.
---@return fun(): any
function queue:each() end

---No more values.
function queue:close() end

---@return integer
function queue:size() end

---@class perigee.task.outcome
---@field ok boolean
---@field value any
---@field err any
---@field state "done"|"failed"|"not_started"

---@class perigee.task.map.options
---@field concurrency? integer so many at once (16)
---@field mode? "fail_fast"|"collect"|"completed"
---@field rate? number at most so many starts a second
---@field ramp? number seconds until all workers run
---@field stop_on? perigee.error.kind|perigee.error.kind[]|fun(err: any): boolean

local task = {}

---Waits.
---@param seconds perigee.duration
function task.sleep(seconds) end

---Starts f(…) as a task of the calling one.
---@param f function
---@param ... any
---@return perigee.task.handle
function task.spawn(f, ...) end

---Starts a task that outlives the caller.
---@param f function
---@param ... any
---@return perigee.task.handle
function task.detach(f, ...) end

---@return perigee.task.handle
function task.current() end

---Seconds of a clock that never goes back.
---@return number
function task.now() end

---Runs f(scope) and waits for the tasks of the scope; or gives a scope for a `<close>` variable.
---@overload fun(options?: perigee.task.scope.options): perigee.task.scope
---@param f fun(scope: perigee.task.scope): any
---@param options? perigee.task.scope.options
---@return any ...
function task.scope(f, options) end

---Runs f(…) with a limit on all it does.
---@param seconds perigee.duration
---@param f function
---@param ... any
---@return any ...
function task.deadline(seconds, f, ...) end

---f's results, or nil and the error.
---@param f function
---@param ... any
---@return any ...
function task.try(f, ...) end

---A cancel interrupts f only after that time.
---@param seconds perigee.duration
---@param f function
---@param ... any
---@return any ...
function task.shield(seconds, f, ...) end

---The first to end decides; the others are cancelled.
---@param functions function[]
---@return any ...
function task.race(functions) end

---Runs f(item, index) for each item, several at once.
---@generic T
---@param items T[]
---@param f fun(item: T, index: integer): any
---@param options? perigee.task.map.options
---@return any ...
function task.map(items, f, options) end

---Waits for the one permit of key.
---@param key any
---@param options? {timeout?: perigee.duration}
---@return perigee.task.permit
function task.lock(key, options) end

---The same with count permits.
---@param key any
---@param count integer
---@param options? {timeout?: perigee.duration}
---@return perigee.task.permit
function task.semaphore(key, count, options) end

---A queue of at most so many values (1).
---@param capacity? integer
---@return perigee.task.queue
function task.queue(capacity) end

---@param key any
---@return any
function task.get_local(key) end

---@param key any
---@param value any
function task.set_local(key, value) end

return task
