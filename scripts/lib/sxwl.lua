-- sxwl.lua - perigee.sxwl: the SXWL GPU cloud for scripts.
--
-- One method for each operation, and run, wait and download, which take several.  Fields keep the service's
-- spelling and are checked and converted by the table in bindings/sxwl.c before anything is sent: some
-- servers accept a wrong type, answer 200 and never start the job.
-- The service tells no price and no charge: both are computed from the user's own price table (sxwl_price.lua).

local core = require "perigee.core.ops"
local errors = require "perigee.error"
local flows = require "perigee.sxwl_flows"
local paging = require "perigee.paging"
local price = require "perigee.sxwl_price"
local service = require "perigee.service"

local sxwl = {}
local Client = { __name = "perigee.sxwl.client" }
Client.__index = Client
sxwl._methods = Client -- for the prompt, which names them before there is a client

local CLIENT_OPTIONS <const> = { "token", "base_url", "prices", "budget", "timeout", "status_rate", "callbacks",
  "transport" }

-- Tokens are copied from login replies, with "Bearer " and sometimes into a place that has it already.
local function bare_token(token)
  token = token:match "^%s*(.-)%s*$"
  while token:find "^[Bb]earer%s" do token = token:gsub("^%a+%s+", "") end
  return token
end

--- A client.  token, base_url and prices default to the configuration (SXWL_TOKEN, SXWL_BASE_URL).
--- prices: {["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h"}, what one GPU costs.  budget: for all its paid calls.
--- status_rate: status reads a second (5).  callbacks: a receiver of perigee.callback for run (default: one for
--- all, if the program was told to --listen).
function sxwl.client(options)
  options = service.check_options("sxwl.client", options, CLIENT_OPTIONS)
  local token = service.setting(options.token, "sxwl.token", true)
  token = service.reveal("sxwl.client: token", token)
  local client = service.new_client("sxwl", Client, {
    base_url = service.setting(options.base_url, "sxwl.base_url"),
    budget = options.budget,
    timeout = options.timeout,
    transport = options.transport,
    status_rate = service.rate("sxwl.client: status_rate", options.status_rate),
  })
  client.conn:token(bare_token(token))
  client.prices = price.read_table(service.setting(options.prices, "sxwl.prices"))
  client.callbacks = options.callbacks
  client.jobs_seen = service.shared("jobs|" .. client.key, function() return {} end)
  return client
end

function Client:__tostring()
  return ("sxwl.client(%s)"):format(self.base_url)
end

-- Called by perigee.service around each exchange: the token is the user's, there is nothing to renew.
function Client:authorize() end
function Client:accepted() end
function Client:renew() return false end

-- ---- one operation each ------------------------------------------------------------------------------------------

--- Creates a job and returns its job_id.  With max_cost or a budget it needs a price and stopType "1".
function Client:create_job(t)
  local parts, options = core.split("sxwl", "create_job", t)
  local fields = core.check("sxwl", "create_job", parts[1])
  service.paid_options(options)
  return flows.submit(self, fields, options)
end

--- How a job is doing: {status = "working" | "success" | "fail", url}.  An unknown job is api/not_found.
function Client:job_status(job_id, options)
  options = service.check_options("sxwl.job_status", options, { "timeout" })
  local fields = core.check("sxwl", "job_status", { job_id = job_id })
  local reply = service.read_status(self, "job_status", fields, options)
  if reply.status == "fail" or reply.status == "success" then flows.settle(self, job_id, true) end
  return { job_id = job_id, status = reply.status, url = flows.url_of(reply) }
end

--- Stops a job.  An unfinished one loses its volumes; no callback follows.  Also fine for an unknown job.
function Client:stop_job(job_id, options)
  options = service.check_options("sxwl.stop_job", options, { "timeout" })
  local fields = core.check("sxwl", "stop_job", { job_id = job_id })
  service.read(self, "stop_job", fields, options)
  flows.settle(self, job_id)
end

--- GPU types with the service's own price for an hour: {{gpuProd=, amount=}, …}.  `unavailable` where not offered.
function Client:gpu_types(options)
  options = service.check_options("sxwl.gpu_types", options, { "timeout" })
  return (service.read(self, "gpu_types", {}, options))
end

local List = { __name = "perigee.sxwl.list" }
List.__index = List

-- Rows of all pages, newest first: a generic `for` calls it, and asks the service as it goes.
function List:__call()
  while self.at >= #self.rows do
    local reading = self.reading
    if reading.ended then return nil end
    local reply = service.read(self.client, "jobs", { current = reading.number, size = reading.size }, { timeout = self.timeout })
    local rows = type(reply.content) == "table" and reply.content or {}
    if not reading:take(rows, reply.totalElements, function(row) return row.jobName end) then return nil end
    self.rows, self.at = rows, 0
  end
  self.at = self.at + 1
  return self.rows[self.at]
end

--- All rows that have not been read yet, as a list.
function List:all()
  local rows = {}
  for row in self do rows[#rows + 1] = row end
  return rows
end

--- for row in client:jobs() do … end; client:jobs():all() is a list.  `unavailable` where not offered.
function Client:jobs(options)
  options = service.check_options("sxwl.jobs", options, { "timeout", "current", "size" })
  local exact = core.check("sxwl", "jobs", { current = options.current, size = options.size })
  return setmetatable({
    client = self, timeout = options.timeout, reading = paging.open(exact.size, exact.current), rows = {}, at = 0,
  }, List)
end

-- ---- several steps -----------------------------------------------------------------------------------------------

Client.run = flows.run
Client.wait = flows.wait
Client.download = flows.download

-- A method that is not there: name the nearest one.
setmetatable(Client, {
  __index = function(_, name)
    if type(name) ~= "string" or name:find "^_" then return nil end
    local names = {}
    for method in pairs(Client) do
      if type(method) == "string" and not method:find "^__" then names[#names + 1] = method end
    end
    table.sort(names)
    local near = errors.nearest(name, names)
    if near then errors.invalid(('sxwl.client has no "%s"; did you mean "%s"?'):format(name, near)) end
    return nil
  end,
})

return sxwl
