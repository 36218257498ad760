-- money_process_spec.lua - while a person thinks, another process of the same state directory takes the same locks.
local deai = require "perigee.deai"
local emulator_server = require "perigee.emulator.server"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local spawn = require "tests.support.spawn"

-- A child's words: a client, and a session whose person answers once the parent has made the file "answer".
local PRELUDE <const> = [[
local dir, jobID, x_train = arg[1], arg[2], arg[3]
local task = require "perigee.task"
local client = require("perigee.deai").client { status_rate = 10000 }
local budget = require("perigee.budget").new { name = "shared", total = "100 CCD" }
local function tell(...) print(...) io.stdout:flush() end
local session = { kind = "repl" }
local asked = 0
function session.ask(question)
  asked = asked + 1
  tell("asked " .. asked, tostring(question.left))
  local answer
  repeat
    task.sleep(0.01)
    local file = io.open(dir .. "/answer")
    answer = file and file:read "a"
    if file then file:close() end
  until answer
  return answer
end
local training = { model = "LSTM", jobName = "second", epoch = 1, x_train = x_train, train_shard = 0.8, budget = budget }
]]

local function open_world()
  local world = { dir = helper.tmpdir() }
  world.emulator = emulator_server.serve { seed = 5, speed = 1000000 }
  local client = deai.client {
    base_url = world.emulator.deai_url, email = world.emulator.email, password = world.emulator.password, status_rate = 10000,
  }
  fs.write(world.dir .. "/data.csv", "1,2,3")
  world.path = client:upload(world.dir .. "/data.csv")
  world.jobID = client:train({
    model = "LSTM", jobName = "first", epoch = 1, x_train = world.path, train_shard = 0.8, wait = true,
  }).jobID
  return world
end

local function child(world, code)
  local name = os.tmpname() .. ".lua"
  fs.write(name, PRELUDE .. code)
  return spawn.start({ "run", "--state", world.dir .. "/state", name, world.dir, world.jobID, world.path }, {
    env = { DEAI_BASE_URL = world.emulator.deai_url, DEAI_EMAIL = world.emulator.email, DEAI_PASSWORD = world.emulator.password },
  })
end

local function answer(world, word)
  fs.write(world.dir .. "/answer.new", word)
  assert(os.rename(world.dir .. "/answer.new", world.dir .. "/answer"))
end

local SESSION <const> = [[
task.set_local("perigee.session", session)
local ok, result = pcall(function() return %s end)
tell(ok and "paid" or result.code, asked)
]]

describe("while a person thinks, another process", function()
  for _, case in ipairs {
    { "trains under the same name", "client:train(training)" },
    { "infers on the same job", "client:infer { jobID = jobID, data_path = x_train, budget = budget }" },
  } do
    it(case[1] .. ", and the answer still holds for the price", function()
      local world = open_world()
      finally(function() world.emulator:close() end)
      local prompt = child(world, SESSION:format(case[2]))
      assert.truthy(prompt:read_until "asked 1")

      local script = child(world, case[2] .. " tell('done', tostring(budget:held() + budget:spent()))")
      assert.is_truthy(script:read_until "done")
      script:wait()
      answer(world, "yes")

      assert.truthy(prompt:read_until "paid\t1")
      prompt:wait()
    end)
  end

  it("finds nothing held in the budget", function()
    local world = open_world()
    finally(function() world.emulator:close() end)
    local prompt = child(world, SESSION:format "client:train(training)")
    assert.truthy(prompt:read_until "asked 1\t100 CCD")

    local script = child(world, "tell('held', tostring(budget:held()), tostring(budget:left()))")
    assert.truthy(script:read_until "held\t0 CCD\t100 CCD")
    script:wait()
    answer(world, "no")

    assert.truthy(prompt:read_until "declined\t1")
    prompt:wait()
  end)
end)
