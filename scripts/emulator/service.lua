-- service.lua - what both emulated services share: routes, faults around a call, the ledger's call entries.
--
-- A service is a table with `name`, `routes` (path -> method -> { operation, handler }), `faults`, `ledger` and
-- `not_found(request)`.  `service.handle(self, request, now)` answers at once: whatever takes time is said in
-- the response (`delay`, `drop`), and the host does it.
--
--   request   { method, path, query = {name = value}, headers = {lower-case name = value}, body }
--   response  { status, headers, body, delay = seconds, drop = "before" | "after" }
--
-- A handler returns a response; one that refused, so that nothing was executed, sets `refused = true` in it.

local service = {}

local PROXY_PAGE <const> = [[
<html>
<head><title>%d %s</title></head>
<body>
<center><h1>%d %s</h1></center>
<hr><center>nginx/1.22.1</center>
</body>
</html>
]]

local REASONS <const> = {
  [200] = "Please wait", [404] = "Not Found", [429] = "Too Many Requests", [500] = "Internal Server Error",
  [502] = "Bad Gateway", [503] = "Service Temporarily Unavailable", [504] = "Gateway Time-out",
}

--- A page as a proxy in front of the service writes it: HTML, whatever the status.
function service.proxy_page(status)
  local reason = REASONS[status] or "Error"
  return {
    status = status,
    headers = { ["content-type"] = "text/html" },
    body = PROXY_PAGE:format(status, reason, status, reason),
  }
end

function service.text(status, body)
  return { status = status, headers = { ["content-type"] = "text/plain; charset=utf-8" }, body = body }
end

function service.json(status, body)
  return { status = status, headers = { ["content-type"] = "application/json" }, body = body }
end

--- The same response, marked as one that executed nothing.
function service.refused(response)
  response.refused = true
  return response
end

-- Faults that come before the execution, in the order of how early they strike; nil if there is none.
local function strike_before(plan)
  if plan.drop_before then
    return { status = 0, drop = "before" }
  elseif plan.rate_limit then
    local response = service.proxy_page(429)
    response.headers["retry-after"] = ("%d"):format(math.ceil(plan.rate_limit))
    return response
  elseif plan.error then
    return service.proxy_page(plan.error)
  elseif plan.transient then
    return service.text(400, "dial tcp 10.96.18.7:3306: connect: connection refused")
  end
end

-- Faults that spoil the reply of a call that was executed.
local function strike_after(plan, response)
  if plan.drop_after then
    response = { status = 0, drop = "after" }
  elseif plan.error_after then
    response = service.proxy_page(plan.error_after)
  elseif plan.garbage then
    response = service.proxy_page(200)
  end
  return response
end

local function names_of(plan)
  local names = {}
  for name in pairs(plan) do
    names[#names + 1] = name
  end
  table.sort(names)
  return #names > 0 and names or nil
end

--- Carries out one operation under the faults planned for it, and writes the call down.
function service.execute(self, operation, handler, request, now)
  local plan = self.faults:plan(self.name, operation)
  local response = strike_before(plan)
  local executed = false
  if not response then
    local done = handler(self, request, now, plan)
    executed = not done.refused
    response = strike_after(plan, done)
  end
  response.refused = nil
  response.delay = plan.delay
  self.ledger:call {
    service = self.name, operation = operation, at = now, status = response.status,
    executed = executed, replied = not response.drop, faults = names_of(plan), delay = plan.delay,
  }
  return response
end

--- Answers a request.
function service.handle(self, request, now)
  local route = (self.routes[request.path] or {})[request.method]
  if not route then
    local response = self:no_route(request, self.routes[request.path] ~= nil)
    response.refused = nil
    return response
  end
  return service.execute(self, route[1], route[2], request, now)
end

return service
