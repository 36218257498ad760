---@meta perigee.store

---Values that outlive the process, by name. See docs/store.md.
---@class perigee.store.module
local store = {}

---A space of its own: names in it are no names elsewhere.
---@class perigee.store.space
local space = {}

---@class perigee.store.row
---@field name string
---@field value any
---@field changed_at number seconds since 1970

---The value, a copy of its own; the default if there is none.
---@param name string
---@param options? { default?: any }
---@return any
function store.get(name, options) end

---Stores the value, whatever was there.
---@generic T
---@param name string
---@param value T nil, functions, secrets and the like raise `invalid`
---@return T
function store.set(name, value) end

---Takes the value away.
---@param name string
---@return boolean was_there
function store.delete(name) end

---By name.
---@param options? { prefix?: string, limit?: integer }
---@return perigee.store.row[]
function store.list(options) end

---Replaces the value by f(old); f is called again when somebody else has written meanwhile.
---@generic T
---@param name string
---@param f fun(old: any): T nil takes the value away
---@return T
function store.update(name, f) end

---@param name string up to 256 bytes
---@return perigee.store.space
function store.open(name) end

---@param name string
---@param options? { default?: any }
---@return any
function space:get(name, options) end

---@generic T
---@param name string
---@param value T
---@return T
function space:set(name, value) end

---@param name string
---@return boolean was_there
function space:delete(name) end

---@param options? { prefix?: string, limit?: integer }
---@return perigee.store.row[]
function space:list(options) end

---@generic T
---@param name string
---@param f fun(old: any): T
---@return T
function space:update(name, f) end

return store
