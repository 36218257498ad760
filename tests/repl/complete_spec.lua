-- Completion: what is offered where, and that nothing is run, made or asked by it.
local complete = require "perigee.repl_complete"
local durable = require "tests.support.durable"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local json = require "perigee.json"
local names = require "perigee.repl_names"
local repl_session = require "perigee.repl_session"
local task = require "perigee.task"

local function new_session(options)
  options = options or {}
  return repl_session.new {
    names = options.names or names.new(), locals = options.locals, kind = options.kind,
  }
end

-- Completes at the "|" of the text. -> candidates' texts, from, the list
local function at(session, text)
  local point = assert(text:find("|", 1, true), "no | in the text") - 1
  local plain = text:sub(1, point) .. text:sub(point + 2)
  local result = complete.at(session, plain, point)
  local texts = {}
  for i, one in ipairs(result.candidates) do texts[i] = one.text end
  return texts, result.from, result.candidates
end

local function joined(session, text)
  return table.concat((at(session, text)), " ")
end

local function has(list, word)
  for _, one in ipairs(list) do
    if one == word then return true end
  end
  return false
end

describe("names at the prompt", function()
  it("are completed from where the word begins", function()
    local session = new_session()
    local texts, from = at(session, "x = amo|")
    assert.are.same({ "amount" }, texts)
    assert.are.equal(4, from)
  end)

  it("are those of the user, of perigee, of Lua, and keywords", function()
    local session = new_session()
    session:eval "my_value = 1"
    session:eval "local my_local = 2"
    assert.are.equal("my_local my_value", joined(session, "print(my_|"))
    assert.are.equal("sxwl", joined(session, "sx|"))
    assert.is_true(has(at(session, "setm|"), "setmetatable"))
    assert.are.equal("function", joined(session, "func|"))
  end)

  it("are the locals of the text itself where they are seen", function()
    local session = new_session()
    assert.are.equal("price_now", joined(session, "local function f(price_now)\n return pric|"))
    assert.are.equal("", joined(session, "local function f(price_now) end\n return price_n|"))
  end)

  it("without a letter are those of perigee and of the user, not all of Lua", function()
    local texts = at(new_session(), "print(|")
    assert.is_true(has(texts, "sxwl"))
    assert.is_false(has(texts, "setmetatable"))
    assert.is_false(has(texts, "while"))
  end)

  it("are not listed at the beginning of a further line", function()
    assert.are.equal("", joined(new_session(), "while true do\n  |"))
    assert.are.equal("amount", joined(new_session(), "while true do\n  amo|"))
  end)

  it("are not offered where a new name is given, in comments and after numbers", function()
    local session = new_session()
    for _, text in ipairs { "local am|", "local x, am|", "for am|", "function f(am|", "-- am|", "--[[ am|", "x = 12|", "中|" } do
      assert.are.equal("", joined(session, text), text)
    end
  end)

  it("are the names of a script that has opened the prompt", function()
    local values = { price_of_it = { one = 1 } }
    local session = new_session { locals = {
      has = function(name) return values[name] ~= nil end, get = function(name) return values[name] end, set = function() end,
      names = function() return { "price_of_it" } end, globals = { price_global = { two = 2 } },
    } }
    assert.are.equal("price_global price_of_it", joined(session, "price_|"))
    assert.are.equal("two", joined(session, "price_global.|"))
    assert.are.equal("one", joined(session, "price_of_it.|"))
  end)
end)

describe("members", function()
  it("of modules are their functions, without what is private", function()
    local session = new_session()
    assert.are.equal("map", joined(session, "task.m|"))
    assert.are.equal("", joined(session, "jobs._|"):gsub("_%w+ ?", ""))
    assert.is_false(has(at(session, "jobs.|"), "_settle"))
    assert.are.equal("concat", joined(session, "table.con|"))
  end)

  it("of tables are their keys, also through several steps", function()
    local session = new_session()
    session:eval "t = { one = { two = { three = 3 } }, ['not a name'] = 1, [1] = 2 }"
    assert.are.equal("one", joined(session, "t.|"))
    assert.are.equal("three", joined(session, "x = t.one['two'].|"))
    assert.are.equal("", joined(session, "t.nothing.|"))
    assert.are.equal('not a name"', joined(session, 't["not|'))
  end)

  it("after a colon are what can be called, of classes and strings too", function()
    local session = new_session()
    session:eval "C = {} C.__index = C function C:go() end function C:stop() end C.level = 1"
    session:eval "c = setmetatable({ own = 1, call_me = function() end }, C)"
    assert.are.equal("go stop", joined(session, "c:|"))
    assert.are.equal("call_me own", joined(session, "c.|"):gsub("level ", ""))
    session:eval "s = 'text'"
    assert.is_true(has(at(session, "s:|"), "gsub"))
    assert.are.equal("rep reverse", joined(session, "('x'):re|"))
  end)

  it("of what calls give are known where it is always the same", function()
    local session = new_session()
    assert.are.equal("cancel", joined(session, "task.spawn(f):c|"))
    assert.are.equal("wait why", joined(session, "jobs.get('x'):w|"))
  end)

  it("of a client are its methods, although no client is made", function()
    local session = new_session()
    local texts = at(session, "sxwl:|")
    assert.is_true(has(texts, "create_job"))
    assert.is_true(has(texts, "download"))
    assert.is_false(has(texts, "authorize"))
    assert.is_false(has(texts, "client"))
    assert.is_true(has(at(session, "deai.|"), "file"))
    assert.are.equal("train", joined(session, "deai:tr|"))
    assert.is_nil(rawget(session.names, "sxwl"))
    assert.is_nil(rawget(session.names, "deai"))
  end)

  it("are looked up without running anything that a person wrote", function()
    local session = new_session()
    session:eval [[
      ran = 0
      local function run() ran = ran + 1 return {} end
      trap = setmetatable({}, { __index = run, __pairs = run, __tostring = run, __len = run, __call = run, __eq = run, __lt = run })
      under = setmetatable({}, { __index = trap })
      holder = { trap = trap }
    ]]
    for _, text in ipairs { "trap.|", "trap:|", "trap.x.|", "under.|", "under:a|", "under.x.y|", "holder.trap.x.y|",
      "holder.trap.|", "trap().|",
      "trap{ |", "trap:go{ |", "trap['|", "trap.x('|", "?trap.|", ":time trap.|" } do
      at(session, text)
    end
    assert.are.equal(0, session.env.ran)
  end)
end)

describe("the table of a call", function()
  it("offers the fields of the operation with their types, without those that are given", function()
    local session = new_session()
    local texts, from, list = at(session, "job = sxwl:create_job{ gpuNumber = 1, sto|")
    assert.are.same({ "stopTime = ", "stopType = " }, texts)
    assert.are.equal(#"job = sxwl:create_job{ gpuNumber = 1, ", from)
    assert.are.equal('stopTime  (integer, required with stopType "1")', list[1].display)
    assert.are.equal("stopType  (0 | 1, required)", list[2].display)
    assert.are.same({ "stopTime = " }, (at(session, "sxwl:create_job{ sto|\n stopType = '1' }")))
    assert.is_true(has(at(session, "sxwl:create_job{ |"), "max_cost = "))
    assert.is_true(has(at(session, "sxwl:create_job({\n  |"), "imagePath = "))
    assert.is_false(has(at(session, "sxwl:create_job{ gpuNumber = 1, |"), "gpuNumber = "))
    assert.is_true(has(at(session, "sxwl:run{ |"), "on_status = "))
  end)

  it("takes no second equals sign", function()
    assert.are.same({ "imagePath" }, (at(new_session(), "sxwl:create_job{ image| = 'x' }")))
  end)

  it("knows clients that the user made, and both models of a training", function()
    local session = new_session()
    session:eval "mine = require 'perigee.sxwl'.client { token = 'x' }"
    assert.are.equal("jobType = ", joined(session, "mine:create_job{ jobT|"))
    assert.are.equal("category = ", joined(session, "deai:train{ cat|"))
    assert.are.equal("", joined(session, "deai:train{ model = 'LSTM', cat|"))
    assert.are.equal('"CNN" "LSTM"', joined(session, "deai:train{ model = |"))
    assert.are.equal("file = ", joined(session, "deai:infer{ fil|"))
  end)

  it("offers the values of a field that has choices", function()
    local session = new_session()
    assert.are.equal('"GeneralJob" "MPI" "Pytorch"', joined(session, "sxwl:create_job{ jobType = |"))
    assert.are.equal('MPI"', joined(session, "sxwl:create_job{ jobType = \"M|"))
    assert.are.equal("MPI", joined(session, "sxwl:create_job{ jobType = 'M|' }"))
    assert.are.equal('"leave" "stop"', joined(session, "sxwl:run{ on_cancel = |"))
    assert.are.equal("max_cost  (money, option)", select(3, at(session, "sxwl:run{ max_c|"))[1].display)
  end)

  it("offers what jobs.submit takes, and in its spec the fields of the service's job", function()
    local session = new_session()
    assert.are.equal("max_cost =  max_cost_per_attempt = ", joined(session, "jobs.submit{ service = 'sxwl', max|"))
    assert.are.equal('deai"', joined(session, 'jobs.submit{ service = "d|'))
    local texts = at(session, "jobs.submit{ service = 'sxwl', spec = { |")
    assert.is_true(has(texts, "gpuType = "))
    assert.is_false(has(texts, "max_cost = "))
    assert.are.equal("category = ", joined(session, "jobs.submit{ service = 'deai', kind = 'train', spec = { cat|"))
    assert.are.equal("jobID = ", joined(session, "jobs.submit{ spec = { jobI| }, service = 'deai', kind = 'infer' }"))
  end)

  it("offers what perigee's own functions and methods take, at the place of the table", function()
    local session = new_session()
    assert.are.equal("attempts = ", joined(session, "retry.new { att|"))
    assert.are.equal("concurrency = ", joined(session, "task.map({ 1, 2 }, function(a, b) local x, y = 1, 2 end, { conc|"))
    assert.are.equal("", joined(session, "task.map({ conc|"))
    assert.are.equal("timeout = ", joined(session, "jobs.get('x'):wait { |"))
    assert.are.equal("on_cancel = ", joined(session, "sxwl:wait('u-1', { on_c|"))
    assert.are.equal("status_rate = ", joined(session, "sxwl.client { stat|"))
    assert.are.equal("jitter = ", joined(session, "jobs.submit { retry = { ji|"))
    assert.are.equal("jitter = ", joined(session, "sxwl:run { retry = { ji|"))
    assert.are.equal('"full" "none"', joined(session, "retry.new { jitter = |"))
    assert.are.equal('running"', joined(session, 'jobs.list { state = "ru|'))
    assert.are.equal("max_cost  (money)", select(3, at(session, "retry.new { max_cost|"))[1].display)
  end)

  it("is none inside of a function that stands in it", function()
    assert.are.equal("", joined(new_session(), "sxwl:run{ on_status = function(s) gpuT|"))
  end)
end)

describe("strings", function()
  local folder, back
  before_each(function()
    folder = helper.tmpdir()
    back = require("lfs").currentdir()
    for _, name in ipairs { "train.csv", "test.csv", ".hidden", "模型.bin", "it's" } do fs.write(folder .. "/" .. name, "") end
    fs.mkdir(folder .. "/trees")
    fs.write(folder .. "/trees/oak.txt", "")
    assert(require("lfs").chdir(folder))
  end)
  after_each(function() require("lfs").chdir(back) end)

  it("offer the names of files, with the closing quote and folders with a slash", function()
    local session = new_session()
    local texts, from = at(session, 'fs.read("tr|')
    assert.are.same({ 'train.csv"', "trees/" }, texts)
    assert.are.equal(9, from)
    assert.are.equal("train.csv trees/", joined(session, 'fs.read("tr|")'))
    assert.are.equal("trees/oak.txt'", joined(session, "fs.read 'trees/|"))
    assert.are.equal(".hidden'", joined(session, "x = '.h|"))
    assert.are.equal(folder .. '/test.csv"', joined(session, 'x = "' .. folder .. "/te|"))
    assert.are.equal('模型.bin"', joined(session, 'x = "模|'))
    assert.are.equal("", joined(session, 'x = "it|'))
    assert.are.equal("", joined(session, 'x = "no such folder/|'))
  end)

  it("offer the names of modules to require", function()
    assert.are.equal('perigee.json"', joined(new_session(), 'require "perigee.js|'))
  end)

  it("offer nothing where escapes stand in them, and in long ones", function()
    assert.are.equal("", joined(new_session(), [[x = "\x74|]]))
    assert.are.equal("", joined(new_session(), "x = [[tr|"))
  end)

  it("offer the jobs of the journal where a job is named, and their ids at the service", function()
    local session = new_session()
    session.list_jobs = function()
      return { { id = "0123456789ab", name = "训练", state = "running", service = "sxwl", remote_id = "u-17" },
        { id = "9876543210ab", name = "digits", state = "succeeded", service = "deai", remote_id = "8431" } }
    end
    assert.are.equal('digits" 训练"', joined(session, 'jobs.get "|'))
    assert.are.equal('0123456789ab"', joined(session, 'jobs.get("01|'))
    assert.are.equal('u-17"', joined(session, 'sxwl:job_status "|'))
    assert.are.equal('8431"', joined(session, 'deai:infer{ jobID = "|'))
    assert.are.equal("digits 训练", joined(session, ":why |"))
    assert.are.equal("digits", joined(session, ":jobs d|"):gsub("denied ", ""))
  end)

  it("find the jobs in the journal of the process, and make no journal", function()
    local world = durable.open()
    world:serve {}
    local ending <close> = setmetatable({}, { __close = function() world:close() end }) -- luacheck: ignore 211
    local look = [[
      local session = require "perigee.repl_session".new { names = require "perigee.repl_names".new() }
      for _, one in ipairs(require "perigee.repl_complete".at(session, 'jobs.get "', 10).candidates) do print("found", one.text) end]]
    local before = world:run(look)
    assert.are.equal("", before.stdout)
    assert.is_nil(fs.stat(world.env.PERIGEE_STATE .. "/journal.db"))
    world:run(durable.script(durable.RUNNING))
    assert.are.equal('found\t训练"\n', world:run(look).stdout)
  end)

  it("do not wait for jobs that take too long", function()
    local session = new_session()
    session.list_jobs = function() task.sleep(3600) end
    assert.are.equal("", joined(session, 'jobs.get "|'))
  end)
end)

describe("commands and help", function()
  it("are completed by name, with a blank where something follows", function()
    local session = new_session()
    local texts, from = at(session, " :sa|")
    assert.are.same({ ":save " }, texts)
    assert.are.equal(1, from)
    assert.are.equal(":clear", joined(session, ":cl|"))
    assert.is_true(has(at(session, ":|"), ":why "))
  end)

  it("take what their line of usage says", function()
    local session = new_session()
    assert.are.equal("off on", joined(session, ":yes o|"))
    assert.are.equal("tail", joined(session, ":log t|"))
    assert.are.equal("failed", joined(session, ":jobs fa|"))
    assert.are.equal("amount", joined(session, ":time amo|"))
    assert.are.equal("task.map", (at(session, ":help task.m|"))[1])
    assert.are.equal("", joined(session, ":nothing o|"))
    session.tasks[1] = { number = 7, text = "task.sleep(9)" }
    assert.are.equal("7 all", joined(session, ":cancel |"))
  end)

  it("say themselves what may follow, where they have complete()", function()
    local own = { name = "pick", usage = ":pick WHAT", summary = "own", complete = function(_, argument)
      return { "alpha", { text = "beta", display = argument } }
    end }
    local session = repl_session.new { names = names.new(), commands = { list = { own }, find = function() return own end } }
    local texts, from, list = at(session, ":pick now b|")
    assert.are.same({ "beta" }, texts)
    assert.are.equal(10, from)
    assert.are.equal("now b", list[1].display)
  end)

  it("explain names, members by either mark, and commands", function()
    local session = new_session()
    local texts, from = at(session, " ?task.ma|")
    assert.are.equal("task.map", texts[1])
    assert.are.equal(2, from)
    assert.are.equal("sxwl:create_job", joined(session, "?sxwl:create|"))
    assert.are.equal("sxwl.create_job", joined(session, "? sxwl.create|"))
    assert.is_true(has(at(session, "?deni|"), "denied"))
    assert.is_true(has(at(session, "?journ|"), "journal"))
    session:eval "mine = { method = print }"
    assert.are.equal("mine.method", joined(session, "?mine.me|"))
    assert.is_false(has(at(session, "?|"), "denied"))
    assert.are.equal("amount", joined(session, "?amou|"):match "%S+")
    assert.are.equal(":save", joined(session, "?:sa|"))
  end)
end)

describe("completion", function()
  it("never raises, whatever the text and the point are", function()
    local seed = tonumber(os.getenv "PERIGEE_FUZZ_SEED" or "") or os.time()
    local state = seed
    local function random(n) -- of this spec's own, so that a failure can be repeated
      state = (state * 1103515245 + 12345) & 0x7fffffff
      return (state >> 8) % n + 1
    end
    local session = new_session()
    session.list_jobs = function() return { { id = "0", name = false }, { id = 1, name = "x", service = "sxwl", remote_id = {} } } end
    local MARKS <const> = { ".", ":", "{ ", "= ", "'", '"', "[", "('", "{ jobType = ", ":time ", "?" }
    for file in require("lfs").dir "scripts/examples" do
      if file:find "%.lua$" then
        local handle <close> = assert(io.open("scripts/examples/" .. file, "rb"))
        local text = handle:read "a"
        for _ = 1, 25 do
          local part = text:sub(1, random(#text)) .. (random(2) == 1 and MARKS[random(#MARKS)] or "")
          if random(3) == 1 then part = part:sub(random(#part)) end
          local point = random(4) == 1 and random(#part) or #part
          local ok, err = pcall(complete.at, session, part, point)
          assert(ok, ("seed %d, %s, at %d: %s\n%s"):format(seed, file, point, json.encode(tostring(err)), part))
        end
      end
    end
    assert.are.equal(0, complete.at(session, "x", 999).from)
    assert.are.equal(0, complete.at(session, "x", -1).from)
  end)

  it("offers nothing in a text that is longer than a line can be", function()
    assert.are.same({}, complete.at(new_session(), ("x = 1 "):rep(20000), 120000).candidates)
  end)

  it("puts nothing into the line that a terminal might obey", function()
    local session = new_session()
    session.list_jobs = function()
      local list = {}
      for i, name in ipairs { "\27[31mred", "c1\xC2\x9Bx", "bad\xff", "good", "line\nfeed" } do
        list[i] = { id = "x", name = name, service = "sxwl", remote_id = name, state = "\27]0;title\7" }
      end
      return list
    end
    local texts, _, list = at(session, 'jobs.get "|')
    assert.are.same({ 'good"' }, texts)
    assert.is_nil(list[1].display)
    assert.are.equal('good"', joined(session, 'sxwl:job_status "|'))
    session:eval "t = { ['a\\27b'] = 1, ab = 2 }"
    assert.are.equal('ab"', joined(session, 't["|'))
  end)

  it("gives at most 2,000 candidates, sorted", function()
    local session = new_session()
    session:eval "big = {} for i = 1, 5000 do big['k' .. i] = i end"
    local texts = at(session, "big.|")
    assert.are.equal(2000, #texts)
    for i = 2, #texts do assert.is_true(texts[i - 1] < texts[i]) end
  end)
end)
