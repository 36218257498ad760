-- summary_spec.lua - the closing table and its JSON.
local json = require "perigee.json"
local summary = require "perigee.summary"
local term = require "perigee.core.term"

local function cell(digits, currency)
  return { text = digits .. " " .. currency, digits = digits, zero = digits == "0" }
end

local function make_figures(changes)
  local all = {
    calls = 42, failed = 2, retries = 1, denied = 3, denied_by = { over_budget = 1, max_cost = 2 },
    unpriced = 0, ungoverned = 0, unknown = 0, elapsed = 75.2, exit_code = 4,
    slowest = { operation = "deai.upload", seconds = 3.25 },
    left_behind = {},
    money = {
      { currency = "CCD", spent = cell("0.027870365208168", "CCD"), held = cell("0", "CCD"), unknown = cell("0", "CCD"),
        derived = cell("0", "CCD"), presumed = cell("0", "CCD") },
      { currency = "CNY", spent = cell("12.5", "CNY"), held = cell("7", "CNY"), unknown = cell("0", "CNY"),
        derived = cell("12.5", "CNY"), presumed = cell("0", "CNY") },
    },
  }
  for name, value in pairs(changes or {}) do all[name] = value end
  return all
end

describe("the summary", function()
  it("is a table whose columns line up", function()
    assert.are.equal([[
perigee: summary, 1 min 15 s, exit code 4
  calls       42  2 failed
  retries      1
  denied       3  max_cost 2, over_budget 1
  slowest  3.2 s  deai.upload
  money              spent  held  unknown
  CCD    0.027870365208168     0        0
  CNY                 12.5     7        0
]], summary.render(make_figures()))
  end)

  it("tells of unknown outcomes and of calls without a price", function()
    local text = summary.render(make_figures { unknown = 1, unpriced = 2 })
    assert.is_truthy(text:find "unknown +1  may have been charged")
    assert.is_truthy(text:find "unpriced +2")
  end)

  it("lines up Chinese too", function()
    local lines = summary.columns({ { "训练", "1" }, { "train", "20" } }, { false, true })
    assert.are.equal(term.width(lines[1]), term.width(lines[2]))
    assert.are.equal("训练    1", lines[1])
  end)

  it("has a JSON form with a version, amounts as decimal strings, and objects even when empty", function()
    local object = json.decode(summary.json(make_figures { money = {}, denied_by = {} }))
    assert.are.equal(1, object.schema_version)
    assert.are.equal(4, object.exit_code)
    assert.is_truthy(summary.json(make_figures { money = {} }):find('"spent":{}', 1, true))
    object = json.decode(summary.json(make_figures()))
    assert.are.equal("0.027870365208168", object.spent.CCD)
    assert.are.equal("7", object.held.CNY)
    assert.are.equal(2, object.denied_by.max_cost)
  end)

  it("ends with the remote jobs that go on, their worst cost and how to stop them", function()
    assert.are.equal("", summary.render_left_behind {})
    assert.are.equal([[
perigee: 2 remote jobs go on, and are paid for:
  sxwl abc, worst cost 14 CNY
    stop it with: perigee run -e 'x'
  deai 7, still paid for
    it cannot be stopped
]], summary.render_left_behind {
      { service = "sxwl", id = "abc", worst_cost = "14 CNY", how = "perigee run -e 'x'" },
      { service = "deai", id = 7, how = "cannot be stopped" },
    })
    local left = { { service = "deai", id = 7 } }
    assert.are.equal(7, json.decode(summary.json(make_figures { left_behind = left })).left_behind[1].id)
  end)

  it("collects from the engines of a process that did nothing", function()
    local all = summary.collect()
    assert.are.equal(0, all.denied)
    assert.are.same({}, all.money)
  end)
end)
