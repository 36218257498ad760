-- session_spec.lua - what inputs of a prompt share, and what becomes of each: perigee.repl_session without a terminal.
local errors = require "perigee.error"
local repl_session = require "perigee.repl_session"
local task = require "perigee.task"

local function new(options)
  return repl_session.new(options or {})
end

-- The values of the input, or its error raised.
local function run(session, text)
  local outcome = session:eval(text)
  if not outcome.ok then error(outcome.error, 0) end
  return table.unpack(outcome.values or {}, 1, outcome.values and outcome.values.n)
end

local function message_of(session, text)
  local outcome = session:eval(text)
  assert.is_false(outcome.ok, text)
  return errors.is(outcome.error) and outcome.error.message or tostring(outcome.error)
end

describe("an input", function()
  it("is an expression if it can be one, with all its values", function()
    local session = new()
    assert.are.same({ 1, nil, 3 }, { run(session, "1, nil, 3") })
    assert.are.equal(3, session:eval("1, nil, 3").values.n)
    assert.are.equal("", session:eval("x = 5").text)
    assert.are.equal(5, run(session, "x"))
  end)

  it("that returns gives what it returns", function()
    assert.are.equal(7, run(new(), "local a = 3; return a + 4"))
  end)

  it("of blanks or a comment does nothing", function()
    local session = new()
    assert.are.equal("empty", session:eval("  \n ").kind)
    assert.is_true(session:eval("-- local x = 1").ok)
    assert.are.equal(nil, run(session, "x"))
  end)

  it("leaves its values in _ and _1, _2, until others come", function()
    local session = new()
    run(session, "'a', 'b'")
    assert.are.same({ "b", "a", "b" }, { run(session, "_, _1, _2") })
    run(session, "10")
    run(session, "x = 1")
    assert.are.same({ 10, 10, nil }, { run(session, "_, _1, _2") })
  end)

  it("never raises but gives its error", function()
    local session = new()
    local outcome = session:eval "error { code = 7 }"
    assert.is_false(outcome.ok)
    assert.are.equal(7, outcome.error.code)
    assert.are.equal("syntax", session:eval("x = = 1").error.code)
    assert.truthy(session:eval("error 'spoilt'").text:find("spoilt", 1, true))
  end)

  it("gives the line of an error, in a block and behind locals of earlier inputs too", function()
    local session = new()
    run(session, "local a, b = 1, 2")
    assert.are.equal("input:2:3: here", message_of(session, "if a then\n\nerror 'here' end"))
    assert.are.equal("input:3:4: there", message_of(session, "local c = a\nlocal d = b\n\nerror 'there'"))
    assert.truthy(message_of(session, "a = b\nb = = 1"):find "^input:4:2: ")
  end)

  it("has a traceback that ends with itself", function()
    local session = new()
    run(session, "local function f() error 'spoilt' end")
    run(session, "function g()\n  f()\nend")
    assert.are.equal(table.concat({ "stack traceback:", "\t[C]: in function 'error'", "\tinput:1:1: in upvalue 'f'",
      "\tinput:2:2: in global 'g'", "\tinput:3:2: in main chunk" }, "\n"),
      session:eval("local x = f\ng(x)\nx = 1").traceback)
    assert.truthy(session:eval("g()").traceback:find "\tinput:4:1: in main chunk$")
  end)

  it("is named by its number in what it loads later", function()
    local session = new()
    run(session, "function f()\n\n error 'late' end")
    assert.are.equal("input:1:3: late", message_of(session, "f()"))
  end)

  it("passes a cancel of the task that runs it", function()
    local session = new()
    local running = task.detach(function() session:eval "task_sleep(60)" end)
    session.names.task_sleep = task.sleep
    task.sleep(0)
    running:cancel "enough"
    local ok, err = pcall(running.wait, running)
    assert.is_false(ok)
    assert.is_true(errors.is(err, "cancelled"))
    assert.is_true(session.entries[1].cancelled)
  end)

  it("is kept with what came of it", function()
    local session = new()
    session:eval "1, 2"
    session:eval "error 'x'"
    assert.are.equal("1, 2", session.entries[1].text)
    assert.are.equal(2, session.entries[1].values)
    assert.is_true(session.entries[1].ok)
    assert.is_false(session.entries[2].ok)
    assert.truthy(session.entries[2].error)
    assert.truthy(session.entries[2].ended >= session.entries[2].began)
  end)
end)

describe("the names of a session", function()
  it("are the user's over the session's over Lua's, and touch no others", function()
    local session = new { names = { ready = "yes", type = nil } }
    run(session, "ready = 'mine'; type = 3; fresh = 1")
    assert.are.same({ "mine", 3, 1 }, { run(session, "ready, type, fresh") })
    assert.are.equal("function", type(type))
    assert.is_nil(rawget(_G, "fresh"))
  end)

  it("are those of code that an input loads", function()
    local session = new()
    run(session, "x = 4")
    assert.are.equal(4, run(session, "load 'return x' ()"))
    assert.are.equal(4, run(session, "_G.x"))
    assert.are.equal(9, run(session, "load('return x', 'c', 't', { x = 9 })()"))
    assert.are.equal(6, run(session, "load 'x = 6' () return x"))
  end)

  it("can be walked and looked up with the locals among them", function()
    local session = new { names = { ready = 1 } }
    run(session, "local hidden = 2; open = 3")
    local seen = {}
    for name, value in pairs(session.view) do seen[name] = value end
    assert.are.same({ 1, 2, 3, print }, { seen.ready, seen.hidden, seen.open, seen.print })
    assert.are.equal(2, session.view.hidden)
    assert.are.same({ 2, true }, { session:value "hidden" })
    assert.is_nil(session.env.hidden)
  end)
end)

describe("a top-level local", function()
  it("stays, with several names, functions and values that are missing", function()
    local session = new()
    run(session, "local a, b, c = 1, 2")
    run(session, "local function double(n) return n * 2 end")
    assert.are.same({ 1, 2, nil, 4 }, { run(session, "a, b, c, double(2)") })
    run(session, "c = a + b")
    assert.are.equal(3, run(session, "c"))
    assert.is_nil(rawget(session.env, "c"))
  end)

  it("is the very variable that closures of its input have", function()
    local session = new()
    run(session, "local n = 0; function count() n = n + 1; return n end")
    assert.are.equal(1, run(session, "count()"))
    run(session, "n = 10")
    assert.are.equal(11, run(session, "count()"))
    assert.are.equal(11, run(session, "n"))
  end)

  it("is the very variable that closures of later inputs have", function()
    local session = new()
    run(session, "local n = 1")
    run(session, "function add() n = n + 1 end")
    run(session, "add(); add()")
    assert.are.equal(3, run(session, "n"))
  end)

  it("that is declared again is another one", function()
    local session = new()
    run(session, "local x = 'old'; function old() return x end")
    run(session, "local x = x .. ' and new'")
    assert.are.same({ "old and new", "old" }, { run(session, "x, old()") })
    run(session, "local x = 1; local x = x + 1")
    assert.are.equal(2, run(session, "x"))
  end)

  it("of a block or function does not stay", function()
    local session = new()
    run(session, [[
      do local inner = 1 end
      for i = 1, 2 do local loop = i end
      if true then local branch = 1 elseif false then local other = 1 else local another = 1 end
      while true do local within = 1; break end
      repeat local again = true until again
      local f = function() local deep = 1; local function deeper() end return deep end
      local t = { g = function() local member = 1 end, (function() local called = 1 end)() }
    ]])
    for _, name in ipairs { "inner", "loop", "i", "branch", "other", "another", "within", "again", "deep", "deeper", "member", "called" } do
      assert.is_nil(session.locals[name], name)
    end
    assert.are.same({ "function", "table" }, { run(session, "type(f), type(t)") })
  end)

  it("is not found in strings, comments, fields and names that contain the word", function()
    local session = new()
    run(session, [==[s = "local a = 1" -- local b = 2
      --[[ local c = 3 ]] t = [=[
      local d = 4 ]=]; localx = 5; u = { ["local"] = 1, locale = 2 }
      v = 'it\'s local e' .. "\z
        local f"]==])
    assert.is_nil(next(session.locals))
    assert.are.equal(5, run(session, "localx"))
  end)

  it("that is constant stays constant", function()
    local session = new()
    run(session, "local limit <const>, word <const> = 5, 'w'; local made <const> = {}")
    assert.are.same({ 5, "w" }, { run(session, "limit, word") })
    assert.truthy(message_of(session, "limit = 6"):find("attempt to assign to const variable 'limit'", 1, true))
    assert.truthy(message_of(session, "made = 6"):find("attempt to assign to const variable 'made'", 1, true))
    run(session, "local limit = 1")
    run(session, "limit = 2")
    assert.are.equal(2, run(session, "limit"))
  end)

  it("that is to be closed is closed at the end of its input, and it says so", function()
    local session = new()
    local outcome = session:eval [[local res <close> = setmetatable({}, { __close = function() closed = true end })]]
    assert.is_true(outcome.ok)
    assert.truthy(outcome.text:find("res is a <close> variable: it was closed at the end of the input", 1, true))
    assert.are.same({ true, nil }, { run(session, "closed, res") })
  end)

  it("stays in an input that returns, and in one with a comment at its end", function()
    local session = new()
    assert.are.equal(2, run(session, "local r = 1 return r + 1"))
    run(session, "local k = 8 -- the end")
    run(session, "local m = 9 --[[ the\nend ]]")
    assert.are.same({ 1, 8, 9 }, { run(session, "r, k, m") })
    run(session, "local f = print\nlocal g = f")
    assert.are.equal(print, run(session, "g"))
  end)

  it("keeps the value it had when its input failed", function()
    local session = new()
    message_of(session, "local before = 1; local t = { 2 }; error 'x'; local after = 2")
    assert.are.same({ 1, 2, nil }, { run(session, "before, t[1], after") })
    message_of(session, "local n = 1; for i = 1, 3 do local within = i; if i == 2 then error 'x' end end")
    assert.are.equal(1, run(session, "n"))
    assert.is_nil(session.locals.within)
  end)

  it("does not stay where a goto passes it, and the input runs all the same", function()
    local session = new()
    assert.is_true(session:eval("do goto done end; local passed = 1; ran = true ::done::").ok)
    assert.is_true(session:eval("goto last; local passed = 1; ::last::").ok)
  end)

  it("is no end to what one input can declare and another mention", function()
    local session = new()
    local names = {}
    for i = 1, 190 do names[i] = "v" .. i end
    run(session, "local " .. table.concat(names, ", ") .. " = 1, 2")
    run(session, "local w = 3")
    assert.are.same({ 1, 2, 3 }, { run(session, "v1, v2, w") })
    assert.is_true(session:eval("all = { " .. table.concat(names, ", ") .. ", w }").ok)
  end)

  it("of that name can be _ENV without changing later inputs", function()
    local session = new()
    run(session, "local _ENV = { x = 1 }; x = 2")
    assert.are.equal("table", type(run(session, "string")))
  end)

  it("is seen by tasks that an input leaves behind", function()
    local session = new { names = { task = task } }
    run(session, "local n = 0; local done = task.spawn(function() task.sleep(0.01); n = n + 1 end)")
    run(session, "n = 5")
    run(session, "done:wait()")
    assert.are.equal(6, run(session, "n"))
  end)
end)

describe("an incomplete input", function()
  local session = new()

  it("is told by the parser's own verdict", function()
    for _, text in ipairs { "if x then", "f(", "x =", "1 +", "t = {", "for i = 1, 2 do\nprint(i)", "[[ long", "--[[ note",
      "a,", "function f()", "repeat", "return {", "local function g(" } do
      assert.is_true(session:incomplete(text), text)
    end
  end)

  it("is none that is right, or wrong for good", function()
    for _, text in ipairs { "x", "x = 1", "x = = 1", "foo bar", "end", "'open", "", "-- note", "f()", "1 + + 2" } do
      assert.is_false(session:incomplete(text), text)
    end
  end)

  it("is none that is for the prompt", function()
    for _, text in ipairs { ":save (", "?if", "  :time f(", "? {" } do
      assert.is_false(session:incomplete(text), text)
    end
    assert.is_true(session:incomplete "::label:: if x then")
  end)

  it("may end in an &", function()
    assert.is_false(session:incomplete "f(1) &")
    assert.is_true(session:incomplete "f(1, &")
  end)
end)

describe("an input that ends in &", function()
  local function listening()
    local said = {}
    local session = new { names = { task = task }, say = function(text) said[#said + 1] = text end }
    return session, said
  end

  local function await_end(session)
    while #session.tasks > 0 do task.sleep(0.002) end
  end

  it("runs as a task and tells of its end with its values", function()
    local session, said = listening()
    local outcome = session:eval "task.sleep(0.01), 42 & -- behind the prompt"
    assert.are.same({ "task", true, "[1] started\n" }, { outcome.kind, outcome.ok, outcome.text })
    assert.are.equal(1, #session.tasks)
    await_end(session)
    assert.truthy(said[1]:find "^%[1%] done: task.sleep%(0.01%), 42 &")
    assert.truthy(said[1]:find "42\n$")
    assert.is_true(session.entries[1].ok)
    assert.are.equal(1, session.entries[1].task)
  end)

  it("tells of its error", function()
    local session, said = listening()
    session:eval "task.sleep(0); error 'spoilt' &"
    await_end(session)
    assert.truthy(said[1]:find "^%[1%] failed: ")
    assert.truthy(said[1]:find("spoilt", 1, true))
    assert.is_false(session.entries[1].ok)
  end)

  it("can be cancelled, and tells so", function()
    local session, said = listening()
    session:eval "task.sleep(60) &"
    session:eval "task.sleep(60) &"
    session.tasks[1].task:cancel "enough"
    while #session.tasks > 1 do task.sleep(0.002) end
    assert.are.same({ "[1] cancelled: task.sleep(60) &\n" }, said)
    assert.is_true(session.entries[1].cancelled)
    session.tasks[1].task:cancel "enough"
    await_end(session)
  end)

  it("leaves its locals when it has ended", function()
    local session = listening()
    session:eval "local late = (function() task.sleep(0.01) return 5 end)() &"
    assert.is_nil((run(session, "late")))
    await_end(session)
    assert.are.equal(5, run(session, "late"))
  end)

  it("is a fault where what stands before is none", function()
    local session = listening()
    assert.is_false(session:eval("x = = 1 &").ok)
    assert.is_false(session:eval("&").ok)
    assert.are.equal(2, run(session, "6 & 3"))
  end)
end)

describe("the locals of a script that has opened the prompt", function()
  it("come first, and are assigned where they are", function()
    local held = { x = 1 }
    local session = new { locals = {
      has = function(name) return name == "x" or name == "empty" end,
      get = function(name) return held[name] end,
      set = function(name, value) held[name] = value end,
    } }
    assert.are.equal(1, run(session, "x"))
    run(session, "x = x + 1; y = 7; empty = nil")
    assert.are.equal(2, held.x)
    assert.is_nil(held.y)
    run(session, "local x = 'mine'")
    assert.are.equal("mine", run(session, "x"))
    assert.are.equal(2, held.x)
  end)
end)
