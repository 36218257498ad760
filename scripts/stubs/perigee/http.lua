---@meta perigee.http

---Requests, files, servers. See docs/http.md.
---@class perigee.http.module
local http = {}

---@alias perigee.http.time number|string seconds, or text such as "500ms", "30s", "5m"

---@class perigee.http.progress
---@field sent integer
---@field send_total? integer
---@field received integer
---@field receive_total? integer

---@class perigee.http.options
---@field headers? table<string, string|integer|string[]>
---@field body? string
---@field json? any encoded; the media type becomes application/json
---@field file? string path of a file to send
---@field part? string|false form field of the file; without one the bytes go raw
---@field file_name? string what the other side is told
---@field media_type? string of the file
---@field timeout? perigee.http.time all of it; default 5 min, 24 h with a file
---@field connect_timeout? perigee.http.time default 10 s
---@field first_byte_timeout? perigee.http.time default 60 s
---@field stall_timeout? perigee.http.time default 60 s
---@field max_body? integer bytes of the reply; default 16 MiB, none for a download
---@field max_headers? integer bytes; default 64 KiB
---@field redirects? integer default 5 for reads, else 0
---@field fresh? boolean a connection of its own
---@field unix_socket? string path of a socket to connect to, whatever host the URL names
---@field insecure? string the host whose certificate is not checked
---@field progress? fun(p: perigee.http.progress)
---@field resume? boolean downloads: go on from what is there

---@class perigee.http.request_options: perigee.http.options
---@field url string
---@field method? string default "GET"

---@class perigee.http.response
---@field status integer
---@field body string
---@field headers table<string, string> finds a name in any spelling
---@field raw_headers string
---@field url string
---@field version string
---@field elapsed number seconds
---@field size? integer of a download
---@field path? string of a download
local Reply = {}

---@param options? perigee.json.options
---@return any
function Reply:json(options) end

---@param name string
---@return string[]
function Reply:header_values(name) end

---@param options perigee.http.request_options
---@return perigee.http.response
function http.request(options) end

---@param url string
---@param options? perigee.http.options
---@return perigee.http.response
function http.get(url, options) end

---@param url string
---@param options? perigee.http.options
---@return perigee.http.response
function http.post(url, options) end

---@param url string
---@param path string
---@param options? perigee.http.options
---@return perigee.http.response
function http.download(url, path, options) end

---@param url string
---@param path string
---@param options? perigee.http.options
---@return perigee.http.response
function http.upload(url, path, options) end

---A server whose handlers are tasks. See docs/serving.md.
---@param options table
---@return table
function http.serve(options) end

return http
