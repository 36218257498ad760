-- perigee.run_emulator: the emulator as a command of its own, and beside a run.  -- internal
-- Apart from perigee.run, because most starts need nothing of it.

local server = require "perigee.emulator.server"

local run_emulator = {}

--- What the emulator's clients need, by the names of perigee.config.
function run_emulator.services(emulator)
  return {
    ["deai.base_url"] = emulator.deai_url,
    ["deai.email"] = emulator.email,
    ["deai.password"] = emulator.password,
    ["sxwl.base_url"] = emulator.sxwl_url,
    ["sxwl.token"] = emulator.token,
  }
end

--- Its handlers are tasks of their own; this one only keeps them company until it is cancelled.
local function wait_for_ever(_)
  local task = require "perigee.task"
  while true do
    task.sleep(3600)
  end
end

--- `perigee emulator`: tells how to reach it; waits until it is interrupted.
function run_emulator.show(options)
  local ok, emulator = pcall(server.serve, {
    listen = options.listen or "127.0.0.1:8420",
    seed = options.seed,
    faults = options.faults,
    speed = options.speed,
    era = options.era,
  })
  if not ok then
    -- What it refuses are words of the command line, whoever noticed.
    if type(emulator) == "table" and emulator.kind == "invalid" then emulator.code = "usage" end
    error(emulator, 0)
  end
  local lines = { "# both services at " .. emulator.url .. "; Ctrl-C ends it" }
  local services = run_emulator.services(emulator)
  for _, pair in ipairs {
    { "DEAI_BASE_URL", "deai.base_url" },
    { "DEAI_EMAIL", "deai.email" },
    { "DEAI_PASSWORD", "deai.password" },
    { "SXWL_BASE_URL", "sxwl.base_url" },
    { "SXWL_TOKEN", "sxwl.token" },
  } do
    lines[#lines + 1] = ("export %s='%s'"):format(pair[1], services[pair[2]])
  end
  print(table.concat(lines, "\n"))
  wait_for_ever(emulator)
end

--- --emulator: serves on a free port, then lets the script start.
function run_emulator.beside(host)
  local emulator = server.serve { listen = "127.0.0.1:0", seed = host.options.seed, speed = 20 }
  host.ready(run_emulator.services(emulator))
  wait_for_ever(emulator)
end

return run_emulator
