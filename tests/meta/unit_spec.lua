-- unit_spec.lua - the systemd unit: installed with the right paths, understood by systemd, and locked down.
local helper = require "tests.helper"
local lfs = require "lfs"
local proc = require "perigee.proc"
local spawn = require "tests.support.spawn"
local program = assert(os.getenv "PERIGEE")

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

-- The unit, with the program under test in place of the installed one, as a file of its own.
local function unit()
  local path = helper.tmpdir() .. "/perigee.service"
  local file <close> = assert(io.open(path, "w"))
  file:write((read("scripts/dist/perigee.service"):gsub("/usr/local/bin/perigee", program)))
  return path
end

local function analyze(...)
  local ok, result = pcall(proc.run, { args = { "systemd-analyze", ... }, timeout = 60 })
  return ok and result
end

local has_systemd = analyze "--version"

describe("the systemd unit", function()
  it("is installed with the paths of the prefix", function()
    local root = helper.tmpdir()
    local mode = program:match "build/(%w+)/perigee$"
    local result = proc.run { args = { "make", "install", "MODE=" .. mode, "DESTDIR=" .. root, "PREFIX=/opt/perigee" }, timeout = 250 }
    assert.equal(0, result.status, result.stderr)

    local text = read(root .. "/opt/perigee/lib/systemd/system/perigee.service")

    assert.truthy(text:find("\nExecStart=/opt/perigee/bin/perigee daemon ", 1, true))
    assert.truthy(text:find("\nExecReload=/opt/perigee/bin/perigee reload ", 1, true))
    assert.truthy(lfs.attributes(root .. "/opt/perigee/bin/perigee"))
    assert.is_nil(text:find("/usr/local", 1, true))
  end)

  it("tells systemd when it is ready, is watched, is started again after a failure and keeps secrets out of its text", function()
    local text = read "scripts/dist/perigee.service"

    for _, line in ipairs { "Type=notify", "WatchdogSec=60", "Restart=on-failure", "StateDirectory=perigee",
      "StateDirectoryMode=0700", "LoadCredential=sxwl.token:/etc/perigee/sxwl.token" } do
      assert.truthy(text:find("\n" .. line .. "\n", 1, true), line)
    end
  end)

  it("starts the daemon with words that it knows, and reloads it so", function()
    local root = helper.tmpdir()
    lfs.mkdir(root .. "/policies")
    local function words_of(setting)
      local words = {}
      local line = read("scripts/dist/perigee.service"):match("\n" .. setting .. "=/usr/local/bin/perigee ([^\n]+)")
      for word in line:gmatch "%S+" do
        words[#words + 1] = word:gsub("^%${STATE_DIRECTORY}$", root .. "/state"):gsub("^/etc/perigee", root):gsub(":9464$", ":0")
      end
      return words
    end
    local child <close> = spawn.start(words_of "ExecStart")
    helper.eventually(function() return require("perigee.control").reach(root .. "/state") end, 20)

    local reload = spawn.run(words_of "ExecReload")

    assert.equal(0, reload.status, reload.stderr)
    assert.equal("the policies were read again: none\n", reload.stdout)
    child:kill "TERM"
    assert.equal(0, child:wait().status)
  end)

  it("is understood by systemd without a word" .. (has_systemd and "" or " (needs systemd-analyze)"), function()
    if not has_systemd then return pending "systemd-analyze is not here: make deps-dev" end

    local result = analyze("verify", unit())

    assert.equal("", result.stdout .. result.stderr)
    assert.equal(0, result.status)
  end)

  it("is exposed by 2.0 at most, as systemd counts" .. (has_systemd and "" or " (needs systemd-analyze)"), function()
    if not has_systemd then return pending "systemd-analyze is not here: make deps-dev" end

    local result = analyze("security", "--offline=true", "--no-pager", "--threshold=20", unit())

    local level = tonumber(result.stdout:match "exposure level for perigee.service: ([%d.]+)")
    assert.is_true(level ~= nil and level <= 2.0, result.stdout)
    assert.equal(0, result.status)
  end)
end)
