-- perigee.callbacks: the daemon's receiver of callbacks: one server for all jobs, over restarts.  -- internal
--
-- The URL of an attempt is <public_url>/cb/<job id>.<attempt>-<signature>. The signature is made with a key that stays
-- in the state directory (callback.key), so a restarted daemon knows its URLs, and a forged one costs a hash: nothing is
-- looked up for it. A callback is a hint: it makes the look at the job come sooner, and nothing in it is believed.
-- Whatever else comes gets the same bare 404: nobody learns which jobs there are.

local core = require "perigee.core.hmac"
local errors = require "perigee.error"
local histogram = require "perigee.histogram"
local json = require "perigee.json"
local log = require "perigee.log"
local serve = require("perigee.http_serve").serve
local sync = require "perigee.core.sync"
local task = require "perigee.task"
local tasks = require "perigee.core.task"

local callbacks = {}

callbacks.KEY_FILE = "callback.key" -- in the state directory
callbacks.LONGEST_URL = 255 -- what the service keeps of it

local LARGEST_BODY <const> = 64 * 1024
local LARGEST_HEADER <const> = 8 * 1024
local MOST_CONNECTIONS <const> = 4096
local SILENCE <const> = "10s"
local WHOLE_REQUEST <const> = "20s"
local ID_LENGTH <const> = 32 -- of a job: 32 hex digits
local MOST_NOTED <const> = 10000
local WORTH_NOTING <const> = 600 -- seconds
local LAG_BOUNDS <const> = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30 }

-- ---- addresses and URLs ------------------------------------------------------------------------------------

local function config_error(message, ...)
  error(errors.new { kind = "invalid", code = "config", message = message:format(...) }, 0)
end

-- "127.0.0.1:8080", "[::1]:0" -> address, port
local function read_address(text)
  local host, port = tostring(text):match "^%[?([^%[%]]+)%]?:(%d+)$"
  port = math.tointeger(tonumber(port))
  if not port or port > 65535 then config_error("listen takes an address such as 127.0.0.1:8080, not '%s'", tostring(text)) end
  return host, port
end

local function read_public_url(url)
  if type(url) ~= "string" or not url:match "^https?://[^/?#%s]+[^?#%s]*$" then
    config_error("public_url takes an http or https URL without a query, not '%s'", tostring(url))
  end
  local base = url:gsub("/+$", "")
  local longest = #base + #"/cb/" + ID_LENGTH + #".999-" + 32
  if longest > callbacks.LONGEST_URL then
    config_error("public_url: callback URLs would have %d characters, and the service keeps %d: use a shorter one", longest,
      callbacks.LONGEST_URL)
  end
  return base
end

-- ---- what comes in -----------------------------------------------------------------------------------------

local function text_of(value)
  return type(value) == "string" and value ~= "" and #value <= 200 and value or nil
end

-- What the body claims, as far as it can be read: real ones lack the id or have none that is usable.
local function read_hint(body, attempt)
  local ok, claim = pcall(json.decode, body)
  if not ok or type(claim) ~= "table" then claim = {} end
  return { attempt = attempt, status = text_of(claim.status), remote_id = text_of(claim.job_id) or text_of(claim.jobId) }
end

local NOTHING_HERE <const> = { status = 404 }

local Receiver = {}
Receiver.__index = Receiver
Receiver.__name = "perigee.callbacks.receiver"

-- The job and attempt of a path that is really ours, whatever a proxy put in front of it.
function Receiver:_read_path(path)
  local named, signature = path:match "/cb/([%w_]+%.%d+)%-(%x+)/?$"
  if not named or not self._signer:verify(named, signature) then return nil end
  local id, attempt = named:match "^(.*)%.(%d+)$"
  return id, math.tointeger(tonumber(attempt))
end

-- Remembers when the first callback of a job came; those that led to nothing are forgotten.
function Receiver:_note(id)
  if self._came[id] then return end
  local now = task.now()
  self._came[id], self._noted = now, self._noted + 1
  if self._noted < MOST_NOTED then return end
  self._noted = 0
  for other, at in pairs(self._came) do
    if now - at > WORTH_NOTING then
      self._came[other] = nil
    else
      self._noted = self._noted + 1
    end
  end
end

-- Asks for a look at the job; while one is under way, many callbacks are one more.
function Receiver:_ring(id, hint)
  self:_note(id)
  if self._ringing[id] then
    self.figures.duplicate = self.figures.duplicate + 1
  else
    self._waiting[#self._waiting + 1] = id
    self._bell:give()
  end
  self._ringing[id] = hint
end

function Receiver:_look(id)
  local hint
  repeat
    hint = self._ringing[id]
    local _, err = task.try(self._ring_job, id, hint)
    if err then log.warn("callback.not_followed", { job = id, error = tostring(err) }) end
  until self._ringing[id] == hint
  self._ringing[id] = nil
end

-- The receiver's own task: a look runs in a task of its own, so that the peer has its answer at once.
function Receiver:_follow()
  task.scope(function(scope)
    while true do
      self._bell:take()
      scope:spawn(self._look, self, table.remove(self._waiting, 1))
    end
  end)
end

function Receiver:_receive(request)
  local id, attempt
  if request.method == "POST" then id, attempt = self:_read_path(request.path) end
  if not id then
    self.figures.refused = self.figures.refused + 1
    return NOTHING_HERE
  end
  self.figures.received = self.figures.received + 1
  local hint = read_hint(request.body, attempt)
  log.debug("callback.received", { job = id, attempt = attempt, status = hint.status, remote = request.remote })
  self:_ring(id, hint)
  return { json = {} }
end

-- ---- the receiver ------------------------------------------------------------------------------------------

--- The callback URL of an attempt, or nil where there is no public address.
function Receiver:url_for(job_id, attempt)
  if not self.public_url then return nil end
  local named = ("%s.%d"):format(job_id, attempt)
  local url = ("%s/cb/%s-%s"):format(self.public_url, named, self._signer:sign(named))
  -- Polling alone is better than a URL that the service cuts.
  if #url > callbacks.LONGEST_URL or not job_id:match "^[%w_]+$" then return nil end
  return url
end

--- The end of a job has become known: counts how long that took since its callback, if there was one.
function Receiver:ended(job_id)
  local at = self._came[job_id]
  if not at then return end
  self._came[job_id] = nil
  self.lag:observe(task.now() - at)
end

--- Stops listening, and gives up looks that were rung for.
function Receiver:close()
  self._server:close()
  self._task:cancel "the receiver is closed"
  pcall(self._task.wait, self._task)
end
Receiver.__close = Receiver.close

--- Listens for callbacks. listen: ADDRESS:PORT; public_url: how the service reaches that; directory: the state
--- directory (nil or ":memory:": URLs are good for this process only); ring(job_id, hint): look at this job now, called
--- in a task of its own; hint: {attempt=, status=, remote_id=}, none of it verified.
function callbacks.serve(options)
  local host, port = read_address(options.listen)
  local directory = options.directory
  local durable = directory and directory ~= ":memory:"
  local self = setmetatable({
    public_url = options.public_url and read_public_url(options.public_url),
    figures = { received = 0, refused = 0, duplicate = 0 },
    lag = histogram.new(LAG_BOUNDS),
    _signer = durable and core.load(directory .. "/" .. callbacks.KEY_FILE) or core.fresh(),
    _ring_job = options.ring,
    _ringing = {}, -- job -> the last hint, from the callback to the end of the look
    _waiting = {}, -- jobs whose look has not begun
    _bell = sync.semaphore(0),
    _came = {}, -- job -> when its first callback came, until its end is known
    _noted = 0, -- entries of that, at most
  }, Receiver)
  self._server = serve {
    host = host, port = port,
    max_body = LARGEST_BODY, max_header = LARGEST_HEADER, max_connections = MOST_CONNECTIONS,
    idle_timeout = SILENCE, total_timeout = WHOLE_REQUEST,
    handler = function(request) return self:_receive(request) end,
  }
  self._task = tasks.spawn_in_task(self._follow, self)
  self.url, self.port = self._server.url, self._server.port
  return self
end

return callbacks
