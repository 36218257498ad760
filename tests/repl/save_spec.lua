-- save_spec.lua - `:save`: the script of a session does on a fresh emulator what the session has done.
--
-- Sessions are made by hand and at random; each runs on an emulator of its own, is saved, and the script runs on a second
-- one.  What the two ledgers say was uploaded, priced, created, stopped and deleted must be the same.
local helper = require "tests.helper"
local local_world = require "tests.services.local_world"
local names = require "perigee.repl_names"
local repl_session = require "perigee.repl_session"
local save = require "perigee.repl_save"
local task = require "perigee.task"

local DATA -- a file to upload

-- What was done, without what no two runs share: times and ids; a job goes by its place among those created.
local function deeds(here)
  local list, place = {}, {}
  for _, entry in ipairs(here.world.ledger.entries) do
    if entry.kind == "job" then
      place[#place + 1] = true
      place[entry.job_id or entry.jobID] = #place
    end
    if entry.kind ~= "call" and entry.kind ~= "login" and entry.kind ~= "complaint" then
      local on = entry.kind ~= "job" and place[entry.job_id or entry.jobID]
      list[#list + 1] = table.concat({ entry.kind, entry.service, tostring(entry.jobName), tostring(entry.gpuNumber),
        tostring(entry.gpuType), tostring(entry.stopTime), tostring(entry.content_id), tostring(entry.estimate), tostring(on) }, " ")
    end
  end
  return list
end

local function services(here)
  local made = {}
  return {
    deai = function() made.deai = made.deai or here:deai(); return made.deai end,
    sxwl = function()
      made.sxwl = made.sxwl or here:sxwl { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" } }
      return made.sxwl
    end,
  }
end

-- A session whose clients speak to that emulator.
local function session_on(here, options)
  local ready, clients = names.new(), services(here)
  for name, client in pairs(clients) do
    local value = client()
    for key, f in pairs(require(names.clients[name])) do value[key] = f end
    rawset(ready, name, value)
  end
  local all = { names = ready, yes = true }
  for name, value in pairs(options or {}) do all[name] = value end
  return repl_session.new(all)
end

-- Runs the text of a saved script with that emulator behind its clients.
local function run_script(here, text)
  local clients = services(here)
  local function fake_require(name)
    for service, module in pairs(names.clients) do
      if name == module then return setmetatable({ client = clients[service] }, { __index = require(module) }) end
    end
    return require(name)
  end
  local env = setmetatable({ require = fake_require }, { __index = _G })
  local script = assert(load(text, "=saved", "t", env))
  local scope <close> = task.scope()
  scope:spawn(script):wait()
end

-- Runs a line to its end; one that is { stop = line } is stopped once something has gone out for it (or, with early,
-- before).
-- Lines that are to fail say so.
local function run_line(session, line)
  if type(line) == "string" then
    local outcome = session:eval(line)
    assert(outcome.ok or line:find "fails", outcome.text)
    local entry = session.entries[#session.entries]
    if outcome.kind == "task" then helper.eventually(function() return entry.ended ~= nil end, 20) end
    return
  end
  local finished, before = task.queue(1), #session.entries
  local running = task.detach(function()
    local guard <close> = setmetatable({}, { __close = function() finished:put(true) end }) -- luacheck: ignore 211
    session:eval(line.stop)
  end)
  helper.eventually(function()
    local entry = session.entries[#session.entries]
    return #session.entries > before and (line.early or (entry.touched or 0) >= (line.touched or 1))
  end, 20)
  -- the answer has come once another call has gone the same way
  if not line.early then task.sleep(0.05) end
  running:cancel "Ctrl-C"
  finished:get()
  pcall(running.wait, running)
end

local function run_session(here, lines, options)
  local session = session_on(here, options)
  for _, line in ipairs(lines) do run_line(session, line) end
  helper.eventually(function()
    for _, entry in ipairs(session.entries) do
      if entry.kind == "task" and not entry.ended then return false end
    end
    return true
  end, 20)
  return session
end

-- The text, after the script has done the same as the session.
local function check(lines, options)
  local first <close> = local_world.open { seed = 5, sxwl = {}, speed = 1000 }
  local session = run_session(first, lines, options)
  local text = save.text(session)
  local second <close> = local_world.open { seed = 5, sxwl = {}, speed = 1000 }
  local ok, err = pcall(run_script, second, text)
  if not ok then error(("the script failed: %s\n%s"):format(tostring(err), text), 0) end
  local want, got = deeds(first), deeds(second)
  if options and options.any_order then
    table.sort(want)
    table.sort(got)
  end
  assert(table.concat(want, "\n") == table.concat(got, "\n"), ("other deeds: the session\n%s\nthe script\n%s\n%s"):format(
    table.concat(want, "\n"), table.concat(got, "\n"), text))
  return text, want
end

local JOB <const> = [[{ gpuNumber = %s, gpuType = "NVIDIA-GeForce-RTX-3090", jobType = "Pytorch", imagePath = "i", ckptPath = "/c",
  ckptVol = "10", modelPath = "/m", modelVol = "10", stopType = "1", stopTime = 60 }]]

-- The fields of a job that asks for so many GPUs (a number, or an expression of the line's names).
local function job(n)
  return JOB:format(n)
end

setup(function()
  local folder = helper.tmpdir()
  DATA = folder .. "/x.zip"
  local file = assert(io.open(DATA, "wb"))
  file:write(("0123456789"):rep(500))
  file:close()
end)

-- ---- sessions at random --------------------------------------------------------------------------------------------

-- A generator of whole numbers that is the same on every run.
local function new_draw(seed)
  local state = seed * 2654435761 % 2147483647
  return function(n)
    state = state * 48271 % 2147483647
    return state % n + 1
  end
end

-- What a line can be; world: what the lines so far have left: names of locals, of ids, whether `_` is an id.
local KINDS <const> = {
  function(world, draw) -- a local, of a number
    local name = "n" .. draw(5)
    world.numbers[#world.numbers + 1] = name
    return ("local %s%s = %d"):format(name, draw(3) == 1 and " <const>" or "", draw(8))
  end,
  function(world, draw) -- a value that is looked at
    return ("%s + %d"):format(world.numbers[draw(#world.numbers)], draw(9)), function() world.last = "number" end
  end,
  function(world, draw) -- a job whose id is the value
    return "sxwl:create_job " .. job(world.numbers[draw(#world.numbers)]), function() world.last = "id" end
  end,
  function(world, draw) -- a job whose id gets a name
    local name = "id" .. draw(4)
    world.ids[#world.ids + 1] = name
    return ("%s%s = sxwl:create_job %s"):format(draw(2) == 1 and "local " or "", name, job(draw(8)))
  end,
  function(world, draw)
    if world.last ~= "id" then return nil end
    return draw(2) == 1 and "sxwl:stop_job(_)" or "local kept = _1 sxwl:stop_job(kept)"
  end,
  function(world)
    if world.last ~= "number" then return nil end
    return "sxwl:create_job " .. job "_", function() world.last = "id" end
  end,
  function(world, draw) return #world.ids > 0 and ("sxwl:stop_job(%s)"):format(world.ids[draw(#world.ids)]) or nil end,
  function(world, draw) -- fails after it has done something, and leaves a local
    local name = "id" .. draw(4)
    world.ids[#world.ids + 1] = name
    return ("local %s = sxwl:create_job %s error 'fails'"):format(name, job(draw(8)))
  end,
  function(_, draw) return ("sxwl:create_job { gpuNumber = %d, fails = true }"):format(draw(8)) end,
  function() return "for i = 1, 2 do -- fails" end,
  function(_, draw) -- a task, which has ended before the next line
    return ("sxwl:create_job %s &"):format(job(draw(8)))
  end,
  function(_, draw) return ("do task.sleep(0) sxwl:create_job %s error 'fails' end &"):format(job(draw(8))) end,
  function() return { stop = "task.sleep(60)", early = true } end,
  function(world, draw) -- a block of several lines that uses a local
    return ("do\n  local here = %s\n  sxwl:create_job %s\nend"):format(world.numbers[draw(#world.numbers)], job "here")
  end,
}

local function random_session(seed)
  local draw, lines, world = new_draw(seed), { "local n0 = 2" }, { numbers = { "n0" }, ids = {} }
  while #lines < 16 do
    local line, after = KINDS[draw(#KINDS)](world, draw)
    lines[#lines + 1] = line
    if after then after() end
  end
  if seed % 4 == 0 then
    table.insert(lines, draw(#lines - 1) + 1, { stop = "sxwl:create_job " .. job(7) .. " task.sleep(60) sxwl:create_job " .. job(8) })
  end
  return lines
end

describe("a saved session", function()
  it("has each line as it was typed, and requires what the lines use", function()
    local text = check { "local spec = " .. job(2), "id = sxwl:create_job(spec)", "for i = 1, 2 do\n  spec.gpuNumber = i\nend" }
    assert.truthy(text:find('local sxwl = require("perigee.sxwl").client()', 1, true))
    assert.truthy(text:find("for i = 1, 2 do\n  spec.gpuNumber = i\nend", 1, true))
    assert.falsy(text:find("deai", 1, true))
  end)

  it("keeps the values that later lines take from _, _1, _2", function()
    local text, done = check { "sxwl:create_job " .. job(1), "sxwl:stop_job(_)", "sxwl:create_job " .. job(2),
      "id = _1",
      "string.find('abc', 'b')", "n = _1 + _2", "sxwl:create_job " .. job "n", "sxwl:stop_job(id)" }
    assert.equal(5, #done)
    assert.truthy(text:find("_ = sxwl:create_job", 1, true))
  end)

  it("keeps values for functions that use them when they are called", function()
    check { "function again() return sxwl:stop_job(_) end", "sxwl:create_job " .. job(1), "again()",
      "sxwl:create_job " .. job(3), "again()" }
  end)

  it("keeps locals visible, also those of a line that has failed", function()
    check { "local a <const>, b = 1, 2", "local function f(n) return n + a end",
      "local c = f(b) error 'it fails'", "sxwl:create_job " .. job "c" }
  end)

  it("has what failed under pcall, with what it failed with", function()
    local text, done = check { "id = sxwl:create_job " .. job(1) .. " error 'it fails after that'",
      "sxwl:create_job { gpuNumbr = 'fails' }", "x = = 1 -- fails",
      "sxwl:stop_job(id)" }
    assert.equal(2, #done)
    assert.truthy(text:find("-- failed: it fails after that\npcall(function()", 1, true))
    assert.truthy(text:find("-- left out, was no Lua:\n-- x = = 1 -- fails", 1, true))
  end)

  it("leaves out what was stopped before anything had gone out", function()
    local text = check { { stop = "task.sleep(60)", early = true }, "sxwl:create_job " .. job(1) }
    assert.truthy(text:find("-- task.sleep(60)", 1, true))
  end)

  it("stops a line that had created something after the same time", function()
    local text, done = check { { stop = "sxwl:create_job " .. job(4) .. " task.sleep(60) sxwl:create_job " .. job(5) },
      "sxwl:create_job " .. job(6) }
    assert.equal(2, #done)
    assert.truthy(text:find("pcall(task.deadline", 1, true))
  end)

  it("leaves out a line whose paid call was refused, or lets it spend nothing", function()
    local here <close> = local_world.open { seed = 5 }
    local session = session_on(here, { yes = false, ask = function() return "no" end })
    session:eval("sxwl:create_job " .. job(1))
    assert.truthy(save.text(session):find("-- left out, you said no:\n-- sxwl:create_job", 1, true))
    session.entries[1].touched = 1 -- as a line of Distributed AI that had uploaded something before
    local text = save.text(session)
    local second <close> = local_world.open { seed = 5 }
    run_script(second, text)
    assert.same({}, deeds(second))
  end)

  it("does uploads, estimates and trainings of Distributed AI again", function()
    local _, done = check { ("path = deai:upload %q"):format(DATA), "deai:estimate { model = 'LSTM', jobName = 'n1', x_train = path }",
      "local id = deai:create_job { jobName = 'n1' }", "deai:delete_job(id)", ("deai.file %q"):format(DATA),
      "deai:estimate { model = 'LSTM', jobName = 'n2', x_train = _ }" }
    assert.truthy(#done >= 5)
  end)

  it("runs tasks as tasks, and waits for one where it had ended", function()
    local text, done = check { "id = sxwl:create_job " .. job(1) .. " &", "sxwl:stop_job(id)",
      "do sxwl:create_job " .. job(2) .. " error 'fails' end &", "x = 1" }
    assert.equal(3, #done)
    assert.truthy(text:find("task1:wait()\nsxwl:stop_job(id)", 1, true), text)
    assert.truthy(text:find("local task2 = task.spawn(pcall, function()", 1, true), text)
  end)

  it("begins with the script that the session began with", function()
    local here <close> = local_world.open { seed = 5 }
    local session = session_on(here)
    session:run_script("#!/usr/bin/env perigee\nlocal base = 3\nfunction double(n) return n * 2 end\nreturn base", "@plan.lua")
    session:eval("sxwl:create_job " .. job "double(base)")
    local second <close> = local_world.open { seed = 5 }
    run_script(second, save.text(session))
    assert.same(deeds(here), deeds(second))
    assert.equal(1, #deeds(second))
  end)

  for seed = 1, 12 do
    it(("does what the session has done, number %d of many at random"):format(seed), function() check(random_session(seed)) end)
  end

  it("holds more locals than a function of Lua takes", function()
    local lines = {}
    for i = 1, 230 do lines[i] = ("local v%d = %d"):format(i, i) end
    lines[#lines + 1] = "sxwl:create_job " .. job "v1"
    check(lines)
  end)

  it("copes with lines that cannot stand beside others as they are", function()
    check { "x = sxwl", "(print or x)", "goto out\n::out::", "goto out\n::out::", "for i = 1, 3 do if i == 2 then return i end end",
      "n = _", "local f <close> = setmetatable({}, { __close = function() closed = 1 end })", "return n + closed",
      "x:create_job " .. job "_" .. " -- a comment" }
  end)

  it("holds no secret that was written out, known or not", function()
    local session = repl_session.new {}
    for _, line in ipairs { 'password = "hunter2hunter2"', "key = { api_key = [[abcd1234efgh]] } -- abcd1234efgh", 'colour = "red"',
      'p = "sk-abcdefgh12345678" + 1 &' } do
      session:eval(line)
    end
    local path = helper.tmpdir() .. "/saved.lua"
    local told = save.write(session, path, false)
    local text = assert(io.open(path)):read "a"
    for _, secret in ipairs { "hunter2", "abcd1234", "sk%-abc" } do assert.is_nil(text:find(secret), text) end
    assert.truthy(text:find('colour = "red"', 1, true))
    assert.truthy(told:find("secrets are blanked", 1, true))
    assert(load(text))
  end)

  it("is the same when it is run on a session and saved again", function()
    local here <close> = local_world.open { seed = 5 }
    local session = session_on(here)
    session:eval "local a = 1"
    session:eval "a = a + 1"
    assert.equal(select(2, save.text(session)), 2)
    assert.has_error(function() save.write(session_on(here), "/nowhere/x.lua") end)
  end)
end)
