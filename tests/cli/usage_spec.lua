-- usage_spec.lua - the command line: help, versions, and words that make no sense.
local json = require "perigee.json"
local spawn = require "tests.support.spawn"

local function usage(...)
  local result = spawn.run { ... }
  assert.are.equal(2, result.status, result.stderr)
  assert.are.equal("", result.stdout)
  return result.stderr
end

local function has(text, part)
  assert.is_truthy(text:find(part, 1, true), ("%q is not in:\n%s"):format(part, text))
end

describe("the command line", function()
  it("without words tells what is missing and how to learn more", function()
    has(usage(), "perigee help")
  end)

  it("suggests the command that was meant", function()
    has(usage "rnu", "did you mean `perigee run`?")
  end)

  it("suggests the option that was meant", function()
    has(usage("run", "--timout", "5", "x.lua"), "did you mean --timeout?")
  end)

  it("says what a right value looks like", function()
    has(usage("run", "--timeout", "soon", "x.lua"), "a time such as 30s")
    has(usage("run", "--timeout", "0", "x.lua"), "a time such as 30s")
    has(usage("run", "--public-url", "example.org", "x.lua"), "a URL such as https://")
    has(usage("run", "--public-url", "https://x/?a=1", "x.lua"), "a URL such as https://")
    has(usage("run", "--max-memory=lots", "x.lua"), "a size such as 512M")
    has(usage("run", "--log-level", "loud", "x.lua"), "debug|info|warn|error|off")
    has(usage("run", "--seed", "-1", "x.lua"), "a whole number")
    has(usage("emulator", "--speed", "0"), "a number above 0")
  end)

  it("refuses a value for a flag, a missing value, and an option given twice", function()
    has(usage("run", "--quiet=yes", "x.lua"), "takes no value")
    has(usage("run", "--timeout"), "needs DURATION")
    has(usage("run", "--seed", "1", "--seed", "2", "x.lua"), "given twice")
  end)

  it("refuses a script that cannot be read", function()
    has(usage("run", "/nonexistent/script.lua"), "No such file")
    has(usage("run", "/tmp"), "Is a directory")
  end)

  it("refuses virtual time with an emulator behind a socket, where it would stand still", function()
    local result = spawn.run({ "run", "--emulator", "-e", "require 'perigee.task'.sleep(1)" },
      { env = { PERIGEE_VIRTUAL_TIME = "1700000000" }, timeout = 20 })
    assert.are.equal(2, result.status)
    has(result.stderr, "PERIGEE_VIRTUAL_TIME")
  end)

  it("refuses words behind emulator", function()
    has(usage("emulator", "now"), "'now' is not an option")
  end)

  it("asks for a script", function()
    has(usage "run", "no script given")
  end)

  it("prints help for every command from its options", function()
    for _, command in ipairs { "run", "emulator" } do
      local result = spawn.run { command, "--help" }
      assert.are.equal(0, result.status)
      has(result.stdout, "perigee " .. command)
      has(result.stdout, "--seed N")
      assert.are.equal(result.stdout, spawn.run({ "help", command }).stdout)
      for line in result.stdout:gmatch "[^\n]+" do
        assert.is_true(utf8.len(line) <= 100, line)
      end
    end
    has(spawn.run({ "--help" }).stdout, "perigee emulator")
    has(spawn.run({ "run", "--help" }).stdout, "71 deadlock")
  end)

  it("has a page with every option and exit code of the help", function()
    local file = assert(io.open "docs/cli.md")
    local page = file:read "a"
    file:close()
    for _, command in ipairs { "run", "emulator" } do
      for option in spawn.run({ "help", command }).stdout:gmatch "%-%-(%a[%w-]*)" do
        if option ~= "help" then has(page, "--" .. option) end
      end
    end
    for code in spawn.run({ "help", "run" }).stdout:match("Exit codes:(.-)\n\n"):gmatch "%d+" do
      assert.is_truthy(page:find("\n|[^|]*%f[%d]" .. code .. "%f[%D]"), code)
    end
  end)

  it("prints versions of all libraries and the licence, for people and machines", function()
    local text = spawn.run { "--version" }
    local object = json.decode(spawn.run({ "--version", "--json" }).stdout)
    for _, name in ipairs { "Lua", "libuv", "libcurl", "libmicrohttpd", "lua-cjson" } do
      assert.is_truthy(object.libraries[name]:find "^%d+%.%d+")
      has(text.stdout, name .. " " .. object.libraries[name])
    end
    -- what edits lines decides under what the whole may be passed on
    if object.libraries["GNU readline"] then
      assert.are.equal("GPL-3.0-or-later", object.license)
      has(text.stdout, "GPL, version 3 or later")
    else
      assert.is_truthy(object.libraries.libedit)
      assert.are.equal("MIT", object.license)
    end
    assert.are.equal(1, object.schema_version)
    has(text.stdout, "MIT")
  end)
end)
