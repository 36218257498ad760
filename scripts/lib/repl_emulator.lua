-- perigee.repl_emulator: `:emulator`: a session goes to an emulator and back.  -- internal
--
-- While it is there, `deai`, `sxwl`, `jobs` and the other names are those of a second set of modules (perigee.repl_world);
-- the user's own names stay.  Off keeps the emulator and what is in it for the next time; reset begins a new one.

local commands = require "perigee.repl_commands"
local errors = require "perigee.error"

local emulator = {}

local VERBS <const> = { "on", "off", "reset", "faults", "ledger" }
local CANCEL_TIME <const> = 2 -- seconds a task has for its clean-up
local SPEED <const> = 20 -- as `perigee repl --emulator` has it

-- ---- names ---------------------------------------------------------------------------------------------------------------

local function enter(session, world)
  session.real_names = session.real_names or session.names
  session.world, session.require, session.names, session.prompt_name = world, world.require, world.names, "emulator"
end

local function leave(session)
  session.world, session.require, session.names, session.prompt_name = nil, nil, session.real_names, session.outer_name
end

-- ---- the verbs -------------------------------------------------------------------------------------------------------------

local function read_options(command, words)
  local options = { speed = SPEED, listen = "127.0.0.1:0" }
  for _, word in ipairs(words) do
    local name, value = word:match "^(%l+)=(.+)$"
    if name ~= "seed" and name ~= "speed" and name ~= "faults" then
      commands.misused(command, ("there is no option %s"):format(word),
        errors.nearest(name or word, { "seed", "speed", "faults" }))
    end
    options[name] = name == "faults" and value or tonumber(value)
    if name == "seed" then options.seed = math.tointeger(options.seed) end
    if options[name] == nil or name == "speed" and not (options.speed > 0 and options.speed < math.huge) then
      commands.misused(command, ("%s takes a number, not %s"):format(name, value))
    end
  end
  return options
end

local function is_outer(session)
  return session.world == nil and require("perigee.config").switch "emulator"
end

local function described(world)
  local parts = { ("speed %g"):format(world.options.speed) }
  if world.options.seed then table.insert(parts, 1, ("seed %d"):format(world.options.seed)) end
  if world.options.faults then parts[#parts + 1] = "faults " .. world.options.faults end
  return table.concat(parts, ", ")
end

local ON <const> = "rehearsing on an emulator (%s): deai, sxwl, jobs and budgets are its own, money and state stay apart\n"

local function open(session, command, words)
  local options = read_options(command, words)
  local ok, world = pcall(require("perigee.repl_world").open, options, session)
  if ok then return world end
  if errors.is(world, "invalid") then commands.misused(command, world.message) end
  return error(world, 0)
end

-- Tasks that lines on that emulator have left.
local function cancel_tasks(session, world)
  for _, one in ipairs(commands.tasks_of(session)) do
    if one.entry.world == world then
      one.entry.cancelled = true
      one.task:cancel "the emulator is reset"
      require("perigee.task").try(require("perigee.task").deadline, CANCEL_TIME, one.task.wait, one.task)
    end
  end
end

local function tasks_there(session, world)
  local n = 0
  for _, one in ipairs(commands.tasks_of(session)) do
    if one.entry.world == world then n = n + 1 end
  end
  return n
end

local verbs = {}

function verbs.on(session, command, words)
  if session.world then commands.misused(command, "the session is on the emulator already; :emulator reset begins a new one") end
  if session.rehearsal and #words > 0 then
    commands.misused(command, "there is an emulator already, which goes on; :emulator reset takes options for a new one")
  end
  if session.rehearsal == nil then
    session.outer_name = session.prompt_name
    session.rehearsal = open(session, command, words)
  end
  enter(session, session.rehearsal)
  return ON:format(described(session.rehearsal))
end

function verbs.off(session, command, words)
  if #words > 0 then commands.misused(command, "off takes nothing more") end
  local world = session.world
  if not world then
    commands.misused(command, is_outer(session) and "the whole session is on an emulator (--emulator)"
      or "the session is not on an emulator")
  end
  leave(session)
  local n = tasks_there(session, world)
  local goes_on = n == 0 and "" or n == 1 and "; a task goes on there" or ("; %d tasks go on there"):format(n)
  local where = is_outer(session) and "the emulator of --emulator" or "the real services"
  return ("back on %s%s; :emulator on returns to what was rehearsed\n"):format(where, goes_on)
end

function verbs.reset(session, command, words)
  local old = session.rehearsal
  if not old then return verbs.on(session, command, words) end
  local world = open(session, command, words)
  if session.world then leave(session) end
  cancel_tasks(session, old)
  old:close()
  session.rehearsal = world
  enter(session, world)
  return ON:format(described(world))
end

-- The address of the emulator the session is on.
local function address(session, command)
  if session.world then return session.world.url end
  if not is_outer(session) then commands.misused(command, "the session is not on an emulator; :emulator on goes to one") end
  return (require("perigee.config").get("sxwl.base_url"):gsub("/api$", ""))
end

local function ask(session, command, path, options)
  local http = require "perigee.http"
  local reply = options and http.post(address(session, command) .. path, options) or http.get(address(session, command) .. path)
  if reply.status ~= 200 then commands.misused(command, (reply.body:gsub("%s+$", ""))) end
  return require("perigee.json").decode(reply.body)
end

function verbs.faults(session, command, words)
  local spec = table.concat(words, " ")
  local list = ask(session, command, "/__faults", #words > 0 and { body = spec == "none" and "" or spec } or nil)
  if #list == 0 then return "no faults\n" end
  local rows = { { "FAULT", "CALLS", "FIRED" } }
  for i, one in ipairs(list) do rows[i + 1] = { one.rule, one.asked, one.fired } end
  return require("perigee.columns").render(rows, { right = { [2] = true, [3] = true } })
end

function verbs.ledger(session, command, words)
  if #words > 0 then commands.misused(command, "ledger takes nothing more") end
  local sums = ask(session, command, "/__ledger")
  local lines = {
    ("%d calls have arrived\n"):format(sums.calls),
    ("Distributed AI: %d uploads, %d estimates, %d trainings, %d inferences, billed %s CCD\n"):format(sums.deai.uploads,
      sums.deai.estimates, sums.deai.jobs, sums.deai.inferences, sums.deai.spent),
    ("SXWL: %d jobs, %d stopped, %d GPU minutes\n"):format(#sums.sxwl.jobs, sums.sxwl.stops, sums.sxwl.gpu_minutes),
  }
  for _, text in ipairs(sums.complaints) do lines[#lines + 1] = ("against the contract: %s\n"):format(text) end
  return require("perigee.core.term").escape(table.concat(lines))
end

--- What `:emulator …` does. -> text
function emulator.command(session, argument, command)
  local words = {}
  for word in argument:gmatch "%S+" do words[#words + 1] = word end
  local name = table.remove(words, 1)
  if name == nil then
    if session.world then return ON:format(described(session.world)) end
    return is_outer(session) and "the whole session is on an emulator (--emulator)\n"
      or "the session works on the real services; :emulator on rehearses\n"
  end
  if not verbs[name] then commands.misused(command, ("there is no %s"):format(name), errors.nearest(name, VERBS)) end
  return verbs[name](session, command, words)
end

return emulator
