-- http_net_spec.lua - what perigee.http does about TLS and name servers, with processes of their own.
local helper = require "tests.helper"
local http = require "perigee.http"
local proc = require "perigee.core.proc"

local program = os.getenv "PERIGEE" or "build/debug/perigee"

local function run(options)
  local result = proc.run(options)
  assert.equal(0, result.status, result.stdout .. result.stderr)
  return result
end

local function write_file(path, text)
  local f <close> = assert(io.open(path, "w"))
  f:write(text)
  return path
end

-- the environment with some variables set
local function environment(changes)
  local vars, list = proc.environ(), {}
  for name, value in pairs(changes) do vars[name] = value end
  for name, value in pairs(vars) do list[#list + 1] = name .. "=" .. value end
  table.sort(list)
  return list
end

describe("https", function()
  -- a server with a certificate of its own for 127.0.0.1; answers with a page about the connection
  local function tls_server()
    local dir = helper.tmpdir()
    local cert, key = dir .. "/cert.pem", dir .. "/key.pem"
    run {args = {"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
      "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"}}
    local child = proc.spawn {args = {"openssl", "s_server", "-accept", "127.0.0.1:0", "-www", "-cert", cert, "-key", key}}
    finally(function()
      child:kill "TERM"
      child:wait()
    end)
    child:read_until("ACCEPT", 10)
    helper.eventually(function() return child:output():find "ACCEPT [%d.]+:%d+\n" end)
    return "https://127.0.0.1:" .. child:output():match "ACCEPT [%d.]+:(%d+)", cert
  end

  it("refuses a certificate that is not trusted, and nothing was sent", function()
    local url = tls_server()

    local err = helper.error_of(http.post, url .. "/create", {json = {}})

    assert.same({"tls", "certificate", "none", false}, {err.kind, err.code, err.outcome, err.retryable})
  end)

  it("accepts it for the host that is named, and only there", function()
    local url = tls_server()

    assert.equal(200, http.get(url .. "/", {insecure = "127.0.0.1"}).status)
    assert.equal("tls", helper.error_of(http.get, url .. "/").kind)
    assert.equal("invalid", helper.error_of(http.get, url .. "/", {insecure = "localhost"}).kind)
  end)

  it("trusts what SSL_CERT_FILE names, read when the program runs", function()
    local url, cert = tls_server()
    local code = ("print(require 'perigee.http'.get('%s/').status)"):format(url)

    local result = run {args = {program, "run", "-e", code}, env = environment {SSL_CERT_FILE = cert}}

    assert.equal("200\n", result.stdout)
  end)
end)

-- regression: libcurl waits for its resolver thread, and so one hung name server stopped every task
it("a name server that hangs delays no other task, nor the end of the program", function()
  local library = helper.tmpdir() .. "/slowdns.so"
  run {args = {"cc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", library, "tests/fixtures/slowdns.c", "-ldl"}}
  local script = write_file(helper.tmpdir() .. "/names.lua", [[
    local http, task = require "perigee.http", require "perigee.task"
    local server = http.serve {handler = function() return {body = "quick"} end}
    local start = task.now()
    local slow = {}
    for i = 1, 20 do
      slow[i] = task.spawn(function() return select(2, task.try(http.get, "http://slow.test/", {connect_timeout = 3})) end)
    end
    for _ = 1, 10 do assert(http.get("http://quick.test:" .. server.port).body == "quick") end
    local quick = task.now() - start
    local err = slow[1]:wait()
    print(quick < 2, err.kind, err.code, err.outcome, require "perigee.core.http".counts().lookups)
    server:close()
  ]])
  local before = require "perigee.core.task".now()

  local result = run {args = {program, "run", script}, env = environment {
    LD_PRELOAD = library, SLOWDNS_SECONDS = "40",
    ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":verify_asan_link_order=0", -- the library comes first
  }}

  assert.equal("true\ttimeout\tresolve\tnone\t1\n", result.stdout)
  assert.is_true(require "perigee.core.task".now() - before < 25)
end)
