-- callbacks_spec.lua - the daemon's receiver of callbacks: what rings, what does not, and what nobody learns.
local callbacks = require "perigee.callbacks"
local helper = require "helper"
local http = require "perigee.http"
local task = require "perigee.task"

local JOB <const> = "0123456789abcdef0123456789abcdef"

describe("the receiver of callbacks", function()
  local rung, receiver

  before_each(function() rung = {} end)

  local function with_receiver(options, f)
    return function()
      options.listen = "127.0.0.1:0"
      options.public_url = options.public_url or "https://example.org/hooks"
      options.ring = options.ring or function(id, hint) rung[#rung + 1] = { id, hint } end
      receiver = callbacks.serve(options)
      local _ <close> = receiver
      f()
    end
  end

  -- The URL as the service calls it, on this machine.
  local function here(url)
    return (url:gsub("^https://example.org/hooks", receiver.url))
  end

  local function post(url, body)
    return http.post(here(url), { body = body or "{}" }).status
  end

  it("rings for the job of its URL, with what the body claims as a hint", with_receiver({}, function()
    local url = receiver:url_for(JOB, 3)

    assert.equal(200, post(url, '{"status":"success","job_id":"remote-7","url":"http://evil/"}'))
    helper.eventually(function() return #rung == 1 end)

    assert.same({ JOB, { attempt = 3, status = "success", remote_id = "remote-7" } }, rung[1])
  end))

  it("takes the odd bodies of the service, and garbage, for a hint without words", with_receiver({}, function()
    for i, body in ipairs { "", "not json", "[1]", '{"status":null}', '{"status":7,"jobId":""}', '"x"', "\255\254" } do
      assert.equal(200, post(receiver:url_for(JOB, i), body))
      helper.eventually(function() return #rung == i end)
      assert.same({ JOB, { attempt = i } }, rung[i])
    end
  end))

  it("makes URLs that the service keeps and calls", with_receiver({}, function()
    local url = receiver:url_for(JOB, 12)

    assert.is_true(#url <= 255)
    assert.truthy(url:match "^https://example%.org/hooks/cb/%x+%.12%-%x+$")
    assert.is_nil(url:find("/:", 1, true))
    assert.is_nil(url:find("?", 1, true))
    assert.is_nil(receiver:url_for("a/b", 1))
    assert.is_nil(receiver:url_for(("x"):rep(300), 1))
  end))

  it("answers whatever is not its own with one and the same 404, and rings for none of it", with_receiver({}, function()
    local url = receiver:url_for(JOB, 1)
    local function reply(method, target)
      local r = http.request { method = method, url = here(target), body = method == "POST" and "{}" or nil }
      return { r.status, r.body, r.headers["content-type"], r.headers["allow"] }
    end
    local nothing = { 404, "" }
    for _, case in ipairs {
      { "GET", url }, { "PUT", url }, { "POST", url .. "0" }, { "POST", url:gsub("%x%x$", "zz") .. "" },
      { "POST", (url:gsub(JOB, ("f"):rep(32))) }, { "POST", (url:gsub("%.1%-", ".2-")) }, { "POST", url:match "^(.*)%-" },
      { "POST", receiver.url .. "/" }, { "POST", receiver.url .. "/cb/" }, { "POST", receiver.url .. "/metrics" },
      { "POST", url:gsub("%-.*$", "-" .. ("0"):rep(32)) .. "" },
    } do
      assert.same(nothing, reply(case[1], case[2]), case[1] .. " " .. case[2])
    end
    assert.equal(0, #rung)
    assert.equal(11, receiver.figures.refused)
  end))

  it("knows its URLs again after a restart, and no others'", function()
    local directory, other = helper.tmpdir(), helper.tmpdir()
    local first = callbacks.serve { listen = "127.0.0.1:0", public_url = "https://example.org", directory = directory, ring = print }
    local url = first:url_for(JOB, 1)
    first:close()

    local again = callbacks.serve { listen = "127.0.0.1:0", public_url = "https://example.org", directory = directory, ring = print }
    assert.equal(url, again:url_for(JOB, 1))
    again:close()
    local stranger = callbacks.serve { listen = "127.0.0.1:0", public_url = "https://example.org", directory = other, ring = print }
    assert.not_equal(url, stranger:url_for(JOB, 1))
    stranger:close()
    assert.equal("rw-------", require("lfs").attributes(directory .. "/callback.key", "permissions"))
  end)

  local gate
  it("makes one more look of all callbacks that come during a look", with_receiver({
    ring = function(id, hint)
      rung[#rung + 1] = { id, hint }
      if #rung == 1 then helper.eventually(function() return gate end) end
    end,
  }, function()
    gate = false
    post(receiver:url_for(JOB, 1))
    helper.eventually(function() return #rung == 1 end)

    for _ = 1, 20 do assert.equal(200, post(receiver:url_for(JOB, 2))) end
    gate = true

    helper.eventually(function() return #rung == 2 end)
    helper.eventually(function() return next(receiver._ringing) == nil end)
    assert.equal(2, #rung)
    assert.equal(2, rung[2][2].attempt)
    assert.equal(20, receiver.figures.duplicate)
  end))

  it("goes on when a look fails, and answers while one takes long", with_receiver({
    ring = function(id)
      rung[#rung + 1] = { id }
      if #rung == 1 then error "the service is down" end
      if #rung == 2 then task.sleep(60) end
    end,
  }, function()
    for i, id in ipairs { "aa", "bb", "cc" } do
      assert.equal(200, post(receiver:url_for(id, 1)))
      helper.eventually(function() return #rung == i end)
    end
  end))

  it("counts how long it takes from the first callback of a job until its end is known", with_receiver({}, function()
    post(receiver:url_for("aa", 1))
    task.sleep(0.03)
    post(receiver:url_for("aa", 1))
    receiver:ended "aa"
    receiver:ended "aa"
    receiver:ended "never called back"

    assert.equal(1, receiver.lag.count)
    assert.is_true(receiver.lag.sum >= 0.03)
  end))

  it("refuses bodies that are no callback's, and an address that would make URLs too long", with_receiver({}, function()
    assert.equal(413, post(receiver:url_for(JOB, 1), ("x"):rep(65 * 1024)))
    for _, options in ipairs {
      { listen = "127.0.0.1:0", public_url = "https://" .. ("x"):rep(200) .. ".org" }, { listen = "8080" },
      { listen = "127.0.0.1:0", public_url = "example.org" }, { listen = "127.0.0.1:0", public_url = "https://x/?a=1" },
    } do
      local err = helper.error_of(callbacks.serve, options)
      assert.equal("config", err.code)
    end
    assert.equal(0, #rung)
  end))

  it("gives no URL where there is no public address", function()
    local quiet <close> = callbacks.serve { listen = "127.0.0.1:0", ring = print }
    assert.is_nil(quiet:url_for(JOB, 1))
  end)
end)
