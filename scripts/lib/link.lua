-- perigee.link: calls in both directions over a channel between two VMs.  -- internal
-- Each side serves functions by name and calls those of the other; arguments and results are plain data, errors
-- travel as what they are.  A call that is cancelled or late is cancelled on the other side too; the end of the
-- channel ends every call, on both sides, with kind `closed`.
-- In a policy VM link.upstream is the link to the VM of the supervisor.

local errors = require "perigee.error"
local sync = require "perigee.core.sync"
local task = require "perigee.task"

local link = {}

local Link = {}
Link.__index = Link
Link.__name = "perigee.link"

local function closed(name)
  return errors.new { kind = "closed", message = ("the call of %s was lost: the other VM has ended"):format(name) }
end

--- A link over this end of a channel. It answers and is answered while run() runs. options.most_calls: how many calls of
--- the other side are worked on at once; further ones, and what comes behind them, wait in the channel (default: no limit).
function link.open(channel, options)
  return setmetatable({
    channel = channel,
    handlers = {},
    calls = {}, -- ours, by number: { done = semaphore, ok =, value = }
    workers = {}, -- the tasks that work on the other side's calls, by its number
    number = 0,
    closed = false,
    slots = options and options.most_calls and sync.semaphore(options.most_calls),
    notes = {}, -- functions for what is only told
  }, Link)
end

--- Functions the other side may call, each with one argument and one result. Adds to those that are served already.
function Link:serve(handlers)
  for name, handler in pairs(handlers) do
    self.handlers[name] = handler
  end
end

--- Functions for what the other side tells without waiting for an answer: each gets one argument, in order; while one
--- waits nothing else is read.
function Link:hear(handlers)
  for name, handler in pairs(handlers) do
    self.notes[name] = handler
  end
end

--- Tells the other side something; waits only while the channel is full.
function Link:tell(name, args)
  self.channel:send { note = name, args = args }
end

-- ---- our calls ---------------------------------------------------------------------------------------------

-- Leaves the list of calls; one that is not answered yet is cancelled on the other side.
local function leave(self, number, call)
  self.calls[number] = nil
  if call.answered or self.closed then return end
  pcall(self.channel.send, self.channel, { cancel = number })
end

local function wait_for_answer(self, number, call, message)
  local guard <close> = setmetatable({}, { __close = function() leave(self, number, call) end }) -- luacheck: ignore 211
  self.channel:send(message)
  call.done:take()
end

local function late(name, timeout)
  return errors.new {
    kind = "timeout",
    code = "link",
    message = ("%s did not answer within %s"):format(name, type(timeout) == "number" and ("%g s"):format(timeout) or timeout),
  }
end

--- Calls `name` of the other side and waits for its result. options.timeout: seconds or "5m"; none: no limit.
function Link:call(name, args, options)
  if self.closed then error(closed(name), 0) end
  local timeout = options and options.timeout
  self.number = self.number + 1
  local number, call = self.number, { done = sync.semaphore(0) }
  self.calls[number] = call
  local message = { call = number, name = name, args = args }
  if timeout then
    local ok, err = pcall(task.deadline, timeout, wait_for_answer, self, number, call, message)
    if not ok and not call.answered and errors.is(err, "timeout") then err = late(name, timeout) end
    if not ok then error(err, 0) end
  else
    wait_for_answer(self, number, call, message)
  end
  if not call.answered then error(closed(name), 0) end
  if not call.ok then error(call.value, 0) end
  return call.value
end

local function take_answer(self, message)
  local call = self.calls[message.answer]
  if not call then return end -- it was given up meanwhile
  call.answered, call.ok, call.value = true, message.ok, message.value
  call.done:give()
end

-- ---- the other side's calls ----------------------------------------------------------------------------------

local function answer(self, number, ok, value)
  local message = { answer = number, ok = ok, value = value }
  local sent, problem = pcall(self.channel.send, self.channel, message)
  if sent or self.closed or errors.is(problem, "closed") then return end
  if errors.is(problem, "cancelled") then error(problem, 0) end
  -- The result is no plain data: that is the answer.
  message.ok, message.value = false, problem
  pcall(self.channel.send, self.channel, message)
end

-- A task of its own waits for the one that works, so that even one that is ended by force is answered for.
local function work(self, number, name, args)
  local slot <close> = setmetatable({}, { __close = function() if self.slots then self.slots:give() end end }) -- luacheck: ignore 211
  local handler = self.handlers[name]
  if not handler then
    answer(self, number, false, errors.new { kind = "invalid", code = "not_found", message = "there is no function " .. name })
    return
  end
  local worker = task.spawn(handler, args)
  self.workers[number] = worker
  local ok, value = pcall(worker.wait, worker)
  self.workers[number] = nil
  answer(self, number, ok, value)
end

local function on_message(self, scope, message)
  if message.call then
    if self.slots then self.slots:take() end
    scope:spawn(work, self, message.call, message.name, message.args)
  elseif message.answer then
    take_answer(self, message)
  elseif message.note then
    local note = self.notes[message.note]
    if note then note(message.args) end
  elseif message.cancel and self.workers[message.cancel] then
    self.workers[message.cancel]:cancel "the caller waits no longer"
  end
end

--- Ends the link: calls on both sides end with kind `closed`.
function Link:close()
  if self.closed then return end
  self.closed = true
  self.channel:close()
  for _, call in pairs(self.calls) do
    call.done:give()
  end
end
Link.__close = Link.close

--- Reads what the other side sends until the link is closed by either side; then cancels what still works for it.
function Link:run()
  local ending <close> = self -- luacheck: ignore 211
  local scope <close> = task.scope { grace = 1 }
  while not self.closed do
    local more, message = self.channel:receive()
    if not more then break end
    on_message(self, scope, message)
  end
  self:close()
  scope:cancel "the link has ended"
end

return link
