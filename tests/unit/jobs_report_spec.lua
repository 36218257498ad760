-- jobs_report_spec.lua - jobs in tables and words: what people read of them.
local report = require "perigee.jobs_report"
local term = require "perigee.core.term"
local why = require "perigee.why"
local words = require "perigee.job_words"

local NOW <const> = 1700000000

local function job(changes)
  local all = {
    id = "1a2b3c4d5e6f", name = "train", key = "", service = "sxwl", kind = "job", state = "running", attempt = 1,
    attempts = 1, price = "5 CNY", created_at = NOW - 200, changed_at = NOW - 180, options = { on_unknown = "wait" }, tags = {},
    spec = { gpuNumber = 1, env = { HF_TOKEN = { ["$secret"] = "env:HF_TOKEN" } } },
  }
  for name, value in pairs(changes or {}) do all[name] = value end
  return all
end

local function whole(changes, more)
  local all = {
    job = job(changes), attempts = {}, decisions = {}, money = {}, owner = { kind = "daemon", pid = 123, host = "h" },
  }
  for name, value in pairs(more or {}) do all[name] = value end
  if all.owner == "nobody" then all.owner = nil end
  return all
end

describe("the list of jobs", function()
  it("lines up, whatever the script of names, and leaves the key out where none has one", function()
    local text = report.list({
      job { name = "训练", state = "held", reason = "over 3 CNY" },
      job { id = "ffff3c4d5e6f", name = "nightly", attempt = 2, attempts = 3, cost = "2.5 CNY", changed_at = NOW - 90000 },
    }, { now = NOW })

    assert.equal([[
ID            NAME     SERVICE   STATE                    SINCE      MONEY          NOTE
1a2b3c4d5e6f  训练     sxwl job  held                     3 min ago  at most 5 CNY  over 3 CNY
ffff3c4d5e6f  nightly  sxwl job  running, attempt 2 of 3  1 day ago  2.5 CNY
]], text)
    assert.is_truthy(report.list({ job { key = "monday" } }, { now = NOW }):find("KEY", 1, true))
  end)

  it("cuts notes to the terminal, and nothing without one", function()
    local one = job { reason = ("x"):rep(300) }

    local cut = report.list({ one }, { now = NOW, width = 100 })

    for line in cut:gmatch "[^\n]+" do assert.is_true(term.width(line) <= 100, line) end
    assert.is_truthy(report.list({ one }, { now = NOW }):find(one.reason, 1, true))
  end)

  it("shows escapes of a terminal in names and notes as text", function()
    assert.is_nil(report.list({ job { name = "a\27[31mb", reason = "c\27]0;d" } }, { now = NOW }):find("\27", 1, true))
  end)

  it("says so when there is none", function()
    assert.equal("no jobs\n", report.list({}, {}))
  end)
end)

describe("one job", function()
  it("shows its secrets as the references they are, times in words, and who looks after it", function()
    local text = report.show(whole { remote_id = "ai7", wake_at = NOW + 12 }, { now = NOW })

    assert.is_truthy(text:find("env:HF_TOKEN", 1, true))
    assert.is_truthy(text:find "created +2023%-11%-14T22:10:00Z %(3 min ago%)")
    assert.is_truthy(text:find "next look +%S+ %(in 12 s%)")
    assert.is_truthy(text:find "looked after +by daemon, process 123")
  end)
end)

describe("the story of a job", function()
  it("tells each decision with the figures that its sentence does not have, and every verdict", function()
    local text = why.text(whole({}, { decisions = {
      { at = NOW - 200, kind = "price", text = "worst case 5 CNY: 1 GPU for 60 min", data = { price = "5 CNY", hourly = "5 CNY/h" } },
      { at = NOW - 199, kind = "gate", text = "says allow", policy = "cost_gate" },
      { at = NOW + 86400, kind = "poll", text = "still at work" },
    } }), NOW)

    assert.is_truthy(text:find("2023-11-14 22:10:00  price  worst case 5 CNY: 1 GPU for 60 min  [hourly 5 CNY/h]\n", 1, true), text)
    assert.is_truthy(text:find("           22:10:01  gate   policy cost_gate: says allow\n", 1, true), text)
    assert.is_truthy(text:find("2023-11-15 22:13:20  poll", 1, true), text)
  end)

  it("tells the attempts, and money held, spent and unknown apart", function()
    local text = why.text(whole({ spent = "7 CNY", options = { max_cost = "20 CNY" } }, {
      attempts = {
        { attempt = 1, state = "failed", cost = "2 CNY", derived = true, remote_id = "ai6", error = { message = "job ai6 has failed" } },
        { attempt = 2, state = "running", price = "5 CNY", remote_id = "ai7", started_at = NOW - 60 },
      },
      money = { { currency = "CNY", held = "5 CNY", spent = "2 CNY", unknown = "0 CNY", derived = true },
        { currency = "CCD", held = "0 CCD", spent = "0 CCD", unknown = "1 CCD" } },
    }), NOW)

    assert.is_truthy(text:find "1  failed +cost 2 CNY %(derived%) +ai6 +job ai6 has failed", text)
    assert.is_truthy(text:find "2  running  1 min ago  at most 5 CNY +ai7")
    assert.is_truthy(text:find("held 5 CNY, spent 2 CNY (derived from time)\n", 1, true))
    assert.is_truthy(text:find("held 0 CCD, spent 0 CCD, and 1 CCD may have been charged\n", 1, true))
    assert.is_truthy(text:find("at most 20 CNY (max_cost); 7 CNY of it count so far", 1, true))
  end)

  it("says what comes next and what one can do, for every state", function()
    for _, state in ipairs(words.STATES) do
      local text = why.text(whole { state = state, expires_at = NOW + 3600 }, NOW)
      local next_words = text:match "WHAT COMES NEXT\n  ([^\n]+)"
      assert.is_truthy(next_words and #next_words > 10, state)
      assert.equal(state ~= "succeeded", text:find("WHAT YOU CAN DO", 1, true) ~= nil, state)
    end
    assert.is_truthy(why.text(whole { state = "held", expires_at = NOW + 3600 }, NOW):find("denied in 1 h (2023", 1, true))
    assert.is_truthy(why.text(whole { state = "unknown" }, NOW):find("perigee jobs adopt 1a2b3c4d5e6f REMOTE_ID", 1, true))
    assert.is_truthy(why.text(whole { service = "deai" }, NOW):find("it goes on and stays billed", 1, true))
  end)

  it("says that nobody looks after a job whose program has ended", function()
    assert.is_truthy(why.text(whole({}, { owner = "nobody" }), NOW):find("no program looks after it", 1, true))
    assert.is_nil(why.text(whole({ state = "failed" }, { owner = "nobody" }), NOW):find("no program looks after it", 1, true))
  end)
end)

describe("what nobody tracks", function()
  it("is listed with what could not be asked", function()
    local text = report.sweep({
      found = { { service = "sxwl", id = "ai7", since = NOW - 7200, price = "5 CNY" } },
      failures = { { service = "deai", error = "DEAI_EMAIL is not set" } },
    }, { now = NOW })

    assert.equal("SERVICE  REMOTE ID  NAME  SINCE    PRICE\nsxwl     ai7              2 h ago  5 CNY\n"
      .. "deai could not be asked: DEAI_EMAIL is not set\n", text)
    assert.is_truthy(report.sweep({ found = {} }):find("no paid work", 1, true))
  end)
end)

describe("times in words", function()
  it("have the size of what they tell", function()
    local cases = { [0] = "just now", [5] = "5 s ago", [190] = "3 min ago", [7500] = "2 h 5 min ago", [40000] = "11 h ago",
      [90000] = "1 day ago", [864000] = "10 days ago", [-190] = "in 3 min" }
    for passed, text in pairs(cases) do assert.equal(text, words.ago(NOW - passed, NOW)) end
    assert.equal("", words.ago(nil, NOW))
  end)
end)
