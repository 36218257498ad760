-- callback_spec.lua - the callback receiver: what wakes whom, and what is harmless.
local callback = require "perigee.callback"
local core = require "perigee.core.task"
local helper = require "helper"
local talk = require "talk"

describe("the callback receiver", function()
  local receiver, port

  local function path_of(url) return url:match "^http://[^/]+(/.*)$" end
  local function post(url, body) return talk.once(port, "POST", path_of(url), {"Content-Type: application/json"}, body).status end

  before_each(function()
    receiver = callback.receiver {}
    port = tonumber(receiver.url:match ":(%d+)$")
  end)
  after_each(function() receiver:close() end)

  it("gives each job a URL of its own with one segment that cannot be guessed", function()
    local first, second = receiver:register "a", receiver:register "b"

    local key = first:match "^http://127%.0%.0%.1:%d+/(%x+)$"
    assert.equal(32, #key)
    assert.not_equal(first, second)
    assert.equal(first, (receiver:register "a"))
    assert.is_nil(first:find("/:", 1, true))
  end)

  it("wakes who waits for that job, and nobody else", function()
    local url = receiver:register "a"
    receiver:register "b"
    local other = core.spawn(function() return receiver:wait("b", 0.3) end)
    local waiter = core.spawn(function() return receiver:wait("a", 30) end)
    core.sleep(0)

    assert.equal(200, post(url, '{"status":"success","job_id":"ai1","url":"http://x/y"}'))

    assert.same({status = "success", job_id = "ai1", url = "http://x/y"}, waiter:wait())
    assert.is_nil(other:wait())
  end)

  it("reads every body that is known to come, and takes garbage for a callback all the same", function()
    local url = receiver:register "a"
    for _, case in ipairs {
      {'{"status":"success","jobId":"ai1","url":"u"}', {status = "success", job_id = "ai1", url = "u"}},
      {'{"jobId":"","status":"fail","url":""}', {status = "fail"}},
      {'{"status":"fail"}', {status = "fail"}},
      {'{"status":7,"job_id":{},"url":null}', {}},
      {"[]", {}}, {'"text"', {}}, {"", {}}, {"status=success", {}}, {"\255\0{", {}}, {('['):rep(5000), {}},
    } do
      assert.equal(200, post(url, case[1]))
      assert.same(case[2], receiver:wait("a", 5), case[1])
    end
  end)

  it("keeps a callback that comes before the wait, and makes one of many", function()
    local url = receiver:register "a"
    for _ = 1, 3 do assert.equal(200, post(url, "{}")) end

    assert.same({}, receiver:wait("a", 5))
    assert.is_nil(receiver:wait("a", 0.05))
    post(url, "{}")
    assert.same({}, receiver:wait("a", 5))
  end)

  it("answers 404 to a forged segment, and to one that was unregistered", function()
    local url = receiver:register "a"
    local path = path_of(url)

    assert.equal(404, post(url:sub(1, -2) .. (url:sub(-1) == "0" and "1" or "0"), "{}"))
    assert.equal(404, post(receiver.url .. "/", "{}"))
    assert.equal(404, post(receiver.url .. "/a", "{}"))
    assert.is_nil(receiver:wait("a", 0.05))
    receiver:unregister "a"
    receiver:unregister "a"
    assert.equal(404, talk.once(port, "POST", path, nil, "{}").status)
    assert.equal("invalid", helper.error_of(receiver.wait, receiver, "a", 1).kind)
  end)

  it("refuses everything but POST, whether the segment is known or not", function()
    local path = path_of((receiver:register "a"))

    for _, method in ipairs {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"} do
      local reply = talk.once(port, method, path)
      assert.equal(405, reply.status)
      assert.equal("POST", reply.headers.allow)
      assert.equal(405, talk.once(port, method, "/unknown").status)
    end
    assert.is_nil(receiver:wait("a", 0.05))
  end)

  it("refuses a body over 64 kB", function()
    local url = receiver:register "a"

    assert.equal(413, post(url, ("x"):rep(64 * 1024 + 1)))
    assert.equal(200, post(url, ("x"):rep(64 * 1024)))
  end)

  it("is found behind a proxy, with or without the path that the proxy was given", function()
    local proxied <close> = callback.receiver {public_url = "https://example.org/hooks/"}
    port = tonumber(proxied.url:match ":(%d+)$")
    local url = proxied:register "a"
    local segment = url:match "^https://example%.org/hooks/(%x+)$"

    assert.equal(200, talk.once(port, "POST", "/" .. segment, nil, "{}").status)
    assert.same({}, proxied:wait("a", 5))
    assert.equal(200, talk.once(port, "POST", "/hooks/" .. segment .. "?b=1&a=2", nil, "{}").status)
    assert.same({}, proxied:wait("a", 5))
  end)

  it("refuses a URL that the service would cut, and options that make no sense", function()
    for _, case in ipairs {
      {"public_url", {public_url = "example.org"}}, {"public_url", {public_url = "https://x/?q"}},
      {"public_url", {public_uri = "https://x"}}, {"listen", {listen = "8080"}}, {"listen", {listen = "127.0.0.1:99999"}},
      {"table", "127.0.0.1:0"},
    } do
      local err = helper.error_of(callback.receiver, case[2])
      assert.equal("invalid", err.kind)
      assert.truthy(tostring(err):find(case[1], 1, true), tostring(err))
    end
    local short <close> = callback.receiver {public_url = "https://x/" .. ("p"):rep(255 - 33 - 10)}
    assert.equal(255, #short:register "a")
    local long <close> = callback.receiver {public_url = "https://x/" .. ("p"):rep(256 - 33 - 10)}
    local err = helper.error_of(long.register, long, "a")
    assert.equal("invalid", err.kind)
    assert.truthy(tostring(err):find("256", 1, true))
  end)
end)
