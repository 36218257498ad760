-- config_spec.lua - where settings come from, in which order, and what a broken one says.
local helper = require "tests.helper"
local proc = require "perigee.core.proc"
local spawn = require "tests.support.spawn"

local function write(path, text, mode)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  assert.are.equal(0, proc.run({ args = { "chmod", mode or "600", path } }).status)
  return path
end

local function config_file(text, mode)
  return write(helper.tmpdir() .. "/config.lua", text, mode)
end

local function show(name, options, words)
  local args = { "run" }
  for _, word in ipairs(words or {}) do args[#args + 1] = word end
  args[#args + 1] = "-e"
  args[#args + 1] = ("print(require('perigee.config').get %q)"):format(name)
  return spawn.run(args, options)
end

describe("a setting", function()
  it("comes from the environment before --env-file before the file", function()
    local path = config_file "return { deai = { email = 'from-file' } }"
    local env_file = write(helper.tmpdir() .. "/env", "# comment\nexport DEAI_EMAIL='from-env-file'\n")
    local all = { env = { PERIGEE_CONFIG = path, DEAI_EMAIL = "from-environment" } }
    assert.is_truthy(show("deai.email", all, { "--env-file", env_file }).stdout:find "^from%-environment\t")
    all.env.DEAI_EMAIL = false
    assert.is_truthy(show("deai.email", all, { "--env-file", env_file }).stdout:find "^from%-env%-file\t")
    assert.is_truthy(show("deai.email", all).stdout:find "^from%-file\t")
  end)

  it("is found below XDG_CONFIG_HOME, else below HOME", function()
    local home = helper.tmpdir()
    proc.run { args = { "mkdir", "-p", home .. "/.config/perigee", home .. "/xdg/perigee" } }
    write(home .. "/.config/perigee/config.lua", "return { sxwl = { base_url = 'home' } }")
    write(home .. "/xdg/perigee/config.lua", "return { sxwl = { base_url = 'xdg' } }")
    assert.is_truthy(show("sxwl.base_url", { env = { HOME = home, XDG_CONFIG_HOME = false } }).stdout:find "^home\t")
    local xdg = { env = { HOME = home, XDG_CONFIG_HOME = home .. "/xdg" } }
    assert.is_truthy(show("sxwl.base_url", xdg).stdout:find "^xdg\t")
  end)

  it("that is an option of run is read from PERIGEE_ variables and the file as well", function()
    local path = config_file "return { log_level = 'off', timeout = 60 }"
    local line = "require('perigee.log').error('x')"
    assert.are.equal("", spawn.script(line, { env = { PERIGEE_CONFIG = path } }).stderr)
    local both = { env = { PERIGEE_CONFIG = path, PERIGEE_LOG_LEVEL = "error" } }
    assert.is_truthy(spawn.script(line, both).stderr:find "error x")
    local sleep = "require('perigee.core.task').sleep(20)"
    assert.are.equal(124, spawn.script(sleep, { env = { PERIGEE_TIMEOUT = "100ms" } }).status)
  end)

  it("that is a secret may be in a file of its own, and is never shown", function()
    local token = write(helper.tmpdir() .. "/token", "very-secret-token\n")
    local options = { env = { SXWL_TOKEN_FILE = token } }
    local result = spawn.script("error('it is ' .. require('perigee.config').get 'sxwl.token')", options)
    assert.is_nil(result.stderr:find("very-secret", 1, true))
    assert.is_truthy(result.stderr:find("[secret]", 1, true))
    local path = config_file(("return { sxwl = { token_file = %q } }"):format(token))
    assert.is_truthy(show("sxwl.token", { env = { PERIGEE_CONFIG = path } }).stdout:find "^very%-secret%-token\t")
  end)
end)

describe("a configuration file", function()
  local function refused(text, mode)
    local result = spawn.script("", { env = { PERIGEE_CONFIG = config_file(text, mode) } })
    assert.are.equal(3, result.status, result.stderr)
    return result.stderr
  end

  it("that others may read is refused, with the command that helps", function()
    assert.is_truthy(refused("return {}", "644"):find "chmod 600 /")
    assert.is_truthy(refused("return {}", "620"):find "chmod 600 /")
  end)

  it("that systemd hands on as a credential is taken, whatever mode its ACL shows", function()
    local path = config_file("return { deai = { email = 'a@b' } }", "440")
    local function run(directory)
      return spawn.script("print((require('perigee.config').get 'deai.email'))",
        { env = { PERIGEE_CONFIG = path, CREDENTIALS_DIRECTORY = directory } })
    end

    assert.are.equal("a@b\n", run(path:match "^(.*)/[^/]*$").stdout)
    assert.is_truthy(run("/run/credentials/perigee.service").stderr:find("chmod 600", 1, true))
  end)

  it("with a misspelt field is refused, with the right one", function()
    assert.is_truthy(refused("return { budgett = '5 CCD' }"):find("did you mean budget?", 1, true))
    assert.is_truthy(refused("return { deai = { mail = 'x' } }"):find("did you mean deai.email?", 1, true))
  end)

  it("with an option that only a command line can have is refused", function()
    for _, field in ipairs { "yes", "by", "status", "speed", "json", "seed" } do
      assert.is_truthy(refused(("return { %s = 1 }"):format(field)):find("unknown field " .. field, 1, true), field)
    end
  end)

  it("with a value that makes no sense is refused", function()
    assert.is_truthy(refused("return { timeout = 'soon' }"):find("a time such as", 1, true))
    refused "return 5"
    refused "return {"
  end)

  it("of the page is accepted, and has every option that one may set", function()
    local page = assert(io.open "docs/configuration.md")
    local text = page:read "a":match "```lua\n(.-)```"
    page:close()
    local result = spawn.script("print 'accepted'", { env = { PERIGEE_CONFIG = config_file(text) } })
    assert.are.equal("accepted\n", result.stdout, result.stderr)
    local not_there = { execute = true, emulator = true, env_file = true, seed = true, help = true, summary = true }
    for name in spawn.run({ "help", "run" }).stdout:gmatch "%-%-([%l-]+)" do
      local field = name:gsub("-", "_")
      assert.is_true(not_there[field] or text:find("\n  " .. field .. " = ", 1, true) ~= nil, field)
    end
  end)

  it("can reach nothing of the program", function()
    assert.is_truthy(refused("return { log_level = os.getenv 'HOME' }"):find("os", 1, true))
  end)

  it("that is named and missing is an error; the usual one may be missing", function()
    assert.are.equal(3, spawn.script("", { env = { PERIGEE_CONFIG = "/nonexistent/config.lua" } }).status)
    assert.are.equal(0, spawn.script("", { env = { XDG_CONFIG_HOME = "/nonexistent" } }).status)
  end)
end)

describe("a budget that makes no sense", function()
  it("is an error of the command line or of the configuration", function()
    local result = spawn.run { "run", "--budget", "5 coins", "-e", "" }
    assert.are.equal(2, result.status, result.stderr)
    assert.is_truthy(result.stderr:find("the command line: budget:", 1, true))
    assert.are.equal(3, spawn.script("", { env = { PERIGEE_BUDGET = "5 coins" } }).status)
  end)
end)

describe("a missing credential", function()
  it("is named with where to set it, how to get it, and the emulator", function()
    local result = spawn.script "require('perigee.config').need 'sxwl.token'"
    assert.are.equal(3, result.status)
    for _, part in ipairs { "SXWL_TOKEN is not set", "SXWL_TOKEN_FILE", "config.lua", "console", "--emulator" } do
      assert.is_truthy(result.stderr:find(part, 1, true), part)
    end
  end)

  it("in an --env-file names the line, not its text", function()
    local path = write(helper.tmpdir() .. "/env", "A=1\nhunter2hunter2\n")
    local result = spawn.run { "run", "--env-file", path, "-e", "" }
    assert.are.equal(3, result.status)
    assert.is_truthy(result.stderr:find(path .. ":2", 1, true))
    assert.is_nil(result.stderr:find("hunter2", 1, true))
  end)
end)
