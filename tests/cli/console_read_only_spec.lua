-- console_read_only_spec.lua - a console that may only look can do nothing else, whatever is tried there.
local consoles = require "tests.support.console"
local daemon = require "tests.support.daemon"
local fs = require "perigee.fs"
local json = require "perigee.json"

local function start()
  local socket, world = consoles.daemon()
  finally(function() world:close() end)
  return socket, world
end

-- What somebody could try at a console that may only look: an input, and what must come of it, a pattern of the result's text.
local ATTEMPTS <const> = {
  {
    "read or write files, or reach the system",
    { [[io.open("CANARY", "w")]], "io is not there for a console that may only look" },
    { [[io.lines "/etc/passwd"]], "may only look" },
    { [[os.remove "CANARY"]], "os.remove is not available here" },
    { [[os.rename("CANARY", "CANARY.2")]], "os.rename is not available here" },
    { [[os.tmpname()]], "os.tmpname is not available here" },
    { [[os.execute "touch CANARY.2"]], "os.execute is not available here" },
    { [[os.getenv "HOME" or os.getenv "SECRET_OF_SPEC"]], "^nil\n$" },
    { [[os.exit(0)]], "os.exit is not available here" },
    { [[os.setlocale "C"]], "os.setlocale is not available here" },
    { [[loadfile "/etc/passwd"]], "loadfile is not available here" },
    { [[dofile "/etc/passwd"]], "not available here" },
    { [[time.format(0, "../../etc/passwd")]], "error" },
  },
  {
    "get at modules that write",
    { [[fs.write("CANARY", "x")]], "fs is not there for a console that may only look" },
    { [[http.get "http://127.0.0.1:1"]], "http is not there" },
    { [[proc.run { args = { "touch", "CANARY.2" } }]], "proc is not there" },
    { [[store.set("x", 1)]], "store is not there" },
    { [[sxwl:create_job {}]], "sxwl is not there" },
    { [[deai.client()]], "deai is not there" },
    { [[require "perigee.core.fs"]], "may only look" },
    { [[require "perigee.link"]], "may only look" },
    { [[require "perigee.console_host"]], "may only look" },
    { [[require "cjson"]], "may only look" },
    { [[require "debug"]], "may only look" },
    { [[package.loaded["perigee.link"].upstream]], "nil value %(field 'loaded'%)" },
    { [[package.preload["perigee.core.fs"]()]], "nil value %(field 'preload'%)" },
    { [[package.searchers[2]("perigee.core.fs")]], "nil value %(field 'searchers'%)" },
    { [[package.loadlib("libc.so.6", "system")]], "nil value %(field 'loadlib'%)" },
  },
  {
    "look into functions, states and metatables",
    { [[debug.getregistry()]], "nil value %(field 'getregistry'%)" },
    { [[debug.getupvalue(print, 1)]], "nil value %(field 'getupvalue'%)" },
    { [[debug.setupvalue(print, 1, 1)]], "nil value %(field 'setupvalue'%)" },
    { [[debug.getlocal(2, 1)]], "nil value %(field 'getlocal'%)" },
    { [[debug.sethook()]], "nil value %(field 'sethook'%)" },
    { [[debug.getinfo(1)]], "nil value %(field 'getinfo'%)" },
    { [[getmetatable("").__index]], "^nil\n$" },
    { [[getmetatable(_G).__index]], "^nil\n$" },
    { [[setmetatable(_G, {})]], "protected metatable" },
    { [[getmetatable(task.current()).__gc(task.current())]], "nil value %(field '__gc'%)" },
    { [[setmetatable({}, { __gc = function() end })]], "__gc is not available here" },
  },
  {
    "run code that is not text",
    { [[string.dump(function() end)]], "string.dump is not available here" },
    { [[load("\27Lua\x54", "x", "b")]], "attempt to load a text chunk" },
    { [[load("\27Lua\x54\0\x19\x93", "x")]], "attempt to load a binary chunk" },
    { [[load("return io", "x", "t", {})()]], "^nil\n$" },
    { [[load("return package.loaded", "x", "t")()]], "^nil\n$" },
    { [[load(function() return "\27Lua" end)]], "longer than 1 MB" },
    { [[coroutine.wrap(function() return load("return _ENV.package.loaded")() end)()]], "^nil\n$" },
  },
  {
    "have the daemon do more than tell",
    { [[jobs.submit { name = "x" }]], "nil value %(field 'submit'%)" },
    { [[jobs.stop "aa11"]], "nil value %(field 'stop'%)" },
    { [[jobs.approve "aa11"]], "nil value %(field 'approve'%)" },
    { [[jobs.get("aa11"):stop()]], "nil value" },
    { [[task.get_local("perigee.session").ask]], "^nil\n$" },
    { [[task.get_local("perigee.session").reports.why "aa11; drop"]], "there is no job" },
    { [[jobs.list { limit = 1e15, state = { "x" } }]], "." },
    { [[jobs.get(("x"):rep(5e6))]], "too large" },
    { [[:save CANARY.2]], "there is no command :save" },
    { [[:load /etc/passwd]], "there is no command :load" },
    { [[:emulator on]], "there is no command :emulator" },
    { [[:yes on]], "there is no command :yes" },
    { [[:log debug]], "there is no command :log" },
  },
  {
    "compute for ever",
    { [[while true do end]], "more than 0.5 s without waiting" },
    { [[while true do pcall(error) end]], "more than 0.5 s without waiting" },
    { [[xpcall(error, function() while true do end end)]], "more than 0.5 s without waiting" },
    { [[local x <close> = setmetatable({}, { __close = function() while true do end end })]], "more than 0.5 s without waiting" },
  },
  {
    "compute for ever where nothing sees it",
    { [[error(setmetatable({}, { __tostring = function() while true do end end }))]], "more than 0.5 s without waiting" },
    { [[("a"):rep(30):find(("a*"):rep(30) .. "b")]], "without waiting" },
    { [[("a"):rep(30):match(("a?"):rep(30) .. ("a"):rep(30) .. "b")]], "without waiting" },
  },
  {
    "have C compute for ever",
    { [[error(setmetatable({}, { __tostring = function() error "again" end }))]], "." },
    { [[("a"):rep(1e7):find(("a"):rep(1e6) .. "b", 1, true)]], "too long" },
    { [[("").rep("", 1 << 60)]], "longer than 16 MB" },
    { [[table.insert(setmetatable({}, { __len = function() return 1 << 60 end, __index = rawlen, __newindex = rawequal }), 1, 1)]],
      "a table with __len is not taken here" },
    { [[table.sort(setmetatable({}, { __len = function() return 1 << 31 end, __index = rawlen, __newindex = rawequal }))]],
      "a table with __len is not taken here" },
    { [[table.concat(setmetatable({}, { __index = type }), "", 1, 1 << 40)]], "more than 200000 elements" },
    { [[table.move({}, 1, 1e8, 2)]], "more than 200000 elements" },
    { [[coroutine.yield(1)]], "yielded outside of a wait" },
    { [[task.current():cancel "me" task.sleep(1)]], "cancelled" },
    { [[collectgarbage "stop"]], "not available here" },
  },
  {
    "take more memory than it has",
    { [[local t = {} while true do t[#t + 1] = {} end]], "memory" },
    { [[local t = {} for i = 1, 1000 do t[i] = ("x"):rep(1e6) .. i end]], "memory" },
    { [[local function f() return { f() } end f()]], "memory" },
    { [[for i = 1, 1e6 do task.spawn(task.sleep, 0.01) end]], "tasks run already" },
    { [[json.decode(("["):rep(1e6))]], "nested" },
    { [[print(("x"):rep(1e6))]], "^$" },
    { [[("x"):rep(1e7)]], "." },
  },
}

describe("a console that may only look", function()
  for _, group in ipairs(ATTEMPTS) do
    it(("cannot %s"):format(group[1]), function()
      local socket, world = start()
      local canary = world.folder .. "/canary"
      fs.write(canary, "sings")
      local before = fs.list(world.folder)
      local one = consoles.open(socket)
      finally(function() one:close() end)

      for i = 2, #group do
        local input = group[i][1]:gsub("CANARY", canary)
        local result, err = one:eval(input)
        assert(result, ("%s: %s"):format(input, err and json.encode(err) or "no answer"))
        assert.matches(group[i][2], result.text, nil, input)
        assert.is_nil(result.text:find("root:", 1, true), input)
      end

      assert.equal("42\n", one:eval("6 * 7").text) -- the session is as it was
      assert.equal("sings", fs.read(canary))
      assert.same(before, fs.list(world.folder))
      assert.equal("held", world:call("jobs.get", { id = "aa11" }).state)
      assert.equal(1, #world:call("jobs.list", {}))
      assert.is_nil(daemon.log(world.child):find("control.failed", 1, true))
    end)
  end

  it("has libraries of its own: what it breaks there breaks for its lines alone", function()
    local socket = start()
    local one <close> = consoles.open(socket)
    local other <close> = consoles.open(socket)

    one:eval [[for _, lib in pairs { string, table, math, os, coroutine, utf8, task, json, jobs } do
      for name in pairs(lib) do lib[name] = nil end
    end]]
    one:eval "tostring, type, pairs, ipairs, error, pcall, next, rawget, setmetatable, getmetatable, select = nil"

    assert.equal("{ 1, 2 }\n", one:eval("{ 1, 2 }").text)
    assert.matches("aa11", one:eval(":jobs").text)
    assert.matches("aa11", other:eval("jobs.list {}").text)
  end)

  it("goes on after its memory was used up, once that is free again", function()
    local socket = start()
    local one <close> = consoles.open(socket)

    local result = one:eval "hoard = {} while true do hoard[#hoard + 1] = ('x'):rep(1000) .. #hoard end"
    local freed = one:eval "hoard = nil"

    assert.is_false(result.ok)
    assert.is_true(freed.ok, freed.text)
    assert.equal("2\n", one:eval("1 + 1").text)
  end)
end)
