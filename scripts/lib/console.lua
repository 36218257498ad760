-- perigee.console: consoles into a running daemon; this side of them, in the daemon's own VM.  -- internal
-- A console is a VM of its own (perigee.console_host), a stream of events to whoever has opened it, and what runs in it
-- meanwhile. Its VM lives as long as its stream: a peer that is gone, or does not read, takes everything with it. Nothing
-- of a console may hold up the daemon: events never wait for a reader, output of its own lines waits in its own VM, and
-- what it may call here is bounded in number and rate.
-- What goes over the socket: docs/console.md. Who may connect is the socket's matter (host/server_listen.c).

local core_log = require "perigee.core.log"
local core_task = require "perigee.core.task"
local errors = require "perigee.error"
local json = require "perigee.json"
local link = require "perigee.link"
local log = require "perigee.log"
local sync = require "perigee.core.sync"
local task = require "perigee.task"
local vms = require "perigee.core.vms"

local console = {}

console.MOST = 16 -- consoles at once, those of single inputs included
local MEMORY <const> = 32 * 1024 * 1024
local STEP <const> = 0.5 -- seconds that nothing else of the daemon runs at most
local SLICE <const> = 0.01 -- seconds for all of its tasks before others get their turn
local MOST_TASKS <const> = 1000
local GRACE <const>, LAST <const> = 1, 3 -- seconds for the clean-up of what is cancelled, and until it ends without
local MOST_EVENTS <const>, MOST_BYTES <const> = 1000, 1024 * 1024 -- that wait for a reader
local OUTPUT_STALL <const> = 30 -- seconds its own output waits for a reader
local KEEP_ALIVE <const> = 15
local MOST_LOG_LINES <const> = 500 -- that wait between two looks
local LARGEST_MESSAGE <const> = 512 * 1024 -- from its VM
local MOST_CALLS <const> = 8 -- of its VM at once
local CALLS_A_SECOND <const>, BURST <const> = 200, 20
local PULSE <const>, PULSE_TIMEOUT <const> = 2, 10 -- seconds between looks at inputs that run
local LOST <const> = "its VM had no memory left to answer"
local MOST_INPUTS <const> = 8 -- of one console at once
local LARGEST_INPUT <const> = 256 * 1024
local COMPLETE_SECONDS <const> = 2
local MOST_ROWS <const> = 1000 -- of a list that a console asks for

-- What a closed VM has of the C modules: nothing that reaches outside.
local MODULES <const> = { "perigee.core.amount", "perigee.core.json", "perigee.core.manual",
  "perigee.core.operations", "perigee.core.sync", "perigee.core.task", "perigee.core.text", "perigee.core.time" }
-- What a console that may only look can call here.
local READ_VERBS <const> = { "jobs.get", "jobs.list", "jobs.why", "policies", "spend", "status" }

local settings -- of console.start
local open, count = {}, 0 -- consoles by id
local ending = false
local follower -- the task that follows the log while there are consoles

local Console = {}
Console.__index = Console
Console.__name = "perigee.console"

-- ---- events --------------------------------------------------------------------------------------------------

-- One line for the stream; false for what is too much for it.
local function push(self, event)
  if self.closed then return false end
  local ok, line = pcall(json.encode, event)
  if not ok then return false end
  if #self.queue >= MOST_EVENTS or self.bytes + #line > MOST_BYTES then
    self:close "it does not read what it is sent"
    return false
  end
  self.queue[#self.queue + 1] = line
  self.bytes = self.bytes + #line + 1
  if #self.queue == 1 then self.filled:give() end
  return true
end

-- Output of its own lines waits for room: half of the queue is for what the daemon has to say.
local function push_output(self, event)
  local deadline = core_task.now() + OUTPUT_STALL
  while not self.closed and (#self.queue >= MOST_EVENTS // 2 or self.bytes >= MOST_BYTES // 2) do
    if core_task.now() > deadline then return self:close "it does not read what it prints" end
    task.sleep(0.02)
  end
  push(self, event)
end

-- What waits for the reader, as one text; nil at the end.
local function take(self)
  if #self.queue == 0 and not self.closed then self.filled:take() end
  if #self.queue == 0 then return nil end
  local text = table.concat(self.queue, "\n") .. "\n"
  self.queue, self.bytes = {}, 0
  return text
end

local function tell_all(event)
  for _, one in pairs(open) do
    if one.streams then push(one, event) end
  end
end

local JOB_FIELDS <const> = { "id", "name", "key", "state", "service", "kind", "policy", "attempt", "remote_id", "reason" }

local function text_of(value)
  if value == nil then return nil end
  return type(value) == "string" and value or type(value) == "number" and value or tostring(value)
end

--- An event of the daemon goes to every console.
function console.event(name, data)
  if count == 0 then return end
  local event = { event = name:match "^[^.]+", what = name, at = require("perigee.time").now() }
  for _, field in ipairs { "policy", "budget", "service", "why", "hint", "used", "limit" } do event[field] = text_of(data[field]) end
  if type(data.job) == "table" then
    event.job = {}
    for _, field in ipairs(JOB_FIELDS) do event.job[field] = text_of(data.job[field]) end
  end
  tell_all(event)
end

local function follow_log()
  local tap <close> = core_log.tap("info", MOST_LOG_LINES)
  while true do
    local lines, lost = tap:next()
    if lost > 0 then tell_all { event = "dropped", lines = lost } end
    for _, line in ipairs(lines) do tell_all { event = "log", line = line } end
    task.sleep(0.05) -- many lines are one wake-up
  end
end

local function keep_company()
  local scope <close> = task.scope {}
  scope:spawn(follow_log)
  while true do
    task.sleep(KEEP_ALIVE)
    tell_all { event = "alive" }
  end
end

-- ---- what its VM may call here ----------------------------------------------------------------------------------

-- Calls come at a rate that leaves the loop to others.
local function paced(self, f)
  return function(args)
    local now = core_task.now()
    self.next_call = math.max(self.next_call, now - BURST / CALLS_A_SECOND) + 1 / CALLS_A_SECOND
    if self.next_call > now then task.sleep(self.next_call - now) end
    return f(args)
  end
end

local function bounded_list(f)
  return function(args)
    if type(args) == "table" then args.limit = math.min(math.tointeger(args.limit) or 100, MOST_ROWS) end
    return f(args)
  end
end

local QUESTION_FIELDS <const> = { "text", "operation", "service", "price", "worst", "left", "balance", "count", "all" }

local function ask(self, question)
  if not self.streams or type(question) ~= "table" then return nil end -- nobody is there
  self.questions_asked = self.questions_asked + 1
  local number, answered = self.questions_asked, task.queue(1)
  self.questions[number] = answered
  local gone <close> = setmetatable({}, { __close = function() self.questions[number] = nil end }) -- luacheck: ignore 211
  local event = { event = "ask", question = number }
  for _, name in ipairs(QUESTION_FIELDS) do
    local value = question[name]
    if type(value) == "boolean" then event[name] = value else event[name] = text_of(value) end
  end
  push(self, event)
  local _, answer = answered:get()
  return answer
end

local LONGEST_REPORT <const> = 256 * 1024

-- What the commands of the prompt show, worded here: texts, from what a closed VM cannot read.
local reports = {}

local function report(name, f)
  reports["report." .. name] = function(args)
    if type(args) ~= "table" then args = {} end
    local text = f(args)
    return #text > LONGEST_REPORT and text:sub(1, LONGEST_REPORT) .. "\n… cut here\n" or text
  end
end

local function job_row(args)
  if type(args.job) ~= "string" then errors.invalid "name a job" end
  return require("perigee.job_record").need(args.job)
end

local DAY <const> = 86400
local ACTIVE_ROWS <const> = 200

report("jobs", function(args)
  local filter = args.state and { state = require("perigee.job_words").check_state("state", args.state) or args.state } or {}
  local rows = require("perigee.job_record").list(filter, { all = args.all == true, limit = ACTIVE_ROWS, recent = DAY })
  return require("perigee.jobs_report").list(rows, { width = math.tointeger(args.columns) })
end)
report("job", function(args) return require("perigee.jobs_report").show(require("perigee.job_record").whole(job_row(args))) end)
report("why", function(args)
  local why = require "perigee.why"
  return why.text(why.gather(job_row(args)))
end)
report("spend", function(args)
  local spend = require "perigee.spend_report"
  return spend.render(spend.collect {
    by = text_of(args.by), since = spend.moment("since", text_of(args.since)), ["until"] = spend.moment("until", text_of(args["until"])),
  })
end)

local function serve(self)
  local all, served = settings.verbs(), {}
  for name, f in pairs(reports) do served[name] = paced(self, f) end
  if self.mode == "write" then
    for name, f in pairs(all) do served[name] = paced(self, f) end
    served.ask = function(question) return ask(self, question) end
  else
    for _, name in ipairs(READ_VERBS) do served[name] = paced(self, all[name]) end
  end
  if served["jobs.list"] then served["jobs.list"] = bounded_list(served["jobs.list"]) end
  self.link:serve(served)
  self.link:hear {
    output = function(text)
      if type(text) ~= "string" then return end
      if self.streams then push_output(self, { event = "output", text = text }) else self:keep_output(text) end
    end,
  }
end

-- ---- a console's life ---------------------------------------------------------------------------------------------

local function unavailable(code, message)
  error(errors.new { kind = "unavailable", code = code, message = message, outcome = "none" }, 0)
end

local function start_vm(self, options)
  local closed = self.mode == "read"
  return vms.start {
    name = "console " .. self.id,
    module = "perigee.console_host",
    memory = MEMORY,
    step = STEP,
    slice = SLICE,
    tasks = MOST_TASKS,
    capacity = 16,
    message = LARGEST_MESSAGE,
    modules = closed and MODULES or nil,
    args = {
      mode = self.mode, columns = options.columns, color = options.color, yes = options.yes,
      surroundings = not closed and settings.surroundings() or nil,
    },
  }
end

-- Waits for the end of a VM that was told to stop; one that does not is ended without asking it.
local function vm_end(self)
  local ended = table.pack(pcall(task.deadline, LAST, self.vm.wait, self.vm))
  if ended[1] then return table.unpack(ended, 2, ended.n) end
  log.warn("console.killed", { console = self.id })
  self.vm:kill "it did not end"
  return self.vm:wait()
end

--- Opens one. options: mode ("read" | "write"), streams (somebody reads its events), columns, color, yes.
local function new(options)
  if ending then unavailable("draining", "the daemon is ending") end
  if count >= console.MOST then
    unavailable("too_many", ("%d consoles are open, which is the most there may be: leave one first"):format(count))
  end
  local self = setmetatable({
    id = require("perigee.core.server").secret():sub(1, 12), mode = options.mode, streams = options.streams, queue = {}, bytes = 0,
    filled = sync.semaphore(0), inputs = {}, inputs_open = 0, questions = {}, questions_asked = 0, next_call = 0, printed = {},
    printed_bytes = 0,
  }, Console)
  self.vm = start_vm(self, options)
  self.link = link.open(self.vm:channel(), { most_calls = MOST_CALLS })
  open[self.id], count = self, count + 1
  if not follower then follower = task.detach(keep_company) end
  serve(self)
  task.detach(function()
    pcall(self.link.run, self.link)
    self.vm:stop("its link has ended", GRACE)
    local _, why = vm_end(self)
    self:close(why and errors.is(why) and why.message or why and tostring(why) or "its VM has ended")
  end)
  log.info("console.open", { console = self.id, mode = self.mode })
  return self
end

--- Keeps what is printed where no stream takes it, as far as it is not too much.
function Console:keep_output(text)
  if self.printed_bytes > MOST_BYTES then return end
  if self.printed_bytes + #text > MOST_BYTES then text = text:sub(1, MOST_BYTES - self.printed_bytes) .. "\n… and more\n" end
  self.printed[#self.printed + 1] = text
  self.printed_bytes = self.printed_bytes + #text
end

--- Ends it, whatever runs in it: VM, inputs, stream.
function Console:close(why)
  if self.closed then return end
  self.closed, self.why = true, why
  open[self.id], count = nil, count - 1
  log.info("console.closed", { console = self.id, why = why })
  self.link:close()
  self.vm:stop("the console is closed", GRACE)
  for _, input in pairs(self.inputs) do input:cancel(why or "the console is closed") end
  for _, answered in pairs(self.questions) do answered:close() end
  if self.keeper and self.keeper ~= task.current() then self.keeper:cancel "the console is closed" end
  self.filled:give()
  -- A stream that waits for its reader would wait for long.
  if self.stream and self.stream ~= task.current() and self.bytes > 0 then self.stream:cancel(why or "the console is closed") end
  if count == 0 and follower then
    follower:cancel "no console is open"
    follower = nil
  end
end

-- ---- what is asked of it --------------------------------------------------------------------------------------------

local function failed(id, err)
  local message = errors.is(err) and err.message or tostring(err)
  local lost = message:find(LOST, 1, true) ~= nil
  local cancelled = errors.is(err, "cancelled") and not lost
  if lost then err, message = errors.new { kind = "limit", code = "memory", message = LOST }, LOST end
  return { id = id, ok = false, kind = "lua", text = cancelled and "cancelled\n" or message .. "\n",
    error = { kind = errors.is(err) and err.kind or nil, code = errors.is(err) and err.code or nil, message = message } }
end

-- While inputs run, their VM is asked now and then whether they do: one whose memory was used up may have lost those who
-- should answer.
local function look_after(self)
  local suspects = {}
  while not self.closed and self.inputs_open > 0 do
    task.sleep(PULSE)
    local ok, running = pcall(self.link.call, self.link, "running", nil, { timeout = PULSE_TIMEOUT })
    if not ok and not self.closed then return self:close "its VM does not answer any more" end
    for id, input in pairs(self.inputs) do
      local lost = type(running) == "table" and not running[id]
      if lost and suspects[id] == input then input:cancel(LOST) end
      suspects[id] = lost and input or nil
    end
  end
  self.keeper = nil
end

--- Runs one input and waits for its end. -> result. Several may run at once.
function Console:eval(id, args)
  if self.inputs[id] then errors.invalid(("id: an input %s runs already"):format(id)) end
  if self.inputs_open >= MOST_INPUTS then
    error(errors.new { kind = "limit", code = "inputs", message = ("%d inputs run already in this console"):format(MOST_INPUTS) }, 0)
  end
  local input = task.spawn(self.link.call, self.link, "eval", { id = id, input = args.input, columns = args.columns,
    color = args.color, yes = args.yes }, { timeout = args.timeout })
  self.inputs[id], self.inputs_open = input, self.inputs_open + 1
  self.keeper = self.keeper or task.detach(look_after, self)
  local ended <close> = setmetatable({}, { __close = function() -- luacheck: ignore 211
    self.inputs[id], self.inputs_open = nil, self.inputs_open - 1
  end })
  local ok, result = pcall(input.wait, input)
  if ok and type(result) == "table" then return result end
  if core_task.cancelled() then error(result, 0) end
  if errors.is(result, "closed") and self.why then
    unavailable("console_ended", ("the console has ended: %s"):format(self.why))
  end
  return failed(id, result)
end

-- ---- requests ---------------------------------------------------------------------------------------------------------

local function need(args)
  local one = type(args.console) == "string" and open[args.console]
  if one then return one end
  local message = ("console: there is no console %s"):format(tostring(args.console))
  error(errors.new { kind = "invalid", code = "not_found", message = message }, 0)
end

local function field(args, name, kind, least, most)
  local value = args[name]
  if value == nil then return nil end
  if type(value) ~= kind then errors.invalid(("%s is a %s, not a %s"):format(name, kind, type(value))) end
  if least and (value < least or value > most) then errors.invalid(("%s is between %g and %g"):format(name, least, most)) end
  return value
end

local function check_mode(value)
  if value == nil or value == "read" or value == "write" then return value or "read" end
  return errors.invalid(("mode is \"read\" or \"write\", not %q"):format(tostring(value)))
end

local function check_input(args)
  local input = field(args, "input", "string")
  if not input then errors.invalid "input: what is to be run is missing" end
  if #input > LARGEST_INPUT then errors.invalid(("input: at most %d bytes"):format(LARGEST_INPUT)) end
  return {
    input = input, columns = field(args, "columns", "number", 1, 10000), color = field(args, "color", "boolean"),
    yes = field(args, "yes", "boolean"), timeout = field(args, "timeout", "number", 0.001, 7 * 86400),
  }
end

local ANSWERS <const> = { yes = true, no = true, all = true, nobody = true }
local handlers = {}

function handlers.eval(args)
  local checked = check_input(args)
  local id = tostring(field(args, "id", "string") or "1")
  if args.console ~= nil then return need(args):eval(id, checked) end
  local one = new { mode = check_mode(args.mode), columns = checked.columns, color = checked.color, yes = checked.yes }
  local done <close> = setmetatable({}, { __close = function() one:close "its input has been answered" end }) -- luacheck: ignore 211
  local result = one:eval(id, checked)
  if #one.printed > 0 then result.output = table.concat(one.printed) end
  return result
end

function handlers.cancel(args)
  local one, id = need(args), field(args, "id", "string")
  local input = one.inputs[id]
  if input then input:cancel "cancelled at the console" end
  return { cancelled = input ~= nil }
end

function handlers.complete(args)
  local one = need(args)
  local text = field(args, "text", "string") or ""
  local point = field(args, "point", "number", 0, LARGEST_INPUT) or #text
  local ok, result = pcall(one.link.call, one.link, "complete", { text = text:sub(1, LARGEST_INPUT), point = point },
    { timeout = COMPLETE_SECONDS })
  if ok and type(result) == "table" then return result end
  if core_task.cancelled() then error(result, 0) end
  return { from = point, candidates = json.array {} } -- late or lost: there is nothing to offer
end

function handlers.answer(args)
  local one, number = need(args), field(args, "question", "number")
  local answered = one.questions[number]
  if not answered then errors.invalid "question: nobody waits for an answer to it" end
  local answer = field(args, "answer", "string")
  if not ANSWERS[answer] then errors.invalid 'answer is "yes", "no", "all" or "nobody"' end
  one.questions[number] = nil
  answered:put(answer)
  return { question = number }
end

--- What a POST /console/<name> asks for, by name: function(args) -> result.
console.handlers = handlers

local function hello(self)
  return json.encode { schema_version = 1, event = "hello", console = self.id, mode = self.mode, directory = settings.directory,
    version = require("perigee.core.metrics").build().version } .. "\n"
end

--- Opens a console and gives its events to write(bytes) as they come, until either side ends it. query: of the request.
function console.stream(query)
  local self = new {
    mode = check_mode(query.mode), streams = true, columns = math.tointeger(tonumber(query.columns)), color = query.color == "1",
  }
  return function(write)
    local gone <close> = setmetatable({}, { __close = function() self:close "its reader has left" end }) -- luacheck: ignore 211
    self.stream = task.current()
    write(hello(self))
    while true do
      local text = take(self)
      if not text then break end
      write(text)
    end
    write(json.encode { event = "end", why = self.why } .. "\n")
  end
end

-- ---- the daemon's side --------------------------------------------------------------------------------------------------

--- given: verbs() -> the functions that a console with --write may call, surroundings() -> settings of an open VM,
--- directory.
function console.start(given)
  settings = given
end

--- A row for the daemon's status, { {name=, memory=, peak=} }; none without consoles.
function console.status()
  if count == 0 then return {} end
  local row = { name = "consoles", memory = 0, peak = 0 }
  for _, one in pairs(open) do
    local status = one.vm:status()
    row.memory, row.peak = row.memory + status.memory, row.peak + status.peak
  end
  return { row }
end

--- Ends all of them; no others begin.
function console.stop()
  ending = true
  for _, one in pairs(open) do one:close "the daemon is ending" end
end

return console
