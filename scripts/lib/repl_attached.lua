-- perigee.repl_attached: the backend of a prompt whose session lives in the daemon: a face for perigee.console_client.  -- internal

local core = require "perigee.core.task"
local errors = require "perigee.error"
local repl = require "perigee.repl"
local repl_local = require "perigee.repl_local"
local source = require "perigee.repl_source"
local task = require "perigee.task"
local term = require "perigee.core.term"

local attached = {}
local Backend = {}
Backend.__index = Backend

function Backend:incomplete(text) return self.console:incomplete(text) end
function Backend:complete(text, point) return self.console:complete(text, point) end
function Backend:prompt() return self.console.prompt end
function Backend:is_leaving() return self.left == true end
function Backend:stay() self.left = nil end
function Backend:leaving() return self.console:leave() end
function Backend:background_error() return nil end -- luacheck: ignore 212
function Backend:finish() end -- luacheck: ignore 212
function Backend:load_ahead() end -- luacheck: ignore 212

function Backend:set_reader(reader)
  self.ask = repl_local.asker(reader)
  self.reader = reader
end

-- What concerns this terminal alone.
local function run_here(self, text)
  local word = text:match "^%s*:(%a+)%s*$"
  if word == "quit" or word == "q" then
    self.left = true
  elseif word == "clear" then
    if self.reader and self.reader.clear then self.reader:clear() end
  else
    return nil
  end
  return { kind = "command", ok = true, text = "" }
end

function Backend:run(text, running)
  local here = source.is_command(text) and run_here(self, text)
  if here then return here end
  local done, outcome = task.queue(1), nil
  local handle = core.detach(function()
    local ok, result = pcall(self.console.eval, self.console, text)
    if ok then
      outcome = result
    else
      local interrupted = errors.is(result, "cancelled")
      outcome = { kind = "lua", ok = false, interrupted = interrupted, error = result,
        text = interrupted and "interrupted\n" or require("perigee.repl_show").error(result, {}) }
    end
    done:put(true)
  end)
  if running then running(handle) end
  done:get()
  if running then running(nil) end
  return outcome
end

-- The stream of events has ended: the prompt has no other side any more.
local function watch_events(console, main)
  local ended = task.queue(1)
  core.detach(function()
    local ok, why = pcall(console.run_events, console)
    ended.why = ok and why or tostring(why)
    main:cancel "the daemon has ended"
  end)
  return ended
end

local function open(host)
  local backend = setmetatable({}, Backend)
  backend.console = require("perigee.console_client").open {
    write = host.options.write,
    yes = host.options.yes,
    columns = term.columns,
    color = term.has_color "out",
    print = function(text) term.write("out", text) end,
    ask = function(question) return backend.ask and backend.ask(question) or "nobody" end,
  }
  return backend
end

--- `perigee repl --attach`. around: host, at_terminal, banner, history. -> exit code
function attached.start(around)
  local backend = open(around.host)
  local console = backend.console
  local guard <close> = setmetatable({}, { __close = function() console:close() end }) -- luacheck: ignore 211
  local code = 0
  local main = core.spawn(function()
    if around.at_terminal then
      around.banner = around.banner and around.banner .. (console.banner or "")
      repl.prompt(backend, around)
    else
      code = repl.pipe(backend, around.host.read_input)
    end
  end)
  local events = watch_events(console, main)
  local ok, err = pcall(main.wait, main)
  if ok then return code end
  if not (errors.is(err, "cancelled") and events.why) then error(err, 0) end
  term.write("err", "perigee: " .. events.why .. "\n", true)
  return 1
end

return attached
