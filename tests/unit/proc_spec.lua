-- proc_spec.lua - the public face of child processes.
local helper = require "tests.helper"
local proc = require "perigee.proc"

describe("perigee.proc.run", function()
  it("adds variables to the environment and takes some away", function()
    local options = { args = { "/bin/sh", "-c", "echo $ADDED ${HOME-none}" }, env = { ADDED = "yes", HOME = false } }
    assert.are.equal("yes none\n", proc.run(options).stdout)
  end)

  it("passes words on as they are, without a shell", function()
    assert.are.equal("a b;c|$HOME\n", proc.run({ args = { "echo", "a b;c|$HOME" } }).stdout)
  end)

  it("runs in the folder asked for", function()
    assert.are.equal("/\n", proc.run({ args = { "pwd" }, cwd = "/" }).stdout)
  end)

  it("has a limit of time, told or not", function()
    local core = require "perigee.core.proc"
    local run, limits = core.run, {}
    core.run = function(options) limits[#limits + 1] = options.timeout end
    finally(function() core.run = run end)
    proc.run { args = { "true" } }
    proc.run { args = { "true" }, timeout = 5 }
    assert.are.same({ "1h", 5 }, limits)
  end)

  it("names the field that was meant", function()
    local err = helper.error_of(proc.run, { args = { "true" }, timeot = 1 })
    assert.are.equal("invalid", err.kind)
    assert.is_truthy(err.message:find('did you mean "timeout"?', 1, true))
    assert.are.equal("invalid", helper.error_of(proc.run, { stdin = "x" }).kind)
    assert.are.equal("invalid", helper.error_of(proc.run, "ls").kind)
  end)
end)
