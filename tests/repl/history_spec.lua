-- What was typed at prompts: kept across sessions, for its owner alone, and without secrets.
local config = require "perigee.config"
local core = require "perigee.core.config"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local history = require "perigee.repl_history"
local task = require "perigee.task"

local folder, path, warnings

local function open(where)
  return history.open(where or path, { warn = function(text) warnings[#warnings + 1] = text end })
end

local function added(...)
  local h = open ":memory:"
  for _, text in ipairs { ... } do h:add(text) end
  return h:list()
end

describe("what was typed", function()
  before_each(function()
    folder, warnings = helper.tmpdir(), {}
    path = folder .. "/state/repl_history"
  end)

  it("is there in the next session, in its order, blocks with their lines", function()
    local h = open()
    assert.is_true(h:add "x = 1")
    h:add "for i = 1, 3 do\n  print(i, '\\n', \"\\\\\")\nend"
    h:add "名 = '中文'\t-- tab"
    assert.are.same({ "x = 1", "for i = 1, 3 do\n  print(i, '\\n', \"\\\\\")\nend", "名 = '中文'\t-- tab" }, open():list())
    assert.are.equal("0600", fs.stat(path).mode)
    assert.are.equal("0700", fs.stat(folder .. "/state").mode)
    assert.are.same({}, warnings)
  end)

  it("is written once where two are added while the folder is made", function()
    local h = open()
    local first = task.spawn(function() h:add "one" end)
    local second = task.spawn(function() h:add "two" end)
    first:wait()
    second:wait()
    local lines = fs.read(path)
    assert.is_true(lines == "one\ntwo\n" or lines == "two\none\n", lines)
  end)

  it("is not made a file by a look", function()
    assert.are.same({}, open():list())
    assert.is_nil(fs.stat(folder .. "/state"))
  end)

  it("is kept once where it is repeated, and not where it begins with a blank or is empty", function()
    local h = open()
    h:add "one"
    assert.is_false(h:add "one")
    assert.is_false(h:add " two")
    assert.is_false(h:add "\tthree")
    assert.is_false(h:add "  \n ")
    h:add "four\r\n"
    assert.are.same({ "one", "four" }, h:list())
    assert.are.same({ "one", "four" }, open():list())
  end)

  it("of several sessions is kept side by side", function()
    local first, second = open(), open()
    first:add "a1"
    second:add "b1"
    first:add "a2"
    assert.are.same({ "a1", "b1", "a2" }, open():list())
    assert.are.same({ "a1", "a2" }, first:list())
  end)

  it("is at most 10,000 entries, the newest, in the file as well", function()
    local lines = {}
    for i = 1, 12000 do lines[i] = "line" .. i end
    fs.mkdir(folder .. "/state")
    fs.write(path, table.concat(lines, "\n") .. "\n")
    local h = open()
    assert.are.equal(10000, #h:list())
    assert.are.equal("line2001", h:list()[1])
    local _, count = fs.read(path):gsub("\n", "")
    assert.are.equal(10000, count)
    h:add "one more"
    assert.are.equal(10000, #h:list())
    assert.are.equal("one more", h:list()[10000])
  end)

  it("survives a file of anything", function()
    fs.mkdir(folder .. "/state")
    local bytes = {}
    for i = 1, 5000 do bytes[i] = string.char((i * 7919) % 256) end
    fs.write(path, "good\n" .. table.concat(bytes) .. "\n\27]0;title\7\n\xC2\x9B31m\nbad \xff utf8\nalso good\\nsecond\\\nhalf")
    local h = open()
    for _, text in ipairs(h:list()) do
      assert.is_nil(text:find "[\0-\8\11-\31\127]")
      assert.is_not_nil(utf8.len(text))
    end
    local list = h:list()
    assert.are.equal("good", list[1])
    assert.are.equal("also good\nsecond\\", list[#list])
    assert.is_true(h:add "next")
    assert.are.equal("next", open():list()[#open():list()])
  end)

  it("does not hold what no line can have", function()
    local h = open()
    assert.is_false(h:add "x = '\27[31m'")
    assert.is_false(h:add "x = '\xff'")
    assert.is_false(h:add("x = '" .. ("y"):rep(70000) .. "'"))
    assert.are.same({}, h:list())
  end)

  it("stays in the session where the file is a link or cannot be made, and says so once", function()
    fs.mkdir(folder .. "/state")
    fs.write(folder .. "/precious", "keep")
    assert(require("lfs").link(folder .. "/precious", path, true))
    local h = open()
    assert.is_true(h:add "one")
    assert.is_true(h:add "two")
    assert.are.same({ "one", "two" }, h:list())
    assert.are.equal("keep", fs.read(folder .. "/precious"))
    assert.are.equal(1, #warnings)
    assert.is_not_nil(warnings[1]:find "symbolic link")

    warnings = {}
    h = open(folder .. "/precious/no/repl_history")
    h:add "one"
    h:add "two"
    assert.are.same({ "one", "two" }, h:list())
    assert.are.equal(1, #warnings)
  end)

  it("is of this session alone without a file, and with the state in memory", function()
    for _, where in ipairs { ":memory:", false } do
      local h = history.open(where or nil, { warn = error })
      h:add "x"
      assert.are.same({ "x" }, h:list())
    end
  end)

  it("keeps what could not be written while the file was locked, and writes it with the next", function()
    local h = open()
    h:add "one"
    do
      local lock <close> = require("perigee.core.lock").take(path) -- luacheck: ignore 211
      assert.is_true(h:add "two")
    end
    h:add "three"
    assert.are.same({ "one", "two", "three" }, open():list())
    assert.are.same({}, warnings)
  end)
end)

describe("a secret", function()
  before_each(function()
    folder, warnings = helper.tmpdir(), {}
    path = folder .. "/repl_history"
  end)

  it("that perigee knows is not kept", function()
    core.add_secret "history-known-secret"
    assert.are.same({ "x = 1" }, added("x = 'history-known-secret'", "x = 1", "print 'history-known-secret'"))
    assert.are.equal("[secret]", config.redact "history-known-secret")
  end)

  it("that is written out under the name of one is not kept", function()
    for _, text in ipairs {
      "password = 'hunter2'", "local password <const> = 'hunter2'", "env.HF_TOKEN = [[abcdefgh]]", "env['HF_TOKEN'] = 'abcdefgh'",
      "c = sxwl.client { token = 'abcdefgh' }", "deai.client{email='me', password = \"hunter2\"}", "user, password = 'me', 'hunter2'",
      "password, user = 'hunter2', 'me'", "t = { ['api-key'] = 'abcdefgh' }", "if password == 'hunter2' then end",
      "http.get(url, { headers = { Authorization = 'abcdefgh' } })", "token = ('abc') .. x", "token = x .. 'abcdefgh'",
      "s = secret.of 'hunter2'", "s = secret.of('hunter2')", "set_password('hunter2')", "a.set_token 'abcdefgh'",
      "dbPassword\n=\n'hunter2'", "token = x and 'abcdefgh' or nil", "t = { 1, { token = { 'abcdefgh' } } }",
      "sxwl:create_job { env = { HF_TOKEN = 'abcdefgh', A = 1 } }", "token = -- of mine\n 'abcdefgh'",
    } do
      assert.are.same({}, added(text), text)
    end
  end)

  it("inside of words is not kept, in strings, comments and commands", function()
    for _, text in ipairs {
      "sxwl:create_job { runCommand = 'train --api-key abcdefgh' }", "url = 'https://me:hunter2@host/'", "x = 1 -- password=hunter2",
      ":time f('x?token=abcdefgh')", ":load x --password hunter2", "h = 'Bearer abcdefghijkl'", "k = 'eyJhbGciOi.eyJzdWIi.xyz'",
      "k = 'sk-abcdefghijkl'", "k = 'ghp_abcdefghijkl'",
    } do
      assert.are.same({}, added(text), text)
    end
  end)

  it("that is only named does not keep a line out", function()
    for _, text in ipairs {
      "c = sxwl.client { token = secret.env 'SXWL_TOKEN' }", "password = os.getenv 'DEAI_PASSWORD'", "token = secret.file('/run/token')",
      "c = sxwl.client { token = secret.env 'SXWL_TOKEN', base_url = 'http://127.0.0.1:1/' }", "print(token)", "token = nil",
      "password = read_it() name = 'x'", "t = { token = t, 'text' }", "tokens = 12", "max_tokens = '512'", "x = 'the token is gone'",
      "env.get 'HF_TOKEN'", "print('x') -- the token of mine", ":jobs digits", "?secret.env", "job = sxwl:create_job { imagePath = 'a:1' }",
      "token = f { 'public' }", "token = ''",
    } do
      assert.are.same({ text }, added(text), text)
    end
  end)

  it("that turns out to be one later is taken out again, of the file too", function()
    local h = open()
    h:add "x = 1"
    h:add "t = 'history-later-secret'"
    h:add "y = 2"
    assert.is_false(h:settle())
    core.add_secret "history-later-secret"
    assert.is_true(h:settle())
    assert.are.same({ "x = 1", "y = 2" }, h:list())
    assert.are.same({ "x = 1", "y = 2" }, open():list())
    assert.is_false(h:settle())
    assert.are.same({}, warnings)
  end)

  it("that was typed in an earlier session before anybody knew is taken out at the start", function()
    local h = open()
    h:add "x = 1"
    h:add "t = 'history-early-secret'"
    h:add "y = 'a'\nz = 'history-early-secret'"
    core.add_secret "history-early-secret"
    assert.are.same({ "x = 1" }, open():list())
    assert.are.equal("x = 1\n", fs.read(path))
  end)

  it("check never raises, whatever the text is", function()
    for file in require("lfs").dir "scripts/examples" do
      if file:find "%.lua$" then
        local handle <close> = assert(io.open("scripts/examples/" .. file, "rb"))
        local text = handle:read "a"
        for at = 1, #text, 37 do history.holds_secret(text:sub(1, at)) end
        for at = 1, #text, 41 do history.holds_secret(text:sub(at)) end
        assert.is_false(history.holds_secret(text), file)
      end
    end
    for _, text in ipairs { "=", "= 'x'", "token =", "]= 'x'", "['token' = 'x'", "token, = 'x'", ". = 'x'", "token = )", "<> = 'x'" } do
      history.holds_secret(text)
    end
  end)
end)
