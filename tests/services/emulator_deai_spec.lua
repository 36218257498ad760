-- The emulated Distributed AI, held against the contract, on a clock of the spec's own.

local client = require "tests.services.emulator_client"
local json = require "perigee.json"
local jwt = require "perigee.emulator.jwt"
local wire = require "perigee.emulator.wire"

-- The digits of a number token in a reply, before any decoder has touched them.
local function token_of(response, name)
  return response.body:match('"' .. name .. '":(%d+)')
end

describe("emulated Distributed AI: tokens", function()
  it("issues a signed token with exactly the claims Email and exp, an hour ahead", function()
    local c = client.new()

    local payload = jwt.from_base64url(c.token:match "%.([^.]+)%.")

    assert.equal('{"Email":"demo@perigee.example","exp":' .. c.now + 3600 .. "}", payload)
    assert.equal('{"alg":"HS256","typ":"JWT"}', jwt.from_base64url(c.token:match "^[^.]+"))
  end)

  it("refuses a wrong password in the body, and writes the attempt down", function()
    local c = client.new()

    local reply, response = c:deai("/user/genToken", { email = "demo@perigee.example", passwd = "no" }, {})

    assert.equal(200, response.status)
    assert.not_equal(200, reply.code)
    assert.is_nil(reply.token)
    assert.is_false(c.ledger:list("login")[2].accepted)
  end)

  it("honours exp to the second", function()
    local c = client.new()
    c.now = c.now + 3599
    local before = c:deai("/panel/jobListByUser", { pageNo = 1, pageSize = 5 })
    c.now = c.now + 1
    local after = c:deai("/panel/jobListByUser", { pageNo = 1, pageSize = 5 })

    assert.equal(200, before.code)
    assert.equal(401, after.code)
  end)

  it("refuses a missing token by HTTP 401 and a forged one by code 403", function()
    local c = client.new()

    local _, missing = c:deai("/panel/jobListByUser", { pageNo = 1, pageSize = 5 }, {})
    local bearer = select(2, c:deai("/panel/jobListByUser", {}, { authorization = "Bearer " .. c.token }))
    local forged = c:deai("/panel/jobListByUser", { pageNo = 1, pageSize = 5 }, { token = c.token .. "x" })

    assert.equal(401, missing.status)
    assert.equal(401, bearer.status)
    assert.equal(403, forged.code)
  end)

  it("can be told to refuse always in one shape", function()
    local c = client.new { deai = { refusal = "http401" } }

    local _, response = c:deai("/panel/jobListByUser", { pageNo = 1, pageSize = 5 }, { token = "a.b.c" })

    assert.equal(401, response.status)
  end)
end)

describe("emulated Distributed AI: uploads", function()
  it("answers with account, second and base name as the path", function()
    local c = client.new()

    local reply = c:upload("y_train.csv", "1,2,3")

    assert.equal("demo@perigee.example/2023-11-14T22:13:20Zy_train.csv", reply.msg)
  end)

  it("gives two files of one name in one second one path, and keeps the later bytes", function()
    local c = client.new()
    local first = c:upload("data.csv", "old")
    local second = c:upload("data.csv", "new")

    c:estimate { x_train = first.msg }

    local uploads = c.ledger:list "upload"
    assert.equal(first.msg, second.msg)
    assert.equal(uploads[1].content_id, uploads[2].replaced)
    assert.equal(uploads[2].content_id, c.ledger:list("estimate")[1].content_id)
  end)

  it("takes binary bytes that look like boundaries", function()
    local c = client.new()
    local bytes = "\0\255\r\n--b1\r\n\r\n--b\r\n"

    c:upload("x.bin", bytes)

    assert.equal(#bytes, c.ledger:list("upload")[1].size)
  end)

  it("refuses what is no strict multipart of one part called file", function()
    local c = client.new()
    local head = '--b0\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\n\r\nx'

    for _, body in ipairs {
      head:format("file", "a.csv"),
      head:format("file", "a.csv") .. "\n--b0--\n",
      "preamble\r\n" .. head:format("file", "a.csv") .. "\r\n--b0--\r\n",
      head:format("data", "a.csv") .. "\r\n--b0--\r\n",
      head:format("file", "dir/a.csv") .. "\r\n--b0--\r\n",
      head:format("file", "a.csv") .. "\r\n" .. head:format("file", "b.csv") .. "\r\n--b0--\r\n",
      '--b0\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b0--\r\n',
      head:format("file", "a.csv") .. "\r\n--b0--\r\nmore",
    } do
      assert.not_equal(200, c:upload("", "", body).code, body)
    end
    assert.equal(0, #c.ledger:list "upload")
  end)
end)

describe("emulated Distributed AI: estimates and money", function()
  it("writes estimates as integers beyond 2^53, 2^63 and 2^64", function()
    local c = client.new()
    local path = c:upload("a.csv", ("1,"):rep(2000)).msg

    local _, small = c:estimate { x_train = path }
    local _, large = c:estimate { x_train = path, epoch = 3500 }
    local _, huge = c:estimate { x_train = path, epoch = 12000 }

    assert.is_true(math.tointeger(tonumber(token_of(small, "ccd_cost"))) ~= nil)
    assert.is_true(tonumber(token_of(small, "ccd_cost")) > 2.0 ^ 53)
    assert.is_true(tonumber(token_of(large, "ccd_cost")) > 2.0 ^ 63)
    assert.is_true(tonumber(token_of(huge, "ccd_cost")) > 2.0 ^ 64)
    assert.is_nil(huge.body:find "e%+")
  end)

  it("bills a decimal string of at most 12 decimals, near the estimate but not equal", function()
    local c = client.new()
    local path = c:upload("a.csv", "1,2").msg

    local _, response = c:estimate { x_train = path }
    c:create()

    local job = c.ledger:created("deai")[1]
    local whole, decimals = job.ccd_cost:match "^(%d+)%.(%d+)$"
    assert.is_true(#decimals <= 12)
    local estimate = tonumber(token_of(response, "ccd_cost")) / 1e18
    local charge = tonumber(whole .. "." .. decimals)
    assert.is_true(math.abs(charge / estimate - 1) < 0.005)
    assert.is_true(math.abs(charge / estimate - 1) > 1e-6)
  end)

  it("takes charges off the balance, and refuses in the body when it does not cover them", function()
    local c = client.new { deai = { accounts = { { email = "demo@perigee.example", password = "open-sesame", balance = "0.05" } } } }
    local path = c:upload("a.csv", "1,2").msg
    c:estimate { x_train = path }

    local first, second = c:create(), c:create()

    local user = json.decode(c:send("GET", "/sdk/computation/user/userInfo", nil, { token = c.token }).body)
    assert.equal(200, first.code)
    assert.not_equal(200, second.code)
    assert.equal(1, #c.ledger:created "deai")
    assert.equal("0.05", require("perigee.emulator.ledger").decimal(
      require("perigee.emulator.ledger").pico(user.balanceCCD) + c.ledger:created("deai")[1].charge_pico))
    assert.equal("1.3", user.balancePHB)
  end)

  it("refuses wrong types as strictly as a Go struct", function()
    local c = client.new()
    local path = c:upload("a.csv", "1,2").msg

    for field, value in pairs {
      epoch = "10", train_shard = 1, category = wire.raw "10.5", model = "RNN", x_train = "nobody/else.csv", scale_ratio = "255",
    } do
      local reply = c:estimate { x_train = path, [field] = value }
      assert.not_equal(200, reply.code, field)
    end
    assert.equal(0, #c.ledger:list "estimate")
  end)

  it("complains in the ledger about empty fields, fields of the other model and a missing y_train", function()
    local c = client.new()
    local path = c:upload("a.csv", "1,2").msg

    c:deai("/deAI/queryGuarantee", {
      model = "CNN", epoch = 1, jobName = "j", x_train = path, train_shard = 0.5, category = 2, channel = 0, shift = 24,
    })

    local texts = {}
    for i, entry in ipairs(c.ledger:complaints()) do
      texts[i] = entry.text
    end
    assert.same({ "unknown field shift", "empty field channel", "CNN without y_train" }, texts)
  end)
end)

describe("emulated Distributed AI: stateful drafts", function()
  it("makes the job on the data of the last estimate of that name", function()
    local c = client.new()
    local a, b = c:upload("a.csv", "aaaa").msg, c:upload("b.csv", "bbbb").msg

    c:estimate { x_train = a } -- one script
    c:estimate { x_train = b } -- another one, same jobName
    c:create() -- the first script goes on

    assert.equal(b, c.ledger:created("deai")[1].x_train)
  end)

  it("keeps drafts of different names and accounts apart", function()
    local c = client.new()
    c.world.deai:add_account { email = "other@perigee.example", password = "x" }
    local a, b = c:upload("a.csv", "aaaa").msg, c:upload("b.csv", "bbbb").msg
    c:estimate { jobName = "one", x_train = a }
    c:estimate { jobName = "two", x_train = b }
    c:create "one"

    c:login("other@perigee.example", "x")
    local foreign = c:create "two"

    assert.equal(a, c.ledger:created("deai")[1].x_train)
    assert.not_equal(200, foreign.code)
  end)

  it("runs and bills an inference on the data of the last inferenceCost of that job", function()
    local c = client.new()
    local small, large = c:upload("s.csv", "1").msg, c:upload("l.csv", ("1"):rep(5000)).msg
    local jobID = c:trained("job", small)

    c:deai("/deAI/inferenceCost", { jobID = jobID, data_path = small })
    local _, other = c:deai("/deAI/inferenceCost", { jobID = jobID, data_path = large })
    c:deai("/deAI/inference", { jobID = jobID })

    local inference = c.ledger:inferences()[1]
    assert.equal(large, inference.data_path)
    assert.equal(token_of(other, "ccd_cost"), inference.estimate)
  end)

  it("makes nothing without an estimate", function()
    local c = client.new()
    local jobID = c:trained("job", c:upload("a.csv", "1").msg)

    assert.not_equal(200, c:create("never estimated").code)
    assert.not_equal(200, c:deai("/deAI/inference", { jobID = jobID }).code)
    assert.equal(1, #c.ledger:created "deai")
    assert.equal(0, #c.ledger:inferences())
    assert.same({ calls = 2, executed = 1, replied = 2, faulted = 0 }, c.ledger.by_operation["deai.create_job"])
  end)
end)

describe("emulated Distributed AI: jobs and inference", function()
  it("names jobs by decimal strings of 76 to 78 digits below 2^256", function()
    local c = client.new()
    local path, seen = c:upload("a.csv", "1").msg, {}
    c:estimate { x_train = path }

    for _ = 1, 40 do
      local id = c:create().jobID
      seen[#id] = true
      assert.is_nil(seen[id])
      seen[id] = true
      assert.is_true(#id < 78 or id < "115792089237316195423570985008687907853269984665640564039457584007913129639936")
    end
    assert.is_true(seen[76] and seen[77] and seen[78])
  end)

  it("answers without a jobID if told so, and the list has it", function()
    local c = client.new { deai = { reply_ids = false } }
    c:estimate { x_train = c:upload("a.csv", "1").msg }

    local reply = c:create()

    local list = c:deai("/panel/jobListByUser", { pageNo = 1, pageSize = 5 })
    assert.equal(200, reply.code)
    assert.is_nil(reply.jobID)
    assert.equal(c.ledger:created("deai")[1].jobID, list.data[1].jobID)
  end)

  it("trains for a while: no submission and no inferenceCost before, both after", function()
    local c = client.new()
    local path = c:upload("a.csv", "1").msg
    c:estimate { x_train = path }
    local jobID = c:create().jobID
    local page = { jobID = jobID, pageNo = 1, pageSize = 5 }

    local function probe()
      local cost = c:deai("/deAI/inferenceCost", { jobID = jobID, data_path = path })
      return { c:deai("/panel/subListByUser", page).totalCount, cost.code }
    end

    local early = probe()
    c.now = c.now + 200
    local late = probe()

    assert.same({ 0, 500 }, early)
    assert.same({ 1, 200 }, late)
  end)

  it("runs jobs faster by the speed", function()
    local function trained_after(speed)
      local c = client.new { speed = speed }
      c:estimate { x_train = c:upload("a.csv", "1").msg }
      local job = c.world.deai.jobs[c:create().jobID]
      return job.trained_at - job.created_at
    end

    assert.near(trained_after(1), trained_after(20) * 20, 0.001)
  end)

  it("shows an unfinished inference as an empty row, as null or as a failure, then as a row", function()
    local c = client.new()
    local path = c:upload("a.csv", "1").msg
    local jobID = c:trained("job", path)
    c:deai("/deAI/inferenceCost", { jobID = jobID, data_path = path })
    local id = c:deai("/deAI/inference", { jobID = jobID }).infer_id
    local shapes = {}

    for _ = 1, 60 do
      local reply = c:deai("/deAI/queryInfer", { id = id })
      shapes[reply.code ~= 200 and "failure" or reply.data == json.null and "null" or reply.data.tx_hash] = true
    end
    c.now = c.now + 60
    local done = c:deai("/deAI/queryInfer", { ID = id })

    assert.same({ failure = true, null = true, [""] = true }, shapes)
    assert.equal(c.ledger:inferences()[1].ccd_cost, done.data.ccd_cost)
    assert.truthy(done.data.tx_hash:match "^0x%x+$")
    assert.truthy(done.data.result:find(c.ledger:inferences()[1].content_id:sub(1, 12), 1, true))
  end)

  it("pages newest first, without an id in the rows of inferences", function()
    local c = client.new()
    local path = c:upload("a.csv", "1").msg
    local jobID = c:trained("job", path)
    c:deai("/deAI/inferenceCost", { jobID = jobID, data_path = path })
    for _ = 1, 5 do
      c:deai("/deAI/inference", { jobID = jobID })
      c.now = c.now + 100
    end

    local page = c:deai("/deAI/queryInferList", { jobID = jobID, pageNo = 2, pageSize = 2 })

    assert.same({ 2, 2, 3, 5, 2 }, { page.size, page.page, page.totalPages, page.totalCount, #page.data })
    assert.equal(100, page.data[1].submitTime - page.data[2].submitTime)
    assert.same({ nil, nil }, { page.data[1].id, page.data[1].infer_id })
    local beyond = select(2, c:deai("/deAI/queryInferList", { jobID = jobID, pageNo = 9, pageSize = 2 }))
    assert.truthy(beyond.body:find('"data":[]', 1, true))
  end)

  it("has detail, usage and deletion of jobs", function()
    local c = client.new()
    local jobID = c:trained("job", c:upload("a.csv", "1").msg)

    local detail = c:deai("/panel/jobDetailByUser", { jobID = jobID })
    local usage = c:deai("/panel/ccdUsageList", { pageNo = 1, pageSize = 5 })
    local deleted = c:deai("/panel/deleteJobByUser", { jobID = jobID })

    assert.equal("Distributed AI CNN", detail.computationStr)
    assert.equal(c.ledger:created("deai")[1].ccd_cost, usage.data[1].ccd_cost)
    assert.equal(200, deleted.code)
    assert.not_equal(200, c:deai("/panel/jobDetailByUser", { jobID = jobID }).code)
    assert.equal(0, c:deai("/panel/jobListByUser", { pageNo = 1, pageSize = 5 }).totalCount)
  end)

  it("answers unknown paths and methods with a page that is no JSON", function()
    local c = client.new()

    assert.equal(404, c:send("POST", "/sdk/computation/deAI/stop", {}).status)
    assert.equal(405, c:send("GET", "/sdk/computation/deAI/createJob").status)
    assert.is_nil((c:deai("/deAI/stop", {})))
  end)
end)
