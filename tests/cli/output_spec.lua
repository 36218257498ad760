-- output_spec.lua - bars, prints and log lines on a terminal and elsewhere.
local helper = require "tests.helper"
local spawn = require "tests.support.spawn"

local BAR <const> = [[
  local progress = require "perigee.progress"
  local task = require "perigee.core.task"
  local bar = progress.new { label = "训练", total = 4, unit = "files" }
  for i = 1, 4 do
    task.sleep(0.12)
    bar:set(i)
    print("line " .. i)
  end
  bar:done "all well"]]

-- What a terminal of that width shows at the end: rows joined by newlines. Knows ESC [ n A, ESC [ J and SGR.
local function screen(bytes, columns)
  local rows, row, column = { {} }, 1, 1
  local width = require("perigee.core.term").width
  local i = 1
  while i <= #bytes do
    local n, last, stop = bytes:match("^\27%[(%d*)[;%d]*(%a)()", i)
    local c = bytes:sub(i, i)
    if last then
      if last == "A" then row = math.max(1, row - (tonumber(n) or 1))
      elseif last == "J" then
        for r = #rows, row + 1, -1 do rows[r] = nil end
        for x = #rows[row], column, -1 do rows[row][x] = nil end
      elseif last ~= "m" then error("unknown escape sequence " .. last) end
      i = stop
    elseif c == "\r" then column, i = 1, i + 1
    elseif c == "\n" then
      row, i = row + 1, i + 1
      rows[row] = rows[row] or {}
    else
      local char = bytes:match("^" .. utf8.charpattern, i)
      local cells = width(char)
      if column + cells > columns + 1 then
        row, column = row + 1, 1
        rows[row] = rows[row] or {}
      end
      for x = #rows[row] + 1, column - 1 do rows[row][x] = " " end
      rows[row][column] = char
      if cells == 2 then rows[row][column + 1] = "" end
      column, i = column + cells, i + #char
    end
  end
  local lines = {}
  for r = 1, #rows do lines[r] = table.concat(rows[r]):gsub("%s+$", "") end
  return table.concat(lines, "\n")
end

describe("a progress bar", function()
  it("stays below what the script prints on a terminal, and leaves one line", function()
    local result = spawn.start({ "-e", BAR }, { columns = 60 }):wait()
    assert.are.equal(0, result.status)
    assert.is_truthy(result.stdout:find("50%%"))
    local shown = screen(result.stdout, 60):gsub(" in [%d.]+ s", "")
    assert.are.equal("line 1\nline 2\nline 3\nline 4\n训练: 4 of 4 files, all well\n", shown)
  end)

  it("is plain lines on standard error elsewhere, and none of it on standard output", function()
    local result = spawn.script(BAR)
    assert.are.equal("line 1\nline 2\nline 3\nline 4\n", result.stdout)
    assert.is_truthy(result.stderr:find "^训练: 4 of 4 files in [%d.]+ s, all well\n$")
  end)

  it("says nothing with --no-progress and with --quiet", function()
    for _, option in ipairs { "--no-progress", "--quiet" } do
      assert.are.equal("", spawn.run({ "run", option, "-e", BAR }).stderr)
    end
  end)

  it("moves no cursor on a dumb terminal", function()
    local result = spawn.start({ "-e", BAR }, { columns = 60, env = { TERM = "dumb" } }):wait()
    assert.is_nil(result.stdout:find("\27", 1, true))
    assert.is_truthy(result.stdout:find "训练: 4 of 4 files")
  end)

  it("that is left by an error says where it stopped", function()
    local result = spawn.script [[
      local bar <close> = require("perigee.progress").new { label = "work", total = 10 }
      bar:add(3)
      error "broken"]]
    assert.is_truthy(result.stderr:find("work: stopped at 3 of 10", 1, true))
    assert.are.equal(1, result.status)
  end)

  it("over a list counts its items, and ends with the loop", function()
    local result = spawn.script [[
      for item in require("perigee.progress").each({ "a", "b" }, { label = "checking", unit = "files" }) do print(item) end]]
    assert.are.equal("a\nb\n", result.stdout)
    assert.is_truthy(result.stderr:find "^checking: 2 of 2 files in ")
  end)

  it("refuses counts that make no sense, and work after its end", function()
    for _, code in ipairs { "bar:set(-1)", "bar:set(0/0)", "bar:done() bar:add()", "bar:set 'x'" } do
      assert.are.equal(1, spawn.script("local bar = require('perigee.progress').new{} " .. code).status, code)
    end
  end)

  it("in ASCII where the locale has nothing else", function()
    local result = spawn.start({ "-e", BAR }, { columns = 60, env = { LC_ALL = "C" } }):wait()
    assert.is_truthy(result.stdout:find "%[#+%-*%]")
    assert.is_nil(result.stdout:find("█", 1, true))
  end)
end)

describe("output", function()
  local LINES <const> = [[
    local log = require "perigee.log"
    log.warn("disk.full", { path = "/a b", free = 0 })
    log.error("a sentence of its own", { ["bad key"] = "\27[2J" })]]

  it("colours log lines on a terminal only, and not with NO_COLOR", function()
    assert.is_truthy(spawn.start({ "-e", LINES }, { columns = 200 }):wait().stdout:find("\27[33m", 1, true))
    assert.is_nil(spawn.script(LINES).stderr:find("\27", 1, true))
    local result = spawn.start({ "-e", LINES }, { columns = 200, env = { NO_COLOR = "1" } }):wait()
    assert.is_nil(result.stdout:find("\27", 1, true))
  end)

  it("has log lines as text and as JSON", function()
    local text = spawn.script(LINES).stderr
    assert.is_truthy(text:find('warn  disk.full free=0 path="/a b"\n', 1, true))
    assert.is_truthy(text:find('error note message="a sentence of its own" bad_key=', 1, true))
    local lines = spawn.run({ "run", "--log-format", "json", "-e", LINES }).stderr
    local json = require "perigee.json"
    local first = json.decode(lines:match "^[^\n]+")
    assert.are.equal("disk.full", first.event)
    assert.are.equal("/a b", first.path)
  end)

  it("leaves out log lines below --log-level", function()
    assert.are.equal("", spawn.run({ "run", "--log-level", "off", "-e", LINES }).stderr)
    local debug_line = "require('perigee.log').debug('x')"
    assert.are.equal("", spawn.script(debug_line).stderr)
    assert.is_truthy(spawn.run({ "run", "--log-level", "debug", "-e", debug_line }).stderr:find "debug x")
  end)

  it("lets colours of the script through to a terminal, and nothing that moves its cursor", function()
    local result = spawn.start({ "-e", [[print "\27[31mred\27[0m \27[2J \27]0;title\7"]] }, { columns = 80 }):wait()
    assert.are.equal("\27[31mred\27[0m \\x1b[2J \\x1b]0;title\\x07\r\n", result.stdout)
  end)

  it("leaves the bytes alone elsewhere", function()
    assert.are.equal("\27[2J\0\255\n", spawn.script([[print "\27[2J\0\255"]]).stdout)
  end)

  it("keeps print, io.write and io.stdout:write in order", function()
    local result = spawn.script [[print "1" io.write("2", 3, "\n") io.stdout:write "4\n" print "5"]]
    assert.are.equal("1\n23\n4\n5\n", result.stdout)
  end)

  it("does not end a script whose reader has gone", function()
    local path = helper.tmpdir() .. "/reached"
    local proc = require "perigee.core.proc"
    local code = ("for i = 1, 20000 do print(i) end local f = io.open(%q, 'w') f:write 'yes' f:close()"):format(path)
    local result = proc.run { args = { "/bin/sh", "-c", spawn.program .. ' -e "$0" | head -1; exit 0', code } }
    assert.are.equal("1\n", result.stdout)
    helper.eventually(function() return io.open(path) end)
  end)

  it("goes nowhere when the streams are closed, least of all into another file", function()
    local proc = require "perigee.core.proc"
    local path = helper.tmpdir() .. "/file"
    local code = ("local f = io.open(%q, 'w') print 'lost' io.stderr:write 'lost' f:write 'kept' f:close()"):format(path)
    local result = proc.run { args = { "/bin/sh", "-c", spawn.program .. ' -e "$0" <&- >&- 2>&-', code } }
    assert.are.equal(0, result.status)
    local file = assert(io.open(path))
    assert.are.equal("kept", file:read "a")
    file:close()
  end)

  it("waits for a reader that is slow, longer than a script may compute without waiting", function()
    local proc = require "perigee.core.proc"
    local code = "for i = 1, 50000 do print(i) end"
    local pipe = spawn.program .. ' run --max-step 300ms -e "$0" | (sleep 1.5; tail -1)'
    local result = proc.run { args = { "/bin/sh", "-c", pipe, code } }
    assert.are.equal("50000\n", result.stdout)
  end)
end)
