---@meta perigee.progress

---Progress bars on a terminal, plain lines elsewhere. See docs/progress.md.
local progress = {}

---@class perigee.progress.options
---@field label? string
---@field total? number
---@field unit? string "bytes", or a word

---@class perigee.progress.bar
local bar = {}

---So much is done; the total if it is known only now.
---@param done number
---@param total? number
function bar:set(done, total) end

---n more are done (default 1).
---@param n? number
function bar:add(n) end

---Another label.
---@param text string
function bar:label(text) end

---Ends it; its last line stays.
---@param note? string
function bar:done(note) end

---Ends it as stopped half-way.
---@param note? string
function bar:fail(note) end

---A new bar, which is a <close> value.
---@param options? perigee.progress.options
---@return perigee.progress.bar
function progress.new(options) end

---For `for`: the items of the list one by one, under a bar.
---@generic T
---@param list T[]
---@param options? perigee.progress.options
---@return fun(): T|nil
function progress.each(list, options) end

return progress
