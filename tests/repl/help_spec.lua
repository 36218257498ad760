-- help_spec.lua - `?x`: everything public has help, from docs/, stubs and the tables of operations themselves.
local amount = require "perigee.amount"
local core = require "perigee.core.ops"
local errors = require "perigee.error"
local help = require "perigee.repl_help"
local help_errors = require "perigee.repl_help_errors"
local index = require "perigee.repl_help_index"
local pages = require "perigee.repl_help_pages"
local service_help = require "perigee.repl_help_service"
local stubs = require "perigee.repl_help_stubs"
local task = require "perigee.task"
local term = require "perigee.core.term"

local function ask(subject, session)
  local text, near = help.text(subject, session)
  assert.is_truthy(text, ("?%s is not known; nearest %s"):format(subject, tostring(near)))
  return text
end

-- Line breaks are help's own.
local function flat(text)
  return (text:gsub("%s+", " "))
end

local function session(fields)
  fields = fields or {}
  fields.columns = fields.columns or function() return 80 end
  fields.env = setmetatable(fields.env or {}, { __index = _G })
  fields.locals = fields.locals or {}
  return fields
end

-- What stands below the signature, before the first part that all calls have.
local function sentence(text)
  return text:match "^[^\n]+\n(.-)\n\n" or text:match "^[^\n]+\n(.*)$" or ""
end

describe("help on functions", function()
  for _, name in ipairs(stubs.names()) do
    if name ~= "http_serve" then
      it("knows every function of perigee." .. name .. ", with what it does and an example", function()
        local missing = {}
        for key, value in pairs(require("perigee." .. name)) do
          if type(key) == "string" and not key:find "^_" and type(value) == "function" then
            local full = name .. "." .. key
            local text = help.text(full)
            if not text or text:sub(1, #full) ~= full then
              missing[#missing + 1] = full
            elseif not sentence(text):find "%a%a" and not text:find "gives" then
              missing[#missing + 1] = full .. ": no word on what it does"
            elseif not text:find("\nexample\n", 1, true) or not text:find("\nerrors\n", 1, true) then
              missing[#missing + 1] = full .. ": no example or errors"
            end
          end
        end
        assert.are.same({}, missing)
      end)
    end
  end

  it("knows every method of the stubs", function()
    local missing = {}
    for _, name in ipairs(stubs.names()) do
      for _, class in ipairs(stubs.get(name).classes) do
        for _, f in ipairs(class.methods) do
          local short = class.name:gsub("^perigee%.", "")
          if not help.text(short .. ":" .. f.name) then missing[#missing + 1] = short .. ":" .. f.name end
        end
      end
    end
    assert.are.same({}, missing)
  end)

  it("says what the page says: each row of a table of calls, word for word", function()
    local missing, shown = {}, {}
    for _, entry in ipairs(index.get().entries) do
      for _, row in ipairs { entry.row, table.unpack(entry.more or {}) } do shown[row] = flat(ask(entry.name)) end
    end
    for _, name in ipairs(stubs.names()) do
      local page = pages.get(name)
      for _, call in ipairs(page and pages.calls(page) or {}) do
        local text = shown[call] or flat(ask(name))
        local words = term.escape(flat(pages.plain(call.text)))
        if not words:find "^see above" and not text:find(words, 1, true) then
          missing[#missing + 1] = name .. ": " .. call.code
        end
      end
    end
    assert.are.same({}, missing)
  end)

  it("tells the options of a function with type and meaning", function()
    local text = flat(ask "task.map")
    assert.truthy(text:find("concurrency integer so many at once (16)", 1, true), text)
    assert.truthy(text:find('mode = "collect": gives a list without holes', 1, true), text)
    assert.truthy(flat(ask "http.get"):find("first_byte_timeout http.time from the request sent", 1, true))
    assert.truthy(flat(ask "jobs.submit"):find("spec table needed the fields of the service", 1, true))
    assert.truthy(flat(ask "deai.client"):find("draft_rest duration seconds a jobName or jobID rests", 1, true))
  end)

  it("is the same however the name is written", function()
    local want = ask "task.map"
    for _, way in ipairs { "?task.map", " task.map ", "task.map(", "task.map()", "task.map(items, f)", "task:map",
      "perigee.task.map", "Task.Map", "task.map?", "`task.map`", '"task.map"' } do
      assert.equal(want, ask(way), way)
    end
    assert.equal(ask "task", ask 'require "perigee.task"')
    assert.equal(ask "task", ask "perigee.task")
    assert.equal(ask "sxwl:create_job", ask "sxwl.create_job { gpuNumber = 1 }")
  end)

  it("needs no module in front where only one is meant, and lists them where several are", function()
    assert.truthy(ask("race"):find "^task%.race%(")
    local text = ask "create_job"
    assert.truthy(text:find("?deai:create_job", 1, true) and text:find("?sxwl:create_job", 1, true), text)
    text = ask "wait"
    assert.truthy(text:find("?jobs.wait", 1, true) and text:find("?job:wait", 1, true), text)
  end)
end)

local function row_text(row)
  return flat(" " .. table.concat(row, " "))
end

describe("help on the services", function()
  for _, service in ipairs(core.services()) do
    it("has every field, bound, default and option of every call of " .. service, function()
      local all = core.describe(service)
      local calls = {}
      for _, one in ipairs(all.operations) do
        if one.effect ~= "login" then calls[#calls + 1] = one end
      end
      table.move(all.compounds, 1, #all.compounds, #calls + 1, calls)
      local by_name = service_help.describe(service).by_name
      for _, call in ipairs(calls) do
        local text = flat(ask(service .. ":" .. call.name:gsub("_cnn$", ""):gsub("_lstm$", "")))
        local operations = call.fields and { call } or {}
        for _, part in ipairs(call.parts or {}) do operations[#operations + 1] = by_name[part] end
        for _, operation in ipairs(operations) do
          for _, field in ipairs(operation.fields) do
            assert.truthy(text:find(row_text(service_help.row(field)), 1, true), call.name .. "." .. field.name)
          end
        end
        for _, option in ipairs(call.options) do
          assert.truthy(text:find(row_text(service_help.option_rows({ option })[1]), 1, true), call.name .. "." .. option)
        end
        assert.truthy(text:find(" errors ", 1, true) and text:find(" example ", 1, true), call.name)
      end
    end)

    it("gives an example of every call of " .. service .. " that passes the checks of the engine", function()
      for _, entry in ipairs(index.get().entries) do
        local variants = entry.service == service and service_help.variants(service, entry.f.name)
        if variants then
          local code = ask(entry.name):match "\nexample\n(.-)\n\n"
          assert.truthy(code:find(entry.name, 1, true), code)
          local given
          local chunk = assert(load(code, "=example", "t", {
            [service] = setmetatable({ file = function(path) return path end }, { __index = function(_, name)
              return function(_, ...) given = { name = name, fields = ... } end
            end }),
            job_id = "ai-1",
          }))
          chunk()
          assert.equal(entry.f.name, given.name)
          if type(given.fields) == "table" then
            local name = variants[1].label and entry.f.name .. "_cnn" or entry.f.name
            local parts = core.split(service, name, given.fields)
            for i, operation in ipairs(variants[1].operations) do
              core.check(service, operation.name, parts[i], { local_files = true })
            end
          end
        end
      end
    end)
  end

  it("says what costs money, in which unit a field is, and when it is needed", function()
    local text = flat(ask "sxwl:create_job")
    assert.truthy(text:find("Costs money", 1, true))
    assert.truthy(text:find("size of the checkpoint volume in MB; 1 or more", 1, true))
    assert.truthy(text:find('minutes, counted from dispatch; 1 or more; needed if stopType is "1"', 1, true))
    assert.truthy(flat(ask "deai:create_job"):find("samples in a batch; 1 or more; default 64", 1, true))
    assert.truthy(flat(ask "sxwl:job_status"):find("costs nothing", 1, true))
    assert.truthy(flat(ask "deai:train"):find('fields with model = "LSTM"', 1, true))
  end)

  it("says of a field where it is taken", function()
    local text = flat(ask "gpuType")
    assert.truthy(text:find("sxwl:create_job string needed for example", 1, true), text)
    assert.equal(ask "stopTime", ask "sxwl:create_job.stopTime")
  end)
end)

describe("help on errors", function()
  it("knows every kind: what it means for the money, what to do, its codes", function()
    local kinds = help_errors.kinds()
    assert.is_true(#kinds >= 15)
    for _, kind in ipairs(kinds) do
      local text = flat(ask(kind.name .. " error"))
      assert.truthy(text:find(flat(pages.plain(kind.text)), 1, true), kind.name)
    end
    assert.truthy(ask("http"):find("?http error", 1, true))
    local text = flat(ask "denied")
    assert.truthy(text:find("cost nothing", 1, true))
    assert.truthy(text:find("budget over_budget a limit has too little left", 1, true), text)
  end)

  it("knows every code of the tables", function()
    for _, row in ipairs(help_errors.all()) do
      for _, code in ipairs(row.codes) do
        if code:find "^[%a_][%w_]*$" then ask(code) end
      end
    end
    assert.truthy(flat(ask "over_budget"):find("a limit has too little left", 1, true))
  end)
end)

local function client_of(service)
  return setmetatable({}, { __name = ("perigee.%s.client"):format(service), __tostring = function() return service end })
end

describe("help on what a session holds", function()
  it("is that of the object's class, with what it is now", function()
    local text = ask("price", session { env = { price = amount "0.05 CCD" } })
    assert.truthy(text:find "^price is 0%.05 CCD\n", text)
    assert.truthy(flat(text):find(":mul(factor, rounding) the product; factor: an integer", 1, true), text)
    assert.truthy(ask("s", session { env = { s = client_of "sxwl" } }):find "^s is sxwl\n\nperigee%.sxwl: ")
    local one = task.spawn(function() end)
    one:wait()
    local with_local = session { locals = { t = { get = function() return one end } } }
    assert.truthy(ask("t", with_local):find "^t is task %d+ %(done%)\n")
    assert.equal(ask "stopTime", ask("s:create_job.stopTime", session { env = { s = client_of "sxwl" } }))
    assert.truthy(ask("t:cancel", session { env = { t = one } }):find "^task%.handle:cancel%(reason%)")
  end)

  it("tells the kind of an error, and where a function was written", function()
    local text = ask("err", session { env = { err = errors.new { kind = "denied", message = "no" } } })
    assert.truthy(text:find "^err is an error of kind denied\n", text)
    local f = assert(load("return function(a, b) end", "=input:3"))()
    assert.equal("function f(a, b)\n  written at input:3, line 1\n", ask("f", session { env = { f = f } }))
    assert.equal(ask "task.map", ask("m", session { env = { m = task.map } }))
    assert.truthy(ask("x.y", session { env = { x = { y = 12 } } }):find "^x%.y is a number: 12")
  end)

  it("runs nothing of a value", function()
    local ran = 0
    local value = setmetatable({}, { __index = function() ran = ran + 1 end, __call = function() ran = ran + 1 end })
    ask("v", session { env = { v = value } })
    help.text("v.member", session { env = { v = value } })
    assert.equal(0, ran)
  end)

  it("takes a variable before a name of the program", function()
    assert.truthy(ask("race", session { env = { race = 5 } }):find "^race is a number")
  end)
end)

describe("help", function()
  it("names what comes near to what it does not know", function()
    local function near(subject)
      local text, name = help.text(subject)
      assert.is_nil(text, subject)
      return name
    end
    assert.equal("task.map", near "task.mpa")
    assert.equal("task.map", near "tsk.map")
    assert.equal("sxwl:create_job", near "sxwl:creat_job")
    assert.equal("gpuType", near "gpuTypo")
    assert.equal("over_budget", near "over_bugdet")
    assert.is_nil(near "x")
    assert.is_nil(near "xyzzy_not_there_at_all")
  end)

  it("finds headings of the manual by words in them", function()
    assert.truthy(ask("estimates are drafts"):find("createJob names no data", 1, true))
    assert.truthy(ask("retention"):find("docs/journal.md", 1, true))
    assert.truthy(ask("when a reply is lost"):find("?jobs: When a reply is lost", 1, true))
    assert.truthy(ask("jobs: when a reply is lost"):find("on_unknown", 1, true))
    assert.truthy(ask("repl"):find("\n  perigee repl --attach [--write]        a prompt inside", 1, true))
    assert.truthy(ask("running the daemon"):find("docs/running-the-daemon.md", 1, true))
  end)

  it("has an overview that names every module and service", function()
    local text = help.overview()
    assert.equal(text, help.text "")
    for _, name in ipairs(stubs.names()) do
      if name ~= "http_serve" then assert.truthy(text:find("\n  " .. name .. " ", 1, true), name) end
    end
  end)

  it("tells of a command, and that of the nearest name", function()
    local commands = { find = function(name)
      if name ~= "save" then return nil, "save" end
      return { name = "save", usage = ":save FILE", summary = "writes the session as a script" }
    end }
    assert.equal(":save FILE\n  writes the session as a script\n", ask(":save", session { commands = commands }))
    assert.same({ nil, ":save" }, { help.text(":sav", session { commands = commands }) })
  end)

  it("sends people to Lua's own manual for what is Lua's", function()
    assert.truthy(ask("string.format"):find("#pdf-string.format", 1, true))
    assert.truthy(ask("goto"):find("#3.3.4", 1, true))
  end)

  it("fits the width, holds no escape, and has colour only where it is asked for", function()
    for subject in ("task.map sxwl:create_job deai:train denied jobs journal amount "):gmatch "%S*" do
      local plain = ask(subject, session { columns = function() return 60 end })
      local coloured = ask(subject, session { columns = function() return 60 end, color = true })
      assert.is_nil(plain:find "[\27\r\b]", subject)
      assert.equal(plain, (coloured:gsub("\27%[[%d;]*m", "")))
      assert.truthy(coloured:find("\27[1m", 1, true), subject)
      if subject ~= "journal" then -- its first example is as wide as it is
        for line in plain:gsub("\nexample\n.-\n\ndocs/", "\n\ndocs/"):gmatch "[^\n]+" do
          assert.is_true(term.width(line) <= 60, subject .. ": " .. line)
        end
      end
    end
  end)

  it("is read only when it is asked for", function()
    local spawn = require "tests.support.spawn"
    local done = spawn.run({ "repl" }, { stdin = [[
      { 1, { task = print } }
      for name in pairs(package.loaded) do if name:find "repl_help" or name:find "manual" then print(name) end end
    ]] })
    assert.equal("{ 1, { task = <function print(…)> } }\n", done.stdout)
  end)
end)
