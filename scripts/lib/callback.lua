-- callback.lua - perigee.callback: the receiver of the callbacks that SXWL sends when a job ends.
--
-- A callback is one unsigned POST that may never come, come twice, or come from somebody else.  So each job
-- has a URL of its own with a segment that cannot be guessed, and a callback does one thing: it wakes who
-- waits for that job, to ask the service at once.  Nothing in it is believed.
local bells = require "perigee.bell"
local core = require "perigee.core.server"
local errors = require "perigee.error"
local json = require "perigee.json"
local log = require "perigee.log"
local check_options = require "perigee.options".check
local serve = require "perigee.http_serve".serve

local callback = {}

local LARGEST_BODY <const> = 64 * 1024
local LONGEST_URL <const> = 255 -- what the service keeps of it
local FIELDS <const> = { "listen", "public_url" }

-- "127.0.0.1:8080", "[::1]:0" -> address, port
local function read_address(text)
  local host, port = tostring(text):match "^%[?([^%[%]]+)%]?:(%d+)$"
  port = math.tointeger(tonumber(port))
  if not port or port > 65535 then
    errors.invalid(("callback.receiver: listen must be ADDRESS:PORT, such as 127.0.0.1:8080, not %q"):format(tostring(text)))
  end
  return host, port
end

-- the address under which the service reaches us, without a slash at its end
local function read_public_url(url)
  if type(url) ~= "string" or not url:match "^https?://[^/?#%s]+[^?#%s]*$" then
    errors.invalid "callback.receiver: public_url must be an http or https URL without a query"
  end
  return (url:gsub("/+$", ""))
end

-- ---- what comes in -----------------------------------------------------------------------------------

local function text_of(value)
  return type(value) == "string" and value ~= "" and value or nil
end

-- What the body claims, as far as it can be read: real ones lack the id or have none that is usable.
local function read_hint(body)
  local ok, claim = pcall(json.decode, body)
  if not ok or type(claim) ~= "table" then return {} end
  return { status = text_of(claim.status), job_id = text_of(claim.job_id) or text_of(claim.jobId), url = text_of(claim.url) }
end

local NOT_ALLOWED <const> = { status = 405, headers = { Allow = "POST" } }

local function receive(by_segment, request)
  if request.method ~= "POST" then return NOT_ALLOWED end
  local job = by_segment[request.path:match "([^/]+)/?$" or ""]
  if not job then return { status = 404 } end
  job.hint = read_hint(request.body)
  log.debug("callback.received", { job = job.key, status = job.hint.status, remote = request.remote })
  job.bell.ring()
  return { json = {} }
end

-- ---- the receiver --------------------------------------------------------------------------------------

local Receiver = {}
Receiver.__index = Receiver
Receiver.__name = "perigee.callback.receiver"

local function new_job(self, key)
  local segment = core.secret()
  return { key = key, segment = segment, url = self.public_url .. "/" .. segment, bell = bells.new() }
end

--- The callback URL of a job, and the bell that a callback rings.  key: your own name of the job.
function Receiver:register(key)
  if type(key) ~= "string" or key == "" then errors.invalid "receiver:register: key must be text" end
  local job = self._by_key[key]
  if not job then
    job = new_job(self, key)
    if #job.url > LONGEST_URL then
      errors.invalid(("receiver:register: the callback URL would have %d characters, and the service keeps %d: "
        .. "use a shorter public_url"):format(#job.url, LONGEST_URL))
    end
    self._by_key[key], self._by_segment[job.segment] = job, job
  end
  return job.url, job.bell
end

--- Forgets the job: its URL is unknown from now on.
function Receiver:unregister(key)
  local job = self._by_key[key]
  if not job then return end
  self._by_key[key], self._by_segment[job.segment] = nil, nil
end

--- Waits for a callback of the job, one that has come already included.  What it claims, unverified, as
--- {status=, job_id=, url=}, or nil when `seconds` have passed.
function Receiver:wait(key, seconds)
  local job = self._by_key[key]
  if not job then errors.invalid(("receiver:wait: no job is registered as %q"):format(tostring(key))) end
  if job.bell.sleep(seconds) then return job.hint end
  return nil
end

--- Stops listening.
function Receiver:close()
  self._server:close()
end
Receiver.__close = Receiver.close

--- Listens for callbacks.  listen: ADDRESS:PORT, default 127.0.0.1 and a free port; public_url: where the
--- service reaches that, default the address itself.
function callback.receiver(options)
  options = check_options("callback.receiver", options, FIELDS)
  local host, port = read_address(options.listen or "127.0.0.1:0")
  local public_url = options.public_url and read_public_url(options.public_url)
  local by_segment = {}
  local server = serve {
    host = host, port = port, max_body = LARGEST_BODY,
    handler = function(request) return receive(by_segment, request) end,
  }
  return setmetatable({
    url = server.url, public_url = public_url or server.url,
    _server = server, _by_key = {}, _by_segment = by_segment,
  }, Receiver)
end

return callback
