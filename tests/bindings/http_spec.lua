-- http_spec.lua - perigee.http against servers in this process; their ledgers are lists of what they read.
local core = require "perigee.core.task"
local errors = require "perigee.error"
local helper = require "tests.helper"
local http = require "perigee.http"

local function read_file(path)
  local f = io.open(path, "rb")
  if not f then return nil end
  local bytes = f:read "a"
  f:close()
  return bytes
end

local function write_file(path, bytes)
  local f = assert(io.open(path, "wb"))
  f:write(bytes)
  f:close()
end

local servers = {}

-- A server that keeps what it was asked; it ends with the spec.
local function serve(handler)
  local ledger = {}
  local server = http.serve {max_body = 10000000, handler = function(request)
    ledger[#ledger + 1] = request
    return handler(request, #ledger)
  end}
  servers[#servers + 1] = server
  finally(function()
    for _, each in ipairs(servers) do each:close() end
    servers = {}
  end)
  return server, ledger
end

local function hello() return {body = "hello"} end

describe("http.get", function()
  it("gives status, headers in any spelling, body and URL", function()
    local server, ledger = serve(function()
      return {body = "hi", headers = {["X-Color"] = "red", ["Set-Cookie"] = {"a=1", "b=2, c"}}}
    end)

    local reply = http.get(server.url .. "/p?q=1")

    assert.equal(200, reply.status)
    assert.equal("hi", reply.body)
    assert.equal("red", reply.headers["x-color"])
    assert.equal("red", reply.headers["X-COLOR"])
    assert.is_nil(reply.headers["x-none"])
    assert.equal("a=1, b=2, c", reply.headers["set-cookie"])
    assert.same({"a=1", "b=2, c"}, reply:header_values "Set-Cookie")
    assert.equal(server.url .. "/p?q=1", reply.url)
    assert.is_true(reply.elapsed >= 0 and reply.elapsed < 5)
    assert.equal("/p?q=1", ledger[1].target)
  end)

  it("takes a 404 and a 500 as answers like any other", function()
    local server = serve(function(request) return {status = tonumber(request.path:sub(2)), body = "x"} end)

    assert.equal(404, http.get(server.url .. "/404").status)
    assert.equal(500, http.get(server.url .. "/500").status)
  end)

  it("decodes JSON exactly, and says where a reply that is none came from", function()
    local server = serve(function(request)
      return {body = request.path == "/good" and '{"n":9007199254740993,"list":[]}' or "<html>"}
    end)

    local value = http.get(server.url .. "/good"):json()
    local err = helper.error_of(function() return http.get(server.url .. "/bad?key=1"):json() end)

    assert.equal(9007199254740993, value.n)
    assert.equal("parse", err.kind)
    assert.equal(200, err.status)
    assert.equal(server.url .. "/bad", err.url)
  end)

  it("follows redirects, but leaves the token behind when they lead to another server", function()
    local other, seen = serve(hello)
    local server, ledger = serve(function(request)
      if request.path == "/here" then return {status = 302, headers = {Location = "/there"}} end
      if request.path == "/away" then return {status = 302, headers = {Location = other.url .. "/x"}} end
      return {body = "there"}
    end)
    local options = {headers = {token = "jwt", Authorization = "Bearer x", Accept = "text/plain"}}

    assert.equal("there", http.get(server.url .. "/here", options).body)
    assert.equal("hello", http.get(server.url .. "/away", options).body)

    assert.equal("jwt", ledger[2].headers.token)
    assert.is_nil(seen[1].headers.token)
    assert.is_nil(seen[1].headers.authorization)
    assert.equal("text/plain", seen[1].headers.accept)
    assert.equal(302, http.get(server.url .. "/away", {redirects = 0}).status)
  end)

  it("keeps one connection for many requests, and shares it between tasks", function()
    local server, ledger = serve(hello)

    for _ = 1, 20 do http.get(server.url) end

    assert.equal(20, #ledger)
    assert.equal(1, server:connections())
  end)

  it("serves 300 tasks at once", function()
    local server, ledger = serve(hello)
    local good = 0
    do
      local scope <close> = core.scope {}
      for _ = 1, 300 do
        scope:spawn(function() if http.get(server.url).body == "hello" then good = good + 1 end end)
      end
    end

    assert.equal(300, good)
    assert.equal(300, #ledger)
  end)
end)

describe("http.post", function()
  it("sends JSON, text or nothing, with the right media type", function()
    local server, ledger = serve(hello)

    http.post(server.url, {json = {b = 1, a = {}}})
    http.post(server.url, {body = "a=1", headers = {["Content-Type"] = "application/x-www-form-urlencoded"}})
    http.post(server.url)

    assert.equal('{"a":{},"b":1}', ledger[1].body)
    assert.equal("application/json", ledger[1].headers["content-type"])
    assert.equal("a=1", ledger[2].body)
    assert.equal("application/x-www-form-urlencoded", ledger[2].headers["content-type"])
    assert.equal("", ledger[3].body or "")
    assert.is_nil(ledger[3].headers["content-type"])
  end)

  -- regression: libcurl repeats a POST when a kept-alive connection closes before the first reply byte
  it("runs once and says unknown when a kept-alive connection closes without a reply", function()
    local server, ledger = serve(function(_, n) return n == 2 and {drop = "after"} or {body = "ok"} end)

    assert.equal(200, http.post(server.url, {json = {n = 1}}).status)
    local err = helper.error_of(http.post, server.url, {json = {n = 2}})

    assert.equal(2, #ledger)
    assert.equal("network", err.kind)
    assert.equal("unknown", err.outcome)
    assert.is_false(err.retryable)
  end)

  it("the same holds for an upload", function()
    local path = helper.tmpdir() .. "/data.csv"
    write_file(path, ("1,2\n"):rep(1000))
    local server, ledger = serve(function(_, n) return n == 2 and {drop = "after"} or {body = "ok"} end)

    assert.equal(200, http.upload(server.url, path).status)
    local err = helper.error_of(http.upload, server.url, path)

    assert.equal(2, #ledger)
    assert.equal("unknown", err.outcome)
  end)

  it("a GET in the same place is simply asked again", function()
    local server, ledger = serve(function(_, n) return n == 2 and {drop = "after"} or {body = "ok"} end)

    assert.equal(200, http.get(server.url).status)
    assert.equal(200, http.get(server.url).status)

    assert.equal(3, #ledger)
  end)
end)

describe("a request that fails", function()
  it("says none and retryable when nobody listens", function()
    local server = http.serve {handler = hello}
    local url = server.url
    server:close()

    local err = helper.error_of(http.post, url:gsub("://", "://me:pw@") .. "/x?key=1", {json = {}})

    assert.equal("network", err.kind)
    assert.equal("connect", err.code)
    assert.equal("none", err.outcome)
    assert.is_true(err.retryable)
    assert.equal(url .. "/x", err.url)
    assert.is_nil(tostring(err):find("pw", 1, true))
    assert.is_nil(tostring(err):find("key", 1, true))
  end)

  it("times out waiting for the first byte: unknown for a POST, none for a GET", function()
    local server = serve(function() return {delay = 30} end)

    local post = helper.error_of(http.post, server.url, {first_byte_timeout = 0.1})
    local get = helper.error_of(http.get, server.url, {first_byte_timeout = "100ms"})

    assert.same({"timeout", "first_byte", "unknown", false}, {post.kind, post.code, post.outcome, post.retryable})
    assert.same({"timeout", "first_byte", "none", true}, {get.kind, get.code, get.outcome, get.retryable})
  end)

  it("ends at its total time however long the server goes on", function()
    local server = serve(function()
      return {stream = function(write) for _ = 1, 1000 do write "." core.sleep(0.02) end end}
    end)

    local err = helper.error_of(http.get, server.url, {timeout = 0.2})

    assert.same({"timeout", "total"}, {err.kind, err.code})
    assert.equal(200, err.status)
  end)

  it("a body over max_body is an error of kind limit", function()
    local server = serve(function() return {body = ("x"):rep(1000)} end)

    assert.equal(1000, #http.get(server.url, {max_body = 1000}).body)
    local err = helper.error_of(http.get, server.url, {max_body = 999})

    assert.same({"limit", "body_cap"}, {err.kind, err.code})
  end)

  it("is invalid, and nothing is sent, when an argument is wrong", function()
    local server, ledger = serve(hello)
    local url = server.url
    local wrong = {
      {http.get},
      {http.get, 5},
      {http.get, "ftp://x/"},
      {http.get, url .. "/a b"},
      {http.get, url .. "/\r\nX: 1"},
      {http.get, url, {headers = {["X"] = "a\r\nY: b"}}},
      {http.get, url, {headers = {["X\r\nY"] = "a"}}},
      {http.get, url, {headers = {["X"] = "a\0b"}}},
      {http.get, url, {headers = {["Content-Length"] = "1"}}},
      {http.get, url, {headers = "X: 1"}},
      {http.get, url, {timeot = 1}},
      {http.get, url, {timeout = "soon"}},
      {http.get, url, {insecure = true}},
      {http.get, url, {insecure = "example.com"}},
      {http.post, url, {body = {}}},
      {http.post, url, {body = "a", json = {}}},
      {http.post, url, {file = "/no/such/file"}},
      {http.request, {method = "get", url = url}},
      {http.request, url},
    }

    for i, case in ipairs(wrong) do
      local err = helper.error_of(table.unpack(case))
      assert.is_true(errors.is(err, "invalid"), ("case %d: %s"):format(i, tostring(err)))
    end

    assert.equal(0, #ledger)
    assert.truthy(tostring(helper.error_of(http.get, url, {timeot = 1})):find("did you mean \"timeout\"", 1, true))
  end)

  it("a cancelled task's request is gone at once", function()
    local server, ledger = serve(function() return {delay = 30} end)
    local child = core.spawn(http.get, server.url)
    helper.eventually(function() return #ledger == 1 end)

    child:cancel "enough"

    assert.is_true(errors.is(helper.error_of(child.wait, child), "cancelled"))
    assert.equal(0, require "perigee.core.http".counts().active)
  end)
end)

describe("files", function()
  it("http.download writes the file whole, or raises and leaves nothing", function()
    local dir = helper.tmpdir()
    local body = ("0123456789"):rep(20000)
    local server = serve(function(request)
      return request.path == "/f" and {body = body} or {status = 404, body = "gone"}
    end)

    local done = http.download(server.url .. "/f", dir .. "/f")
    local err = helper.error_of(http.download, server.url .. "/none?sig=1", dir .. "/none")

    assert.equal(200000, done.size)
    assert.equal(dir .. "/f", done.path)
    assert.equal(body, read_file(dir .. "/f"))
    assert.same({"http", 404, "gone", server.url .. "/none"}, {err.kind, err.status, err.body, err.url})
    assert.is_nil(read_file(dir .. "/none"))
  end)

  it("http.download resumes where an earlier attempt broke off, if the file is still the same", function()
    local path = helper.tmpdir() .. "/model"
    local body = ("abcdefghij"):rep(30000)
    local server, ledger = serve(function(request, n)
      local etag = {ETag = '"v1"'}
      if n == 1 then
        etag["Content-Length"] = nil
        return {headers = etag, stream = function(write) write(body:sub(1, 100000)) error("broken", 0) end}
      end
      local from = tonumber(request.headers.range:match "bytes=(%d+)-")
      etag["Content-Range"] = ("bytes %d-%d/%d"):format(from, #body - 1, #body)
      return {status = 206, headers = etag, body = body:sub(from + 1)}
    end)

    local err = helper.error_of(http.download, server.url, path, {resume = true})
    local done = http.download(server.url, path, {resume = true})

    assert.equal("network", err.kind)
    assert.equal(#body, done.size)
    assert.equal(body, read_file(path))
    assert.equal('"v1"', ledger[2].headers["if-range"])
    assert.is_nil(read_file(path .. ".part"))
  end)

  it("http.upload sends one part of a form, or the bytes as they are", function()
    local path = helper.tmpdir() .. "/train.csv"
    write_file(path, "a,b\n1,2\n")
    local server, ledger = serve(hello)

    http.upload(server.url, path, {file_name = "x-train.csv", media_type = "text/csv", headers = {token = "t"}})
    http.upload(server.url, path, {part = false, method = "PUT"})

    assert.truthy(ledger[1].headers["content-type"]:find("^multipart/form%-data; boundary="))
    assert.truthy(ledger[1].body:find('name="file"; filename="x-train.csv"\r\nContent-Type: text/csv\r\n\r\na,b\n1,2\n\r\n--',
      1, true))
    assert.equal("t", ledger[1].headers.token)
    assert.equal("PUT", ledger[2].method)
    assert.equal("a,b\n1,2\n", ledger[2].body)
  end)

  it("tells progress up to the last byte, and progress may wait", function()
    local path = helper.tmpdir() .. "/big"
    write_file(path, ("x"):rep(3000000))
    local server = serve(hello)
    local last

    http.upload(server.url, path, {part = false, progress = function(p)
      core.sleep(0.001)
      last = p
    end})

    assert.equal(3000000, last.sent)
    assert.equal(3000000, last.send_total)
  end)

  it("an error in progress ends the transfer", function()
    local path = helper.tmpdir() .. "/big"
    write_file(path, ("x"):rep(3000000))
    local server = serve(function() return {delay = 30} end)

    local err = helper.error_of(http.upload, server.url, path, {progress = function() error("no more", 0) end})

    assert.equal("no more", err)
  end)
end)
