-- money_console_spec.lua - the question of a paid call in a console: it goes over the wire to whoever is attached.
local daemon = require "tests.support.daemon"
local screen = require "tests.support.screen"

local SETUP <const> = 'spec = { gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "i", jobType = "GeneralJob", '
  .. 'ckptPath = "/c", ckptVol = 1, modelPath = "/m", modelVol = 1, stopTime = 60 }'

-- A daemon over an emulator, whose budget allows two of these jobs.
local function open()
  local world = daemon.world()
  world:emulator("--speed", "1000")
  world:start { "--config", world:config [[return {
    sxwl = { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" } }, budgets = { { name = "night", day = "20 CNY" } } }]] }
  return world
end

local function created(world)
  return #world:call("jobs.list", {})
end

describe("in a console without a terminal a paid call", function()
  local function piped(world, input, ...)
    return require("tests.support.spawn").run({ "repl", "--attach", "--write", "--state", world.state, ... }, { stdin = input })
  end

  it("is denied, and made with --yes", function()
    local world = open()
    finally(function() world:close() end)
    local input = SETUP .. '\njobs.submit { name = "one", service = "sxwl", spec = spec }\nprint "went on"\n'

    local refused = piped(world, input)
    assert.equal(4, refused.status, refused.stderr)
    assert.truthy(refused.stderr:find("not_confirmed", 1, true), refused.stderr)
    assert.is_nil(refused.stdout:find("went on", 1, true))
    assert.equal(0, created(world))

    local made = piped(world, input, "--yes")
    assert.equal(0, made.status, made.stderr)
    assert.equal(1, created(world))
  end)
end)

screen.describe(describe, pending)("at a terminal of a console a paid call", function()
  it("is asked about over the wire, with the daemon's budgets, and what they deny is not", function()
    local world = open()
    finally(function() world:close() end)
    local s <close> = screen.perigee({ "repl", "--attach", "--write", "--state", world.state }, { columns = 100, rows = 40 })
    s:wait_for "daemon! ?\n$"
    s:type(SETUP .. "\n")
    s:type 'jobs.submit { name = "one", service = "sxwl", spec = spec }.state\n'
    s:wait_for "Pay%?"
    assert.truthy(s:text():find('20 CNY of 20 CNY this day, UTC (budget "night")', 1, true), s:text())
    s:type "n\n"
    s:wait_for "declined"
    assert.equal(0, created(world))

    s:type 'jobs.submit { name = "one", service = "sxwl", spec = spec }:wait().state\n'
    s:wait_for "Pay%?[^\n]*each: ?\n$"
    s:type "y\n"
    s:wait_for '"succeeded"'
    assert.equal(1, created(world))

    s:type 'jobs.submit { name = "dear", service = "sxwl", spec = spec, max_cost = "6 CNY" }\n'
    s:wait_for "max_cost"
    assert.equal(1, created(world))
  end)
end)
