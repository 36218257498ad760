-- daemon.lua - a daemon as a child process, for black box specs: its state, its policies, its emulator.
local control = require "perigee.control"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local spawn = require "tests.support.spawn"

local LIFE <const> = 300 -- seconds: what a spec starts ends with the spec, not before

local daemon = {}

--- A policy that prints every second; VERSION is there to be replaced.
daemon.TICKER = [[
  return { name = "ticker", schedules = { { name = "tick", every = "1s", run = function(ctx)
    print("VERSION ticked for " .. ctx.scheduled_at)
  end } } }]]

--- A policy that submits one job and prints when it has succeeded.
daemon.SUBMITTER = [[
  local jobs = require "perigee.jobs"
  return {
    name = "submitter",
    on = {
      ["job.submit"] = function(job) return require "perigee.policy".allow() end,
      ["job.succeeded"] = function(job) print("succeeded " .. job.name) end,
    },
    schedules = { { name = "train", every = "1s", run = function(ctx)
      local job = ctx.jobs.submit { service = "sxwl", name = "digits", key = "KEY", max_cost = "20 CNY", spec = {
        gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "registry.example/digits:1.4", jobType = "GeneralJob",
        ckptPath = "/ckpt", ckptVol = 10000, modelPath = "/model", modelVol = 10000, runCommand = "python train.py" } }
      print("submitted " .. job.id)
    end } } }]]

local CONFIG <const> = [[return { sxwl = { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" } } }]]

--- What a child has logged so far.
function daemon.log(child)
  return (select(2, child:output()))
end

local World = {}
World.__index = World

--- A world without anything running: a folder with a state directory. Its :close() goes into `finally`.
function daemon.world()
  local folder = helper.tmpdir()
  return setmetatable({ folder = folder, state = folder .. "/state", files = {}, children = {} }, World)
end

--- Writes a policy's file; its path.
function World:policy(name, text)
  local path = self.folder .. "/" .. name .. ".lua"
  local file <close> = assert(io.open(path, "w"))
  file:write(text)
  self.files[name] = path
  return path
end

--- Writes the configuration file, by default one with a price; its path.
function World:config(text)
  local path = self.folder .. "/config.lua"
  fs.write(path, text or CONFIG, { mode = "0600" })
  return path
end

--- Starts an emulator of its own, which outlives the daemons.
function World:emulator(...)
  local child = spawn.start({ "emulator", "--listen", "127.0.0.1:0", ... }, { timeout = LIFE })
  self.children[#self.children + 1] = child
  assert(child:read_until "SXWL_TOKEN")
  self.env = {}
  for name, value in child:output():gmatch "export ([%w_]+)='([^']*)'" do self.env[name] = value end
  self.env.http_proxy = false
  return child
end

--- Starts a daemon with these words and waits until it is ready (or does not, with options.ready = false).
function World:start(words, options)
  local args = { "daemon", "--state", self.state, "--log-format", "json", "--log-level", "info" }
  for _, word in ipairs(words) do args[#args + 1] = word end
  local child = spawn.start(args, { env = self.env, columns = options and options.columns, timeout = LIFE })
  self.children[#self.children + 1] = child
  if not options or options.ready ~= false then
    assert(child:read_until '"event":"daemon.ready"', daemon.log(child))
  end
  return child
end

--- Runs a command on the state directory.
function World:run(command, ...)
  return spawn.run({ command, "--state", self.state, ... }, { env = self.env })
end

--- Asks the daemon that runs.
function World:call(verb, args)
  return assert(control.reach(self.state), "no daemon answers"):call(verb, args or {})
end

--- Ends everything.
function World:close()
  for i = #self.children, 1, -1 do
    self.children[i]:kill "KILL"
    self.children[i]:close()
  end
end

return daemon
