-- daemon_degraded_spec.lua - a daemon whose journal cannot be written for a while: what it denies, sees, says, and
-- what stands in the journal afterwards.
local daemon = require "tests.support.daemon"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local http = require "perigee.http"
local json = require "perigee.json"
local proc = require "perigee.core.proc"

local GPU <const> = "NVIDIA-GeForce-RTX-3090"
local TOOLS <const> = helper.tmpdir()

local function build(name, ...)
  local result = proc.run { args = { "cc", "-std=c11", "-D_GNU_SOURCE", "-o", TOOLS .. "/" .. name, ... } }
  assert(result.status == 0, result.stderr)
  return TOOLS .. "/" .. name
end

local BADDISK <const> = build("baddisk.so", "-shared", "-fPIC", "tests/fixtures/baddisk.c", "-ldl")
local HOLDLOCK <const> = build("holdlock", "tests/fixtures/holdlock.c", "-lsqlite3")
local MANAGER <const> = build("manager", "tests/fixtures/manager.c")

local POLICY <const> = [[
  return {
    name = "watcher",
    on = {
      ["job.succeeded"] = function(job) print("succeeded " .. job.name) end,
      ["job.failed"] = function(job) print("failed " .. job.name) end,
    },
  }]]

-- ---- the stage -------------------------------------------------------------------------------------------------

local Stage = {}
Stage.__index = Stage

-- A daemon on an emulator of which the first job fails; what its webhook gets; a service manager that listens.
local function open_stage()
  local world, got = daemon.world(), {}
  local server = http.serve {
    handler = function(request)
      local body = json.decode(request.body)
      got[#got + 1] = body
      return { status = 200 }
    end,
  }
  local self = setmetatable({ world = world, got = got, server = server, flag = world.folder .. "/flag" }, Stage)
  finally(function() self:close() end)
  world:emulator("--speed", "120", "--faults", "sxwl.create_job:fail=1")
  local config = world.folder .. "/config.lua"
  fs.write(config, ("return { sxwl = { prices = { [%q] = '7 CNY/h' } }, notify = { webhook = %q, min_interval = 0 }, "
    .. "budgets = { { name = 'all', day = '1000 CNY' } } }"):format(GPU, server.url .. "/all"), { mode = "0600" })
  self.manager = proc.spawn { args = { MANAGER, world.folder .. "/manager" } }
  assert(self.manager:read_until "listening")
  world.env.LD_PRELOAD, world.env.BADDISK = BADDISK, self.flag
  world.env.ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":verify_asan_link_order=0" -- the library comes first
  world.env.NOTIFY_SOCKET, world.env.WATCHDOG_USEC = world.folder .. "/manager", "1500000"
  self.words = { "--config", config, "--admin-listen", "127.0.0.1:0", world:policy("watcher", POLICY) }
  self.child = world:start(self.words)
  self.admin = world:call("status").addresses.admin
  return self
end

function Stage:close()
  self.world:close()
  self.manager:kill "KILL"
  self.manager:close()
  if self.holder then
    self.holder:kill "KILL"
    self.holder:close()
  end
  self.server:close()
end

function Stage:submit(name)
  return self.world:call("jobs.submit", require "perigee.job_spec".prepare {
    service = "sxwl", kind = "job", name = name, max_cost = "20 CNY",
    spec = { gpuType = GPU, gpuNumber = 1, imagePath = "registry.example/digits:1.4", jobType = "GeneralJob",
      ckptPath = "/ckpt", ckptVol = 10000, modelPath = "/model", modelVol = 10000, runCommand = "python train.py" },
  })
end

-- The same, told to end in an error: its message.
function Stage:refused(name)
  local err = helper.error_of(self.submit, self, name)
  return err.message
end

function Stage:state_of(name)
  local row = self.world:call("jobs.list", { name = name })[1]
  return row and row.state
end

function Stage:get(path)
  local reply = http.get(self.admin .. path)
  return reply.status, reply.body
end

function Stage:told(event)
  local count = 0
  for _, m in ipairs(self.got) do count = count + (m.event == event and 1 or 0) end
  return count
end

local function count(text, word)
  return select(2, text:gsub(word, ""))
end

function Stage:fed()
  return count(self.manager:output(), "WATCHDOG=1")
end

-- Two jobs run, of which one will fail.
function Stage:two_running()
  self:submit "first"
  helper.eventually(function() return self:state_of "first" == "running" end)
  self:submit "second"
  helper.eventually(function() return self:state_of "second" == "running" end)
end

-- What the emulator has: jobs by state, and how many creates.
function Stage:remote()
  local ledger = json.decode(http.get(self.world.env.SXWL_BASE_URL:match "^(http://[^/]+)" .. "/__ledger").body)
  return ledger.sxwl
end

-- The journal against the service: every job that was created has its intent, its end and its money.
function Stage:books()
  local rows, permits = self.world:call("jobs.list", {}), {}
  for line in self.world:run("journal", "export").stdout:gmatch "[^\n]+" do
    local one = json.decode(line)
    if one.table == "permits" then permits[#permits + 1] = one.record.state .. " " .. one.record.bucket end
  end
  table.sort(permits)
  local verify = self.world:run("journal", "verify")
  assert.equal(0, verify.status, verify.stdout)
  return #rows, #self:remote().jobs, table.concat(permits, ", ")
end

-- With these what only reads goes on.
local READABLE <const> = { ["the disk is full"] = true, ["it may only be read"] = true,
  ["another program has kept it locked"] = true }

-- The journal is out of order from begin() to finish(): nothing new, nothing lost, and it is said everywhere.
local function outage(stage, begin, finish, expected)
  stage:two_running()
  begin()
  helper.eventually(function()
    pcall(stage.submit, stage, "early") -- somebody's write meets it
    local status, body = stage:get "/readyz"
    return status == 503 and body:find(expected, 1, true)
  end, 20)
  local refused = stage:refused "late"
  assert.matches(expected, refused, 1, true)
  assert.matches(stage.world.state .. "/journal.db", refused, 1, true)
  assert.equal(200, (stage:get "/healthz"))
  if READABLE[expected] then assert.truthy(stage:state_of "first") end
  assert.matches(expected, stage.world:run "status".stdout, 1, true)
  helper.eventually(function()
    local done = 0
    for _, job in ipairs(stage:remote().jobs) do done = done + (job.status ~= "working" and 1 or 0) end
    return done == 2
  end, 20)
  helper.eventually(function() return stage:told "journal.unwritable" == 1 end)
  local fed = stage:fed()
  helper.eventually(function() return stage:fed() >= fed + 3 end, 20)

  finish()
  helper.eventually(function() return stage:state_of "first" == "failed" and stage:state_of "second" == "succeeded" end, 30)
  helper.eventually(function() return (stage:get "/readyz") == 200 end)
  helper.eventually(function() return stage:told "job.failed" == 1 end)
  assert.is_true(stage.child:read_until "failed first", daemon.log(stage.child))
  assert.is_true(stage.child:read_until "succeeded second", daemon.log(stage.child))
  assert.equal(1, stage:told "journal.unwritable")
  local jobs, created, permits = stage:books()
  assert.equal(2, created)
  assert.equal(2, jobs)
  assert.equal("settled spent, settled spent", permits)
end

describe("a daemon whose journal cannot be written", function()
  for error_name, words in pairs { ENOSPC = "the disk is full", EROFS = "it may only be read", EIO = "the disk reports an error" } do
    it(("goes on watching, and recovers: %s"):format(error_name), function()
      local stage = open_stage()
      outage(stage, function() fs.write(stage.flag, error_name) end, function() fs.remove(stage.flag) end, words)
    end)
  end

  it("goes on watching, and recovers: another file in its place", function()
    local stage = open_stage()
    local path = stage.world.state .. "/journal.db"
    outage(stage, function()
      os.rename(path .. "-wal", path .. ".log") -- it would mend what comes now
      os.rename(path, path .. ".aside")
      fs.write(path, ("no journal at all"):rep(1000), { mode = "0600" })
    end, function()
      os.rename(path .. ".aside", path)
      os.rename(path .. ".log", path .. "-wal")
    end, "it is damaged")
  end)

  it("goes on watching, and recovers: locked by another program", function()
    local stage = open_stage()
    outage(stage, function()
      stage.holder = proc.spawn { args = { HOLDLOCK, stage.world.state .. "/journal.db" } }
      assert(stage.holder:read_until "locked")
    end, function() stage.holder:kill "KILL" end, "another program has kept it locked")
  end)
end)

describe("a daemon that is started while its journal cannot be used", function()
  local function stopped_world()
    local world = daemon.world()
    finally(function() world:close() end)
    local child = world:start {}
    child:kill "TERM"
    assert(child:wait().status == 0)
    return world, world.state .. "/journal.db"
  end

  it("ends with 3 and what to do, for what a restart does not mend: damaged, or of a later version", function()
    local world, path = stopped_world()
    local bytes = fs.read(path)
    fs.write(path, bytes:sub(1, 60) .. "\0\0\0\99" .. bytes:sub(65), { mode = "0600" }) -- user_version
    local newer = world:run "daemon"
    fs.write(path, bytes:sub(1, 4096) .. ("\170"):rep(#bytes - 4096), { mode = "0600" })
    local damaged = world:run "daemon"

    assert.equal(3, newer.status, newer.stderr)
    assert.matches("install perigee", newer.stderr, 1, true)
    assert.equal(3, damaged.status, damaged.stderr)
    assert.matches(path .. " cannot be used: it is damaged", damaged.stderr, 1, true)
    assert.matches("put a backup in its place", damaged.stderr, 1, true)
  end)

  it("waits for what passes, saying why, and then starts", function()
    local world = stopped_world()
    local flag = world.folder .. "/flag"
    world.env = { LD_PRELOAD = BADDISK, BADDISK = flag, ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":verify_asan_link_order=0" }
    fs.write(flag, "ENOSPC")
    local child = world:start({}, { ready = false })
    assert.is_true(child:read_until "daemon.waits", daemon.log(child))
    assert.matches("the disk is full", daemon.log(child), 1, true)
    fs.remove(flag)

    assert.is_true(child:read_until '"event":"daemon.ready"', daemon.log(child))
  end)
end)
