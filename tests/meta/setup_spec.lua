-- setup_spec.lua - what the Makefile does for somebody with a fresh clone: says what is missing and installs it,
-- compiles again when it must, installs what it should.  Other machines are played by small programs in PATH.
local helper = require "tests.helper"
local json = require "perigee.json"
local lfs = require "lfs"
local proc = require "perigee.proc"

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  assert.are.equal(0, proc.run({ args = { "chmod", "755", path } }).status)
end

-- A folder of programs that go before those of the system; each has a line of shell.
local function programs(list)
  local folder = helper.tmpdir()
  for name, line in pairs(list) do write(folder .. "/" .. name, "#!/bin/sh\n" .. line .. "\n") end
  return folder .. ":" .. os.getenv "PATH"
end

describe("tests/install-deps", function()
  local NOT_THERE <const> = 'echo "$*" | grep -q absent && exit 1; printf installed'

  local function install(stand_ins)
    return proc.run { args = { "tests/install-deps", "gcc", "absent-one", "absent-two" },
      env = { PATH = programs(stand_ins) }, stdin = "" }
  end

  it("names what is missing before it installs just that, without asking", function()
    local result = install {
      ["dpkg-query"] = NOT_THERE, id = "echo 0", ["apt-get"] = 'echo "apt-get $*"',
    }
    assert.are.equal(0, result.status, result.stderr)
    local named, updated = result.stdout:find("Missing Debian packages: absent-one absent-two\n", 1, true),
      result.stdout:find("apt-get update", 1, true)
    assert.is_true(named < updated)
    assert.is_truthy(result.stdout:find("apt%-get install %-y %-q [^\n]*absent%-one absent%-two\n"))
    assert.is_nil(result.stdout:find("install[^\n]* gcc"))
  end)

  it("uses sudo where it is not root", function()
    local result = install {
      ["dpkg-query"] = NOT_THERE, id = "echo 1000", sudo = 'echo "sudo $*"', ["apt-get"] = "exit 1",
    }
    assert.are.equal(0, result.status, result.stderr)
    assert.is_truthy(result.stdout:find "sudo env [^\n]*apt%-get install [^\n]*absent%-two")
  end)

  it("installs nothing when nothing is missing", function()
    local result = install { ["dpkg-query"] = "printf installed", ["apt-get"] = "echo called" }
    assert.are.equal(0, result.status)
    assert.are.equal("", result.stdout)
  end)

  it("fails when apt-get does", function()
    local result = install { ["dpkg-query"] = NOT_THERE, id = "echo 0", ["apt-get"] = "exit 100" }
    assert.are_not.equal(0, result.status)
  end)
end)

describe("make", function()
  -- A copy, so that nothing here disturbs the build that runs these specs.
  local copy

  local function make(words, env)
    env = env or {}
    -- nothing of the make that runs these specs; variables of its command line are in the environment, too
    for name in ("MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES MODE CC CFLAGS LDFLAGS WERROR V"):gmatch "%u+" do env[name] = false end
    return proc.run { args = { "make", "--no-print-directory", table.unpack(words) }, cwd = copy, env = env, timeout = 120 }
  end

  setup(function()
    copy = helper.tmpdir()
    local result = proc.run { args = { "cp", "-R", "Makefile", "host", "bindings", "scripts", "tests", copy } }
    assert(result.status == 0, result.stderr)
  end)

  teardown(function() proc.run { args = { "rm", "-rf", copy } } end)

  it("names what is missing and the way to get it, and compiles nothing", function()
    local path = programs { ["pkg-config"] = 'case "$*" in *libuv*) exit 1 ;; esac' }
    local result = make({ "build/debug/host/text.o" }, { PATH = path })
    assert.are_not.equal(0, result.status)
    assert.is_truthy(result.stderr:find("missing: libuv1-dev. `make deps`", 1, true), result.stderr)
    assert.are.equal("", result.stdout)
  end)

  it("compiles again when flags or a header have changed, and only then", function()
    local object = "build/debug/host/text.o"
    local function compiles(...)
      local result = make { object, ... }
      assert.are.equal(0, result.status, result.stderr)
      return result.stdout:find("CC      " .. object, 1, true) ~= nil
    end
    assert.is_true(compiles())
    assert.is_false(compiles())
    assert.is_true(compiles "CFLAGS=-DX=1")
    assert.is_false(compiles "CFLAGS=-DX=1")
    assert.is_true(compiles())
    lfs.touch(copy .. "/host/text.h", os.time() + 60)
    assert.is_true(compiles())
  end)

  it("keeps the modes in folders of their own, and knows no others", function()
    for _, mode in ipairs { "debug", "release", "asan", "tsan" } do
      local object = ("build/%s/host/text.o"):format(mode)
      local result = make { object, "MODE=" .. mode }
      assert.are.equal(0, result.status, result.stderr)
      assert.is_truthy(lfs.attributes(copy .. "/" .. object), object)
    end
    assert.is_truthy(make({ "all", "MODE=fast" }).stderr:find("debug, release, asan, tsan", 1, true))
  end)

  it("writes compile commands for every C file", function()
    assert.are.equal(0, make({ "compdb" }).status)
    local file = assert(io.open(copy .. "/build/compile_commands.json"))
    local found = {}
    for _, entry in ipairs(json.decode(file:read "a")) do
      found[entry.file] = entry.command:find("-std=c11", 1, true) ~= nil
    end
    file:close()
    for _, folder in ipairs { "host", "bindings", "tests/c", "tests/fuzz", "tests/bench" } do
      for name in lfs.dir(folder) do
        if name:find "%.c$" then assert.is_true(found[folder .. "/" .. name], folder .. "/" .. name) end
      end
    end
  end)
end)

describe("make install", function()
  local mode = json.decode(proc.run({ args = { os.getenv "PERIGEE", "--version", "--json" } }).stdout).mode

  -- MAKEFLAGS stays: the program that runs this spec must not be compiled anew with other flags.
  local function install(...)
    local result = proc.run { args = { "make", "install", "MODE=" .. mode, ... }, timeout = 250 }
    assert.are.equal(0, result.status, result.stderr)
  end

  it("puts the program and its pages under DESTDIR and PREFIX, and it runs from there", function()
    local root = helper.tmpdir()
    install("DESTDIR=" .. root, "PREFIX=/opt/perigee")
    for _, path in ipairs { "share/doc/perigee/README.md", "share/doc/perigee/docs/task.md",
      "share/perigee/stubs/perigee/task.lua", "share/perigee/examples/readme.lua", "share/perigee/policies/cost_gate.lua" } do
      assert.is_truthy(lfs.attributes(root .. "/opt/perigee/" .. path), path)
    end
    local example = root .. "/opt/perigee/share/perigee/examples/tasks.lua"
    local result = proc.run { args = { root .. "/opt/perigee/bin/perigee", "run", "--emulator", example }, cwd = "/", timeout = 60 }
    assert.are.equal(0, result.status, result.stderr)
    proc.run { args = { "rm", "-rf", root } }
  end)

  it("takes ~ for the home folder", function()
    install "PREFIX=~/.local"
    assert.is_truthy(lfs.attributes(os.getenv "HOME" .. "/.local/bin/perigee"))
  end)
end)
