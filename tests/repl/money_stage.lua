-- money_stage.lua - what specs of a session's money share: a session that is none, and things to pay for.
local helper = require "tests.helper"
local task = require "perigee.task"

local stage = { GPU = "NVIDIA-GeForce-RTX-3090" }

--- A session whose person answers with the words of the list, then with no; answers may be functions of the question.
function stage.new_session(answers)
  local session = { asked = {}, kind = "repl" }
  function session.ask(question)
    session.asked[#session.asked + 1] = question
    local answer = answers[#session.asked] or "no"
    if type(answer) == "function" then return answer(question) end
    return answer
  end
  return session
end

--- f(…) as an input of the session: in a task of its own, as perigee.repl runs it.
function stage.input(session, f, ...)
  local args = table.pack(...)
  local line = task.spawn(function()
    task.set_local("perigee.session", session)
    task.set_local("perigee.entry", {})
    return f(table.unpack(args, 1, args.n))
  end)
  return line:wait()
end

function stage.data_file(content)
  local path = helper.tmpdir() .. "/data.csv"
  local file = assert(io.open(path, "wb"))
  file:write(content or "pixels")
  file:close()
  return path
end

function stage.training(name, more)
  local fields = {
    model = "CNN", epoch = 2, jobName = name or "digits", x_train = "a/x.csv", y_train = "a/y.csv", train_shard = 0.8,
    category = 10, channel = 1,
  }
  for field, value in pairs(more or {}) do fields[field] = value end
  return fields
end

function stage.gpu_job(more)
  local fields = {
    gpuNumber = 1, gpuType = stage.GPU, ckptPath = "/ckpt", ckptVol = 1000, modelPath = "/model", modelVol = 1000,
    imagePath = "image", jobType = "GeneralJob", stopType = "1", stopTime = 60,
  }
  for field, value in pairs(more or {}) do fields[field] = value end
  return fields
end

stage.PRICES = { [stage.GPU] = "7 CNY/h" }

--- A client and the fields of a training whose data is on the service.
function stage.ready(here, name, more)
  local client = here:deai()
  local path = client:upload(stage.data_file())
  return client, stage.training(name, { x_train = path, y_train = path, table.unpack(more or {}) })
end

function stage.creates(here, operation)
  if operation == "sxwl" then return here.world.ledger:calls("sxwl", "create_job") end
  return here.world.ledger:calls("deai", operation or "create_job")
end

return stage
