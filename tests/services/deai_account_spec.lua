-- Distributed AI: tokens, reads, lists and uploads, against the emulator in this process.
local errors = require "perigee.error"
local helper = require "tests.helper"
local local_world = require "tests.services.local_world"
local task = require "perigee.task"

local function write(folder, name, text)
  local path = folder .. "/" .. name
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
  return path
end

local function logins(here, accepted)
  local count = 0
  for _, entry in ipairs(here:entries { kind = "login" }) do
    if entry.accepted == accepted then count = count + 1 end
  end
  return count
end

describe("deai.client: tokens", function()
  it("logs in once for many calls that wait, also of several clients", function()
    local here <close> = local_world.open {}
    local clients = { here:deai(), here:deai() }
    local calls = {}
    for i = 1, 20 do calls[i] = i end

    task.map(calls, function(i) clients[i % 2 + 1]:user() end)

    assert.equal(1, logins(here, true))
    assert.equal(20, #here:entries { kind = "call", operation = "user" })
  end)

  it("logs in again shortly before exp, and not earlier", function()
    local here <close> = local_world.open { now = function() return os.time() - 3598 end } -- tokens end in 2 s
    local client = here:deai()

    client:user()
    client:user()
    assert.equal(1, logins(here, true))
    task.sleep(2)
    client:user()

    assert.equal(2, logins(here, true))
    assert.equal(3, #here:entries { kind = "call", operation = "user" }) -- none was refused
  end)

  it("logs in again when a token is refused, and repeats the call once", function()
    local here <close> = local_world.open { faults = "deai.user:expired=#2" }
    local client = here:deai()
    client:user()

    local user = client:user()

    assert.equal("demo@perigee.example", user.email)
    assert.equal(2, logins(here, true))
    assert.equal(3, #here:entries { kind = "call", operation = "user" })
  end)

  it("shares the second login too", function()
    local here <close> = local_world.open { faults = "deai.user:expired=#2-11" }
    local client = here:deai()
    client:user()
    local calls = {}
    for i = 1, 10 do calls[i] = i end

    task.map(calls, function() client:user() end)

    assert.equal(2, logins(here, true))
  end)

  it("raises auth when the token is refused again, and stops logging in", function()
    local here <close> = local_world.open { faults = "deai.user:expired" }
    local client = here:deai()

    for _ = 1, 10 do
      local err = helper.error_of(client.user, client)
      assert.equal("auth", err.kind)
    end

    assert.is_true(logins(here, true) <= 3)
  end)

  it("tries a refused password once, whoever asks and however often", function()
    local here <close> = local_world.open {}
    local client, other = here:deai { password = "wrong" }, here:deai { password = "wrong" }
    local calls = {}
    for i = 1, 30 do calls[i] = i end

    local outcomes = task.map(calls, function(i) return (i % 2 == 0 and client or other):user() end, { mode = "collect" })

    for _, outcome in ipairs(outcomes) do
      assert.equal("auth", outcome.err.kind)
      assert.equal("login_refused", outcome.err.code)
      assert.equal("none", outcome.err.outcome)
    end
    assert.equal(1, logins(here, false))
  end)

  it("asks a service whose login is down for one of many callers, and tells all of them", function()
    local here <close> = local_world.open { faults = "deai.login:error(503)" }
    local client = here:deai()
    local calls = {}
    for i = 1, 30 do calls[i] = i end

    local outcomes = task.map(calls, function() return client:user() end, { mode = "collect", concurrency = 30 })

    for _, outcome in ipairs(outcomes) do
      assert.equal("http", outcome.err.kind)
      assert.equal("login", outcome.err.operation)
    end
    assert.equal(4, #here:entries { kind = "call", operation = "login" })
  end)

  it("keeps a token that by our clock had ended when it came", function()
    local here <close> = local_world.open { now = function() return os.time() - 7200 end }
    local client = here:deai()
    for _ = 1, 5 do client:user() end

    assert.equal(1, logins(here, true))
  end)

  it("tries another password at once", function()
    local here <close> = local_world.open {}
    local client = here:deai { password = "wrong" }
    helper.error_of(client.user, client)

    assert.equal("demo@perigee.example", here:deai():user().email)
  end)

  it("sends a create that was refused for its token once more, draft and lock kept", function()
    local here <close> = local_world.open { faults = "deai.create_job:expired=#1" }
    local client = here:deai()
    local path = client:upload(write(helper.tmpdir(), "x.csv", "1"))
    client:estimate { model = "LSTM", jobName = "j", x_train = path }

    local job_id = client:create_job { jobName = "j" }

    assert.equal(job_id, here:entries { kind = "job" }[1].jobID)
    assert.equal(1, #here:entries { kind = "job" })
    assert.equal(2, #here:entries { kind = "call", operation = "create_job" })
  end)

  it("never shows the password or the token in an error", function()
    local here <close> = local_world.open { faults = "deai.user:error(400)" }
    local client = here:deai { password = "demo" }
    here.before = function(request) request.headers["x-seen"] = request.headers.token end
    local err = helper.error_of(client.user, client)

    assert.is_nil(tostring(err):find("eyJ", 1, true))
    assert.is_nil((err.body or ""):find("eyJ", 1, true))
    assert.is_nil(err.url:find("?", 1, true))
  end)
end)

describe("deai.client: reads", function()
  it("repeats a read that failed, waits as long as Retry-After says, and tells how often", function()
    local here <close> = local_world.open { faults = "deai.user:rate_limit(1s)=1" }
    local started = task.now()

    here:deai():user()

    assert.is_true(task.now() - started >= 1)
    assert.equal(2, #here:entries { kind = "call", operation = "user" })
  end)

  it("gives up after a bounded number of attempts", function()
    local here <close> = local_world.open { faults = "deai.job:drop_before" }
    local client = here:deai()

    local err = helper.error_of(client.job, client, "1")

    assert.equal("network", err.kind)
    assert.equal("none", err.outcome)
    assert.equal("deai", err.service)
    assert.equal("job", err.operation)
    assert.equal(4, #here:entries { kind = "call", operation = "job" })
    assert.equal(4, err.attempt)
  end)

  it("reads balances as exact amounts", function()
    local here <close> = local_world.open {}
    local user = here:deai():user()

    assert.equal("500 CCD", tostring(user.balanceCCD))
    assert.equal("1.3 PHB", tostring(user.balancePHB))
    assert.is_nil(user.code)
  end)

  it("iterates over all pages of a list, and can give it whole", function()
    local here <close> = local_world.open {}
    local client = here:deai()
    local path = client:upload(write(helper.tmpdir(), "x.csv", "1"))
    local names = {}
    for i = 1, 5 do
      names["j" .. i] = true
      client:estimate { model = "LSTM", jobName = "j" .. i, x_train = path }
      client:create_job { jobName = "j" .. i }
    end

    for row in client:jobs { pageSize = 2 } do
      assert.is_true(names[row.jobName])
      names[row.jobName] = nil
      assert.is_true(#row.jobID >= 76 and type(row.jobID) == "string")
    end

    assert.is_nil(next(names))
    assert.equal(5, #client:usage({ pageSize = 2 }):all())
    assert.equal("j3", client:job(client:jobs({ pageNo = 3, pageSize = 1 })().jobID).jobName)
  end)

  it("lists the submissions of a trained job, and its inferences", function()
    local here <close> = local_world.open {}
    local client = here:deai { status_rate = 50 }
    local path = client:upload(write(helper.tmpdir(), "x.csv", "1"))
    local job_id = client:train({ model = "LSTM", jobName = "j", x_train = path }).jobID
    assert.equal(0, #client:submissions(job_id):all())
    here.now = local_world.stepping(30, 2000)
    for _ = 1, 3 do client:infer { jobID = job_id, data_path = path } end

    assert.equal(1, #client:submissions(job_id):all())
    local rows = client:inferences(job_id, { pageSize = 2 }):all()
    assert.equal(3, #rows)
    assert.is_true(rows[1].submitTime > rows[3].submitTime)
    assert.truthy(rows[1].ccd_cost:decimal())
  end)

  it("refuses a rate of status reads that is none, and a budget that is none", function()
    local here <close> = local_world.open {}
    assert.equal("invalid", helper.error_of(here.deai, here, { budget = "5 CCD" }).kind)
    for _, rate in ipairs { 0, -1, 0 / 0, math.huge } do
      assert.equal("invalid", helper.error_of(here.deai, here, { status_rate = rate }).kind)
    end
  end)

  it("names the nearest field and method", function()
    local here <close> = local_world.open {}
    local client = here:deai()

    local field = helper.error_of(client.create_job, client, { jobname = "x" })
    local method = helper.error_of(function() return client:creat_job {} end)

    assert.equal('deai.create_job: unknown field "jobname"; did you mean "jobName"?', field.message)
    assert.equal('deai.client has no "creat_job"; did you mean "create_job"?', method.message)
    assert.equal(0, #here:entries { kind = "call" })
  end)

  it("deletes a job, and calls an unknown one not_found", function()
    local here <close> = local_world.open {}
    local client = here:deai()
    local path = client:upload(write(helper.tmpdir(), "x.csv", "1"))
    client:estimate { model = "LSTM", jobName = "j", x_train = path }
    local job_id = client:create_job { jobName = "j" }

    client:delete_job(job_id)

    assert.equal(1, #here:entries { kind = "delete" })
    assert.is_true(errors.is(helper.error_of(client.job, client, "12"), "api"))
  end)
end)

describe("deai:upload", function()
  it("keeps 500 files of one name apart, all at once", function()
    local here <close> = local_world.open { now = local_world.stepping(0) }
    local client, folder = here:deai(), helper.tmpdir()
    local lfs = require "lfs"
    local files, texts = {}, {}
    for i = 1, 500 do
      lfs.mkdir(folder .. "/" .. i)
      texts[i] = "content of file " .. i
      files[i] = write(folder .. "/" .. i, "data.csv", texts[i])
    end

    local paths = task.map(files, function(file) return client:upload(file) end, { concurrency = 500 })

    local sha256 = require "perigee.emulator.sha256"
    local by_path = {}
    for _, entry in ipairs(here:entries { kind = "upload" }) do
      assert.is_nil(entry.replaced)
      by_path[entry.path] = entry.content_id
    end
    for i, path in ipairs(paths) do assert.equal(sha256.content_id(texts[i]), by_path[path]) end
  end)

  it("has no two uploads of one name in flight", function()
    local here <close> = local_world.open { faults = "deai.upload:delay(100ms)" }
    local client, folder = here:deai(), helper.tmpdir()
    local file = write(folder, "data.csv", "the same")
    local started = task.now()

    task.map({ file, file, file }, function(path) return client:upload(path) end)

    assert.is_true(task.now() - started >= 0.29)
  end)

  it("raises when a path comes back that stood for other bytes", function()
    local here <close> = local_world.open {}
    local client, folder = here:deai(), helper.tmpdir()
    local handle = here.world.handle
    here.world.handle = function(world, request, now)
      if request.path:find "uploadFile" then
        return { status = 200, headers = {}, body = '{"code":200,"msg":"me/data.csv"}' }
      end
      return handle(world, request, now)
    end
    client:upload(write(folder, "a.csv", "one"))

    local err = helper.error_of(client.upload, client, write(folder, "b.csv", "two"))

    assert.equal("upload_collision", err.code)
  end)

  it("does not send a lost upload again, and says that its outcome is unknown", function()
    local here <close> = local_world.open { faults = "deai.upload:drop_after" }
    local client = here:deai()

    local err = helper.error_of(client.upload, client, write(helper.tmpdir(), "a.csv", "one"))

    assert.equal("unknown", err.outcome)
    assert.is_false(err.retryable)
    assert.equal(1, #here:entries { kind = "upload" })
  end)

  it("gives every file a name that a header and a path can hold", function()
    local here <close> = local_world.open {}
    local client, folder = here:deai(), helper.tmpdir()
    for _, name in ipairs { 'a"b.csv', "数据.csv", "bad\xff.csv", ("é"):rep(120) .. ".csv", "new\nline.csv" } do
      client:upload(write(folder, name, name))
    end

    for _, entry in ipairs(here:entries { kind = "upload" }) do
      assert.truthy(utf8.len(entry.file_name))
      assert.is_true(#entry.file_name <= 209)
      assert.is_nil(entry.file_name:find '[%c"/\\]')
      assert.truthy(entry.file_name:find "^%x%x%x%x%x%x%x%x%-.*%.csv$")
    end
    assert.equal(5, #here:entries { kind = "upload" })
  end)

  it("refuses a file that cannot be read before anything is sent", function()
    local here <close> = local_world.open {}
    local client = here:deai()

    local err = helper.error_of(client.upload, client, "/nowhere/x.csv")

    assert.equal("invalid", err.kind)
    assert.equal(0, #here:entries { kind = "call" })
  end)

  it("reports progress", function()
    local here <close> = local_world.open {}
    local last, total
    here:deai():upload(write(helper.tmpdir(), "a.csv", ("x"):rep(1000)), {
      progress = function(sent, all) last, total = sent, all end,
    })

    assert.is_true(last >= 1000)
    assert.equal(total, last)
  end)
end)
