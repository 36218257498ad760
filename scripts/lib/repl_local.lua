-- perigee.repl_local: the backend of a prompt whose session lives in this VM.  -- internal
-- The session is made, and what it needs is loaded, when it is first used: the prompt is there before.

local term = require "perigee.core.term"

local repl_local = {}
local Backend = {}

function Backend.__index(self, name)
  if name == "session" then return self:open_session() end
  return Backend[name]
end

local LONGEST <const> = 60 -- cells of an input in a list

-- ---- running -----------------------------------------------------------------------------------------------

function Backend:incomplete(text) return self.session:incomplete(text) end
function Backend:complete(text, point) return self.session:complete(text, point) end
function Backend:run(text, running) return require("perigee.repl_tasks").run(self.session, text, running) end
function Backend:is_leaving() return self.session.leaving == true end
function Backend:stay() self.session.leaving = nil end

function Backend:prompt()
  local session = rawget(self, "session")
  return (session and session.prompt_name or self.name) .. "> "
end

--- The error of a task in the background, or nil.
function Backend:background_error()
  return self.session.failed and self.session.failed.error
end

--- Without a terminal: waits for what goes on, up to the first error.
function Backend:finish()
  local session = self.session
  while session.tasks[1] and not session.failed do
    local one = session.tasks[1].task
    pcall(one.wait, one)
    if require("perigee.core.task").cancelled() then one:wait() end
    require("perigee.core.task").sleep(0)
  end
end

-- ---- questions ---------------------------------------------------------------------------------------------

local ANSWERS <const> = { y = "yes", yes = "yes", a = "all", all = "all" }

--- A session's ask(question) that asks the person who types.
function repl_local.asker(reader)
  return function(question)
    local answer = reader:ask { prompt = question.text .. " " }
    return answer and ANSWERS[answer:lower():match "^%s*(.-)%s*$"] or "no"
  end
end

--- The terminal that the session asks at.
function Backend:set_reader(reader)
  self.reader = reader
  local session = rawget(self, "session") -- a script was run in it before
  if session then self:join_reader(session) end
end

function Backend:join_reader(session)
  local reader = self.reader
  session.ask = repl_local.asker(reader)
  if reader.clear then
    session.clear = function() reader:clear() end
  end
end

-- ---- leaving -------------------------------------------------------------------------------------------------

local function task_lines(session, lines)
  if #session.tasks == 0 then return end
  lines[#lines + 1] = #session.tasks == 1 and "A task still runs, and would be stopped:" or
    ("%d tasks still run, and would be stopped:"):format(#session.tasks)
  for _, one in ipairs(session.tasks) do
    lines[#lines + 1] = ("  [%d] %s"):format(one.number, term.cut(term.escape(one.text:match "^%s*([^\n]*)"), LONGEST))
  end
end

-- Adds what was created and not waited for to a list of what goes on.
local function add_unfinished(left)
  local known = {}
  for _, one in ipairs(left) do known[tostring(one.id)] = true end
  for _, name in ipairs { "perigee.sxwl_flows", "perigee.deai_flows" } do
    local flows = package.loaded[name]
    for _, one in ipairs(flows and flows.unfinished() or {}) do
      if not known[tostring(one.id)] then left[#left + 1] = one end
    end
  end
  return left
end

--- At the end of a session: the closing summary names that, too.
function repl_local.note_unfinished()
  local service = package.loaded["perigee.service"]
  if service then add_unfinished(service.left_behind()) end
end

local function remote_lines(lines)
  -- Where no service was called nothing can go on.
  if not (package.loaded["perigee.service"] or package.loaded["perigee.jobs"]) then return end
  local left = add_unfinished(require("perigee.summary").collect().left_behind)
  if #left == 0 then return end
  lines[#lines + 1] = #left == 1 and "A remote job would go on, and is paid for:" or
    ("%d remote jobs would go on, and are paid for:"):format(#left)
  for _, one in ipairs(left) do
    lines[#lines + 1] = ("  %s %s"):format(one.service, term.escape(tostring(one.id)))
  end
end

--- What leaving would stop or leave behind, as lines, or nil.
function Backend:leaving()
  if not rawget(self, "session") then return nil end
  local lines = {}
  task_lines(self.session, lines)
  remote_lines(lines)
  return lines[1] and table.concat(lines, "\n") .. "\n"
end

-- ---- making one ----------------------------------------------------------------------------------------------

function Backend:open_session()
  local session = require("perigee.repl_session").new {
    names = require("perigee.repl_names").new(),
    locals = self.options.locals,
    say = function(text) term.write("out", text) end,
    columns = term.columns,
    color = term.has_color "out",
    yes = self.options.yes,
  }
  self.session = session
  if rawget(self, "reader") then self:join_reader(session) end
  if self.options.on_open then self.options.on_open(session) end
  return session
end

function Backend:load_ahead()
  return self.session
end

--- options: name (of the prompt), locals (of a script), yes, on_open(session).
function repl_local.new(options)
  return setmetatable({ name = options.name, options = options }, Backend)
end

return repl_local
