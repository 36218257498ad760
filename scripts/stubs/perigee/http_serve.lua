---@meta perigee.http_serve
---The types of http.serve. See docs/serving.md.

---@class perigee.http.serve_options
---@field handler fun(request: perigee.http.served_request): perigee.http.answer
---@field host? string address, default "127.0.0.1"
---@field port? integer default 0: a free one
---@field path? string a Unix socket in place of host and port
---@field max_header? integer bytes
---@field max_body? integer bytes
---@field max_connections? integer
---@field idle_timeout? number|string
---@field total_timeout? number|string
---@field cancel_on_close? boolean|fun(request: perigee.http.request): boolean cancel a handler whose peer has hung up

---@class perigee.http.answer
---@field status? integer
---@field headers? table<string, string|number|string[]>
---@field body? string
---@field json? any
---@field stream? fun(write: fun(text: string))
---@field drop? "before"|"after"
---@field delay? number|string

---@class perigee.http.served_request
---@field method string
---@field path string percent-decoded
---@field query table<string, string>
---@field target string as sent
---@field query_string string as sent
---@field headers table<string, string> names in lower case
---@field body string
---@field remote string
local served_request = {}

---True once no answer can reach the peer.
---@return boolean
function served_request:closed() end

---The body decoded from JSON.
---@return any
function served_request:json() end

---@class perigee.http.server
---@field url string
---@field port integer
local server = {}

---Answers what waits with 503, cancels the handlers, returns when all has ended.
function server:close() end

---Returns when the server has been closed.
function server:wait() end

---@return integer
function server:connections() end
