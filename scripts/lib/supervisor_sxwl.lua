-- supervisor_sxwl.lua - how a supervisor deals with SXWL.  -- internal
--
-- The functions of every driver: price, submit, status, page, find, absent_is_certain, settle, stop, sweep.  A job
-- always gets a stopTime, so that it has a worst case.  The id of the intent goes along as env.PERIGEE_INTENT: the
-- list of jobs carries it in jsonAll, which finds a job whose create was answered by nobody.

local amount = require "perigee.amount"
local clock = require "perigee.core.task"
local core = require "perigee.core.ops"
local errors = require "perigee.error"
local flows = require "perigee.sxwl_flows"
local journal = require "perigee.core.journal"
local json = require "perigee.json"
local paging = require "perigee.paging"
local price = require "perigee.sxwl_price"
local service = require "perigee.service"
local sxwl = require "perigee.sxwl"
local time = require "perigee.time"
local time_of = require "perigee.supervisor_time"

local driver = { service = "sxwl", title = "SXWL", can_stop = true,
  derived_words = "attempt %d cost at most %s, derived from the time it was seen" }
driver.__index = driver

local PAGE <const> = 200 -- rows asked for at once; a service that gives fewer says what it takes
local LOOK_PAGES <const>, FIND_PAGES <const>, SWEEP_PAGES <const> = 10, 50, 200
local CLOCKS <const> = 86400 -- seconds by which the service's clock and zone may differ from ours
local NO_LIST <const> = 600 -- seconds after which a list that was not offered is asked for again
local URL_READS <const> = 3 -- readings of success without a url before it is taken as it is
local INTENT <const> = "PERIGEE_INTENT"
local STATUS <const> = { [0] = "working", "working", "success", "fail" } -- by workStatus

--- A driver over a client: client, or nil for one of the configuration, made when it is needed.
function driver.new(client)
  return setmetatable({ client = client or sxwl.client {}, given = client, page_size = PAGE, no_list_until = -math.huge }, driver)
end

--- The configuration was read anew: token and prices are those of now.
function driver:reload()
  if not self.given then self.client = sxwl.client {} end
  return true
end

-- ---- price ---------------------------------------------------------------------------------------------------

local function denied(code, message, fields)
  fields = fields or {}
  fields.kind, fields.code, fields.message = "denied", code, message
  fields.service, fields.operation, fields.outcome, fields.retryable = "sxwl", "create_job", "none", false
  error(errors.new(fields), 0)
end

-- The longest stopTime within the limit and the deadline, and the sentence that says so.
local function longest(fields, hourly, limits)
  local minutes, why
  if limits.left then
    minutes = price.longest(hourly, fields.gpuNumber, limits.left)
    why = ("the longest that costs at most %s"):format(tostring(limits.left))
    if minutes == 0 then
      local minute = price.of(hourly, fields.gpuNumber, 1)
      denied("max_cost", ("one minute of this job costs %s, more than the %s that are left for it"):format(tostring(minute),
        tostring(limits.left)), { price = minute, limit = limits.left })
    end
  end
  if limits.seconds then
    local until_deadline = math.max(1, math.floor(limits.seconds / 60))
    if not minutes or until_deadline < minutes then
      minutes, why = until_deadline, ("%d min are left until its deadline"):format(until_deadline)
    end
  end
  if not minutes then
    denied("no_worst_case", "nothing bounds what this job costs: give it max_cost, a deadline, or stopTime")
  end
  return minutes, why
end

--- What an attempt will send and cost: {price, fields, gpus, hourly, minutes, text}.  limits: {left, seconds}.
function driver:price(_, fields, limits)
  local exact = core.check("sxwl", "create_job", fields, { partial = true, name = "jobs.submit" })
  local hourly = self.client.prices[exact.gpuType or ""]
  if not hourly then
    denied("no_price", ('what a job on %s costs is not known: put prices = {["%s"] = "7 CNY/h"} into the configuration'):format(
      tostring(exact.gpuType), tostring(exact.gpuType)))
  end
  flows.check_gpu_type(self.client, exact.gpuType, "jobs.submit")
  local all = {}
  for name, value in pairs(fields) do all[name] = value end
  local why = "as its spec says"
  if not exact.stopTime then all.stopTime, why = longest(exact, hourly, limits) end
  all.stopType = "1"
  exact = core.check("sxwl", "create_job", all, { name = "jobs.submit" })
  local worst = price.of(hourly, exact.gpuNumber, exact.stopTime)
  return {
    price = worst, fields = exact, gpus = exact.gpuNumber, hourly = hourly, minutes = exact.stopTime,
    text = ("%s for at most %d min (stopTime, %s) at %s an hour cost at most %s"):format(
      price.gpus(exact.gpuNumber), exact.stopTime, why, tostring(hourly), tostring(worst)),
  }
end

-- ---- create --------------------------------------------------------------------------------------------------

--- One attempt: price, reserve(terms) -> permit, send.  Returns the remote id; raises.
function driver:submit(job, fields, limits, attempt)
  local terms = self:price(job, fields, limits)
  local permit = attempt.reserve(terms, {
    operation = "create_job", key = terms.fields.gpuType, model = terms.fields.gpuType,
  })
  local body = {}
  for name, value in pairs(terms.fields) do body[name] = value end
  local env = {}
  for name, value in pairs(body.env or {}) do env[name] = value end
  env[INTENT] = permit:intent_id()
  body.env = env
  body.callbackUrl = body.callbackUrl or attempt.url()
  return service.send_once(self.client, "create_job", body, permit).job_id
end

--- What the journal keeps of an attempt's terms.
function driver.terms_text(terms)
  return { gpus = terms.gpus, hourly = tostring(terms.hourly), stopTime = terms.minutes }
end

-- ---- watching ------------------------------------------------------------------------------------------------

-- True if other jobs of the journal have all of these ids.
local function are_known(ids)
  if next(ids) == nil then return true end
  local after
  repeat
    local rows = journal.call("job.list", { service = "sxwl", limit = 500, after = after })
    for _, row in ipairs(rows) do
      if row.remote_id then ids[row.remote_id] = nil end
      after = row.id
    end
  until #rows < 500 or next(ids) == nil
  return next(ids) == nil
end

-- What the list says of a job that job_status does not know: one era answers so for one that has succeeded and left
-- no model.  Its status, or nil.
local function listed(self, remote_id)
  if not self:offers_list(clock.now()) then return nil end
  local reading = self.reading()
  for _ = 1, LOOK_PAGES do
    service.take_turn(self.client)
    local ok, rows = pcall(self.page, self, reading, clock.now())
    if not ok and errors.is(rows, "cancelled") then error(rows, 0) end
    if not ok or not rows then return nil end
    for _, row in ipairs(rows) do
      if row.id == remote_id then return row.status end
    end
    if reading.ended then return nil end
  end
  return nil
end

--- One reading: {status = "working" | "success" | "fail", url, soon = look again soon: it has ended, and something of
--- its end is awaited}.  Raises; code not_found for a job that is gone.
function driver:status(entry)
  local ok, reply = pcall(service.call, self.client, "job_status", { job_id = entry.remote_id }, {})
  if not ok then
    local status = errors.is(reply) and reply.code == "not_found" and listed(self, entry.remote_id)
    if not status then error(reply, 0) end
    reply = { status = status }
  end
  local url = reply.url ~= "" and reply.url or nil
  if reply.status == "success" and not url then
    entry.bare = (entry.bare or 0) + 1
    if entry.bare < URL_READS then return { status = "working", soon = true } end
  else
    entry.bare = nil
  end
  return { status = reply.status, url = url }
end

--- True if the service knows a job of this id, and none of ours has it.  Raises.
function driver:has(remote_id)
  if not are_known { [remote_id] = true } then
    local ok, err = pcall(service.call, self.client, "job_status", { job_id = remote_id }, {})
    if ok then return true end
    if not (errors.is(err) and err.code == "not_found") then error(err, 0) end
  end
  return false
end

--- True while the service is believed to have a list of jobs.
function driver:offers_list(now)
  return now >= self.no_list_until
end

local function not_offered(err)
  return errors.is(err) and (err.code == "not_offered" or err.status == 404 or err.status == 405)
end

local function mark(row)
  return row.jobName
end

-- The next page of a reading, newest first; nil where there is no list.
local function read_page(self, reading, now)
  local ok, reply = pcall(service.call, self.client, "jobs", { current = reading.number, size = reading.size }, { timeout = 30 })
  if not ok then
    if not not_offered(reply) then error(reply, 0) end
    self.no_list_until = now + NO_LIST
    return nil
  end
  local rows = type(reply.content) == "table" and reply.content or {}
  if not reading:take(rows, reply.totalElements, mark) then rows = {} end
  self.page_size = reading.size
  return rows
end

--- A reading of the whole list, for page().
function driver.reading()
  return paging.open(PAGE)
end

--- The next page of a reading as { {id, status} … }; nil where no list is offered.  What it says of an end is a hint.
function driver:page(reading, now)
  local rows = read_page(self, reading, now)
  if not rows then return nil end
  local found = {}
  for i, row in ipairs(rows) do found[i] = { id = row.jobName, status = STATUS[row.workStatus] } end
  return found
end

-- ---- finding -------------------------------------------------------------------------------------------------

-- The intent that the request of a row carried, or nil; and false where the row does not tell what it carried.
local function intent_of(row)
  if type(row.jsonAll) ~= "string" then return nil, false end
  local ok, body = pcall(json.decode, row.jsonAll)
  local env = ok and type(body) == "table" and body.env
  if type(env) ~= "table" then return nil, false end
  return env[INTENT], true
end

-- Takes rows in: the id of the one with that intent, or nil; into `doubtful` ids of those that may be it; and the time
-- of the last row, if it can be read.
local function look_through(rows, intent, since, doubtful)
  local oldest
  for _, row in ipairs(rows) do
    local own, told = intent_of(row)
    if own == intent then return row.jobName end
    oldest = time_of(row.createTime)
    if not told and not (oldest and since and oldest < since) then doubtful[row.jobName or ""] = true end
  end
  return nil, oldest
end

--- Looks for the job that an intent has made: its id; or nil and "absent", "no_list" or "unreadable", with the error.
--- It is absent if every job that may have been created since shows which intent it carries, and none carries this one.
function driver:find(_, attempt, now)
  local since = attempt.started_at and attempt.started_at / 1000 - CLOCKS or nil
  local reading, doubtful = self.reading(), {}
  for _ = 1, FIND_PAGES do
    service.take_turn(self.client)
    local ok, rows = pcall(read_page, self, reading, now)
    if not ok then
      if errors.is(rows, "cancelled") then error(rows, 0) end
      return nil, "unreadable", rows
    elseif not rows then
      return nil, "no_list"
    end
    local found, oldest = look_through(rows, attempt.intent, since, doubtful)
    if found then return found end
    local all = reading.complete or (since and oldest and oldest < since)
    if all or reading.ended then return nil, all and are_known(doubtful) and "absent" or "no_list" end
  end
  return nil, "no_list"
end

--- Paid jobs of the service's list that may still run: { {id, since, name, price} … }, or nil where there is none.
function driver:sweep(now)
  local found, reading = {}, self.reading()
  for _ = 1, SWEEP_PAGES do
    service.take_turn(self.client)
    local rows = read_page(self, reading, now)
    if not rows then return nil end
    for _, row in ipairs(rows) do
      if STATUS[row.workStatus] == "working" then
        local hourly = self.client.prices[row.gpuType or ""]
        found[#found + 1] = {
          id = row.jobName, since = time_of(row.createTime), name = row.gpuType, intent = intent_of(row),
          price = hourly and math.type(row.gpuNumber) == "integer" and ("%s each hour"):format(
            tostring(price.of(hourly, row.gpuNumber, 60))) or nil,
        }
      end
    end
    if reading.ended then break end
  end
  return found
end

-- ---- the end -------------------------------------------------------------------------------------------------

--- What an attempt has cost until a time (default now), which is `least` seconds at least: an amount and whether it is
--- derived.
function driver.cost(attempt, at, least)
  local terms = json.decode(attempt.spec or "{}").terms
  if not terms or not terms.hourly then return attempt.price and amount(attempt.price), true end
  local seconds = math.max(least or 0, (at or time.now()) - (attempt.started_at or 0) / 1000)
  return price.derived(amount(terms.hourly), terms.gpus, seconds, attempt.price and amount(attempt.price) or nil), true
end

--- What a job has given: plain data for the journal.  The link is signed, so its query is left out: a download by
--- job_id asks for a fresh one.
function driver.result(entry, ended, attempt)
  local terms = json.decode(attempt.spec or "{}").terms or {}
  local seconds = time.now() - (attempt.started_at or 0) / 1000
  return {
    job_id = entry.remote_id, status = ended.status, url = ended.url and ended.url:match "^[^?]*",
    at_deadline = ended.status == "success" and terms.stopTime and seconds >= terms.stopTime * 60 or nil,
  }
end

--- Stops a job on the service.  Raises.
function driver:stop(remote_id)
  service.read(self.client, "stop_job", { job_id = remote_id }, { timeout = 20 })
  return true
end

return driver
