-- sxwl_flows.lua - SXWL calls that take several steps: submit, run, wait, download.  -- internal
--
-- A job is believed finished when job_status says so; a callback only makes the next reading come sooner.  A
-- status that cannot be read is not a failure.  Whoever leaves a wait early either stops the job or is told
-- that it goes on, what it may still cost, and how to stop it.

local budget = require "perigee.budget"
local clock = require "perigee.core.task"
local core = require "perigee.core.ops"
local errors = require "perigee.error"
local log = require "perigee.log"
local permits = require "perigee.permit"
local price = require "perigee.sxwl_price"
local retry = require "perigee.retry"
local service = require "perigee.service"
local spend = require "perigee.core.spend"
local task = require "perigee.task"

local flows = {}

local WAIT_TIMEOUT <const> = 24 * 3600
local AFTER_STOP <const> = 3600 -- seconds a wait goes on beyond the job's own stopTime
local QUEUE_NOTE <const> = 300 -- seconds after which run says that queueing is not reported
local GONE_AFTER <const> = 600 -- seconds a job that was there may be unknown before that is believed
local MISSES <const> = 3 -- readings, for one that never was there
local URL_READS <const> = 3 -- readings of success without a url before it is taken as it is
local TYPES_LIFE <const> = 600 -- seconds the list of GPU types is remembered
local STOP_GRACE <const> = 20 -- seconds a cancelled wait has to stop its job

--- The model's address in a status reply, or nil.
function flows.url_of(reply)
  return reply.url ~= "" and reply.url or nil
end

-- ---- submit ------------------------------------------------------------------------------------------------------

-- What the worst case is made of, in words.
local function price_note(client, fields, missing)
  local hourly = client.prices[fields.gpuType]
  if not hourly then return ("the client has no price for %s"):format(fields.gpuType) end
  if missing == "bound" then return ("%s an hour for as long as it runs"):format(tostring(price.of(hourly, fields.gpuNumber, 60))) end
  return ("%s for %d min at %s an hour"):format(price.gpus(fields.gpuNumber), fields.stopTime, tostring(hourly))
end

--- create_job of exact fields; returns the job_id.  Its worst case stays held until the end of the job is seen.
--- options.plan: of perigee.permit, for several attempts.
function flows.submit(client, fields, options)
  local worst
  local reply, permit = permits.staged(options.plan, function()
    local missing
    worst, missing = price.worst_case(client.prices, fields)
    return service.pay_or_raise(client, "create_job", fields, options, {
      key = fields.gpuType, price = worst, no_worst_case = missing == "bound", model = fields.gpuType,
      note = price_note(client, fields, missing),
    })
  end)
  client.jobs_seen[reply.job_id] = {
    created = clock.now(),
    stop_seconds = fields.stopType == "1" and fields.stopTime * 60 or nil,
    hourly = client.prices[fields.gpuType],
    gpus = fields.gpuNumber,
    worst = worst,
    permit = permit,
  }
  return reply.job_id
end

--- Books what a job has cost until now, once its end is seen or made; nil for a job that is not ours or unpriced.
--- keep: what is known of the job stays, for a wait that may follow.
function flows.settle(client, job_id, keep)
  local seen = client.jobs_seen[job_id]
  if not seen then return nil end
  if not keep then client.jobs_seen[job_id] = nil end
  if seen.permit then
    seen.cost = price.derived(seen.hourly, seen.gpus, clock.now() - seen.created, seen.worst)
    if seen.cost and seen.permit:state() == "created" then seen.permit:settle(seen.cost, true) end
    seen.permit:close()
    seen.permit = nil
  end
  return seen.cost
end

local function least_limit(options)
  local limit
  for _, name in ipairs { "max_cost", "max_cost_per_attempt" } do
    local value = options[name]
    if value ~= nil then
      local exact = service.money(name, value)
      if not limit or exact < limit then limit = exact end
    end
  end
  return limit
end

local function deny(code, fields)
  spend.count_denial(code)
  fields.kind, fields.code, fields.service, fields.operation = "denied", code, "sxwl", "create_job"
  error(errors.new(fields), 0)
end

-- With a limit and a price, a job without a stopTime gets the longest one that fits, and the log says so.
local function bounded(client, fields, options)
  local limit = least_limit(options)
  local exact = core.check("sxwl", "create_job", fields, { partial = true, name = "sxwl.run" })
  if not limit or not exact.gpuType or not exact.gpuNumber then return fields end
  local hourly = client.prices[exact.gpuType]
  if not hourly then
    deny("no_price", {
      limit = limit,
      message = ('what a job on %s costs is not known: give the client prices = {["%s"] = "7 CNY/h"}'):format(
        exact.gpuType, exact.gpuType),
    })
  end
  local copy = {}
  for name, value in pairs(fields) do copy[name] = value end
  copy.stopType = "1"
  if exact.stopTime then return copy end
  copy.stopTime = price.longest(hourly, exact.gpuNumber, limit)
  if copy.stopTime == 0 then
    local minute = price.of(hourly, exact.gpuNumber, 1)
    deny("max_cost", {
      price = minute, limit = limit,
      message = ("one minute of this job costs %s, more than %s"):format(tostring(minute), tostring(limit)),
    })
  end
  log.warn("sxwl.stop_time", { stopTime = copy.stopTime, limit = limit, price = price.of(hourly, exact.gpuNumber, copy.stopTime) })
  return copy
end

-- The GPU types on offer, or nil where that cannot be asked.
local function types_on_offer(client)
  local cache = service.shared("gpu types|" .. client.key, function() return {} end)
  if cache.names and clock.now() < cache.until_ then return cache.names end
  local types, err = task.try(service.call, client, "gpu_types", {}, { timeout = 10 })
  if not types then
    log.debug("sxwl.gpu_types", { error = err.message })
    return nil
  end
  local names = {}
  for _, row in ipairs(types) do names[#names + 1] = row.gpuProd end
  cache.names, cache.until_ = names, clock.now() + TYPES_LIFE
  return names
end

-- Letters and digits of a GPU name, for a comparison that a person would make.
local function bare(name)
  return (name:lower():gsub("nvidia", ""):gsub("geforce", ""):gsub("[^%w]", ""))
end

local function near_names(name, names)
  local near = {}
  for _, other in ipairs(names) do
    local a, b = bare(name), bare(other)
    if a == b or (a ~= "" and b ~= "" and (a:find(b, 1, true) or b:find(a, 1, true))) or errors.nearest(name, { other }) then
      near[#near + 1] = other
    end
  end
  table.sort(near)
  return #near > 0 and near or names
end

--- Raises `invalid` for a GPU type that is not offered: nobody would ever run the job, and it would stay "working".
function flows.check_gpu_type(client, name, where)
  local names = types_on_offer(client)
  if not names or #names == 0 then return end
  for _, other in ipairs(names) do
    if other == name then return end
  end
  error(errors.new {
    kind = "invalid", code = "gpu_type", service = "sxwl", operation = "create_job", outcome = "none",
    retryable = false, near = near_names(name, names),
    message = ("%s: gpuType %q is not offered; there is %s"):format(where, name, table.concat(near_names(name, names), ", ")),
  }, 0)
end

-- ---- leaving a wait ----------------------------------------------------------------------------------------------

local function check_on_cancel(where, value)
  if value == nil or value == "stop" or value == "leave" then return value end
  return errors.invalid(('%s: on_cancel must be "stop" or "leave", not %s'):format(where, tostring(value)))
end

-- Why the program cancels a script: SIGINT, SIGTERM, SIGHUP.
local SIGNALS <const> = { interrupted = true, terminated = true, ["hung up"] = true }

-- Stop when a person has pressed Ctrl-C on a terminal, or --on-interrupt says so; else leave.
local function what_on_cancel(err, wish)
  if not errors.is(err, "cancelled") then return "leave" end
  if wish then return wish end
  if not SIGNALS[err.reason] then return "leave" end
  local set = require "perigee.config".option "on_interrupt"
  if set then return set end
  return err.reason == "interrupted" and require "perigee.core.term".is_tty "stdin" and "stop" or "leave"
end

local function worst_text(seen)
  if not seen or not seen.hourly then return "unknown: no price" end
  return seen.worst and tostring(seen.worst) or ("%s each hour"):format(tostring(price.of(seen.hourly, seen.gpus, 60)))
end

--- A command that stops the job.  Its id is text of the service's, and the command is there to be copied into a
--- shell: one that could mean more than itself there is not written out.
function flows.stop_command(job_id)
  if not job_id:find "^[%w_.-]+$" then return "can be stopped by client:stop_job" end
  return ([[perigee run -e 'require"perigee.sxwl".client{}:stop_job"%s"']]):format(job_id)
end

--- Jobs that this VM has created and whose end it has not seen, oldest first: {service=, id=, worst_cost=, how=} each.
function flows.unfinished()
  local list = {}
  for _, jobs in ipairs(service.shared_under "jobs|") do
    for job_id, seen in pairs(jobs) do
      if seen.permit then
        list[#list + 1] = { service = "sxwl", id = job_id, why = "not waited for", created = seen.created,
          worst_cost = worst_text(seen), how = flows.stop_command(job_id) }
      end
    end
  end
  table.sort(list, function(a, b) return a.created < b.created end)
  return list
end

-- The wait ended without the job's end: stop it or say that it goes on.
local function leave(client, job_id, err, wish)
  local seen = client.jobs_seen[job_id]
  if what_on_cancel(err, wish) == "stop" then
    local ok = pcall(task.shield, STOP_GRACE, service.read, client, "stop_job", { job_id = job_id }, { timeout = 10 })
    if ok then
      log.warn("sxwl.stopped", { job_id = job_id, why = err.reason })
      return true
    end
  end
  service.leave {
    service = "sxwl", id = job_id, why = errors.is(err) and err.kind or "error", worst_cost = worst_text(seen),
    how = flows.stop_command(job_id),
  }
  return false
end

-- ---- waiting -----------------------------------------------------------------------------------------------------

-- Not-found answers of a wait: none that passes may be taken for the end of the job.
local function absence(client, job_id)
  local misses, since = 0, nil
  local known = client.jobs_seen[job_id] ~= nil
  return {
    found = function() misses, since, known = 0, nil, true end,
    passing = function(err)
      if err.kind == "auth" then return known and "unreadable" or nil end
      if err.code ~= "not_found" then return err.kind == "api" and "unreadable" or nil end
      misses = misses + 1
      since = since or clock.now()
      local believed = known and clock.now() - since >= GONE_AFTER or not known and misses >= MISSES
      return not believed and "answer" or nil
    end,
  }
end

local function note_queueing(job_id)
  local said = false
  return function(elapsed)
    if said or elapsed < QUEUE_NOTE then return end
    said = true
    log.warn("sxwl.still_working", {
      job_id = job_id,
      message = "SXWL does not report queueing: a job that waits for a GPU shows as working, and nobody says for how long",
    })
  end
end

-- The end of the job: {status = "success" | "fail", url, ended}.
local function wait_for_end(client, job_id, options)
  local seen = client.jobs_seen[job_id]
  local deadline = seen and seen.stop_seconds and seen.created + seen.stop_seconds
  local gone, without_url = absence(client, job_id), 0
  return service.poll(client, {
    timeout = options.timeout,
    bell = options.bell,
    passing = gone.passing,
    not_before = deadline and deadline - 1, -- so that an end at the deadline can be told from one before
    on_poll = note_queueing(job_id),
    on_timeout = function()
      return errors.new {
        kind = "timeout", code = "wait", service = "sxwl", operation = "wait", outcome = "none", retryable = false,
        message = ("job %s did not end within %g s: it goes on, still paid for"):format(job_id, options.timeout),
      }
    end,
  }, function()
    local reply = service.call(client, "job_status", { job_id = job_id }, {})
    gone.found()
    if options.on_status then options.on_status(reply.status) end
    local url = flows.url_of(reply)
    if reply.status == "success" then
      without_url = url and URL_READS or without_url + 1
      if without_url < URL_READS then return nil end
    elseif reply.status ~= "fail" then
      without_url = 0
      return nil
    end
    local now = clock.now()
    return {
      job_id = job_id, status = reply.status, url = url,
      at_deadline = reply.status == "success" and deadline ~= nil and now >= deadline or nil,
    }
  end)
end

local function failed(job_id, cost)
  return errors.new {
    kind = "job_failed", code = "fail", service = "sxwl", operation = "wait", outcome = "none", retryable = false,
    job_id = job_id, cost = cost, message = ("job %s has failed"):format(job_id),
  }
end

-- before() and then wait_for_end, with what leaving them early means; a job whose end is seen is settled.
local function wait_or_leave(client, job_id, options, before)
  local ok, ended = pcall(function()
    if before then before() end
    return wait_for_end(client, job_id, options)
  end)
  if not ok then
    local gone = errors.is(ended) and ended.code == "not_found"
    if not gone and leave(client, job_id, ended, options.on_cancel) then flows.settle(client, job_id) end
    return service.raise(ended, { job_id = job_id })
  end
  ended.cost = flows.settle(client, job_id)
  if ended.status == "fail" then error(failed(job_id, ended.cost), 0) end
  return ended
end

--- Waits for the end of a job: {job_id, status = "success", url, cost, at_deadline}; raises job_failed.
function flows.wait(client, job_id, options)
  options = service.check_options("sxwl.wait", options, { "timeout", "on_cancel", "on_status" })
  core.check("sxwl", "job_status", { job_id = job_id }, { name = "sxwl.wait" })
  return wait_or_leave(client, job_id, {
    timeout = service.seconds("sxwl.wait: timeout", options.timeout, WAIT_TIMEOUT),
    on_cancel = check_on_cancel("sxwl.wait", options.on_cancel),
    on_status = options.on_status and service.check_type("sxwl.wait: on_status", options.on_status, "function"),
  })
end

-- ---- run ---------------------------------------------------------------------------------------------------------

-- The receiver that --listen and --public-url ask for; it lives as long as the script.
local function process_receiver()
  local config = require "perigee.config"
  local listen, public_url = config.option "listen", config.option "public_url"
  if not listen and not public_url then return nil end
  local state = service.shared("callbacks", function() return {} end)
  local lock <close> = task.lock "perigee.sxwl.callbacks" -- luacheck: ignore 211
  if not state.receiver then
    local started = task.queue(1)
    require("perigee.worker").start(function()
      local ok, receiver = pcall(require "perigee.callback".receiver, { listen = listen, public_url = public_url })
      started:put { ok, receiver }
      if ok then task.queue(1):get() end -- for ever: the server's tasks belong to this one
    end)
    local _, result = started:get()
    if not result[1] then error(result[2], 0) end
    state.receiver = result[2]
  end
  return state.receiver
end

-- A callback URL of the job's own, if somebody listens: the bell it rings, and what forgets it again.
local function with_callback(client, fields, options)
  local nothing = setmetatable({}, { __close = function() end })
  if fields.callbackUrl or options.callback == false then return nothing, nil end
  local receiver = client.callbacks or process_receiver()
  if not receiver then return nothing, nil end
  local count = service.shared("callback keys", function() return { last = 0 } end)
  count.last = count.last + 1
  local key = ("run %d"):format(count.last)
  local url, bell = receiver:register(key)
  fields.callbackUrl = url
  return setmetatable({}, { __close = function() receiver:unregister(key) end }), bell
end

local function run_once(client, fields, options, attempt)
  local given = core.check("sxwl", "create_job", fields, { partial = true, name = "sxwl.run" })
  if given.gpuType then flows.check_gpu_type(client, given.gpuType, "sxwl.run") end
  local exact = core.check("sxwl", "create_job", bounded(client, fields, options), { name = "sxwl.run" })
  local default = exact.stopTime and math.max(WAIT_TIMEOUT, exact.stopTime * 60 + AFTER_STOP) or WAIT_TIMEOUT
  local registration <close>, bell = with_callback(client, exact, options) -- luacheck: ignore 211
  local job_id = flows.submit(client, exact, options)
  return wait_or_leave(client, job_id, {
    timeout = service.seconds("sxwl.run: timeout", options.timeout, default),
    bell = bell,
    on_cancel = options.on_cancel,
    on_status = options.on_status,
  }, options.on_start and function()
    options.on_start { job_id = job_id, price = client.jobs_seen[job_id].worst, attempt = attempt }
  end)
end

-- Several attempts share one max_cost: each may use what the others have left.
local function run_again(client, fields, options)
  local policy = options.retry.run and options.retry or retry.new(options.retry)
  local group = options.max_cost and budget.group(options.max_cost)
  local plan = permits.plan(policy.attempts, "attempts", options.max_cost)
  return policy:run(function(try)
    local own = { plan = plan }
    for name, value in pairs(options) do own[name] = value end
    if group then
      own.budget = { group, options.budget }
      own.max_cost = group:lines()[1].left
    end
    local result = run_once(client, fields, own, try.attempt)
    result.attempts = try.attempt
    return result
  end)
end

--- Creates a job and waits for its end: {job_id, status, url, attempts, cost, at_deadline}; raises job_failed.
function flows.run(client, t)
  local parts, options = core.split("sxwl", "run", t)
  check_on_cancel("sxwl.run", options.on_cancel)
  service.paid_options(options)
  for _, name in ipairs { "on_start", "on_status" } do
    if options[name] then service.check_type("sxwl.run: " .. name, options[name], "function") end
  end
  if options.retry ~= nil then
    service.check_type("sxwl.run: retry", options.retry, "table")
    return run_again(client, parts[1], options)
  end
  local result = run_once(client, parts[1], options, 1)
  result.attempts = 1
  return result
end

-- ---- download ----------------------------------------------------------------------------------------------------

-- True if the link says itself that it is over.
local function is_over(url)
  local expires = url:match "[?&]Expires=(%d+)"
  return expires ~= nil and os.time() >= math.tointeger(tonumber(expires))
end

local function link_of(client, job_id)
  local status = client:job_status(job_id)
  if status.status == "success" and status.url then return status.url end
  error(errors.new {
    kind = "unavailable", code = "no_model", service = "sxwl", operation = "download", outcome = "none",
    retryable = status.status == "working", job_id = job_id,
    message = ("job %s has no model to download: it is %s"):format(job_id, status.status),
  }, 0)
end

--- Fetches the model of a job (or of a link) into a file.  resume (default true) goes on from a part; a link that
--- is over is asked for anew.  The token never goes to the other host.  Returns {path, size, url}.
function flows.download(client, what, path, options)
  local http = require "perigee.http"
  options = service.check_options("sxwl.download", options, { "progress", "resume", "timeout" })
  service.check_type("sxwl.download: the job_id or URL", what, "string")
  service.check_type("sxwl.download: the path", path, "string")
  local by_id = not what:match "^https?://"
  local url = by_id and link_of(client, what) or what
  local fetches, renewed = client.reads, false
  return fetches:run(function(try)
    if try.attempt > 1 then core.count_retry(try.last_error.kind) end
    while true do
      local ok, reply = pcall(http.download, url, path, {
        resume = options.resume ~= false, progress = options.progress, timeout = options.timeout,
      })
      if ok then return { path = path, size = reply.size, url = url:match "^[^?]*" } end
      local over = errors.is(reply, "http") and (reply.status == 403 or reply.status == 401 or is_over(url))
      if not (by_id and over) or renewed then
        return service.raise(reply, { service = "sxwl", operation = "download", job_id = by_id and what or nil })
      end
      url, renewed = link_of(client, what), true
    end
  end)
end

return flows
