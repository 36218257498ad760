-- things_terminal_spec.lua - the twenty things of docs/repl.md, each done at a terminal as the page shows it.
local fs = require "perigee.fs"
local helper = require "tests.helper"
local screen = require "tests.support.screen"
local spawn = require "tests.support.spawn"
local support = require "tests.support.daemon"
local transcript = require "tests.support.transcript"
local describe = screen.describe(describe, pending)

local things = transcript.read "docs/repl.md"

-- What the page has done before a thing: a script that the prompt runs first.
local PRELUDE <const> = [[
local types = require("perigee.sxwl").client():gpu_types()
local function cost(hours, price) return require("perigee.amount")(price) * hours end
sxwl = require("perigee.sxwl").client { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" } }
spec = { gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "registry.example/train:1",
  jobType = "GeneralJob", ckptPath = "/ckpt", ckptVol = 10000, modelPath = "/model", modelVol = 10000,
  stopType = 1, stopTime = 30 }
]]
local SIZE <const> = { columns = 100, rows = 40 }

local function at_prompt(folder, more)
  fs.write(folder .. "/prelude.lua", PRELUDE)
  fs.write(folder .. "/config.lua", 'return { sxwl = { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" } } }',
    { mode = "0600" })
  local args = { "repl", "--emulator", "--seed", "1" }
  table.move(more or {}, 1, #(more or {}), #args + 1, args)
  args[#args + 1] = "prelude.lua"
  return screen.perigee(args, { columns = SIZE.columns, rows = SIZE.rows, cwd = folder,
    env = { PERIGEE_CONFIG = folder .. "/config.lua" } })
end

local function at_shell(folder, env)
  env = env or {}
  env.PS1 = "$ "
  env.PATH = spawn.program:match "^(.*)/" .. ":" .. os.getenv "PATH"
  return screen.start({ "bash", "--norc", "--noprofile" },
    { columns = SIZE.columns, rows = SIZE.rows, cwd = folder, env = env })
end

local function pay(s)
  transcript.play(s, things[12].lines)
end

local tested = {}

-- A spec for a thing. options: start(folder) -> screen; any_order; before(screen), after(screen, folder).
local function thing(number, options)
  options = options or {}
  tested[number] = true
  local one = things[number]
  it(("%d. %s"):format(number, one and one.title or "is missing"), function()
    local folder = helper.tmpdir()
    local s <close> = (options.start or at_prompt)(folder)
    if options.before then options.before(s) end
    transcript.play(s, one.lines, options)
    if options.after then options.after(s, folder) end
  end)
end

describe("The page of the REPL", function()
  thing(1)
  thing(2)
  thing(3)
  thing(4)
  thing(5)
  thing(6)
  thing(7)

  thing(8, {
    start = function(folder)
      do
        local s <close> = at_prompt(folder, { "--state", folder .. "/state" })
        transcript.play(s, { 'emulator> cost(8, "7 CNY")', "56 CNY", "emulator> 1 + 1", "2", 'emulator>  "not kept"',
          "emulator> <Ctrl-D>" })
        assert.are.equal(0, s:wait_end())
      end
      return at_prompt(folder, { "--state", folder .. "/state" })
    end,
    before = function(s) transcript.play(s, { 'emulator> "typed now"', '"typed now"' }) end,
    after = function(_, folder)
      assert.are.equal("0600", fs.stat(folder .. "/state/repl_history").mode)
      assert.is_nil(fs.read(folder .. "/state/repl_history"):find "not kept")
    end,
  })

  thing(9, { any_order = true })
  thing(10)
  thing(11)
  thing(12)
  thing(13)
  thing(14)
  thing(15, { before = pay })
  thing(16)
  thing(17, {
    before = pay,
    after = function(_, folder)
      local result = spawn.run({ "run", "--emulator", "--seed", "1", "session.lua" }, { cwd = folder })
      assert.are.equal(0, result.status, result.stderr)
    end,
  })

  thing(18, {
    start = function(folder)
      fs.write(folder .. "/sum.lua", table.concat(things[18].code, "\n"))
      return at_shell(folder)
    end,
  })

  it("19. " .. things[19].title, function()
    local world = support.world()
    finally(function() world:close() end)
    world:emulator()
    world:start { "--config", world:config(), world:policy("ticker", support.TICKER) }
    local s <close> = at_shell(world.folder, { PERIGEE_STATE = world.state })
    transcript.play(s, things[19].lines)
  end)
  tested[19] = true

  thing(20, { after = function(s) assert.are.equal(0, s:wait_end()) end })

  it("lists each command with its usage, and no other", function()
    local page = fs.read "docs/repl.md"
    local usages = {}
    for _, command in ipairs(require("perigee.repl_commands").list) do
      local usage = command.name == "help" and ":help [NAME]" or command.usage
      usages[usage] = true
      assert.is_truthy(page:find("| `" .. usage:gsub("|", "\\|") .. "`", 1, true), command.usage)
    end
    for usage in page:match("\n## Commands\n(.-)\n## "):gmatch "\n| `(:[^`]*)`" do
      usage = usage:gsub("\\|", "|")
      assert.is_true(usages[usage], usage)
    end
  end)

  it("has twenty numbered things, and a test of each", function()
    assert.are.equal(20, #things)
    for i, one in ipairs(things) do
      assert.are.equal(i, one.number)
      assert.is_true(tested[i], ("thing %d has no test: %s"):format(i, one.title))
      assert.is_true(#one.lines > 0, one.title)
    end
  end)
end)
