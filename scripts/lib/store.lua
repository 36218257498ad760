-- perigee.store - values that outlive the process: by name, in spaces, changed one after another.
--
-- The journal keeps them (docs/journal.md), as JSON text with a version that no other write has had.  What JSON
-- has no word for is tagged: an amount is {"$amount": "0.05 CCD"}, and a field of the user's own that begins with
-- a dollar gets another one in front.

local amount = require "perigee.amount"
local core = require "perigee.core.journal"
local errors = require "perigee.error"
local json = require "perigee.json"
local options = require "perigee.options"
local secret = require "perigee.secret"
local task = require "perigee.task"

local LARGEST <const> = 1024 * 1024 -- bytes of a value's JSON
local LONGEST_NAME <const> = 256
local DEEPEST <const> = 100
local PAGE <const> = 500
local SPACE <const> = "default"

-- ---- values -------------------------------------------------------------------------------------------------

local function refuse(where, place, what)
  errors.invalid(("%s: %s%s cannot be stored"):format(where, what, place ~= "" and " at " .. place or ""))
end

local function step(place, key)
  return math.type(key) == "integer" and ("%s[%d]"):format(place, key) or ("%s.%s"):format(place, key)
end

-- The value with tags where JSON has no word; what JSON cannot say is left for its encoder to refuse.  around: the
-- tables that the value is in.
local function encode_value(where, place, value, around, depth)
  if amount.is(value) then return { ["$amount"] = tostring(value) } end
  if secret.is(value) then refuse(where, place, "a secret (its reference can: the name of the variable or file)") end
  if type(value) ~= "table" or value == json.null then return value end
  if around[value] then refuse(where, place, "a table that contains itself") end
  if depth == DEEPEST then refuse(where, place, ("what is nested deeper than %d"):format(DEEPEST)) end
  if json.is_array(value) and next(value) == nil then return value end
  if getmetatable(value) ~= nil and not json.is_array(value) then refuse(where, place, "a table with a metatable") end
  around[value] = true
  local copy = {}
  for key, item in pairs(value) do
    local name = type(key) == "string" and key:sub(1, 1) == "$" and "$" .. key or key
    copy[name] = encode_value(where, step(place, key), item, around, depth + 1)
  end
  around[value] = nil
  return copy
end

local function encode(where, value)
  if value == nil then errors.invalid(where .. ": the value is nil; store.delete takes a name away") end
  local ok, text = pcall(json.encode, encode_value(where, "", value, {}, 0), { max_bytes = LARGEST, max_depth = DEEPEST + 2 })
  if ok then return text end
  if errors.is(text, "limit") then
    errors.invalid(("%s: the value is larger than a store takes (%d bytes of JSON)"):format(where, LARGEST))
  end
  return errors.invalid(("%s: %s"):format(where, errors.is(text) and text.message or tostring(text)))
end

local function decode_value(value)
  if type(value) ~= "table" or value == json.null then return value end
  if value["$amount"] then return amount(value["$amount"]) end
  if json.is_array(value) then return value end
  local copy = {}
  for key, item in pairs(value) do
    local name = type(key) == "string" and key:sub(1, 2) == "$$" and key:sub(2) or key
    copy[name] = decode_value(item)
  end
  return copy
end

local function decode(text)
  return decode_value(json.decode(text))
end

-- ---- spaces -------------------------------------------------------------------------------------------------

local function check_name(where, what, name)
  if type(name) ~= "string" then errors.invalid(("%s: %s must be a string, not a %s"):format(where, what, type(name))) end
  if name == "" or #name > LONGEST_NAME or name:find "%c" or not utf8.len(name) then
    errors.invalid(("%s: %s must be 1 to %d bytes of text without control characters"):format(where, what, LONGEST_NAME))
  end
  return name
end

local space_methods = {}
local space_class = { __index = space_methods, __name = "perigee.store.space" }

local function check_space(where, self)
  require("perigee.world").check "perigee.store as it was kept"
  if getmetatable(self) ~= space_class then errors.invalid(where .. ": call it as space" .. where:gsub("^store%.", ":")) end
  return self.space
end

-- The value's text and version; nil and 0 if there is none.
local function read(space, name)
  local row = core.call("store.get", { space = space, name = name })[1]
  if not row then return nil, 0 end
  return row.value, row.version
end

--- The value, or options.default if there is none.
function space_methods:get(name, given)
  local space = check_space("store.get", self)
  check_name("store.get", "name", name)
  given = options.check("store.get", given, { "default" })
  local text = read(space, name)
  if text == nil then return given.default end
  return decode(text)
end

--- Stores the value, whatever was there; returns it.
function space_methods:set(name, value)
  local space = check_space("store.set", self)
  check_name("store.set", "name", name)
  core.call("store.set", { space = space, name = name, value = encode(("store.set: %s"):format(name), value) })
  return value
end

--- Takes the value away; true if there was one.
function space_methods:delete(name)
  local space = check_space("store.delete", self)
  check_name("store.delete", "name", name)
  return core.call("store.delete", { space = space, name = name })[1].deleted == 1
end

--- {name=, value=, changed_at=} of each value, by name.  changed_at: seconds since 1970.
function space_methods:list(given)
  local space = check_space("store.list", self)
  given = options.check("store.list", given, { "prefix", "limit" })
  local limit = given.limit or math.huge
  if type(limit) ~= "number" or limit < 1 then errors.invalid "store.list: limit must be a number of at least 1" end
  if given.prefix ~= nil and type(given.prefix) ~= "string" then errors.invalid "store.list: prefix must be a string" end
  local found, after = {}, nil
  repeat
    local page = math.min(PAGE, limit - #found)
    local rows = core.call("store.list", { space = space, prefix = given.prefix, limit = page // 1 | 0, after = after })
    for _, row in ipairs(rows) do
      found[#found + 1] = { name = row.name, value = decode(row.value), changed_at = row.changed_at / 1000 }
      after = row.name
    end
  until #rows < page or #found >= limit
  return found
end

-- Writes what f made of the version that it saw; false if somebody else has written meanwhile.
local function write_if_unchanged(space, name, version, value)
  local verb, fields = "store.set", { space = space, name = name, version = version }
  if value == nil then
    if version == 0 then return true end
    verb = "store.delete"
  else
    fields.value = encode(("store.update: %s"):format(name), value)
  end
  local ok, err = pcall(core.call, verb, fields)
  if not ok and not (errors.is(err, "invalid") and err.code == "conflict") then error(err, 0) end
  return ok
end

--- Replaces the value by f(value), which is called again when somebody else has written meanwhile.  What f returns
--- is returned; nil takes the value away.
function space_methods:update(name, f)
  local space = check_space("store.update", self)
  check_name("store.update", "name", name)
  if type(f) ~= "function" then errors.invalid(("store.update: the second argument must be a function, not a %s"):format(type(f))) end
  for try = 1, math.huge do
    local text, version = read(space, name)
    local value = f(text ~= nil and decode(text) or nil)
    if write_if_unchanged(space, name, version, value) then return value end
    task.sleep(math.random() * math.min(0.001 * try, 0.1))
  end
end

local function new_space(name)
  return setmetatable({ space = name }, space_class)
end

-- ---- the module: one space that is always there ---------------------------------------------------------------

local default = new_space(SPACE)

local store = {}

--- A space of its own: names in it are no names elsewhere.
function store.open(space)
  return new_space(check_name("store.open", "space", space))
end

--- Which space the functions of the module use in this VM: a policy has its own.
function store._use(space)
  default = new_space(check_name("store", "space", space))
end

function store.get(name, given) return default:get(name, given) end

function store.set(name, value) return default:set(name, value) end

function store.delete(name) return default:delete(name) end

function store.list(given) return default:list(given) end

function store.update(name, f) return default:update(name, f) end

return store
