-- The reader of half-typed Lua: words, what is open, which names are seen, what an expression goes by.
local lexer = require "perigee.repl_lexer"

-- The tokens of a text as "kind:text", comments and strings with what they hold.
local function words(text)
  local list = {}
  for _, token in ipairs(lexer.scan(text).tokens) do
    list[#list + 1] = token.kind .. ":" .. text:sub(token.body or token.from, token.last or token.to)
  end
  return list
end

local function open_at(text)
  local state = lexer.scan(text)
  local kinds = {}
  for _, one in ipairs(state.nest) do kinds[#kinds + 1] = one.kind end
  return table.concat(kinds, " "), state.open and state.open.kind
end

local function seen(text)
  local names = {}
  for name in pairs(lexer.visible(lexer.scan(text))) do names[#names + 1] = name end
  table.sort(names)
  return table.concat(names, " ")
end

local function chain(text)
  local state = lexer.scan(text)
  local steps = lexer.chain(state, #state.tokens)
  if not steps then return nil end
  local parts = { steps.string and "<string>" or steps.name }
  for _, step in ipairs(steps) do
    parts[#parts + 1] = step.mark == "()" and "()" or step.mark .. step.key
  end
  return table.concat(parts)
end

describe("words of half-typed Lua", function()
  it("are names, keywords, numbers, strings and marks", function()
    assert.are.same({ "keyword:local", "name:x", "symbol:=", "number:0x1fp3", "symbol:..", "string:a", "symbol:==", "number:1e-3" },
      words "local x = 0x1fp3 .. 'a' == 1e-3")
    assert.are.same({ "number:1", "symbol:..", "name:x" }, words "1..x")
    assert.are.same({ "symbol:...", "number:.5", "number:3." }, words "... .5 3.")
  end)

  it("end a string at its quote, not at an escaped one, and go on after a backslash and a line end", function()
    assert.are.same({ 'string:a\\"b', "name:c" }, words [["a\"b" c]])
    assert.are.same({ "string:a\\\nb", "name:c" }, words '"a\\\nb" c')
    assert.are.same({ "string:a\\z \n  b", "name:c" }, words '"a\\z \n  b" c')
    assert.are.same({ "string:a\\\\", "name:c" }, words [["a\\" c]])
  end)

  it("end a broken string with its line", function()
    local text = "x = 'half\ny = 1"
    assert.are.same({ "name:x", "symbol:=", "string:half", "name:y", "symbol:=", "number:1" }, words(text))
    assert.is_nil(lexer.scan(text).open)
  end)

  it("know long strings and long comments of every level", function()
    assert.are.same({ "string:a]]b", "name:c" }, words "[==[a]]b]==] c")
    local state = lexer.scan "--[=[ x ]] y ]=] z"
    assert.are.equal("comment", state.tokens[1].kind)
    assert.are.equal("z", state.tokens[2].text)
    assert.are.same({ "symbol:[", "symbol:=", "name:a" }, words "[=a")
  end)

  it("say in which string or comment the text ends", function()
    for text, kind in pairs {
      ["x = 'abc"] = "string", ['x = "abc'] = "string", ["x = [[abc\n"] = "string", ["x = 'abc\\"] = "string",
      ["-- abc"] = "comment", ["--[[ abc\n\n"] = "comment", ["--[==[ ]]"] = "comment", ["--"] = "comment",
    } do
      assert.are.equal(kind, select(2, open_at(text)), text)
    end
    for _, text in ipairs { "x = 'abc'", "-- abc\n", "--[[ abc ]]", "[[x]]", "", "   ", "'a'--\n" } do
      assert.is_nil(select(2, open_at(text)), text)
    end
  end)

  it("do not include the line for the shell that a script begins with", function()
    assert.are.same({ "name:x" }, words "#!/usr/bin/env 'perigee\nx")
    assert.are.same({}, words "#!")
    assert.are.same({ "symbol:#", "name:t" }, words "#t")
  end)

  it("take any bytes: UTF-8, NUL, a byte that is no text", function()
    assert.are.same({ "name:x", "symbol:=", "other:中文", "name:y" }, words "x = 中文y")
    assert.are.same({ "name:a", "symbol:\0", "other:\xff", "name:b" }, words "a\0\xffb")
  end)
end)

describe("what is open in half-typed Lua", function()
  it("is told from the outside to the inside", function()
    assert.are.equal("text { (", (open_at "x = { f("))
    assert.are.equal("text if do function {", (open_at "if a then while b do local function f() return {"))
    assert.are.equal("text repeat", (open_at "repeat x()"))
    assert.are.equal("text", (open_at "repeat x() until y"))
    assert.are.equal("text", (open_at "for i = 1, 3 do if x then y() elseif z then w() else v() end end"))
    assert.are.equal("text ( function", (open_at "task.spawn(function() "))
    assert.are.equal("text (", (open_at "task.spawn(function() end, "))
  end)

  it("is not disturbed by what nobody opened, and a statement ends what nobody closed", function()
    assert.are.equal("text {", (open_at ") ] } end until {"))
    assert.are.equal("text { (", (open_at "x = { ( ]"))
    assert.are.equal("text do", (open_at "x = f({ \nwhile y do"))
  end)

  it("is found in time proportional to the text", function()
    local hostile = ("("):rep(200000) .. ("]"):rep(200000) .. (" and"):rep(1000)
    local before = os.clock()
    lexer.scan(hostile)
    local small = os.clock() - before
    assert.is_true(small < 30) -- the square of it would be hours
  end)
end)

describe("the local names that are seen", function()
  it("are those of the blocks around, parameters and loop names too", function()
    assert.are.equal("a b", seen "local a, b = 1, 2 ")
    assert.are.equal("a f x y", seen "local a <const> = 1 local function f(x, y, ...) ")
    assert.are.equal("a f", seen "local a = 1 local function f(x, y) end ")
    assert.are.equal("self x", seen "function M.b:c(x) return ")
    assert.are.equal("x", seen "function M.b.c(x) return ")
    assert.are.equal("k v", seen "for k, v in pairs(t) do ")
    assert.are.equal("", seen "for k, v in pairs(t) do end ")
    assert.are.equal("i", seen "for i = 1, 3 do ")
    assert.are.equal("b", seen "if x then local a = 1 else local b = 2 ")
    assert.are.equal("a", seen "local a b = 3 ")
    assert.are.equal("c", seen "f(function(c) ")
    assert.are.equal("", seen "f(function(c) return c end, ")
  end)
end)

describe("top-level locals", function()
  it("are listed with their names, attributes and places", function()
    local text = "local a <const>, b = 1, 2 do local c end local function f() local d end local e"
    local list = lexer.locals(text)
    assert.are.equal(3, #list)
    local first, second, third = table.unpack(list)
    assert.are.equal("local", text:sub(first.from, first.to))
    assert.are.same({ "a", "const", "b" }, { first.names[1].name, first.names[1].attribute, first.names[2].name })
    assert.is_nil(first.names[2].attribute)
    assert.is_true(first.assigns)
    assert.are.equal(" = 1, 2", text:sub(first.after, first.after + 6))
    assert.are.same({ "function", "f", false }, { second.kind, second.names[1].name, second.assigns })
    assert.are.same({ "local", "e", false }, { third.kind, third.names[1].name, third.assigns })
    assert.are.equal(#text + 1, third.after)
  end)

  it("are not those of comments, strings and fields", function()
    assert.are.equal(0, #lexer.locals "-- local a\nx = 'local b' t.localc = [[local d]]")
    assert.are.equal(1, #lexer.locals "local --[[ x ]] a = 1")
    assert.are.equal("close", lexer.locals("local s <close> = f()")[1].names[1].attribute)
    assert.are.same({}, lexer.locals("local ")[1].names)
  end)
end)

describe("the chain that ends an expression", function()
  it("names variables, fields, methods and calls", function()
    assert.are.equal("sxwl:create_job", chain "x = sxwl:create_job")
    assert.are.equal("a.b.c.1", chain [[return a["b"].c[1] ]])
    assert.are.equal("jobs.get()", chain [[jobs.get "x"]])
    assert.are.equal("jobs.submit():wait()", chain "jobs.submit{ a = { 1, (2) } }:wait(3)")
    assert.are.equal("<string>:rep()", chain "('x'):rep(3)")
    assert.are.equal("f()()", chain "f(1)(2)")
    assert.are.equal("x", chain "return (x)")
    assert.are.equal("a.b", chain "a --[[ note ]] . b")
  end)

  it("is nil for what has no name", function()
    for _, text in ipairs { "", "1", "x +", "{ 1 }", "(a + b)", "t[i]", "end", ")", "return", "t[1 + 2]" } do
      assert.is_nil(chain(text), text)
    end
  end)
end)

describe("any prefix of a program", function()
  it("is read without an error, also with bytes changed", function()
    local seed = tonumber(os.getenv "PERIGEE_FUZZ_SEED" or "") or os.time()
    local state = seed
    local function random(n) -- of this spec's own, so that a failure can be repeated
      state = (state * 1103515245 + 12345) & 0x7fffffff
      return (state >> 8) % n + 1
    end
    local names = { "account", "cost_gate", "fan_out", "gpu_job", "http", "infer", "jobs", "prices", "readme", "tasks", "train" }
    for _, name in ipairs(names) do
      local file <close> = assert(io.open("scripts/examples/" .. name .. ".lua", "rb"))
      local text = file:read "a"
      for _ = 1, 60 do
        local part = text:sub(1, random(#text))
        if random(2) == 1 then
          local at = random(#part)
          part = part:sub(1, at - 1) .. string.char(random(256) - 1) .. part:sub(at + 1)
        end
        local ok, err = pcall(function()
          local scanned = lexer.scan(part)
          lexer.visible(scanned)
          lexer.locals(part)
          for i = 1, #scanned.tokens do lexer.chain(scanned, i) end
        end)
        assert(ok, ("seed %d, %s.lua, %d bytes: %s"):format(seed, name, #part, tostring(err)))
      end
    end
  end)
end)
