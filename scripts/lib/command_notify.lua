-- internal: command_notify.lua - `perigee notify test`: one message in each configured way, and what became of it.
--
-- The daemon sends it if one runs, with its own configuration and environment; else this process does.
-- Exit codes: 0 every way works, 1 one does not, 2 wrong use, 3 nothing is configured.

local errors = require "perigee.error"
local json = require "perigee.json"
local term = require "perigee.core.term"
local time = require "perigee.time"
local usage = require("perigee.control_command").usage

local command = {}

-- The results, and whose configuration it was.
local function test()
  local placed, directory = pcall(require("perigee.state").directory)
  local client = placed and require("perigee.control").reach(directory)
  if client then return client:call("notify.test", {}), "the daemon" end
  return require("perigee.notify").test(), "this configuration"
end

local function show(results, whose)
  for _, result in ipairs(results) do
    local verdict = result.ok and "sent, in " .. time.words(result.elapsed) or "failed: " .. term.escape(result.why)
    print(("%-8s %s"):format(result.way, verdict))
  end
  if not term.is_quiet() then term.write("err", ("(the ways of %s)\n"):format(whose), true) end
end

--- The command; returns its exit code.
function command.start(host)
  local options = host.options
  if options.args[1] ~= "test" then usage(('notify: "%s" is nothing it does; write perigee notify test'):format(options.args[1])) end
  local ok, results, whose = pcall(test)
  if not ok then
    if errors.is(results, "invalid") and results.code ~= "usage" then results.code = "config" end
    error(results, 0)
  end
  local all = true
  for _, result in ipairs(results) do all = all and result.ok end
  if options.json then
    print(json.encode { schema_version = 1, ok = all, results = json.array(results) })
  else
    show(results, whose)
  end
  return all and 0 or 1
end

return command
