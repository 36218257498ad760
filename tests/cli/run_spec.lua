-- run_spec.lua - what a script gets from `perigee run`, and the exit code it leaves.
local helper = require "tests.helper"
local spawn = require "tests.support.spawn"

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

describe("perigee run", function()
  it("gives the script its words in arg and in ...", function()
    local path = write(helper.tmpdir() .. "/words.lua", "print(arg[0], #arg, arg[1], arg[2], ...)")
    local result = spawn.run { "run", "--quiet", path, "--timeout", "b" }
    assert.are.equal(("%s\t2\t--timeout\tb\t--timeout\tb\n"):format(path), result.stdout)
    assert.are.equal(0, result.status)
  end)

  it("takes a file without the word run, and words behind it as the script's", function()
    local path = write(helper.tmpdir() .. "/short", "#!/usr/bin/env perigee\nprint(...)")
    assert.are.equal("--version\n", spawn.run({ path, "--version" }).stdout)
  end)

  it("reads the script from standard input", function()
    local result = spawn.run({ "run", "-", "a" }, { stdin = "print(arg[0], ...)" })
    assert.are.equal("-\ta\n", result.stdout)
  end)

  it("runs -e CODE, an empty one too", function()
    assert.are.equal("1\tx\n", spawn.run({ "-e", "print(1, ...)", "x" }).stdout)
    assert.are.equal(0, spawn.run({ "-e", "" }).status)
  end)

  it("finds modules beside the script", function()
    local folder = helper.tmpdir()
    write(folder .. "/beside.lua", "return 'found'")
    local path = write(folder .. "/main.lua", "print((require 'beside'))")
    assert.are.equal("found\n", spawn.run({ path }).stdout)
  end)

  it("refuses precompiled code", function()
    local path = write(helper.tmpdir() .. "/binary.lua", string.dump(function() end))
    assert.are.equal(1, spawn.run({ path }).status)
  end)

  it("ends with what os.exit says, and runs what is to be closed", function()
    local result = spawn.script [[
      local x <close> = setmetatable({}, { __close = function() print "closed" end })
      os.exit(42)]]
    assert.are.equal(42, result.status)
    assert.are.equal("closed\n", result.stdout)
  end)

  it("ends with 71 when nothing can go on", function()
    local result = spawn.script [[local task = require "perigee.core.task"
      local scope = task.scope {}
      local a, b
      a = task.spawn(function() task.sleep(0.01) b:wait() end)
      b = task.spawn(function() a:wait() end)]]
    assert.are.equal(71, result.status, result.stderr)
    assert.is_truthy(result.stderr:find "deadlock" or result.stderr:find "wait")
  end)

  it("ends with 124 when --timeout is over, clean-up done", function()
    local result = spawn.run { "run", "--timeout", "200ms", "-e", [[
      local x <close> = setmetatable({}, { __close = function() print "closed" end })
      require("perigee.core.task").sleep(60)]] }
    assert.are.equal(124, result.status)
    assert.are.equal("closed\n", result.stdout)
    assert.is_truthy(result.stderr:find("--timeout", 1, true))
  end)

  it("ends a script that is over its memory", function()
    local result = spawn.run { "run", "--max-memory", "20M", "-e", "local t = {} while true do t[#t + 1] = {} end" }
    assert.are.equal(1, result.status)
    assert.is_truthy(result.stderr:find("--max-memory", 1, true))
  end)

  it("ends with 6 when something was left undone on purpose, and with 5 rather than 6", function()
    local mark = "require('perigee.summary').mark_partly_done() "
    assert.are.equal(6, spawn.script(mark).status)
    assert.are.equal(6, spawn.script(mark .. "error(require('perigee.error').new{kind='denied',message='m'})").status)
    assert.are.equal(5, spawn.script(mark ..
      "error(require('perigee.error').new{kind='network',outcome='unknown',message='m'})").status)
    assert.are.equal(7, spawn.script(mark .. "os.exit(7)").status)
  end)

  it("gives the same numbers for the same seed", function()
    local function numbers(seed)
      return spawn.run({ "run", "--seed", seed, "-e", "print(math.random(1000000), math.random(1000000))" }).stdout
    end
    assert.are.equal(numbers "7", numbers "7")
    assert.are_not.equal(numbers "7", numbers "8")
  end)

  it("starts as fast as curl -V", function()
    local function fastest(f)
      local best = math.huge
      local now = require("perigee.core.task").now
      for _ = 1, 7 do
        local start = now()
        f()
        best = math.min(best, now() - start)
      end
      return best
    end
    local proc = require "perigee.core.proc"
    local curl = fastest(function() proc.run { args = { "curl", "-V" } } end)
    local ours = fastest(function() spawn.run { "-e", "" } end)
    -- A debug or sanitized build on a busy machine: only a start that loads everything would miss this.
    assert.is_true(ours < curl * 10, ("%.1f ms against %.1f ms"):format(ours * 1000, curl * 1000))
  end)
end)

describe("an uncaught error", function()
  local function fails(fields)
    return spawn.script("error(require('perigee.error').new{" .. fields .. "})")
  end

  it("of the script ends with 1 and shows its traceback across waits, without frames of the program", function()
    local result = spawn.script [[
      local function inner() require("perigee.core.task").sleep(0.01) error "boom" end
      local function outer() inner() end
      outer()]]
    assert.are.equal(1, result.status)
    assert.is_truthy(result.stderr:find("boom", 1, true))
    assert.is_truthy(result.stderr:find "in .-inner")
    assert.is_truthy(result.stderr:find "in .-outer")
    assert.is_nil(result.stderr:find("run.lua", 1, true))
  end)

  it("of another task shows where it began and who waited for it", function()
    local text = spawn.script([[
      local task = require "perigee.core.task"
      local function deep()
        task.sleep(0.01)
        error "far away"
      end
      local function wait(child)
        child:wait()
      end
      wait(task.spawn(function() deep() end))]]).stderr
    local began, waited = text:match "that failed:\n(.-)it was waited for at:\n(.*)$"
    assert.is_truthy(began, text)
    assert.is_truthy(began:find "%(%-e%):4: in .-deep")
    assert.is_truthy(waited:find "%(%-e%):7: in .-wait")
    assert.is_truthy(waited:find "%(%-e%):9: in main chunk")
  end)

  it("that another error has replaced is not mixed up with it", function()
    local text = spawn.script([[
      local task = require "perigee.core.task"
      local child = task.spawn(function() error { "first" } end)
      pcall(child.wait, child)
      error "second"]]).stderr
    assert.is_nil(text:find("that failed", 1, true))
    assert.is_truthy(text:find("(-e):4: in main chunk", 1, true))
  end)

  it("has an exit code by what it means", function()
    local codes = {
      { 4, "kind='denied', message='m'" },
      { 5, "kind='timeout', outcome='unknown', message='m'" },
      { 3, "kind='auth', message='m'" },
      { 6, "kind='limit', code='partly_done', message='m'" },
      { 1, "kind='api', message='m'" },
      { 5, "kind='api', message='m', errors={require('perigee.error').new{kind='network',outcome='unknown',message='x'}}" },
    }
    for _, case in ipairs(codes) do
      assert.are.equal(case[1], fails(case[2]).status, case[2])
    end
  end)

  it("says what happened, what it means for the money, and what to do", function()
    local text = fails("kind='timeout', outcome='unknown', service='deai', operation='create_job', message='no reply'").stderr
    assert.is_truthy(text:find("no reply", 1, true))
    assert.is_truthy(text:find("deai create_job", 1, true))
    assert.is_truthy(text:find("money  It is unknown", 1, true))
    assert.is_truthy(text:find("do     Do not just run it again", 1, true))
  end)

  it("brings no escape sequence to the terminal or the log", function()
    local text = fails("kind='api', message='a\\27[2Jb'").stderr
    assert.is_nil(text:find("\27", 1, true))
    assert.is_truthy(text:find("a\\x1b[2Jb", 1, true))
  end)

  it("shows a syntax error with its line", function()
    local result = spawn.script "local x = = 1"
    assert.are.equal(1, result.status)
    assert.is_truthy(result.stderr:find("(-e):1:", 1, true))
  end)

  it("makes the files of os.tmpname in TMPDIR", function()
    local folder = require "tests.helper".tmpdir()

    local result = spawn.run({"run", "-e", "print(os.tmpname())"}, {env = {TMPDIR = folder}})

    assert.equal(folder, result.stdout:match "^(.*)/lua_%w+\n$")
  end)
end)
