-- log_spec.lua - where log lines go, what each carries, and what happens when the file is moved away.
local helper = require "helper"
local json = require "perigee.json"
local lfs = require "lfs"
local spawn = require "tests.support.spawn"

local function read(path)
  local file <close> = io.open(path, "rb")
  return file and file:read "a"
end

local function lines_of(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do
    if line:sub(1, 1) == "{" then list[#list + 1] = json.decode(line) end
  end
  return list
end

describe("log lines", function()
  it("go to the file, for its owner alone, behind what is there, and not to standard error", function()
    local path = helper.tmpdir() .. "/p.log"
    for i = 1, 2 do
      local result = spawn.run { "run", "--log-file", path, "-e", ("require('perigee.log').warn('turn', {n = %d})"):format(i) }
      assert.equal(0, result.status)
      assert.equal("", result.stderr)
    end

    assert.truthy(read(path):find("warn  turn n=1\n[^\n]*warn  turn n=2\n$"))
    assert.equal("rw-------", lfs.attributes(path, "permissions"))
  end)

  it("can be sent to a file by the environment, and say so when it cannot be opened", function()
    local path = helper.tmpdir() .. "/p.log"
    spawn.script("require('perigee.log').warn 'x'", { env = { PERIGEE_LOG_FILE = path } })
    assert.truthy(read(path):find("warn  x\n", 1, true))

    local result = spawn.run { "run", "--log-file", "/nonexistent/p.log", "-e", "print 'never'" }
    assert.equal(3, result.status)
    assert.equal("", result.stdout)
    assert.truthy(result.stderr:find("/nonexistent/p.log", 1, true))
  end)

  it("go to a new file of the name after SIGUSR2, and none is lost", function()
    local folder = helper.tmpdir()
    local path = folder .. "/p.log"
    local child <close> = spawn.start { "run", "--log-file", path, "-e", [[
      local log, task, fs = require "perigee.log", require "perigee.task", require "perigee.fs"
      local n = 0
      while not fs.exists(arg[1]) do
        n = n + 1
        log.warn("tick", { n = n })
        task.sleep(0.005)
      end
      log.warn("last", { n = n })]], folder .. "/stop" }
    helper.eventually(function() return (read(path) or ""):find("tick", 1, true) end)

    os.rename(path, path .. ".1")
    child:kill "USR2"
    helper.eventually(function() return (read(path) or ""):find("tick", 1, true) end)
    io.open(folder .. "/stop", "w"):close()
    assert.equal(0, child:wait().status)

    local n = 0
    for value in (read(path .. ".1") .. read(path)):gmatch "tick n=(%d+)" do
      n = n + 1
      assert.equal(n, tonumber(value))
    end
    assert.truthy(read(path):find("last n=" .. n .. "\n", 1, true))
  end)

  it("keep the old file when the new one cannot be opened, and say so there", function()
    local folder = helper.tmpdir()
    local inside = folder .. "/logs"
    lfs.mkdir(inside)
    local child <close> = spawn.start { "run", "--log-file", inside .. "/p.log", "-e", [[
      require "perigee.log".warn "up"
      require "perigee.task".sleep(60)]] }
    helper.eventually(function() return (read(inside .. "/p.log") or ""):find("up", 1, true) end)
    os.rename(inside, folder .. "/moved")

    child:kill "USR2"

    helper.eventually(function() return read(folder .. "/moved/p.log"):find("log.not_reopened", 1, true) end)
    child:kill "KILL"
    child:wait()
  end)

  it("come back to standard error while the file takes none", function()
    if not lfs.attributes "/dev/full" then return pending "there is no /dev/full" end
    local result = spawn.run { "run", "--log-file", "/dev/full", "-e", "require('perigee.log').warn 'kept'" }

    assert.equal(0, result.status)
    assert.truthy(result.stderr:find("warn  kept\n", 1, true))
  end)

  it("carry the same run in every JSON line of a process, and another in the next", function()
    local code = "local log = require 'perigee.log' log.warn 'a' log.warn 'b'"
    local first = lines_of(spawn.run({ "run", "--log-format", "json", "-e", code }).stderr)
    local second = lines_of(spawn.run({ "run", "--log-format", "json", "-e", code }).stderr)

    assert.truthy(first[1].run:match "^%x%x%x%x%x%x%x%x$")
    assert.equal(first[1].run, first[2].run)
    assert.not_equal(first[1].run, second[1].run)
  end)

  it("carry what log.with was given, in the tasks that are started there too, and no longer", function()
    local result = spawn.run { "run", "--log-format", "json", "-e", [[
      local log, task = require "perigee.log", require "perigee.task"
      log.with({ job = "j1", policy = "p" }, function()
        log.warn "one"
        log.with({ attempt = 2 }, function() task.spawn(log.warn, "two", { policy = "own" }):wait() end)
        pcall(log.with, { job = "lost" }, error)
        log.warn "three"
      end)
      log.warn "four"
      log.with { job = "for good" }
      log.warn "five"]] }
    local lines = lines_of(result.stderr)

    local seen = {}
    for i, line in ipairs(lines) do seen[i] = { line.event, line.job, line.attempt, line.policy } end
    assert.same({ { "one", "j1", nil, "p" }, { "two", "j1", 2, "own" }, { "three", "j1", nil, "p" }, { "four" },
      { "five", "for good" } }, seen)
  end)

  it("of calls to services say for which job, attempt and policy they were", function()
    local result = spawn.run { "run", "--emulator", "--log-format", "json", "--log-level", "debug", "-e", [[
      local client = require("perigee.sxwl").client()
      client:gpu_types()
      require("perigee.log").with({ job = "j1", attempt = 2, policy = "p", other = 1 }, client.gpu_types, client)]] }

    local calls = {}
    for _, line in ipairs(lines_of(result.stderr)) do
      if line.event == "ops.call" then calls[#calls + 1] = { line.job, line.attempt, line.policy } end
    end
    assert.same({ {}, { "j1", 2, "p" } }, calls)
  end)

  it("hide secrets in the file as well", function()
    local path = helper.tmpdir() .. "/p.log"
    spawn.script([[
      require("perigee.sxwl").client()
      require("perigee.log").warn("x", { note = "the token is tok-123456789" })]],
      { env = { SXWL_TOKEN = "tok-123456789", PERIGEE_LOG_FILE = path } })

    assert.truthy(read(path):find("the token is", 1, true))
    assert.is_nil(read(path):find("tok-123456789", 1, true))
  end)
end)
