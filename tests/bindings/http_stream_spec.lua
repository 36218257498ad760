-- http_stream_spec.lua - perigee.core.http.stream: a reply that is read as it comes.
local core = require "perigee.core.http"
local helper = require "tests.helper"
local http = require "perigee.http"
local task = require "perigee.task"

describe("http.stream", function()
  it("gives what has come while more is to come, and the reply at its end", function()
    local go = task.queue(1)
    local server <close> = http.serve { handler = function()
      return { status = 201, stream = function(write)
        write "first"
        go:get()
        write "second"
      end }
    end }
    local stream <close> = core.stream("GET", server.url)

    local first, status = stream:read()
    go:put(true)
    local second = stream:read()
    local ended, reply = stream:read()

    assert.equal("first", first)
    assert.equal(201, status)
    assert.equal("second", second)
    assert.is_nil(ended)
    assert.equal(201, reply.status)
    assert.equal("", reply.body)
  end)

  it("ends with an error when more waits than max_body allows", function()
    local server <close> = http.serve { handler = function()
      return { stream = function(write)
        for _ = 1, 100 do write(("x"):rep(1000)) end
      end }
    end }
    local stream <close> = core.stream("GET", server.url, { max_body = 5000 })

    local err = helper.error_of(function()
      task.sleep(0.2)
      repeat until not stream:read()
    end)

    assert.equal("limit", err.kind)
    assert.equal("body_cap", err.code)
  end)

  it("raises in the one who reads when another task closes it", function()
    local server <close> = http.serve { handler = function()
      return { stream = function(write)
        write "x"
        task.sleep(60)
      end }
    end }
    local stream = core.stream("GET", server.url)
    stream:read()
    local reader = task.spawn(function() return helper.error_of(stream.read, stream) end)
    task.sleep(0)

    stream:close()

    assert.equal("closed", reader:wait().kind)
  end)
end)
