-- internal: prelude_closed.lua - what a closed VM does without; runs once in each, after prelude.lua.
--
-- A closed VM runs the words of somebody who may only look. Which C modules it has is decided where it is made
-- (host/vm.h); io was never opened. Here goes what else of Lua reaches outside or would hold up the whole process:
-- files, binary chunks, the environment, finalizers, and C functions that compute for long where neither a hook nor an
-- allocation comes by. Nothing here may keep a function that can do such things where a script can find it.
local host = ...

local error, type, select, tostring, ipairs, next = error, type, select, tostring, ipairs, next
local rawlen, rawget, metatable_of = rawlen, rawget, debug.getmetatable
local concat, require = table.concat, require

local LONGEST_CODE <const> = 1024 * 1024
local LONGEST_LOOP <const> = 200 * 1000 -- elements that one call of the table library goes over
local LONGEST_TEXT <const> = 16 * 1024 * 1024
local LONGEST_PATTERN <const> = 10000

local function refuse(name, why)
  error(name .. " is not available here: " .. (why or "this VM is closed"), 3)
end

local function not_here(name, why)
  return function() refuse(name, why) end
end

-- ---- code ----------------------------------------------------------------------------------------------------------

local load_text = host.load_text

-- The pieces that a reader gives, as Lua's load takes them.
local function read_all(reader)
  local parts, size = {}, 0
  while true do
    local piece = reader()
    if piece == nil or piece == "" then return concat(parts) end
    if type(piece) ~= "string" then error("reader function must return a string", 0) end
    size = size + #piece
    if size > LONGEST_CODE then error("load: the code is longer than 1 MB", 0) end
    parts[#parts + 1] = piece
  end
end

function load(chunk, name, mode, ...)
  if type(chunk) == "function" then
    chunk, name = read_all(chunk), name or "=(load)"
  elseif type(chunk) ~= "string" then
    error("load takes text or a function that gives it, not a " .. type(chunk), 2)
  end
  if #chunk > LONGEST_CODE then error("load: the code is longer than 1 MB", 2) end
  if mode ~= nil and not tostring(mode):find("t", 1, true) then
    return nil, "attempt to load a text chunk (mode is '" .. tostring(mode) .. "')"
  end
  name = name ~= nil and tostring(name) or chunk
  if select("#", ...) > 0 then return load_text(chunk, name, (...)) end
  return load_text(chunk, name)
end

loadfile, dofile = not_here "loadfile", not_here "dofile"
string.dump = not_here "string.dump"

-- JSON's parser is a library of the system: it is loaded while that can be done.
if package.preload["perigee.core.json"] then require("perigee.core.json").decode "[]" end

-- Modules are the program's own; none comes from a file.
local searchers = package.searchers
for i = #searchers, 3, -1 do searchers[i] = nil end
package.path, package.cpath = "", ""
package.loadlib = not_here "package.loadlib"
function package.searchpath(name) return nil, "no file of " .. tostring(name) .. " is looked for here" end

-- ---- the system ----------------------------------------------------------------------------------------------------

for _, name in ipairs { "remove", "rename", "tmpname", "execute", "setlocale", "exit" } do
  os[name] = not_here("os." .. name)
end
function os.getenv() return nil end

-- The collector belongs to the host: what may be asked is how much there is.
local collect = collectgarbage
function collectgarbage(what)
  if what == nil or what == "collect" then return collect() end
  if what == "count" then return collect "count" end
  return refuse("collectgarbage \"" .. tostring(what) .. "\"")
end

-- A finalizer would run in the middle of anything.
do
  local set = setmetatable
  function setmetatable(t, mt)
    if type(mt) == "table" and rawget(mt, "__gc") ~= nil then error("__gc is not available here: release things with <close>", 2) end
    return set(t, mt)
  end
end

-- ---- loops in C ----------------------------------------------------------------------------------------------------

local function too_long(name)
  error("table." .. name .. ": more than 200000 elements", 4)
end

-- What only claims to be long could claim another length at the next look.
local function check_length(name, t)
  if type(t) ~= "table" then return end
  local mt = metatable_of(t)
  if mt and rawget(mt, "__len") ~= nil then error("table." .. name .. ": a table with __len is not taken here", 3) end
  if rawlen(t) > LONGEST_LOOP then too_long(name) end
end

for _, name in ipairs { "insert", "remove", "sort" } do
  local raw = table[name]
  table[name] = function(t, ...)
    check_length(name, t)
    return raw(t, ...)
  end
end

local function check_range(name, from, to)
  if type(from) == "number" and type(to) == "number" and to - from > LONGEST_LOOP then
    too_long(name)
  end
end

local raw_concat, raw_move, raw_unpack = table.concat, table.move, table.unpack
function table.concat(t, separator, from, to)
  if to == nil then check_length("concat", t) else check_range("concat", from or 1, to) end
  return raw_concat(t, separator, from, to)
end

function table.move(a, from, to, at, ...)
  check_range("move", from, to)
  return raw_move(a, from, to, at, ...)
end

function table.unpack(t, from, to)
  if to == nil then check_length("unpack", t) else check_range("unpack", from or 1, to) end
  return raw_unpack(t, from, to)
end

local raw_rep = string.rep
function string.rep(s, n, separator)
  local each = #tostring(s) + #tostring(separator or "")
  if type(n) == "number" and n * (each > 0 and each or 1) > LONGEST_TEXT then
    error("string.rep: the text would be longer than 16 MB", 2)
  end
  return raw_rep(s, n, separator)
end

-- ---- patterns ------------------------------------------------------------------------------------------------------

-- A pattern that may go over its text again and again is matched in Lua, where the step limit reaches it.
local EFFORT <const> = 2e7 -- comparisons that C may do in one call
local SPECIAL <const> = "[%^%$%*%+%?%.%(%)%[%]%%%-]"
local raw_find, raw_match, raw_gmatch, raw_gsub = string.find, string.match, string.gmatch, string.gsub
local slow -- perigee.closed_patterns, loaded when it is needed

-- How often C could look at a byte, at worst: each repetition but one at the very end is tried at every length.
local function effort(s, pattern)
  local bytes, work = #s + 1, raw_find(pattern, "^%^") and 1 or #s + 1
  local body = raw_gsub(raw_gsub(pattern, "%%[^bf%d]", "x"), "[%*%+%-]%)*$", "")
  local _, repeats = raw_gsub(body, "[%*%+%-]", "")
  local _, pairs_of = raw_gsub(body, "%%[b%d]", "")
  local _, options = raw_gsub(body, "%?", "")
  return work * bytes ^ (repeats + pairs_of) * 2 ^ options
end

local function texts(s, pattern)
  if type(s) == "number" then s = tostring(s) end
  if type(pattern) == "number" then pattern = tostring(pattern) end
  return s, pattern, type(s) == "string" and type(pattern) == "string"
end

local function slowly(name, ...)
  slow = slow or require "perigee.closed_patterns"(raw_find)
  return slow[name](...)
end

local function is_slow(s, pattern)
  if #pattern > LONGEST_PATTERN then error("the pattern is longer than 10000 bytes", 3) end
  return effort(s, pattern) > EFFORT
end

function string.find(s, pattern, init, plain)
  local subject, wanted, both = texts(s, pattern)
  if both and (plain or not raw_find(wanted, SPECIAL)) then
    if #subject * #wanted > 50 * EFFORT then error("string.find: the texts are too long", 2) end
  elseif both and is_slow(subject, wanted) then
    return slowly("find", subject, wanted, init)
  end
  return raw_find(s, pattern, init, plain)
end

function string.match(s, pattern, init)
  local subject, wanted, both = texts(s, pattern)
  if both and is_slow(subject, wanted) then return slowly("match", subject, wanted, init) end
  return raw_match(s, pattern, init)
end

function string.gmatch(s, pattern, init)
  local subject, wanted, both = texts(s, pattern)
  if both and is_slow(subject, wanted) then return slowly("gmatch", subject, wanted, init) end
  return raw_gmatch(s, pattern, init)
end

function string.gsub(s, pattern, replacement, most)
  local subject, wanted, both = texts(s, pattern)
  if both and is_slow(subject, wanted) then return slowly("gsub", subject, wanted, replacement, most) end
  return raw_gsub(s, pattern, replacement, most)
end

-- Methods of text are the library as it is now: a script that changes `string` changes it for itself alone.
local methods = {}
for name, f in next, string do methods[name] = f end
local of_text = getmetatable ""
of_text.__index, of_text.__metatable = methods, "text"
