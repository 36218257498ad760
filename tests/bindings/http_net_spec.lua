-- http_net_spec.lua - what perigee.http does about TLS and name servers, with processes of their own.
local helper = require "tests.helper"
local http = require "perigee.http"
local proc = require "perigee.core.proc"
local task = require "perigee.task"

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
  -- the files of a certificate for 127.0.0.1 and its key
  local function certificate()
    local dir = helper.tmpdir()
    local cert, key = dir .. "/cert.pem", dir .. "/key.pem"
    run {args = {"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
      "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"}}
    return cert, key, dir
  end

  -- a server with a certificate of its own; answers with a page about the connection
  local function tls_server()
    local cert, key = certificate()
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

  it("accepts it with a warning that names the host", function()
    local url = tls_server()
    local code = ("for _ = 1, 2 do require 'perigee.http'.get('%s/', {insecure = '127.0.0.1'}) end"):format(url)

    local result = run {args = {program, "run", "-e", code}}

    assert.matches("warn +http.tls_not_verified origin=https://127.0.0.1", result.stderr)
    local _, lines = result.stderr:gsub("\n", "")
    assert.equal(1, lines, result.stderr)
  end)

  it("trusts what SSL_CERT_FILE names, read when the program runs", function()
    local url, cert = tls_server()
    local code = ("print(require 'perigee.http'.get('%s/').status)"):format(url)

    local result = run {args = {program, "run", "-e", code}, env = environment {SSL_CERT_FILE = cert}}

    assert.equal("200\n", result.stdout)
  end)

  -- nginx comes with `make deps-dev`; without it there is nobody to speak HTTP/2 with
  local has_nginx = proc.run({args = {"sh", "-c", "command -v nginx"}}).status == 0

  local spec = has_nginx and it or pending
  spec("speaks HTTP/2 where it is offered, and many requests share a connection", function()
    local cert, key, dir = certificate()
    local placeholder = http.serve {handler = print} -- finds a port that is free
    local port = placeholder.port
    placeholder:close()
    local config = write_file(dir .. "/nginx.conf", ([[
      daemon off; pid DIR/pid; error_log stderr; events {}
      http {
        access_log off;
        client_body_temp_path DIR/1; proxy_temp_path DIR/2; fastcgi_temp_path DIR/3; uwsgi_temp_path DIR/4; scgi_temp_path DIR/5;
        server {
          listen 127.0.0.1:PORT ssl http2; ssl_certificate CERT; ssl_certificate_key KEY;
          location / { return 200 "$server_protocol $connection"; }
        }
      }]]):gsub("%u%u+", {DIR = dir, PORT = tostring(port), CERT = cert, KEY = key}))
    local child = proc.spawn {args = {"nginx", "-p", dir, "-e", "stderr", "-c", config}}
    finally(function()
      child:kill "TERM"
      child:wait()
    end)
    local url = ("https://127.0.0.1:%d/"):format(port)
    local function get() return http.get(url, {insecure = "127.0.0.1"}) end
    helper.eventually(function() return (pcall(get)) end)

    local connections, count = {}, 0
    for _, reply in ipairs(task.map({1, 2, 3, 4, 5, 6, 7, 8}, get)) do
      assert.equal("2", reply.version)
      local connection = reply.body:match "^HTTP/2.0 (%d+)$"
      if not connections[connection] then count = count + 1 end
      connections[connection] = true
    end
    assert.is_true(count < 8, count .. " connections")
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
