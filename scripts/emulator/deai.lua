-- deai.lua - the Distributed AI service, emulated.
--
--   local service = deai.new { random = generator, speed = 10 }
--   local response = service:handle(request, now)
--
-- Never waits, reads no clock (time is `now`, Unix seconds) and keeps all its state in the object, so it runs on a
-- virtual clock as well as behind a socket.  This file has accounts, tokens and uploads; estimates, jobs and
-- inference are in deai_jobs.lua.  It keeps to the service where that hurts: success is `code` 200 in the body,
-- an upload path is account + second + name with the later bytes winning, a refused token comes in three shapes.

local draws = require "perigee.emulator.random"
local faults = require "perigee.emulator.faults"
local jobs = require "perigee.emulator.deai_jobs"
local json = require "perigee.json"
local jwt = require "perigee.emulator.jwt"
local ledger = require "perigee.emulator.ledger"
local multipart = require "perigee.emulator.multipart"
local service = require "perigee.emulator.service"
local sha256 = require "perigee.emulator.sha256"
local wire = require "perigee.emulator.wire"

local deai = {}
local methods = setmetatable({}, { __index = jobs.methods })
methods.__index = methods

-- The account there is unless others are named.
deai.EMAIL = "demo@perigee.example"
deai.PASSWORD = "open-sesame"

local TOKEN_SECONDS <const> = 3600

--- A reply of the service: `members` is a flat list of names and values after code and msg.
function methods.reply(_, members, message)
  local list = { "code", 200, "msg", message or "success" }
  table.move(members or {}, 1, #(members or {}), #list + 1, list)
  return service.json(200, wire.encode(wire.ordered(list)))
end

--- A failure: HTTP says 200, the body does not.
function methods.fail(_, code, message)
  return service.refused(service.json(200, wire.encode(wire.ordered { "code", code, "msg", message })))
end

function methods:complain(operation, now, text)
  self.ledger:complain("deai", operation, now, text)
end

-- ---- who calls -----------------------------------------------------------------------------------------------

local function refuse_token(self, reason)
  local style = self.refusal or ({ missing = "http401", expired = "body401" })[reason] or "body403"
  if style == "http401" then
    local body = wire.encode(wire.ordered { "code", 401, "msg", "token required" })
    return service.refused(service.json(401, body))
  end
  return self:fail(style == "body401" and 401 or 403, "token " .. reason)
end

-- Wraps a handler of an endpoint that needs a token: it gets the account.
local function with_account(handler)
  return function(self, request, now, plan)
    local token = request.headers.token
    if not token or token == "" then
      return refuse_token(self, "missing")
    end
    local claims, why = jwt.verify(token, self.secret, now)
    if plan.expired then
      claims, why = nil, "expired"
    end
    local account = claims and self.accounts[claims.Email]
    if not account then
      return refuse_token(self, why or "signature")
    end
    return handler(self, account, request, now, plan)
  end
end

-- The same for an endpoint with a JSON body, which the handler gets as a table.
local function with_body(handler)
  return with_account(function(self, account, request, now, plan)
    local body, why = self:read_body(request)
    if not body then
      return self:fail(400, why)
    end
    return handler(self, account, body, now, plan)
  end)
end

--- The JSON object of a request, or nil and why not.
function methods.read_body(_, request)
  if not (request.headers["content-type"] or ""):match "^application/json" then
    return nil, "content type must be application/json"
  end
  local ok, body = pcall(json.decode, request.body or "")
  if not ok or type(body) ~= "table" or #body > 0 then
    return nil, "the body is no JSON object"
  end
  return body
end

local function login(self, request, now)
  local body, why = self:read_body(request)
  if not body then
    return self:fail(400, why)
  end
  local account = type(body.email) == "string" and self.accounts[body.email]
  if not account or body.passwd ~= account.password then
    self.ledger:add {
      kind = "login", service = "deai", operation = "login", at = now, email = tostring(body.email), accepted = false,
    }
    return self:fail(400, "email or password error")
  end
  local token = jwt.sign(wire.ordered { "Email", account.email, "exp", math.floor(now) + TOKEN_SECONDS }, self.secret)
  self.ledger:add {
    kind = "login", service = "deai", operation = "login", at = now, email = account.email, accepted = true,
  }
  return self:reply { "token", token }
end

local function user(self, account)
  return self:reply {
    "email", account.email, "address", account.address,
    "balancePHB", account.balance_phb, "balanceCCD", ledger.decimal(account.balance),
  }
end

-- ---- uploads ---------------------------------------------------------------------------------------------------

local function upload(self, account, request, now)
  local parts, why = multipart.parse(request.headers["content-type"], request.body or "")
  local part = parts and parts[1]
  if not parts then
    return self:fail(400, why)
  elseif #parts ~= 1 or part.name ~= "file" or not part.file_name or part.file_name == "" then
    return self:fail(400, "want exactly one part, named file, with a file name")
  elseif part.file_name:find "[/\\]" then
    return self:fail(400, "the file name must be a base name")
  end
  local path = account.email .. "/" .. os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(now)) .. part.file_name
  local before = account.uploads[path]
  local file = { path = path, size = #part.body, content_id = sha256.content_id(part.body) }
  account.uploads[path] = file
  self.ledger:add {
    kind = "upload", service = "deai", operation = "upload", at = now, account = account.email, path = path,
    file_name = part.file_name, size = file.size, content_id = file.content_id,
    replaced = before and before.content_id ~= file.content_id and before.content_id or nil,
  }
  return self:reply({}, path)
end

-- ---- the object --------------------------------------------------------------------------------------------------

local ROUTES <const> = {
  ["/user/genToken"] = { POST = { "login", login } },
  ["/user/userInfo"] = { GET = { "user", with_account(user) } },
  ["/deAI/uploadFile"] = { POST = { "upload", with_account(upload) } },
}
for path, row in pairs(jobs.routes) do
  ROUTES[path] = { POST = { row[1], with_body(row[2]) } }
end

function methods.no_route(_, _, known)
  return service.proxy_page(known and 405 or 404)
end

--- Answers a request to a path below the base URL.
function methods:handle(request, now)
  return service.handle(self, request, now)
end

--- Makes a user known: { email=, password=, balance = "500" } in CCD.
function methods:add_account(account)
  self.accounts[account.email] = {
    email = account.email,
    password = account.password,
    address = "0x" .. sha256.hex(account.email):sub(1, 40),
    balance = ledger.pico(account.balance or "500"),
    balance_phb = "1.3",
    uploads = {}, -- path -> { path, size, content_id }
    drafts = {}, -- jobName -> what the last queryGuarantee asked for
    jobs = {}, -- in order of creation
    usage = {}, -- charges, in order
  }
end

--- A service with its own state.
--- random: generator (function returning [0, 1)); faults: a specification or a set of faults.new; ledger: of
--- ledger.new, if it is shared; speed: how many times faster jobs run; accounts: a list for add_account;
--- training_seconds, inference_seconds: how long they take, about; refusal: "http401", "body401" or "body403"
--- to have refused tokens always in that shape; reply_ids = false: createJob never tells the jobID.
function deai.new(options)
  local draw = draws.keyed(options.random)
  local self = setmetatable({
    name = "deai",
    routes = ROUTES,
    draw = draw,
    faults = type(options.faults) == "table" and options.faults or faults.new(options.faults, draw),
    ledger = options.ledger or ledger.new(),
    speed = options.speed or 1,
    training_seconds = options.training_seconds or 90,
    inference_seconds = options.inference_seconds or 8,
    refusal = options.refusal,
    reply_ids = options.reply_ids ~= false,
    secret = ("%.17g"):format(draw "secret"),
    accounts = {},
    jobs = {}, -- jobID -> job
    inferences = {}, -- infer_id -> inference
    last_infer_id = 1000 + math.floor(9000 * draw "first infer_id"),
    counts = {}, -- how often a thing happened, for draws by number
  }, methods)
  for _, account in ipairs(options.accounts or { { email = deai.EMAIL, password = deai.PASSWORD } }) do
    self:add_account(account)
  end
  return self
end

return deai
