-- runners_spec.lua - the runners call a failure a failure: shown good and bad tests, they count and exit right.
local helper = require "tests.helper"
local proc = require "perigee.core.proc"

local program = os.getenv "PERIGEE"

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

local function run(args, env)
  local all = {}
  for name, value in pairs(proc.environ()) do
    if not (env and env[name]) then all[#all + 1] = name .. "=" .. value end
  end
  for name, value in pairs(env or {}) do all[#all + 1] = name .. "=" .. value end
  return proc.run { args = args, env = all, timeout = 60 }
end

local function run_specs(text, env)
  local dir = helper.tmpdir()
  write(dir .. "/sample_spec.lua", text)
  return run({ "tests/run-specs", program, dir .. "/sample_spec.lua" }, env)
end

local function run_c_test(script)
  local path = write(helper.tmpdir() .. "/test_sample", "#!/bin/sh\n" .. script)
  return run({ "sh", "-c", 'chmod +x "$1" && exec tests/run-c-tests build "$1"', "sh", path })
end

local function ends_with(result, line, status)
  assert.are.equal(line, result.stdout:match "([^\n]*)\n$", result.stdout .. result.stderr)
  assert.are.equal(status, result.status)
end

describe("tests/run-specs", function()
  it("counts what passed and ends well", function()
    ends_with(run_specs 'it("is so", function() end) it("is so too", function() end)', "specs: 2 passed, 0 failed", 0)
  end)

  it("counts what failed and what is an error", function()
    local result = run_specs 'it("a", function() assert.is_true(false) end) it("b", function() error "x" end) it("c", function() end)'

    ends_with(result, "specs: 1 passed, 2 failed", 1)
    assert.is_truthy(result.stdout:find("FAIL", 1, true))
  end)

  it("calls a run without a summary failed, though its exit status is 0", function()
    local dir = helper.tmpdir()
    local spec = write(dir .. "/sample_spec.lua", "")
    local quiet = write(dir .. "/quiet", "#!/bin/sh\nexit 0\n")

    local result = run { "sh", "-c", 'chmod +x "$1" && exec tests/run-specs "$1" "$2"', "sh", quiet, spec }

    ends_with(result, "specs: 0 passed, 1 failed", 1)
    assert.is_truthy(result.stdout:find("without a summary", 1, true))
  end)

  it("calls a run failed whose script ends the process with status 0", function()
    ends_with(run_specs 'it("leaves", function() os.exit(0) end)', "specs: 0 passed, 1 failed", 1)
  end)

  it("calls a file without specs failed", function()
    ends_with(run_specs "describe('nothing', function() end)", "specs: 0 passed, 1 failed", 1)
  end)

  it("calls a file that is no Lua failed", function()
    ends_with(run_specs "it(", "specs: 0 passed, 1 failed", 1)
  end)

  it("ends what takes too long, and says so", function()
    local result = run_specs('it("loops", function() while true do end end)', { SPEC_SECONDS = "1" })

    ends_with(result, "specs: 0 passed, 1 failed", 1)
    assert.is_truthy(result.stdout:find("time is up", 1, true))
  end)

  it("keeps the surroundings of the person who runs it out", function()
    local result = run_specs([[
      it("is clean", function()
        for _, name in ipairs { "http_proxy", "HTTPS_PROXY", "DEAI_EMAIL", "SXWL_TOKEN", "PERIGEE_X", "LUA_PATH_5_4" } do
          assert.is_nil(os.getenv(name), name)
        end
        for _, name in ipairs { "HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME" } do
          assert.is_truthy(os.getenv(name):find("perigee-tests", 1, true), name)
        end
        assert.are.equal("C.UTF-8", os.getenv "LC_ALL")
      end)]], {
      http_proxy = "http://x", HTTPS_PROXY = "http://x", DEAI_EMAIL = "a@b", SXWL_TOKEN = "t", PERIGEE_X = "1", HOME = "/nowhere",
      LUA_PATH_5_4 = ";;",
    })

    ends_with(result, "specs: 1 passed, 0 failed", 0)
  end)
end)

describe("tests/run-c-tests", function()
  it("sums up the checks", function()
    ends_with(run_c_test 'echo "x.c: 12 passed, 0 failed"', "C checks: 12 passed, 0 failed", 0)
  end)

  it("counts failed checks", function()
    ends_with(run_c_test 'echo "x.c: 12 passed, 3 failed"; exit 1', "C checks: 12 passed, 3 failed", 1)
  end)

  it("calls a test failed that passes its checks and then ends badly", function()
    ends_with(run_c_test 'echo "x.c: 12 passed, 0 failed"; exit 1', "C checks: 12 passed, 1 failed", 1)
  end)

  it("calls a test failed that crashes before it has counted", function()
    ends_with(run_c_test "kill -SEGV $$", "C checks: 0 passed, 1 failed", 1)
  end)

  it("calls no tests at all a failure", function()
    ends_with(run { "tests/run-c-tests", "build" }, "C checks: 0 passed, 1 failed", 1)
  end)
end)

describe("tests/run-fuzz", function()
  local function run_target(script)
    local dir = helper.tmpdir()
    local path = write(dir .. "/fuzz_sample", "#!/bin/sh\n" .. script)
    return run({ "sh", "-c", 'chmod +x "$1" && exec tests/run-fuzz 1 "$2" "$1"', "sh", path, dir .. "/build" })
  end

  it("counts targets that end well and badly", function()
    ends_with(run_target "exit 0", "fuzz targets: 1 passed, 0 failed", 0)
    ends_with(run_target "exit 77", "fuzz targets: 0 passed, 1 failed", 1)
  end)
end)
