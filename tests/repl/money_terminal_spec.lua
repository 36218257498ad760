-- money_terminal_spec.lua - the question of a paid call, as a person at a terminal meets it.
local helper = require "tests.helper"
local screen = require "tests.support.screen"

local describe = screen.describe(describe, pending)

local SETUP <const> = [[
c = require "perigee.sxwl".client { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" } }
local job = { gpuNumber = 1, gpuType = "NVIDIA-GeForce-RTX-3090", stopType = "1", ckptPath = "/c", ckptVol = 1, modelPath = "/m",
  modelVol = 1, imagePath = "i", jobType = "GeneralJob" }
function go(minutes)
  job.stopTime = minutes or 60
  return c:create_job(job)
end
function made() return "made " .. #c:jobs():all() end
]]

local function open()
  local path = helper.tmpdir() .. "/setup.lua"
  local file = assert(io.open(path, "wb"))
  file:write(SETUP)
  file:close()
  local s = screen.perigee({ "repl", "--emulator", path }, { columns = 100, rows = 40, env = { HOME = helper.tmpdir() } })
  s:wait_for "emulator>\n$"
  return s
end

local function made(s, count)
  s:type "made()\n"
  s:wait_for('"made ' .. count .. '"')
end

describe("at a terminal a paid call", function()
  it("shows price, worst case and limits, and is made after y", function()
    local s <close> = open()
    s:type "go()\n"
    s:wait_for "Pay%?"
    local text = s:text()
    for _, words in ipairs {
      "SXWL: a job on NVIDIA", "7 CNY, 1 GPU for 60 min", "no max_cost and no budget", "[a]ll of this line up to 7 CNY each:",
    } do
      assert.truthy(text:find(words, 1, true), text)
    end
    s:type "y\n"
    s:wait_for '"ai%x+'
    made(s, 1)
    assert.is_nil(s:text():find("spend.ungoverned", 1, true)) -- whoever was asked needs no warning that nobody was
    s:type ":yes on\ngo()\n"
    s:wait_for "spend%.ungoverned"
  end)

  it("is not made after n, nor after the return key alone", function()
    local s <close> = open()
    s:type "go()\n"
    s:wait_for "Pay%?"
    s:type "n\n"
    s:wait_for "declined"
    s:type ":clear\ngo()\n"
    s:wait_for "Pay%?"
    s:type "\n"
    s:wait_for "declined"
    made(s, 0)
  end)

  it("is not made after Ctrl-C at the question, which ends the line", function()
    local s <close> = open()
    s:type "pcall(go) go() print 'goes on'\n"
    s:wait_for "Pay%?"
    s:keys "C-c"
    s:wait_for "interrupted"
    made(s, 0)
    assert.is_nil(s:text():find("\ngoes on", 1, true))
  end)

  it("is asked about in turn where two tasks make one at once", function()
    local s <close> = open()
    s:type "task.map({ 60, 30 }, go, { mode = 'collect' })\n"
    s:wait_for "up to 7 CNY each:"
    assert.is_nil(s:text():find("up to 3.5 CNY each:", 1, true))
    s:type "y\n"
    s:wait_for "up to 3%.5 CNY each:"
    s:type "n\n"
    s:wait_for "denied"
    made(s, 1)
  end)

  it("of the background asks while another line is typed, which is there again afterwards", function()
    local s <close> = open()
    s:type "go_on = task.queue(1)\n"
    s:type "go_on:get() go() &\n"
    s:wait_for "%[1%] started"
    s:type "task.spawn(function() task.sleep(0.3) go_on:put(1) end)\n"
    s:type "40 +"
    s:wait_for "Pay%?"
    s:type "y\n"
    s:wait_for "emulator> 40 %+\n$"
    s:type " 2\n"
    s:wait_for "\n42\n"
    made(s, 1)
  end)

  it("is not asked about after :yes on, and is again after :yes off", function()
    local s <close> = open()
    s:type ":yes on\ngo()\n"
    s:wait_for '"ai%x+'
    s:type ":yes off\ngo()\n"
    s:wait_for "Pay%?"
    s:type "n\n"
    made(s, 1)
  end)

  it("answered with a covers the rest of the line, and not the next one", function()
    local s <close> = open()
    s:type "for i = 1, 3 do go(i) end go(60)\n"
    s:wait_for "up to 0%.1166.* each:"
    s:type "n\n"
    s:wait_for "declined"
    s:type "for i = 3, 1, -1 do go(i) end\n"
    s:wait_for "up to 0%.35 CNY each:"
    s:type "a\n"
    made(s, 3)
    s:type "go(1)\n"
    s:wait_for "up to 0%.1166.* each:"
    s:type "n\n"
    made(s, 3)
  end)
end)
