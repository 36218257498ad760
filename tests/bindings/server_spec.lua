-- server_spec.lua - http.serve: what handlers are given, how they answer, and how a server ends.
local core = require "perigee.core.task"
local helper = require "helper"
local json = require "perigee.json"
local http = require "perigee.http"
local talk = require "talk"

local serve = http.serve

local function hello() return {body = "hello"} end

describe("a server", function()
  it("made under a deadline outlives it, and goes on until it is closed", function()
    local server <close> = require("perigee.task").deadline("30s", require("perigee.http").serve,
      {handler = function() return {status = 204} end})

    assert.equal(204, require("perigee.http").get(server.url).status)
  end)
end)

describe("http.serve", function()
  describe("a handler", function()
    it("is given all of the request", function()
      local seen
      local srv <close> = serve {handler = function(request) seen = request return {} end}

      talk.once(srv.port, "PUT", "/a%20b/c?x=1+2&y=%26%3D&x=3&flag", {"X-Thing: one", "x-thing: two"}, "a\0b")

      assert.equal("PUT", seen.method)
      assert.equal("/a%20b/c?x=1+2&y=%26%3D&x=3&flag", seen.target)
      assert.equal("/a b/c", seen.path)
      assert.equal("x=1+2&y=%26%3D&x=3&flag", seen.query_string)
      assert.same({x = "3", y = "&=", flag = ""}, seen.query)
      assert.equal("one, two", seen.headers["x-thing"])
      assert.equal("one, two", seen.headers["X-Thing"])
      assert.equal("a\0b", seen.body)
      assert.equal("127.0.0.1", seen.remote)
    end)

    it("reads a target in a proxy's form like any other", function()
      local srv <close> = serve {handler = function(request) return {body = request.path .. "|" .. request.query_string} end}

      assert.equal("/p|q", talk.once(srv.port, "GET", "http://example.org/p?q").body)
    end)

    it("may wait, and others are served meanwhile", function()
      local srv <close> = serve {handler = function(request)
        if request.path == "/slow" then core.sleep(0.3) end
        return {body = request.path}
      end}
      local order = {}
      local function get(path) table.insert(order, talk.once(srv.port, "GET", path).body) end
      local slow = core.spawn(get, "/slow")

      get "/fast"
      slow:wait()

      assert.same({"/fast", "/slow"}, order)
    end)

    it("that fails costs its peer a bare 500 and the log a line, and the next request is served", function()
      local srv <close> = serve {handler = function(request)
        if request.path == "/boom" then error "the secret reason" end
        return hello()
      end}

      local failed = talk.once(srv.port, "GET", "/boom")

      assert.equal(500, failed.status)
      assert.equal("", failed.body)
      assert.equal(200, talk.once(srv.port, "GET", "/").status)
    end)

    it("that returns no answer, or one with a mistake in it, counts as failed", function()
      local answers = {
        nil, "text", {bodi = "x"}, {status = 99}, {status = "200"}, {body = 5}, {body = "x", json = {}}, {drop = "sometimes"},
        {headers = {["X-A"] = "1\r\nX-B: 2"}}, {headers = {["Content-Length"] = "9"}}, {json = print},
        {headers = {["X-A"] = "nul\0"}}, {stream = "text"},
      }
      local srv <close> = serve {handler = function(request) return answers[tonumber(request.query.i)] end}

      for i = 1, 13 do
        assert.equal(500, talk.once(srv.port, "GET", "/?i=" .. i).status, "answer " .. i)
      end
    end)

    it("can be told when its peer hangs up", function()
      local entered, closed
      local srv <close> = serve {handler = function(request)
        entered = true
        helper.eventually(function() return request:closed() end)
        closed = true
        return {}
      end}

      local child = talk.start(srv.port, talk.request("GET", "/"))
      helper.eventually(function() return entered end)
      child:kill "KILL"
      child:wait()

      helper.eventually(function() return closed end)
    end)

    it("is cancelled when its peer hangs up, where the server was asked for that", function()
      local entered, reason
      local srv <close> = serve {cancel_on_close = true, handler = function()
        entered = true
        local _, err = pcall(core.sleep, 60)
        reason = err
        error(err, 0)
      end}

      local child = talk.start(srv.port, talk.request("GET", "/"))
      helper.eventually(function() return entered end)
      child:kill "KILL"
      child:wait()

      helper.eventually(function() return reason end)
      assert.equal("cancelled", reason.kind)
      assert.truthy(tostring(reason):find("hung up", 1, true))
    end)
  end)

  describe("an answer", function()
    it("carries status, headers and body", function()
      local srv <close> = serve {handler = function()
        return {status = 201, headers = {["X-B"] = "b", ["X-A"] = 1, ["Set-Cookie"] = {"c=1", "d=2"}}, body = "made"}
      end}

      local text = talk.raw(srv.port, talk.request("GET", "/", {"Connection: close"}))

      local reply = talk.parse(text)
      assert.equal(201, reply.status)
      assert.equal("made", reply.body)
      assert.equal("1", reply.headers["x-a"])
      assert.equal("b", reply.headers["x-b"])
      assert.equal("text/plain; charset=utf-8", reply.headers["content-type"])
      assert.truthy(text:find("Set-Cookie: c=1\r\n", 1, true) and text:find("Set-Cookie: d=2\r\n", 1, true))
    end)

    it("can be JSON, and a request's body can be read as JSON", function()
      local srv <close> = serve {handler = function(request) return {json = {twice = request:json().n * 2}} end}

      local reply = talk.once(srv.port, "POST", "/", nil, '{"n":21}')

      assert.equal("application/json", reply.headers["content-type"])
      assert.same({twice = 42}, json.decode(reply.body))
    end)

    it("has no body when the request was a HEAD", function()
      local streamed = false
      local srv <close> = serve {handler = function(request)
        if request.path == "/stream" then return {stream = function() streamed = true end} end
        return hello()
      end}

      assert.equal("", talk.once(srv.port, "HEAD", "/").body)
      assert.equal(200, talk.once(srv.port, "HEAD", "/stream").status)
      assert.is_false(streamed)
    end)

    it("has no body where its status allows none, and the connection stays usable", function()
      local srv <close> = serve {handler = function(request) return {status = tonumber(request.query.s), body = "body"} end}

      for _, status in ipairs {204, 304} do
        local text = talk.raw(srv.port, talk.request("GET", "/?s=" .. status)
          .. talk.request("GET", "/?s=200", {"Connection: close"}))
        assert.truthy(text:find("^HTTP/1.1 " .. status))
        assert.truthy(text:find "\r\n\r\nHTTP/1.1 200 OK\r\n")
      end
    end)

    it("can be dropped, also on the second request of a kept connection", function()
      local executed = 0
      local srv <close> = serve {handler = function(request)
        executed = executed + 1
        if request.path == "/drop" then return {drop = request.query.when} end
        return hello()
      end}

      assert.equal("", talk.raw(srv.port, talk.request("GET", "/drop?when=before")))
      local text = talk.raw(srv.port, talk.request("GET", "/") .. talk.request("POST", "/drop?when=after", nil, "x"))

      assert.equal("hello", talk.parse(text).body)
      assert.equal(3, executed)
    end)

    it("can be delayed", function()
      local srv <close> = serve {handler = function() return {body = "late", delay = 0.2} end}
      local start = core.now()

      assert.equal("late", talk.once(srv.port, "GET", "/").body)
      assert.is_true(core.now() - start >= 0.19)
    end)
  end)

  describe("a stream", function()
    local function unchunk(body)
      local text = ""
      while true do
        local size, rest = body:match "^(%x+)\r\n(.*)$"
        if not size then return text, false end
        size = tonumber(size, 16)
        if size == 0 then return text, true end
        text, body = text .. rest:sub(1, size), rest:sub(size + 3)
      end
    end

    it("arrives while it is being written", function()
      local go = false
      local srv <close> = serve {handler = function()
        return {stream = function(write)
          write "event: one\n\n"
          helper.eventually(function() return go end)
          write "event: two\n\n"
        end}
      end}

      local child = talk.start(srv.port, talk.request("GET", "/", {"Connection: close"}))
      child:read_until("event: one", 10)
      go = true
      child:read_until("event: two", 10)
      child:wait()
    end)

    it("of any size arrives whole, and its writer waits for the reader", function()
      local piece, rounds = ("0123456789"):rep(1000), 500
      local waits = 0 -- other tasks run only while the writer waits
      local srv <close> = serve {handler = function()
        return {stream = function(write)
          local turn = 0
          local ticker = core.spawn(function() while true do turn = turn + 1 core.sleep(0) end end)
          local last = 0
          for i = 1, rounds do
            write(piece .. i .. "\n")
            if turn > last then waits, last = waits + 1, turn end
          end
          ticker:cancel "done"
        end}
      end}

      local text = talk.raw(srv.port, talk.request("GET", "/", {"Connection: close"}))
      local body, complete = unchunk(talk.parse(text).body)

      assert.is_true(complete)
      local wanted = {}
      for i = 1, rounds do wanted[i] = piece .. i .. "\n" end
      assert.is_true(body == table.concat(wanted))
      assert.is_true(waits > 10, "the writer waited " .. waits .. " times")
    end)

    it("whose writer fails is cut, so that the reader can tell", function()
      local go = false
      local srv <close> = serve {handler = function()
        return {stream = function(write)
          write "part"
          helper.eventually(function() return go end)
          error "broken"
        end}
      end}

      local child = talk.start(srv.port, talk.request("GET", "/"))
      child:read_until("part", 10)
      go = true
      local body, complete = unchunk(talk.parse(child:wait().stdout).body)

      assert.equal("part", body)
      assert.is_false(complete)
    end)

    it("raises `closed` in its writer when the reader has gone", function()
      local err
      local srv <close> = serve {handler = function()
        return {stream = function(write)
          local _
          _, err = pcall(function() while true do write(("x"):rep(10000)) core.sleep(0.001) end end)
          error(err, 0)
        end}
      end}

      local child = talk.start(srv.port, talk.request("GET", "/"))
      child:read_until("xxx", 10)
      child:kill "KILL"
      child:wait()

      helper.eventually(function() return err end)
      assert.equal("closed", err.kind)
    end)
  end)

  describe("limits", function()
    it("on head and body are answered with 431 and 413", function()
      local srv <close> = serve {max_header = 500, max_body = 10, handler = hello}

      assert.equal(413, talk.once(srv.port, "POST", "/", nil, "12345678901").status)
      assert.equal(200, talk.once(srv.port, "POST", "/", nil, "1234567890").status)
      assert.equal(431, talk.once(srv.port, "GET", "/", {"X-Long: " .. ("x"):rep(500)}).status)
    end)

    it("on time cut a client that sends a byte now and then", function()
      local srv <close> = serve {idle_timeout = 0.2, total_timeout = 0.4, handler = hello}
      local start = core.now()

      local text = talk.raw(srv.port, "GET / HT")

      assert.equal("", text)
      assert.is_true(core.now() - start < 5)
    end)
  end)

  describe("listening", function()
    it("is on this machine only unless an address is named, on a port of the system's choice", function()
      local srv <close> = serve {handler = hello}
      local named <close> = serve {host = "0.0.0.0", handler = hello}

      assert.equal("http://127.0.0.1:" .. srv.port, srv.url)
      assert.equal("http://0.0.0.0:" .. named.port, named.url)
      assert.is_true(srv.port > 0 and srv.port ~= named.port)
    end)

    it("on a port that is taken raises, and names the reason", function()
      local srv <close> = serve {handler = hello}

      local err = helper.error_of(serve, {port = srv.port, handler = hello})

      assert.equal("network", err.kind)
      assert.equal("EADDRINUSE", err.code)
    end)

    it("with wrong options is refused, naming what is wrong", function()
      for _, case in ipairs {
        {"handler", {}}, {"handler", {handler = 5}}, {"max_body", {handler = hello, max_bodi = 5}},
        {"port", {handler = hello, port = 70000}}, {"max_body", {handler = hello, max_body = 0}},
        {"idle_timeout", {handler = hello, idle_timeout = 0}}, {"address", {handler = hello, host = "example.org"}},
      } do
        local err = helper.error_of(serve, case[2])
        assert.equal("invalid", err.kind, tostring(err))
        assert.truthy(tostring(err):find(case[1], 1, true), tostring(err))
      end
    end)
  end)

  describe("closing", function()
    it("answers those who wait with 503, cancels their handlers, and frees the port", function()
      local entered, reasons, children = 0, {}, {}
      local srv = serve {handler = function()
        entered = entered + 1
        local _, err = pcall(core.sleep, 60)
        reasons[#reasons + 1] = err.kind
        error(err, 0)
      end}
      for i = 1, 3 do
        children[i] = core.spawn(function() return talk.once(srv.port, "GET", "/") end)
      end
      helper.eventually(function() return entered == 3 end)

      srv:close()

      for i = 1, 3 do assert.equal(503, children[i]:wait().status) end
      assert.same({"cancelled", "cancelled", "cancelled"}, reasons)
      local again <close> = serve {port = srv.port, handler = hello}
      assert.equal(200, talk.once(again.port, "GET", "/").status)
    end)

    it("can be done twice, and also by leaving the block of a <close> variable", function()
      local port
      do
        local srv <close> = serve {handler = hello}
        port = srv.port
        srv:close()
        srv:close()
      end
      local again <close> = serve {port = port, handler = hello}
      assert.equal(port, again.port)
    end)

    it("by a handler is possible: its own answer is then the 503", function()
      local srv
      srv = serve {handler = function() srv:close() return hello() end}

      local reply = talk.once(srv.port, "GET", "/")
      srv:wait()

      assert.equal(503, reply.status)
    end)

    it("comes by itself when the task that serves is cancelled, and who waits gets 503", function()
      local port, entered
      local owner = core.spawn(function()
        port = serve {handler = function() entered = true core.sleep(60) end}.port
        core.sleep(60)
      end)
      helper.eventually(function() return port end)
      local waiting = core.spawn(function() return talk.once(port, "GET", "/") end)
      helper.eventually(function() return entered end)

      owner:cancel "enough"
      pcall(owner.wait, owner)

      assert.equal(503, waiting:wait().status)
      local again <close> = serve {port = port, handler = hello}
      assert.equal(port, again.port)
    end)
  end)

  describe("asked by perigee.http", function()
    local fs = require "perigee.fs"
    local task = require "perigee.task"
    local dir

    before_each(function() dir = helper.tmpdir() end)
    after_each(function() fs.remove(dir, {recursive = true}) end)

    it("answers a thousand requests at once, each with its own answer", function()
      local srv <close> = serve {handler = function(request)
        core.sleep(0.01)
        return {body = request.query.i}
      end}
      local items = {}
      for i = 1, 1000 do items[i] = i end

      local bodies = task.map(items, function(i) return http.get(srv.url .. "/?i=" .. i).body end, {concurrency = 1000})

      for i = 1, 1000 do assert.equal(tostring(i), bodies[i]) end
    end)

    it("takes an upload of tens of megabytes whole", function()
      local sums = {}
      local srv <close> = serve {max_body = 40 * 1024 * 1024, handler = function(request)
        sums[#sums + 1] = fs.sha256_text(request.body)
        return {status = 201}
      end}
      fs.write(dir .. "/data", ("0123456789abcdef"):rep(2 * 1024 * 1024))

      assert.equal(201, http.upload(srv.url, dir .. "/data", {part = false}).status)

      assert.same({fs.sha256(dir .. "/data")}, sums)
    end)

    it("streams what is downloaded to a file", function()
      local piece = ("x"):rep(100000)
      local srv <close> = serve {handler = function()
        return {stream = function(write) for _ = 1, 50 do write(piece) end end}
      end}

      http.download(srv.url, dir .. "/copy")

      assert.equal(fs.sha256_text(piece:rep(50)), fs.sha256(dir .. "/copy"))
    end)

    it("loses the reply of a dropped request, which was executed", function()
      local executed = 0
      local srv <close> = serve {handler = function()
        executed = executed + 1
        return {drop = "after"}
      end}

      local err = helper.error_of(http.post, srv.url, {body = "x"})

      assert.equal("network", err.kind)
      assert.equal("unknown", err.outcome)
      assert.equal(1, executed)
    end)
  end)

  describe("a script that only serves", function()
    local proc = require "perigee.core.proc"
    local child, port

    before_each(function()
      child = proc.spawn {args = {os.getenv "PERIGEE", "run", "tests/fixtures/serve_only.lua"}, timeout = 30}
      child:read_until("\n", 10)
      port = tonumber(child:output():match "port (%d+)")
    end)

    it("goes on (it is not called deadlocked) until it is interrupted", function()
      local reply = talk.once(port, "GET", "/")
      child:kill "INT"
      local result = child:wait()

      assert.equal(200, reply.status)
      assert.equal(130, result.status)
      assert.is_nil(result.stderr:find("loop.", 1, true)) -- nothing was left open
    end)

    it("logs why a handler failed, which its peer is not told", function()
      local reply = talk.once(port, "GET", "/boom")
      child:kill "INT"
      local stderr = child:wait().stderr

      assert.equal(500, reply.status)
      assert.is_nil(reply.body:find("why", 1, true))
      assert.truthy(stderr:find("http.handler_failed", 1, true))
      assert.truthy(stderr:find("why it failed", 1, true))
      assert.truthy(stderr:find("serve_only.lua:4", 1, true))
    end)
  end)
end)

describe("a server on a path", function()
  local path
  before_each(function() path = helper.tmpdir() .. "/s.sock" end)

  it("is reached with unix_socket, and by nobody else's rights", function()
    local srv <close> = serve {path = path, handler = function(request) return {body = request.method .. request.path} end}

    local reply = http.post("http://localhost/v1/x", {unix_socket = path, body = "b"})

    assert.equal("POST/v1/x", reply.body)
    assert.equal("unix:" .. path, srv.url)
    assert.equal(0, srv.port)
    assert.equal("socket", require("lfs").attributes(path, "mode"))
    assert.equal("rw-------", require("lfs").attributes(path, "permissions"))
  end)

  it("goes with its file, and a request then says that nobody is there", function()
    serve({path = path, handler = hello}):close()

    local err = helper.error_of(http.get, "http://localhost/", {unix_socket = path})

    assert.is_nil(require("lfs").symlinkattributes(path))
    assert.equal("network", err.kind)
    assert.equal("connect", err.code)
    assert.equal("none", err.outcome)
  end)

  it("is refused while another one listens there", function()
    local _ <close> = serve {path = path, handler = hello}

    local err = helper.error_of(serve, {path = path, handler = hello})

    assert.equal("unavailable", err.kind)
    assert.equal("EADDRINUSE", err.code)
    assert.equal("hello", http.get("http://localhost/", {unix_socket = path}).body)
  end)

  it("takes no host and no port, and a request over a socket no TLS", function()
    assert.equal("invalid", helper.error_of(serve, {path = path, port = 1, handler = hello}).kind)
    assert.equal("invalid", helper.error_of(http.get, "https://localhost/", {unix_socket = path}).kind)
  end)

  it("is asked itself, whatever proxy the environment names", function()
    local code = [[print(require("perigee.http").get("http://any.name/", {unix_socket = arg[1], timeout = 5}).body)]]
    local _ <close> = serve {path = path, handler = hello}

    local out = require("perigee.proc").run {args = {os.getenv "PERIGEE", "run", "-e", code, path}, timeout = 20,
      env = {http_proxy = "http://127.0.0.1:1", PATH = os.getenv "PATH"}}

    assert.equal("hello\n", out.stdout)
  end)
end)
