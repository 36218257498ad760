-- env_spec.lua - perigee.env and perigee.secret: settings found, missing ones explained, nothing shown.
local env = require "perigee.env"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local json = require "perigee.json"
local log = require "perigee.log"
local secret = require "perigee.secret"

local function write(text, mode)
  local path = helper.tmpdir() .. "/file"
  fs.write(path, text, { mode = mode })
  return path
end

describe("env", function()
  it("gives a variable, a fallback, or nothing", function()
    assert.equal(os.getenv "HOME", env.get "HOME")
    assert.equal("x", env.get("PERIGEE_SPEC_NOT_SET", "x"))
    assert.is_nil(env.get "PERIGEE_SPEC_NOT_SET")
  end)

  it("says which variable is missing and where to set it", function()
    local err = helper.error_of(env.require, "PERIGEE_SPEC_NOT_SET")

    assert.equal("config", err.code)
    assert.matches("PERIGEE_SPEC_NOT_SET is not set: set it in the environment", err.message, 1, true)
    assert.equal(os.getenv "HOME", env.require "HOME")
    assert.equal("invalid", helper.error_of(env.get, "A=B").kind)
  end)

  it("reads NAME=value lines: comments, export, quotes; nothing is expanded", function()
    assert.same({ A = "1", B = "two words", C = "$A #x", D = "", E = "a=b", F = "it's" },
      env.parse '# comment\nA=1\r\n\n  export B = "two words"\nC=$A #x\nD=\nE=\'a=b\'\nF="it\'s"')
  end)

  it("reads a file of such lines, and says what is wrong with the file", function()
    local path = write("A=1\nB=2\n", "0600")

    assert.same({ A = "1", B = "2" }, env.file(path))
    assert.equal("not_found", helper.error_of(env.file, path .. ".not").code)
    local bad = write("hunter2", "0600")
    assert.matches(bad .. ":1: not a NAME=value line", helper.error_of(env.file, bad).message, 1, true)
  end)

  it("never repeats a line that it cannot read", function()
    for _, text in ipairs { "A=1\nhunter2", "A=1\nB='hunter2", "A=1\nA=hunter2" } do
      local err = helper.error_of(env.parse, text, "x.env")

      assert.matches("x.env:2:", err.message, 1, true)
      assert.is_nil(tostring(err):find("hunter2", 1, true))
    end
  end)
end)

describe("a secret", function()
  it("gives its text to :reveal() alone", function()
    local token = secret.of "hunter2-of-the-spec"

    assert.equal("hunter2-of-the-spec", token:reveal())
    assert.equal("[secret]", tostring(token))
    assert.equal('["[secret]"]', json.encode { token })
    assert.equal("{ [secret] }", require "perigee.inspect" { token })
    assert.matches("reveal", helper.error_of(function() return "Bearer " .. token end).message, 1, true)
    assert.is_nil(tostring(helper.error_of(function() return token + 1 end)):find("hunter2", 1, true))
    log.debug("spec.secret", { token = token })
  end)

  it("is equal to a secret of the same text, and can be told from text", function()
    assert.is_true(secret.of "hunter2-a" == secret.of "hunter2-a")
    assert.is_false(secret.of "hunter2-a" == secret.of "hunter2-b")
    assert.is_false(secret.of "hunter2-a" == secret.of "hunter2")
    assert.is_true(secret.is(secret.of "hunter2-a"))
    assert.is_false(secret.is "hunter2-a")
    local token = secret.of "hunter2-a"
    assert.equal(token, secret.of(token))
    assert.equal("invalid", helper.error_of(secret.of, "").kind)
    assert.equal("invalid", helper.error_of(secret.of, 5).kind)
  end)

  it("is blanked in errors once it was read", function()
    secret.of "hunter2-blanked"

    assert.equal("token [secret] refused", require("perigee.core.config").redact "token hunter2-blanked refused")
  end)

  it("is read from a file that keeps others out, and from no other", function()
    assert.equal("hunter2-file", secret.file(write("hunter2-file\n", "0600")):reveal())
    local open = write("hunter2-open", "0644")
    local err = helper.error_of(secret.file, open)
    assert.equal("auth", err.kind)
    assert.matches("chmod 600 " .. open, err.message, 1, true)
    assert.matches("is empty", helper.error_of(secret.file, write("\n", "0600")).message, 1, true)
    assert.equal("missing_credentials", helper.error_of(secret.file, "/nowhere/at/all").code)
  end)

  it("comes from a variable, or says which one is missing", function()
    assert.equal(os.getenv "HOME", secret.env("HOME"):reveal())
    local err = helper.error_of(secret.env, "PERIGEE_SPEC_NOT_SET")
    assert.equal("auth", err.kind)
    assert.matches("PERIGEE_SPEC_NOT_SET_FILE", err.message, 1, true)
  end)
end)
