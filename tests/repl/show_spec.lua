-- show_spec.lua - what the prompt shows of values and errors: as people read them, bounded, harmless to a terminal.
local amount = require "perigee.amount"
local errors = require "perigee.error"
local secret = require "perigee.secret"
local show = require "perigee.repl_show"
local task = require "perigee.task"
local term = require "perigee.core.term"

local function values(options, ...)
  return show.values(table.pack(...), options)
end

local function text(...)
  return values({ columns = 80 }, ...)
end

describe("the echo of values", function()
  it("is nothing for a statement, and a line for each value of an expression, nil included", function()
    assert.equal("", text())
    assert.equal("nil\n", text(nil))
    assert.equal('1\n"a"\nnil\n', text(1, "a", nil))
  end)

  it("shows text as Lua source, so that an escape sequence does nothing", function()
    assert.equal([["算想云\n\x1b[31m"]] .. "\n", text "算想云\n\27[31m")
  end)

  it("shows amounts as they are written, and secrets not at all", function()
    assert.equal("0.05 CCD\n", text(amount "0.05 CCD"))
    local value = { 3, price = amount "0.05 CCD", key = secret.of "hunter22" }
    assert.equal("{ 3, key = [secret], price = 0.05 CCD }\n", text(value))
    assert.equal("[secret]\n", text(secret.of "hunter22"))
  end)

  it("sorts the keys of tables, limits their depth, width and length, and says how to see more", function()
    assert.equal('{ 1, a = 2, b = 3 }\n', text { b = 3, a = 2, 1 })
    local deep = text { a = { b = { c = { d = { 1 } } } } }
    assert.equal("{ a = { b = { c = { d = {…} } } } }\n(shortened: print(inspect(_)) shows more)\n", deep)
    local long = {}
    for i = 1, 1000 do long[i] = i end
    assert.truthy(text(long):find("… 950 more", 1, true))
    assert.truthy(text(("x"):rep(5000)):find("(shortened: print(_) shows all of it)", 1, true))
    for line in text({ one = ("x"):rep(40), two = ("y"):rep(40) }):gmatch "[^\n]+" do
      assert.is_true(term.width(line) <= 80, line)
    end
  end)

  it("shows like rows as columns that line up, what tells them apart first, numbers at the right", function()
    assert.equal(table.concat({
      "   jobID  state      price",
      "1     17  running  0.5 CCD",
      "2    118  完成了    12 CCD",
      "",
    }, "\n"), text { { price = amount "0.5 CCD", state = "running", jobID = 17 },
      { price = amount "12 CCD", state = "完成了", jobID = 118 } })
  end)

  it("shows the first of many rows and says how many there are more, and which columns did not fit", function()
    local rows = {}
    for i = 1, 108 do rows[i] = { id = i, a = ("a"):rep(35), b = ("b"):rep(60), z = { 1 } } end
    local out = text(rows)
    assert.truthy(out:find("\n… 88 more\nnot shown: b, z\n", 1, true), out)
    local lines = 0
    for line in out:gmatch "[^\n]+" do
      lines = lines + 1
      assert.is_true(term.width(line) <= 80, line)
    end
    assert.equal(1 + 20 + 3, lines)
  end)

  it("shows tables that have little in common as tables, not as rows", function()
    assert.equal("{ { a = 1 }, { b = 2 }, { c = 1 } }\n", text { { a = 1 }, { b = 2 }, { c = 1 } })
    assert.equal("{ { a = 1 } }\n", text { { a = 1 } })
  end)

  it("puts no line break or escape of a cell into the table", function()
    local out = text { { id = "1\n2", x = "\27[2J" }, { id = "3", x = "y" } }
    assert.truthy(out:find("1 2", 1, true))
    assert.truthy(out:find("\\x1b[2J", 1, true))
  end)

  it("names functions with their parameters, and says where one of the session was written", function()
    assert.equal("function task.map(items, f, options)\n", text(task.map))
    assert.equal("function print(…)\n", text(print))
    local f = assert(load("local x\nreturn function(a, ...) return a, x end", "=input:3"))()
    assert.equal("function(a, ...), input:3:2\n", text(f))
    assert.equal("{ f = <function task.try(f, ...)> }\n", text { f = task.try })
  end)

  it("shows a module by its functions", function()
    local out = text(task)
    assert.truthy(out:find("^module task   %(%?task tells more%)\n"), out)
    assert.truthy(out:find("map(items, f, options)", 1, true), out)
    for line in out:gmatch "[^\n]+" do assert.is_true(term.width(line) <= 80, line) end
  end)

  it("shows a budget with its figures", function()
    local out = text(require("perigee.budget").new { total = "5 CCD" })
    assert.truthy(out:find "^budget\n", out)
    assert.truthy(out:find("left", 1, true) and out:find("5 CCD", 1, true), out)
  end)

  it("looks at some rows of a long list only", function()
    local rows = {}
    for i = 1, 200000 do rows[i] = { id = i } end
    assert.truthy(text(rows):find("… 199980 more", 1, true))
  end)

  it("shows tasks with their state", function()
    local one = task.spawn(function() end)
    one:wait()
    assert.truthy(text(one):find "^task %d+ %(done%)\n$")
  end)

  it("shows an error with its kind, what it means for the money, what to do, and all it carries", function()
    local out = text(nil, errors.new { kind = "denied", code = "max_cost", message = "too dear", service = "deai",
      operation = "create_job", price = amount "1 CCD" })
    assert.equal(table.concat({
      "nil",
      "error denied: too dear",
      "  where  deai create_job, code max_cost",
      "  money  Nothing was sent, so this call cost nothing.",
      "  do     Raise max_cost or the budget if the price is right; else leave it.",
      "  price  1 CCD",
      "",
    }, "\n"), out)
    assert.equal("{ err = <denied: too dear> }\n", text { err = errors.new { kind = "denied", message = "too\ndear" } })
  end)

  it("reads fields raw: looking at a value runs nothing of it", function()
    local ran = 0
    local function count() ran = ran + 1 end
    text(setmetatable({ a = 1 }, { __index = count, __pairs = count, __len = count, __call = count }))
    text { setmetatable({ a = 1 }, { __index = count }), setmetatable({ a = 2 }, { __index = count }) }
    assert.equal(0, ran)
    assert.equal("<table>\n", text(setmetatable({}, { __tostring = function() error "no" end })))
  end)

  it("has colour only where it is asked for, and the same text without", function()
    local sample = { "a\\\"b", 12, -0.5, true, { price = amount "0.05 CCD" }, print }
    local plain, coloured = text(sample), values({ columns = 80, color = true }, sample)
    assert.is_nil(plain:find("\27", 1, true))
    assert.truthy(coloured:find("\27[36m0.05 CCD\27[0m", 1, true), coloured)
    assert.truthy(coloured:find('\27[32m"a\\\\\\"b"\27[0m', 1, true), coloured)
    assert.equal(plain, (coloured:gsub("\27%[[%d;]*m", "")))
  end)
end)

describe("the echo of jobs", function()
  it("is the job in a line and what belongs to it", function()
    local meta = { __name = "perigee.job", __tostring = function() return 'job "train" (1a2b3c4d5e6f): running' end }
    local job = setmetatable({ id = "1a2b3c4d5e6f", service = "sxwl", kind = "job", remote_id = "ai-7\27",
      state = "running", spec = { gpuType = "RTX" } }, meta)
    assert.equal(table.concat({
      'job "train" (1a2b3c4d5e6f): running',
      "  service   sxwl job",
      "  remote id ai-7\\x1b",
      '  spec      { gpuType = "RTX" }',
      "",
    }, "\n"), text(job))
    assert.truthy(text({ a = job }):find('{ a = <job "train" (1a2b3c4d5e6f): running> }', 1, true))
  end)

  it("is the table of `perigee jobs` for a list of them, even of one", function()
    local job = setmetatable({ id = "1a2b3c4d5e6f", name = "train", service = "sxwl", kind = "job", state = "running",
      price = amount "5 CNY", created_at = 0 }, { __name = "perigee.job" })
    local out = text { job }
    assert.truthy(out:find "^ID +NAME +SERVICE +STATE", out)
    assert.truthy(out:find("at most 5 CNY", 1, true), out)
  end)
end)

-- ---- errors -------------------------------------------------------------------------------------------------------

-- What a session sees of an input that fails: the error and the traceback.
local function fail(source)
  local traceback
  local f = assert(load(source, "=input:7"))
  local ok, err = xpcall(f, function(e)
    traceback = debug.traceback("", 2)
    return e
  end)
  assert.is_false(ok)
  return err, traceback
end

local function told(source, options)
  local err, traceback = fail(source)
  options = options or {}
  options.text, options.traceback = source, traceback
  return show.error(err, options)
end

local function syntax(source, color)
  return show.error(select(2, load(source, "=input:7")), { text = source, color = color })
end

describe("what a failed input tells", function()
  it("marks the place of a syntax error, below wide characters too", function()
    assert.equal("syntax error: unexpected symbol near '='\n  2 | local y = = 2\n                ^\n",
      syntax "local x = 1\nlocal y = = 2")
    assert.equal("syntax error: unexpected symbol near '算'\n  1 | x = '想' .. 算\n                  ^^\n",
      syntax "x = '想' .. 算")
    assert.equal("syntax error: 'end' expected near <eof>\n  1 | if x then\n               ^\n", syntax "if x then")
    assert.equal(syntax "if x then", show.error(errors.new { kind = "invalid", code = "syntax",
      message = "input:7:1: 'end' expected near <eof>" }, { text = "if x then" }))
    assert.truthy(syntax("x = = 1", true):find("\27[1;31m^\27[0m", 1, true))
  end)

  it("shows the line of an error in an input of several lines, and the way there", function()
    assert.equal(table.concat({
      "error: boom",
      "  1 | local function f() error('boom') end",
      "stack traceback:",
      "  input:7:1: in upvalue 'f'",
      "  input:7:2: in local 'g'",
      "  input:7:3: in main chunk",
      "",
    }, "\n"), (told "local function f() error('boom') end\nlocal function g() f() end\ng()"))
  end)

  it("shows no traceback where the input is the only line there is", function()
    assert.equal("error: boom\n", told "error 'boom'")
  end)

  it("names the nearest name for one that does not exist", function()
    assert.truthy(told("tsak.sleep(1)", { names = { "task", "time" } }):find("Did you mean task?", 1, true))
    assert.truthy(told("jbs.list()"):find("Did you mean jobs?", 1, true))
    assert.is_nil(told("task.sleep(1)", { names = { "task" } }):find("Did you mean", 1, true))
    assert.is_nil(told("nothing_like_it.sleep(1)", { names = { "task", "time" } }):find("Did you mean", 1, true))
  end)

  it("names the nearest function of a module, and the nearest module", function()
    assert.truthy(told("local task = require 'perigee.task' ; task.mpa({})"):find("Did you mean task.map?", 1, true))
    local out = told "require 'perigee.tsk'"
    assert.equal("error: there is no module perigee.tsk\n  do     Did you mean perigee.task?\n", out)
    assert.equal("error: there is no module nope_at_all\n", told "require 'nope_at_all'")
  end)

  it("calls what fails inside the program a fault of the program, in one line", function()
    assert.equal("internal error: perigee/scripts/lib/x.lua:12: attempt to index a nil value\n"
      .. "  do     This is a fault of perigee itself: please report this line.\n",
      show.error("perigee/scripts/lib/x.lua:12: attempt to index a nil value\n\tmore", { text = "x()", traceback = "x" }))
  end)

  it("is not perigee's fault where Lua's own functions are given what they do not take", function()
    local session = require("perigee.repl_session").new {}
    for line, words in pairs {
      ['("x"):rep("a")'] = "error: bad argument #2 to 'rep' (number expected, got string)\n",
      ["local n = 1\nfor i = 1, 2 do\n  (''):find(nil)\nend"] = "\n  3 |   (''):find(nil)\n",
      ["os.time {}"] = "error: field 'year' missing in date table\n",
      ["dofile '/no/such'"] = "error: cannot open /no/such",
    } do
      local outcome = session:eval(line)
      assert.is_false(outcome.ok)
      assert.truthy(outcome.text:find(words, 1, true), outcome.text)
      assert.is_nil(outcome.text:find "fault of perigee", outcome.text)
    end
  end)

  it("takes the words of a running line for no syntax error", function()
    assert.equal("error: something is near 'x'\n", told "error \"something is near 'x'\"")
  end)

  it("says of an error object what it means for the money and what to do", function()
    local out = show.error(errors.new { kind = "network", message = "gone \27[2J", outcome = "unknown", service = "deai",
      operation = "create_job" }, { text = "deai:create_job{}" })
    assert.truthy(out:find("^network: gone \\x1b%[2J\n  where  deai create_job\n  money  It is unknown"), out)
    assert.truthy(out:find("Do not just run it again", 1, true) or out:find("Do not just try again", 1, true), out)
  end)

  it("speaks to somebody at a prompt, not to the author of a script", function()
    local out = told "local task = require 'perigee.task'\ntask.sleep(-1)"
    assert.is_nil(out:find("script", 1, true), out)
    assert.truthy(out:find("Correct the line; nothing was sent.", 1, true), out)
    assert.truthy(out:find("  2 | task.sleep(-1)\n", 1, true), out)
  end)

  it("takes anything that was raised", function()
    assert.equal("error: nil\n", told "error()")
    assert.equal("error: { 1, 2 }\n", told "error { 1, 2 }")
    assert.equal("error: my own\n", told "error(setmetatable({}, { __tostring = function() return 'my own' end }))")
    assert.equal("error: <table>\n", told "error(setmetatable({}, { __tostring = function() error 'x' end }))")
  end)
end)
