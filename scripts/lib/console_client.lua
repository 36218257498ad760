-- perigee.console_client: a console in a running daemon, as the prompt uses it; the other side is perigee.console.  -- internal
-- One stream brings what happens in the daemon, and keeps the console open; each input is a request of its own, which
-- ends in the daemon when it is cancelled here. Text of the daemon was escaped or rendered there.

local control = require "perigee.control"
local core_http = require "perigee.core.http"
local errors = require "perigee.error"
local http = require "perigee.http"
local json = require "perigee.json"
local state = require "perigee.state"
local task = require "perigee.task"
local term = require "perigee.core.term"

local client = {}

local HELLO_SECONDS <const> = 10
local SILENCE <const> = 60 -- seconds; the daemon says something every 15
local FOR_EVER <const> = 7 * 86400
local ASK_SECONDS <const> = 5 -- for what is answered at once
local BACKLOG <const> = 8 * 1024 * 1024 -- bytes of events that wait for the terminal

local Backend = {}
Backend.__index = Backend
Backend.__name = "perigee.console_client"

-- ---- opening -------------------------------------------------------------------------------------------------

local function unavailable(code, message, hint)
  error(errors.new { kind = "unavailable", code = code, message = message, hint = hint, outcome = "none" }, 0)
end

local function read_json(line)
  local ok, event = pcall(json.decode, line)
  return ok and type(event) == "table" and event or nil
end

-- The first line says what was opened; a refusal is a document like every other answer.
local function read_hello(self)
  local first = read_json(self.lines:next() or "")
  if first and type(first.error) == "table" then error(errors.new(first.error), 0) end
  if not first or first.event ~= "hello" or first.schema_version ~= control.SCHEMA_VERSION then
    unavailable("control", "the daemon speaks another version of the control protocol, or has no consoles: use the perigee that it runs")
  end
  return first
end

local function columns_of(options)
  return options.columns and options.columns() or 80
end

--- Opens a console in the daemon of a state directory. options: directory, write (bool), columns() -> cells, color, yes,
--- print(text) for what happens meanwhile, ask(question) -> "yes" | "no" | "all" | "nobody" (is there to ask).
--- Raises kind `unavailable` where no console can be had: code no_daemon, not_yours, daemon_stuck, too_many, draining.
function client.open(options)
  local directory = options.directory or state.directory()
  if not control.reach(directory) then
    unavailable("no_daemon", ("no daemon runs on %s"):format(directory),
      "Start one with `perigee daemon`, or name its directory with --state.")
  end
  local self = setmetatable({ path = directory .. "/" .. control.SOCKET, options = options, inputs = 0, write = options.write },
    Backend)
  local target = ("/console/events?mode=%s&columns=%d&color=%s"):format(options.write and "write" or "read", columns_of(options),
    options.color and "1" or "0")
  self.stream = core_http.stream("GET", "http://localhost" .. target, {
    unix_socket = self.path, timeout = FOR_EVER, first_byte_timeout = HELLO_SECONDS, stall_timeout = SILENCE, max_body = BACKLOG,
  })
  self.lines = require("perigee.repl_plain").lines(function() return (self.stream:read()) end)
  local ok, hello = pcall(read_hello, self)
  if not ok then
    self.stream:close()
    error(hello, 0)
  end
  self.console = hello.console
  self.prompt = options.write and "daemon! " or "daemon> "
  self.banner = ("attached to the daemon on %s (perigee %s), %s\n"):format(hello.directory, hello.version,
    options.write and "with --write: its budgets govern what you pay for here" or "read-only; --write allows the rest")
  return self
end

-- ---- what happens meanwhile ------------------------------------------------------------------------------------

-- A log line in JSON, as a person reads it.
local function log_text(line)
  local fields = line:sub(1, 1) == "{" and read_json(line)
  if not fields then return line end
  local names, parts = {}, {}
  for name in pairs(fields) do
    if name ~= "time" and name ~= "level" and name ~= "event" and name ~= "run" then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local value = tostring(fields[name])
    parts[#parts + 1] = ("%s=%s"):format(name, value:find "[%s\"=]" and ("%q"):format(value) or value)
  end
  return ("%s %-5s %s %s"):format(tostring(fields.time), tostring(fields.level), tostring(fields.event), table.concat(parts, " "))
end

local ANSWERS <const> = { yes = true, all = true, nobody = true }

local function answer(self, event)
  local ok, said = pcall(self.options.ask or function() return "nobody" end, event)
  if not ok or not ANSWERS[said] then said = "no" end
  pcall(self.post, self, "answer", { console = self.console, question = event.question, answer = said }, ASK_SECONDS)
end

-- Jobs, budgets and policies are in the log as well, which is what a person sees of them.
local SHOWN <const> = {
  output = function(event) return event.text end,
  log = function(event) return term.escape(log_text(event.line)) .. "\n" end,
  dropped = function(event) return ("… %d log lines were left out\n"):format(event.lines) end,
}

local function handle(self, scope, event)
  if event.event == "ask" then
    scope:spawn(answer, self, event)
    return
  end
  local show = SHOWN[event.event]
  if show then self.options.print(show(event)) end
end

--- Hands what happens in the daemon to options.print and options.ask until the stream ends. -> why it has ended
function Backend:run_events()
  local scope <close> = task.scope {}
  while true do
    local ok, line = pcall(self.lines.next, self.lines)
    if not ok then
      if errors.is(line, "cancelled") then error(line, 0) end
      self.ended = "the daemon has ended, or cut the console off"
      break
    end
    if not line then break end
    local event = read_json(line)
    if event and event.event == "end" then
      self.ended = event.why or "the console has ended"
      break
    end
    if event then handle(self, scope, event) end
  end
  scope:cancel "the console has ended"
  return self.ended or "the daemon has ended"
end

-- ---- inputs ----------------------------------------------------------------------------------------------------

--- POST /console/<what>; -> result, or its error raised.
function Backend:post(what, args, timeout)
  local ok, reply = pcall(http.request, {
    url = "http://localhost/console/" .. what, method = "POST", unix_socket = self.path, json = args, timeout = timeout,
    first_byte_timeout = timeout, stall_timeout = timeout, max_body = BACKLOG,
  })
  if not ok then
    if errors.is(reply, "network") then unavailable("daemon_lost", "the daemon is gone, or has ended this console") end
    error(reply, 0)
  end
  local read, document = pcall(reply.json, reply)
  if not read or type(document) ~= "table" then unavailable("daemon_lost", "the daemon has ended before it answered") end
  if type(document.error) == "table" then error(errors.new(document.error), 0) end
  return document.result
end

--- Whether more lines have to follow, by the parser's own verdict.
function Backend:incomplete(text)
  self.parser = self.parser or require("perigee.repl_session").new {}
  return self.parser:incomplete(text)
end

local function outcome_of(result)
  local err = result.error
  if type(err) == "table" and err.kind then
    local ok, made = pcall(errors.new, err)
    err = ok and made or err
  end
  return { kind = result.kind, ok = result.ok, text = result.text or "", error = err }
end

--- Runs one input in the daemon. -> outcome { kind=, ok=, text=, error= }. Raises only when the calling task is cancelled,
--- which cancels the input there too.
function Backend:eval(text)
  if not text:find "%S" then return { kind = "empty", ok = true, text = "" } end
  self.inputs = self.inputs + 1
  local ok, result = pcall(self.post, self, "eval", {
    console = self.console, id = tostring(self.inputs), input = text, columns = columns_of(self.options),
    color = self.options.color or false, yes = self.options.yes,
  }, FOR_EVER)
  if ok then return outcome_of(result) end
  if require("perigee.core.task").cancelled() then error(result, 0) end
  local message = errors.is(result) and result.message or tostring(result)
  return { kind = "lua", ok = false, text = term.escape("error: " .. message) .. "\n", error = result }
end

--- What could stand at that byte of the text: { from=, candidates= }; nothing where the daemon does not say in time.
function Backend:complete(text, point)
  local ok, result = pcall(self.post, self, "complete", { console = self.console, text = text, point = point }, ASK_SECONDS)
  if ok and type(result) == "table" then return result end
  if not ok and require("perigee.core.task").cancelled() then error(result, 0) end
  return { from = point, candidates = {} }
end

--- What goes on when this is left: nothing of it, its VM ends with it.
function Backend:leave()
  return nil
end

--- Ends the console in the daemon.
function Backend:close()
  if self.closed then return end
  self.closed = true
  self.stream:close()
end
Backend.__close = Backend.close

return client
