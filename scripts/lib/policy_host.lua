-- perigee.policy_host: the first task of a policy's VM.  -- internal
-- It loads the policy's file, tells what is in it, and runs hooks and schedules when the daemon calls for them
-- over the link.  Functions of the policy never leave this VM; what goes over is plain data.  One VM has one
-- policy, so that what ends it (time, memory, os.exit) ends nothing else.

local errors = require "perigee.error"
local json = require "perigee.json"
local link = require "perigee.link"
local secret = require "perigee.core.secret"
local task = require "perigee.task"

local host = {}

-- The loaded file: { file =, table =, files = { path = true } }
local loaded

-- ---- what the policy sees of the program ---------------------------------------------------------------------

-- Every file that the policy reads as code, so that --watch knows them.
local function note_files(files)
  local raw_loadfile, raw_dofile = loadfile, dofile
  function loadfile(path, ...) -- luacheck: ignore 121
    if path then files[path] = true end
    return raw_loadfile(path, ...)
  end
  function dofile(path) -- luacheck: ignore 121
    if path then files[path] = true end
    return raw_dofile(path)
  end
  -- 1 is package.preload, 2 are the program's own modules, 3 are files
  local search = package.searchers[3]
  package.searchers[3] = function(name)
    local loader, path = search(name)
    if type(loader) == "function" and path then files[path] = true end
    return loader, path
  end
end

-- Log lines carry the policy's name; what it prints is a log line: standard output is the program's.
local function name_log_lines(name)
  local core = require "perigee.core.log"
  local log = require "perigee.log"
  local write = core.write
  function core.write(level, event, list)
    local named = false
    for i = 1, #list, 2 do named = named or list[i] == "policy" end
    if not named then
      list[#list + 1] = "policy"
      list[#list + 1] = name
    end
    return write(level, event, list)
  end
  function print(...) -- luacheck: ignore 121
    local words = table.pack(...)
    for i = 1, words.n do words[i] = tostring(words[i]) end
    log.info("policy.print", { text = table.concat(words, "\t") })
  end
end

-- Values that it stores without naming a space are its own. The module is only loaded by who uses it.
local function use_own_space(policy)
  local space = "policy/" .. policy -- no name of a policy is that of another space
  local store = package.loaded["perigee.store"]
  if store then return store._use(space) end
  package.preload["perigee.store"] = function(module)
    local found = package.searchers[2](module)()
    found._use(space)
    return found
  end
end

local function use_settings(args)
  local config = require "perigee.config"
  config.start(args.options or {}, args.option_names or {}, function(_, text) return text end)
  for name, value in pairs(args.fixed or {}) do
    config.fix(name, value)
  end
end

-- ---- loading -----------------------------------------------------------------------------------------------------

-- A path, or the name of a policy that comes with the program.
local function chunk_of(file)
  local ready = not file:find "[/.]" and package.searchers[2]("perigee.policies." .. file)
  if type(ready) == "function" then return ready end
  local folder = file:match "^(.*)/[^/]*$" or "."
  package.path = folder .. "/?.lua;" .. folder .. "/?/init.lua;" .. package.path
  local chunk, problem = loadfile(file, "t")
  if not chunk then errors.invalid(problem) end
  return chunk
end

local function load_policy(file)
  local files = {}
  note_files(files)
  local table_of_it = chunk_of(file)()
  local problems = require("perigee.policy").check(table_of_it, file)
  if #problems > 0 then
    local lines = {}
    for i, problem in ipairs(problems) do lines[i] = problem.message end
    errors.invalid(table.concat(lines, "\n"))
  end
  return { file = file, table = table_of_it, files = files }
end

-- A copy without functions, and without what else is no plain data.
local function plain(value, depth)
  local kind = type(value)
  local array = kind == "table" and json.is_array(value)
  if kind == "table" and (array or getmetatable(value) == nil) and depth < 8 then
    local copy = {}
    for k, v in pairs(value) do copy[k] = plain(v, depth + 1) end
    return array and json.array(copy) or copy
  end
  if value == json.null then return value end
  if kind == "function" or kind == "thread" then return nil end
  -- where a secret comes from goes over, never the secret
  if kind == "userdata" and secret.is(value) then return require("perigee.secret").source(value) or tostring(value) end
  if kind == "table" or kind == "userdata" then return tostring(value) end
  return value
end

local function sorted_keys(t)
  local keys = {}
  for key in pairs(t or {}) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

-- The hook of an event; where there is none, the options of `retry` answer for a failed job.
local function hook_of(policy, event)
  local hook = policy.on and policy.on[event]
  if hook or event ~= "job.failed" or not policy.retry then return hook end
  return function(job) return require("perigee.policy").retry_of(policy.retry, job) end
end

local function hooks_of(policy)
  local hooks = sorted_keys(policy.on)
  if policy.retry and not (policy.on and policy.on["job.failed"]) then hooks[#hooks + 1] = "job.failed" end
  return hooks
end

-- What the daemon needs to know of it.
local function describe()
  local policy = loaded.table
  return {
    name = policy.name,
    hooks = hooks_of(policy),
    schedules = plain(policy.schedules or {}, 0),
    budget = plain(policy.budget, 0),
    notify = plain(policy.notify, 0),
    max_failures = policy.max_failures,
    files = sorted_keys(loaded.files),
  }
end

local function load_and_describe(args)
  if not loaded then
    loaded = load_policy(args.file)
    host.name = loaded.table.name
    name_log_lines(host.name)
    use_own_space(host.name)
    collectgarbage() -- what loading has left; the VM now rests for hours
    if loaded.table.notify then require("perigee.notify").use(host.name, loaded.table.notify) end
  end
  return describe()
end

-- ---- hooks and schedules -------------------------------------------------------------------------------------------

local function with_limit(seconds, f, ...)
  if not seconds then return f(...) end
  return task.deadline(seconds, f, ...)
end

-- Paid calls that the policy makes by itself count against the budget of its table, as its jobs do.
local function within_budget(f, ...)
  local options = loaded.table.budget
  if options == nil then return f(...) end
  loaded.budget = loaded.budget or require("perigee.budgets").of_policy(host.name, options)
  return require("perigee.budget").with(loaded.budget, f, ...)
end

local function run_hook(event, job, data)
  local policy = loaded.table
  if job and policy.applies and not policy.applies(job) then return { applies = false } end
  local hook = hook_of(policy, event)
  if not hook then return { applies = true } end
  local answer
  if job then answer = hook(job, data) else answer = hook(data) end
  return { applies = true, decision = plain(require("perigee.policy").decision(event, answer), 0) }
end

-- { event =, job =, data =, seconds = } -> { applies =, decision = }
local function hook(args)
  local job = args.job or {}
  return require("perigee.log").with({ job = job.id, attempt = job.attempt }, with_limit, args.seconds, within_budget, run_hook,
    args.event, args.job, args.data)
end

-- Whether the policy is for that job, without asking it anything.
local function applies(args)
  local f = loaded.table.applies
  return not f or with_limit(args.seconds, f, args.job) and true or false
end

-- Modules are only loaded by the schedule that uses them.
local context = {
  jobs = function() return require "perigee.jobs" end,
  log = function() return require "perigee.log" end,
  notify = function() return require "perigee.notify" end,
  store = function() return require "perigee.store" end,
}

local function context_of(args)
  return setmetatable({
    name = args.name,
    policy = host.name,
    scheduled_at = args.scheduled_at,
    deadline = args.deadline,
  }, {
    __index = function(self, field)
      local value = context[field] and context[field]()
      rawset(self, field, value)
      return value
    end,
  })
end

local function find_schedule(name)
  for _, schedule in ipairs(loaded.table.schedules or {}) do
    if schedule.name == name then return schedule end
  end
  return errors.invalid(("policy %s has no schedule %q"):format(host.name, name))
end

-- { name =, scheduled_at =, key =, deadline =, seconds = }
local function schedule(args)
  local found = find_schedule(args.name)
  task.set_local("perigee.schedule_key", args.key)
  with_limit(args.seconds, within_budget, found.run, context_of(args))
end

-- ---- the VM ---------------------------------------------------------------------------------------------------------

--- args: { file =, options =, option_names =, fixed = }
function host.main(channel, args)
  use_settings(args)
  local upstream = link.open(channel)
  link.upstream = upstream
  upstream:serve {
    describe = function() return load_and_describe(args) end,
    hook = hook,
    applies = applies,
    schedule = schedule,
  }
  upstream:run()
end

return host
