-- faults_spec.lua - what goes wrong around the calls: callbacks of every kind, an hour without a service, tokens that
-- expire, clocks that jump; then everything at once.  Faults of single calls are in supervisor_faults_spec.
local supervised = require "tests.support.supervised"

-- A receiver of callbacks without a socket, the courier that brings them, jobs of each kind, and the audit.
local STAGE <const> = [[
  package.loaded["perigee.http_serve"] = { serve = function() return { url = "", port = 0, close = function() end } end }
  _G.RECEIVER = require "perigee.callbacks".serve {
    listen = "127.0.0.1:1", public_url = "http://door", ring = function(id) sup:ring(id) end,
  }
  local task = require "perigee.task"
  local function knock(url, body)
    return RECEIVER:_receive { method = "POST", path = url:match "^%w+://[^/]+(.*)$", body = body, headers = {}, query = {} }.status or 200
  end
  local brought, refused = 0, 0
  local courier = task.detach(function()
    while true do
      sleep(1)
      for _, one in ipairs(world.world.sxwl:due_callbacks(world.now())) do
        if knock(one.url, one.body) == 200 then brought = brought + 1 end
        if knock(one.url:gsub("%x%x%x%x$", "0000"), '{"status":"fail"}') == 404 then refused = refused + 1 end
      end
    end
  end)
  local ending <close> = setmetatable({}, { __close = function()
    courier:cancel "the scene is over"
    RECEIVER:close()
  end })

  local path = os.tmpname()
  require "perigee.fs".write(path, "1,2,3\n4,5,6\n")
  local data = require "perigee.deai".file(path)
  local function deai_job(kind, i, spec)
    return submit({ service = "deai", kind = kind, name = kind .. i, max_cost = "10 CCD", on_unknown = "fail" }, spec)
  end
  local function train(i)
    return deai_job("train", i, { model = "LSTM", epoch = 2, x_train = data, train_shard = 0.8, jobName = "weather" })
  end
  local trained = wait(train(0), 72000).result.jobID
  local ids = {}
  local function submit_all(count)
    for i = 1, count do
      ids[#ids + 1] = submit { name = "gpu" .. #ids, on_unknown = "retry", retry = { attempts = 5, base = "2s" } }
    end
    ids[#ids + 1] = train(#ids)
    ids[#ids + 1] = deai_job("infer", #ids, { jobID = trained, data_path = data })
  end
  local function states()
    local count = {}
    for _, id in ipairs(ids) do
      local state = wait(id, 90000).state
      count[state] = (count[state] or 0) + 1
    end
    return json.encode(count)
  end
  local function audit(poll)
    local minutes, ledger = {}, world.world.ledger
    for _, row in ipairs(ledger:gpu_use(world.now())) do minutes[row.job_id] = row.gpu_minutes end
    local problems = require "tests.survival.audit".compare {
      entries = ledger.entries, permits = journal.call("permit.list", { limit = 100000 }), gpu_minutes = minutes, hourly = "6 CNY",
      poll = poll,
    }
    return #problems == 0 and "clean" or table.concat(problems, "\n")
  end
  local function faults(text) world.world.faults:replace(text) end
  local function seconds_to_end(id)
    local job = journal.call("job.get", { id = id })[1]
    return (job.ended_at - job.started_at) / 1000
  end
]]

local SURROUNDINGS <const> = {
  sup = { "{ url_for = function(id, number) return RECEIVER and RECEIVER:url_for(id, number) end }" },
  seed = { "3" },
}

local function play(text, options)
  local all = {}
  for name, value in pairs(SURROUNDINGS) do all[name] = value end
  for name, value in pairs(options or {}) do all[name] = value end
  local out, problems = supervised.play(STAGE .. text, all)
  assert.not_equal("", out, problems)
  return out
end

describe("callbacks", function()
  it("that come twice, early, late, forged or never change nothing but when a job is looked at", function()
    local out = play [[
      faults("sxwl.create_job:callback_twice=40%,sxwl.create_job:callback_early=30%,sxwl.create_job:callback_late(90s)=20%,"
        .. "sxwl.create_job:callback_never=30%")
      submit_all(30)
      print(states())
      print(brought > 10, refused >= brought, RECEIVER.figures.refused == refused, audit(60))
    ]]

    assert.equal('{"succeeded":32}\ntrue\ttrue\ttrue\tclean\n', out)
  end)

  it("bring the end of a job at once, which polling sees up to a minute late", function()
    local out = play([[
      local id = submit { name = "called" }
      wait(id)
      faults "sxwl.create_job:callback_never"
      local quiet = submit { name = "quiet" }
      wait(quiet)
      local ends = {}
      for _, made in ipairs(world.world.ledger:created "sxwl") do ends[#ends + 1] = made.job.ends_at - made.job.created_at end
      local late, quietly = seconds_to_end(id) - ends[1], seconds_to_end(quiet) - ends[2]
      print(late <= 3, quietly <= 62, audit(60))
    ]], { speed = { "0.1" } })

    assert.equal("true\ttrue\tclean\n", out)
  end)
end)

describe("an hour without any service", function()
  it("ends nothing, starts nothing twice, and is told; then all jobs go on", function()
    local out = play([[
      submit_all(6)
      sleep(30)
      faults "*.*:drop_before"
      submit_all(2)
      sleep(3700)
      local told = said():find("job.unreachable", 1, true) ~= nil
      local ended = 0
      for _, id in ipairs(ids) do if job(id).state == "failed" then ended = ended + 1 end end
      faults ""
      print(told, ended, states(), audit())
      print(#world.world.ledger:created "sxwl")
    ]], { speed = { "0.05" } })

    assert.equal('true\t0\t{"succeeded":12}\tclean\n8\n', out)
  end)
end)

describe("inferences on a job whose last estimate was answered by nobody", function()
  it("wait until it cannot arrive any more, and keep no others waiting", function()
    local out = play([[
      faults "deai.estimate_inference:drop_after=1"
      for i = 1, 30 do ids[i] = deai_job("infer", i, { jobID = trained, data_path = data }) end
      sleep(5)
      local gpu, other = submit { name = "gpu" }, train(99)
      sleep(5)
      print(job(ids[30]).state, job(gpu).state, job(other).state)
      ids[#ids + 1], ids[#ids + 2] = gpu, other
      states()
      print(job(gpu).state, job(other).state, audit(60))
    ]], { speed = { "2" } })

    assert.equal("planned\trunning\trunning\nsucceeded\tsucceeded\tclean\n", out)
  end)
end)

describe("a token that expires while jobs run", function()
  it("is replaced, and no job is sent again for that", function()
    local out = play([[
      submit_all(2)
      sleep(5000)
      ids[#ids + 1] = train(20)
      faults "deai.*:expired=20%"
      print(states(), audit())
      local logins = world.world.ledger:calls("deai", "login")
      print(logins > 1, #world.world.ledger:created "deai")
    ]], { speed = { "0.02" } })

    assert.equal('{"succeeded":5}\tclean\ntrue\t3\n', out)
  end)
end)

describe("clocks", function()
  for _, hour in ipairs { 3600, -3600 } do
    it(("of which ours jumps by %d s lose no job and no money"):format(hour), function()
      local out = play(([[
        local time = require "perigee.time"
        local right, wrong = time.now, 0
        function time.now() return right() + wrong end
        submit_all(4)
        sleep(20)
        wrong = %d
        submit_all(4)
        sleep(300)
        wrong = 0
        submit_all(4)
        print(states(), audit())
      ]]):format(hour), { speed = { "0.2" } })

      assert.equal('{"succeeded":18}\tclean\n', out)
    end)

    it(("of which the service's is %d s beside ours lose no job and no money, lost answers included"):format(hour), function()
      local out = play([[
        faults "sxwl.create_job:drop_after=50%,deai.create_job:drop_after"
        submit_all(8)
        print(states(), audit(60))
      ]], { speed = { "0.2" }, now = { ("function() return os.time() + %d end"):format(hour) } })

      assert.equal('{"succeeded":10}\tclean\n', out)
    end)
  end
end)

describe("everything at once", function()
  it("leaves every job at its end, each create once, and money for each", function()
    local out = play([[
      faults(table.concat({
        "*.*:drop_before=3%", "*.*:error(503)=3%", "*.*:transient=3%", "*.*:rate_limit(5s)=3%", "*.*:delay(3s)=10%", "*.*:garbage=2%",
        "deai.*:expired=5%", "sxwl.create_job:drop_after=10%", "sxwl.create_job:error_after(502)=5%", "sxwl.create_job:fail=20%",
        "sxwl.create_job:back(2)=20%", "sxwl.create_job:no_url=5%", "sxwl.create_job:callback_twice=20%",
        "sxwl.create_job:callback_early=20%", "sxwl.create_job:callback_late(2m)=20%", "sxwl.create_job:callback_never=20%",
        "deai.create_job:drop_after=10%", "deai.create_job:no_id=10%", "deai.start_inference:drop_after=10%",
      }, ","))
      for _ = 1, 6 do
        submit_all(5)
        sleep(200)
        restart()
      end
      local text = states()
      local ended = 0
      for _, id in ipairs(ids) do if ({ succeeded = 1, failed = 1 })[job(id).state] then ended = ended + 1 end end
      print(ended, audit())
    ]], { speed = { "0.2" } })

    assert.equal("42\tclean\n", out)
  end)
end)
