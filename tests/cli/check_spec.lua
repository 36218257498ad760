-- check_spec.lua - perigee check: what it finds, what it shows, and that it sends, pays and writes nothing.
local fs = require "perigee.fs"
local helper = require "tests.helper"
local json = require "perigee.json"
local spawn = require "tests.support.spawn"

local CREDENTIALS <const> = { DEAI_EMAIL = "a@b.c", DEAI_PASSWORD = "pass-word", SXWL_TOKEN = "token-of-sxwl" }

-- Files by name in a fresh folder; the folder.
local function folder_with(files)
  local dir = helper.tmpdir()
  for name, text in pairs(files) do fs.write(dir .. "/" .. name, text, { mode = "0600" }) end
  return dir
end

local function check(files, words, env)
  local dir = folder_with(files)
  local args = { "check" }
  for _, word in ipairs(words or { "p.lua" }) do
    args[#args + 1] = word:find "^[^-].*%.lua$" and dir .. "/" .. word or word
  end
  env = env or {}
  env.HOME, env.XDG_CONFIG_HOME = dir, false
  local result = spawn.run(args, { env = env })
  return result, dir
end

-- The output for one policy whose text this is.
local function found(text, env, files)
  files = files or {}
  files["p.lua"] = text
  local result = check(files, nil, env)
  assert.equal("", result.stderr)
  assert.equal(1, result.status, result.stdout)
  return result.stdout
end

local function has(text, part)
  assert.is_truthy(text:find(part, 1, true), ("%q is not in:\n%s"):format(part, text))
end

describe("perigee check", function()
  it("is content with a whole policy, and shows the next five runs of its schedules in their zone", function()
    local result = check({ ["p.lua"] = [[
      return { name = "nightly", on = { ["job.submit"] = function() end },
        schedules = { { name = "train", cron = "30 2 * * *", tz = "Asia/Shanghai", run = function() error "never" end } } }
    ]] })

    assert.equal(0, result.status, result.stdout .. result.stderr)
    has(result.stdout, "p.lua (nightly): fine")
    has(result.stdout, "schedule train: every day at 02:30 (Asia/Shanghai)")
    local _, runs = result.stdout:gsub("%u%l%l %d%d%d%d%-%d%d%-%d%d 02:30:00 %+0800  in %d+[dhm]", "")
    assert.equal(5, runs, result.stdout)
  end)

  it("names the line of wrong syntax and of an error while loading", function()
    has(found "return {\n  name = 'x'\n  budget = {}\n}", "line 3: '}' expected")
    has(found "local a\nreturn a.b", "line 2: attempt to index a nil value")
  end)

  it("names unknown fields, hooks and impossible schedules with the nearest right word", function()
    local text = found [[return { name = "x", bugdet = {}, on = { ["job.fialed"] = print },
      schedules = { { name = "a", cron = "0 0 30 2 *", run = print },
        { name = "b", every = "5m", overlap = "buffer-one", run = print } } }]]
    has(text, 'did you mean "budget"?')
    has(text, 'did you mean "job.failed"?')
    has(text, "impossible")
    has(text, 'did you mean "buffer_one"?')
    has(text, "4 problems")
  end)

  it("names secrets that are not there, also inside hooks, and none in a comment or that is there", function()
    local text = [[
      local hidden = require "perigee.secret"
      -- hidden.env "IN_A_COMMENT"
      return { name = "x", run = function()
        return hidden.env "NOT_SET", hidden.env("IS_SET"), hidden.file "/nonexistent/token", hidden.credential "hf"
      end }]]
    local shown = found(text, { IS_SET = "a-secret-value" })
    has(shown, 'line 4: secret.env "NOT_SET": NOT_SET is not set')
    has(shown, "/nonexistent/token")
    has(shown, "CREDENTIALS_DIRECTORY is not set")
    has(shown, "3 problems")
    assert.is_nil(shown:find("a-secret-value", 1, true))
  end)

  it("names secrets of helpers", function()
    has(found('return { name = require "mine" }', {}, {
      ["mine.lua"] = 'local secret = require "perigee.secret"\nfunction f() return secret.env "NOT_SET" end return "x"',
    }),
      'mine.lua:2: secret.env "NOT_SET": NOT_SET is not set')
  end)

  it("names credentials of the services that the file uses, by module or by job", function()
    has(found 'return { name = "x", run = function() require("perigee.deai").client() end }', "DEAI_PASSWORD is not set")
    has(found [[local jobs = require "perigee.jobs"
      return { name = "x", run = function() jobs.submit { service = "sxwl" } end }]], "line 2: it uses sxwl, and SXWL_TOKEN is not set")
    local fine = check({ ["p.lua"] = 'return { name = "x", run = function() require("perigee.deai").client() end }' }, nil, CREDENTIALS)
    assert.equal(0, fine.status, fine.stdout)
  end)

  it("names GPU types without a price, with the nearest that has one", function()
    local policy = [[local sxwl = require "perigee.sxwl"
      return { name = "x", run = function() sxwl.client():run { gpuType = "NVIDIA-3090" } end }]]
    has(found(policy, CREDENTIALS), "there are no prices")
    local config = "return { sxwl = { token = 'a-token', prices = { ['NVIDIA-3080'] = '7 CNY/h' } } }"
    local result = check({ ["p.lua"] = policy, ["c.lua"] = config }, { "p.lua", "--config", "c.lua" })
    assert.equal(1, result.status)
    has(result.stdout, 'line 2: sxwl.prices has no "NVIDIA-3090"')
    has(result.stdout, 'did you mean "NVIDIA-3080"?')
  end)

  it("names helpers that are missing, at the top and inside functions, and finds those that are there", function()
    has(found 'local h = require "helper_of_mine" return { name = "x" }', 'needs "helper_of_mine"')
    has(found 'return { name = "x", run = function() require "later" end }', 'line 1: it needs "later"')
    local fine = check { ["p.lua"] = 'local h = require "mine" return { name = h.name }', ["mine.lua"] = 'return { name = "y" }' }
    assert.equal(0, fine.status, fine.stdout)
    has(fine.stdout, "(y)")
    has(found('return { name = require "mine" }', {}, { ["mine.lua"] = "return (" }), "mine.lua:1:")
  end)

  it("takes a ready policy that a file changes, and the ready ones themselves", function()
    local file = 'local p = require "perigee.policies.cost_gate" p.name = p.name .. "_of_mine" return p'
    local result = check({ ["a.lua"] = file, ["b.lua"] = file:gsub("mine", "yours") }, { "a.lua", "b.lua" })
    assert.equal(0, result.status, result.stdout)
    has(result.stdout, "(cost_gate_of_mine): fine")
    has(result.stdout, "(cost_gate_of_yours): fine")
    result = spawn.run({ "check", "scripts/policies/cost_gate.lua", "scripts/policies/fan_out_inference.lua",
      "scripts/policies/retry_failed_jobs.lua" }, { env = CREDENTIALS })
    assert.equal(0, result.status, result.stdout)
    has(result.stdout, "schedule new_inputs: every 15m")
  end)

  it("names a budget that nothing counts against", function()
    has(found 'return { name = "x", budget = { day = "5 CCD" } }', "the budget is never used")
    has(found 'return { name = "x", budget = { day = "5 CCD" }, on = { ["job.submit"] = print } }', "the budget is never used")
    local used = check { ["p.lua"] = [[return { name = "x", budget = { day = "5 CCD" }, schedules = { { name = "a", every = "5m",
      run = function(ctx) ctx.jobs.submit {} end } } }]] }
    assert.equal(0, used.status, used.stdout)
    used = check { ["p.lua"] = 'return { name = "x", budget = { day = "5 CCD" }, on = { ["job.failed"] = require "mine" } }',
      ["mine.lua"] = 'local jobs = require "perigee.jobs"\nreturn function() jobs.submit {} end' }
    assert.equal(0, used.status, used.stdout)
  end)

  it("names two policies of one name", function()
    local result = check({ ["a.lua"] = 'return { name = "x" }', ["b.lua"] = 'return { name = "x" }' }, { "a.lua", "b.lua" })
    assert.equal(1, result.status)
    has(result.stdout, 'its name "x" is that of')
  end)

  it("checks the configuration when it is asked to", function()
    local result = check({ ["c.lua"] = "return { bugdet = '5 CCD' }" }, { "--config", "c.lua" })
    assert.equal(1, result.status)
    has(result.stdout, "did you mean budget?")
    result = check({ ["c.lua"] = "return { timeout = 'soon', sxwl = { prices = { A = '7' } } }" }, { "--config", "c.lua" })
    has(result.stdout, "timeout takes")
    has(result.stdout, 'prices["A"] must be an amount for an hour')
    assert.equal(0, check({ ["c.lua"] = "return { timeout = '5m' }" }, { "--config", "c.lua" }).status)
  end)

  it("checks the policies of the configuration, and what it names", function()
    local config = [[return { policies = { "p.lua", "cost_gate" }, notify = { webhook = "env:NOT_SET" },
      budgets = { { name = "a", policy = "coast_gate", day = "5 CCD" }, { name = "b", tag = "nightly", day = "5" } } }]]
    local result, dir = check({ ["p.lua"] = 'return { name = "x", oops = 1 }', ["c.lua"] = config }, { "--config", "c.lua" })
    assert.equal(1, result.status)
    has(result.stdout, "p.lua (x): 1 problem")
    has(result.stdout, "cost_gate (cost_gate): fine")
    has(result.stdout, 'notify.webhook "env:NOT_SET": NOT_SET is not set')
    has(result.stdout, 'budgets[1] is never used: none of the files has the policy "coast_gate"; did you mean "cost_gate"?')
    has(result.stdout, "budget b: ")
    assert.is_false(fs.exists(dir .. "/.local"))
    fs.write(dir .. "/d.lua", "return { budgets = { { name = 'a', policy = 'y', day = '5 CCD' } } }", { mode = "0600" })
    fs.write(dir .. "/q.lua", "return { name = 'q' }")
    result = spawn.run({ "check", dir .. "/q.lua" }, { env = { PERIGEE_CONFIG = dir .. "/d.lua" } })
    assert.equal(0, result.status, result.stdout)
    result = check({ ["c.lua"] = "return { policies = { { memory = 5 } } }" }, { "--config", "c.lua" })
    has(result.stdout, "policies[1]")
    result = check({ ["p.lua"] = 'return { name = "x", notify = { webhook = "env:NOT_SET" } }' })
    has(result.stdout, "NOT_SET is not set")
  end)

  it("gives one JSON document", function()
    local result = check({ ["p.lua"] = 'return { name = "x", nme = 1, schedules = { { name = "a", every = "1h", run = print } } }' },
      { "p.lua", "--json" })
    local document = json.decode(result.stdout)
    assert.equal(1, result.status)
    assert.equal(1, document.schema_version)
    assert.is_false(document.ok)
    assert.equal("nme", document.files[1].problems[1].field)
    assert.equal(5, #document.files[1].schedules[1].next)
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:00:00Z$", document.files[1].schedules[1].next[1])
  end)

  it("needs something to check", function()
    local result = spawn.run { "check" }
    assert.equal(2, result.status)
    has(result.stderr, "name a policy file")
    has(found("", {}), "this one returns nothing")
    result = spawn.run { "check", "/nonexistent.lua" }
    assert.equal(1, result.status)
    has(result.stdout, "cannot be read")
  end)
end)

describe("a file that is checked", function()
  it("cannot send, run, write or pay while it is loaded", function()
    for code, message in pairs {
      ['require("perigee.http").get "http://127.0.0.1:1/"'] = "http.get is called while the file is loaded",
      ['require("perigee.proc").run { args = { "touch", DIR .. "/touched" } }'] = "proc.run is called",
      ['require("perigee.jobs").submit {}'] = "jobs.submit is called",
      ['require("perigee.deai").client():train {}'] = "a client of deai.train is called",
      ['require("perigee.fs").write(DIR .. "/touched", "x")'] = "fs.write is called",
      ['io.open(DIR .. "/touched", "w")'] = "io.open",
      ['os.remove(DIR .. "/p.lua")'] = "attempt to call a nil value (field 'remove')",
      ['require("perigee.core.ops").call()'] = "there is no module perigee.core.ops for policies",
      ['require("perigee.sxlw")'] = "did you mean perigee.sxwl?",
      ['load("return os.execute")()()'] = "attempt to call a nil value",
    } do
      local result, dir = check { ["p.lua"] = ("local DIR = os.getenv 'HOME'\nlocal _ = %s\nreturn { name = 'x' }"):format(code) }
      assert.equal(1, result.status, code .. result.stdout)
      has(result.stdout, message)
      assert.is_false(fs.exists(dir .. "/touched"))
      assert.is_true(fs.exists(dir .. "/p.lua"))
    end
  end)

  it("may require every module that is public, and is stopped when it waits", function()
    local lines = {}
    for _, entry in ipairs(fs.list "scripts/stubs/perigee") do
      lines[#lines + 1] = ("require 'perigee.%s'"):format((entry.name or entry):gsub("%.lua$", ""))
    end
    local result = check({ ["p.lua"] = table.concat(lines, "\n") .. "\nreturn { name = 'x' }" }, nil,
      { DEAI_EMAIL = "a@b.c", DEAI_PASSWORD = "pass-word", SXWL_TOKEN = "token-of-sxwl" })
    assert.is_nil(result.stdout:find("there is no module", 1, true), result.stdout)
  end)

  it("prints to standard error, so that the document stays one", function()
    local result = check({ ["p.lua"] = "print 'hello'\nreturn { name = 'x' }" }, { "p.lua", "--json" })
    assert.is_true(json.decode(result.stdout).ok)
    assert.equal("hello\n", result.stderr)
  end)
end)
