-- store_spec.lua - values by name: what goes in comes out, and nobody's update is lost.
local amount = require "perigee.amount"
local daemon = require "tests.support.daemon"
local errors = require "perigee.error"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local json = require "perigee.json"
local spawn = require "tests.support.spawn"
local store = require "perigee.store"
local task = require "perigee.task"

local function refused(f, ...)
  local err = helper.error_of(f, ...)
  assert.is_true(errors.is(err, "invalid"), tostring(err))
  return err.message
end

-- A space that no other spec uses.
local function space_of(name)
  local space = store.open("spec/" .. name)
  for _, row in ipairs(space:list()) do space:delete(row.name) end
  return space
end

describe("a stored value", function()
  it("comes back as it was: text, numbers of any size, lists, empty tables, null and amounts", function()
    local space = space_of "values"
    local exact = "115792089237316195423570985008687907853269984665640564039457584007913129639935"
    local value = {
      text = "预算 \"a\"\n", integer = math.maxinteger, float = 0.1, whole = 3.0, big = json.number(exact), yes = true,
      no = false,
      money = amount "27870365208.168000000000000001 CCD", list = { 1, { amount "1 CNY" } }, empty = {}, none = json.array(),
      null = json.null,
    }

    space:set("all", value)
    local back = space:get "all"

    assert.equal(value.text, back.text)
    assert.equal(math.maxinteger, back.integer)
    assert.equal("float", math.type(back.whole))
    assert.equal(0.1, back.float)
    assert.equal(exact, tostring(back.big))
    assert.is_true(amount.is(back.money))
    assert.equal("27870365208.168000000000000001 CCD", tostring(back.money))
    assert.equal("1 CNY", tostring(back.list[2][1]))
    assert.is_nil(next(back.empty))
    assert.is_false(json.is_array(back.empty))
    assert.is_true(json.is_array(back.none))
    assert.equal(json.null, back.null)
    assert.is_true(back.yes)
    assert.is_false(back.no)
  end)

  it("may have fields that begin with a dollar, also those that the store uses itself", function()
    local space = space_of "dollars"
    local value = { ["$amount"] = "not money", ["$$amount"] = 2, ["$"] = 3, price = amount "1 CCD" }

    space:set("x", value)
    local back = space:get "x"

    assert.equal("not money", back["$amount"])
    assert.equal(2, back["$$amount"])
    assert.equal(3, back["$"])
    assert.equal("1 CCD", tostring(back.price))
  end)

  it("is a copy: changing what came back changes nothing", function()
    local space = space_of "copies"
    space:set("x", { 1 })
    space:get("x")[1] = 2
    assert.same({ 1 }, space:get "x")
  end)

  it("may be false, which is not the same as missing", function()
    local space = space_of "false"
    space:set("x", false)
    assert.is_false(space:get("x", { default = 5 }))
    assert.equal(5, space:get("y", { default = 5 }))
    assert.is_nil(space:get "y")
  end)

  it("is refused with the place named when JSON cannot say it exactly", function()
    local space = space_of "refused"
    local loop = {}
    loop.me = { loop }
    for value, words in pairs {
      [{ a = { 1, print } }] = "at .a[2]",
      [{ x = 0 / 0 }] = "NaN",
      [{ s = { require("perigee.secret").of "hush" } }] = "a secret",
      [setmetatable({}, {})] = "metatable",
      [loop] = "contains itself at .me[1]",
      [{ 1, nil, 3 }] = "cannot encode",
      ["\xff"] = "UTF-8",
      [coroutine.create(print)] = "thread",
    } do
      local message = refused(space.set, space, "x", value)
      assert.truthy(message:find(words, 1, true), message)
      assert.falsy(message:find("hush", 1, true))
    end
    assert.is_nil(space:get "x")
  end)

  it("is refused with the limit named when it is too large, and kept just below", function()
    local space = space_of "large"
    local text = ("x"):rep(1024 * 1024 - 2)
    space:set("fits", text)
    assert.equal(text, space:get "fits")
    assert.truthy(refused(space.set, space, "x", text .. "y"):find("1048576 bytes", 1, true))
  end)
end)

describe("the store's arguments", function()
  it("are checked, and the wrong one is named", function()
    assert.truthy(refused(store.set, "x", nil):find("store.delete", 1, true))
    assert.truthy(refused(store.get, ""):find("name", 1, true))
    assert.truthy(refused(store.get, 5):find("name", 1, true))
    assert.truthy(refused(store.get, ("n"):rep(257)):find("256", 1, true))
    assert.truthy(refused(store.get, "a\nb"):find("name", 1, true))
    assert.truthy(refused(store.get, "x", { deflt = 1 }):find("default", 1, true))
    assert.truthy(refused(store.list, { prefix = 5 }):find("prefix", 1, true))
    assert.truthy(refused(store.list, { limit = 0 }):find("limit", 1, true))
    assert.truthy(refused(store.update, "x", 5):find("function", 1, true))
    assert.truthy(refused(store.open, ""):find("space", 1, true))
    assert.truthy(refused(store.open("s").get, "x"):find("space:get", 1, true))
  end)
end)

describe("a space", function()
  it("has names of its own, in order, by prefix and in any number", function()
    local one, other = space_of "one", space_of "other"
    for i = 1, 1100 do one:set(("n%04d"):format(i), i) end
    other:set("n0001", "another")

    local rows = one:list()
    assert.equal(1100, #rows)
    for i, row in ipairs(rows) do assert.equal(i, row.value) end
    assert.equal(100, #one:list { prefix = "n10" })
    assert.equal(700, #one:list { limit = 700 })
    assert.equal("another", other:list()[1].value)
    assert.truthy(math.abs(rows[1].changed_at - os.time()) < 120)
    assert.is_true(one:delete "n0001")
    assert.is_false(one:delete "n0001")
    assert.equal("another", other:get "n0001")
  end)
end)

describe("store.update", function()
  it("loses no update of many tasks", function()
    local space = space_of "tasks"
    local tasks = {}
    for i = 1, 20 do
      tasks[i] = task.spawn(function()
        for _ = 1, 5 do space:update("n", function(n) return (n or 0) + 1 end) end
      end)
    end
    for _, one in ipairs(tasks) do one:wait() end
    assert.equal(100, space:get "n")
  end)

  it("calls the function again with what somebody else has written meanwhile", function()
    local space = space_of "again"
    space:set("x", { 1 })
    local seen = {}

    local result = space:update("x", function(old)
      seen[#seen + 1] = old[1]
      if #seen == 1 then space:set("x", { 10 }) end
      return { old[1] + 1 }
    end)

    assert.same({ 1, 10 }, seen)
    assert.same({ 11 }, result)
    assert.same({ 11 }, space:get "x")
  end)

  it("takes the name away when the function returns nil, and writes nothing when it raises", function()
    local space = space_of "nil"
    space:set("x", 1)
    assert.equal("no", helper.error_of(space.update, space, "x", function() error("no", 0) end))
    assert.equal(1, space:get "x")
    assert.is_nil(space:update("x", function() return nil end))
    assert.is_nil(space:get("x"))
    assert.is_nil(space:update("x", function(old) return old end))
  end)
end)

describe("a value in a state directory", function()
  it("survives the process that wrote it", function()
    local state = helper.tmpdir()
    local written = spawn.run { "run", "--state", state, "-e", "require('perigee.store').set('x', { 'kept' })" }
    assert.equal(0, written.status, written.stderr)
    local read = spawn.run { "run", "--state", state, "-e", "print(require('perigee.store').get('x')[1])" }
    assert.equal("kept\n", read.stdout, read.stderr)
  end)

  it("loses no update of two processes", function()
    local state, children = helper.tmpdir(), {}
    local code = "local s = require 'perigee.store' for _ = 1, 60 do s.update('n', function(n) return (n or 0) + 1 end) end"
    for i = 1, 2 do children[i] = spawn.start { "run", "--state", state, "-e", code } end
    for _, child in ipairs(children) do assert.equal(0, child:wait().status, child:output "stderr") end
    local read = spawn.run { "run", "--state", state, "-e", "print(require('perigee.store').get 'n')" }
    assert.equal("120\n", read.stdout, read.stderr)
  end)

  it("is not made before it is used: by --version, by an empty script, by one that only requires the store", function()
    local home = helper.tmpdir()
    local env = { PERIGEE_STATE = home .. "/state", XDG_STATE_HOME = home .. "/xdg", HOME = home }
    for _, args in ipairs { { "--version" }, { "run", "-e", "" }, { "run", "-e", "require 'perigee.store'.open 'x'" } } do
      assert.equal(0, spawn.run(args, { env = env }).status)
      assert.same({}, fs.list(home))
    end
    assert.equal(0, spawn.run({ "run", "-e", "require 'perigee.store'.get 'x'" }, { env = env }).status)
    assert.same({ "state" }, fs.list(home))
  end)

  it("is in the home directory's state unless another place is said: flag, variable, or XDG_STATE_HOME", function()
    local home = helper.tmpdir()
    local set = { "run", "-e", "require 'perigee.store'.set('x', 1)" }
    local function there(path) return fs.stat(home .. "/" .. path .. "/journal.db") ~= nil end
    spawn.run(set, { env = { HOME = home, XDG_STATE_HOME = false } })
    assert.is_true(there ".local/state/perigee")
    spawn.run(set, { env = { HOME = home, XDG_STATE_HOME = home .. "/xdg" } })
    assert.is_true(there "xdg/perigee")
    spawn.run(set, { env = { HOME = home, PERIGEE_STATE = home .. "/variable" } })
    assert.is_true(there "variable")
    table.insert(set, 2, "--state=" .. home .. "/flag")
    spawn.run(set, { env = { HOME = home, PERIGEE_STATE = home .. "/not_this" } })
    assert.is_true(there "flag")
    assert.is_false(there "not_this")
  end)

  it("of a policy is in a space of the policy's own", function()
    local world = daemon.world()
    finally(function() world:close() end)
    local files = {}
    for i, name in ipairs { "first", "second" } do
      files[i] = world:policy(name, ([[
        local store = require "perigee.store"
        return { name = "NAME", schedules = { { name = "s", every = "1s", run = function()
          store.set("mine", "NAME")
          print("NAME has " .. store.get "mine" .. " and " .. require("perigee.store").open("policy/NAME"):get "mine")
        end } } }]]):gsub("NAME", name))
    end
    local child = world:start(files)
    for _, name in ipairs { "first", "second" } do
      assert.is_true(child:read_until(name .. " has " .. name .. " and " .. name), daemon.log(child))
    end
  end)

  it("of an emulator, or in memory by name, ends with the process", function()
    local code = "local s = require 'perigee.store' print(s.get 'x') s.set('x', 1) print(s.get 'x')"
    for _, args in ipairs { { "run", "--emulator", "-e", code }, { "run", "--state", ":memory:", "-e", code } } do
      for _ = 1, 2 do assert.equal("nil\n1\n", spawn.run(args).stdout) end
    end
  end)
end)
