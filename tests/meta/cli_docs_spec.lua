-- cli_docs_spec.lua - docs/cli.md has every command and every option of host/cli_table.c, each in the section of its
-- command; docs/configuration.md has every field that the configuration file may have.

local function read(path)
  local file = assert(io.open(path, "rb"), path .. " is missing")
  local text = file:read "a"
  file:close()
  return text
end

local TABLE <const> = read "host/cli_table.c":gsub("\\\n", " ")
local PAGE <const> = read "docs/cli.md"

-- Which section has the options of a table of host/cli_table.c.
local SECTIONS <const> = {
  run = "perigee run", emulator = "perigee emulator", jobs = "perigee jobs and perigee why", why = "perigee jobs and perigee why",
  daemon = "perigee daemon", control = "Commands to a running daemon", check = "perigee check", spend = "perigee spend",
  repl = "perigee repl", notify = "perigee notify", journal = "perigee journal",
}

local function section(heading)
  local text = ("\n" .. PAGE .. "\n## "):match("\n## " .. heading:gsub("%p", "%%%0") .. "\n(.-)\n## ")
  return assert(text, "docs/cli.md has no section " .. heading)
end

local function names_in(body)
  local names = {}
  for name in body:gmatch '{%s*"(%a[%w-]*)",%s*[\'0]' do names[#names + 1] = name end
  return names
end

local COMMON <const> = names_in(TABLE:match "#define COMMON_OPTIONS(.-)\n")

-- Options of a table, those of its macros included, without the common ones.
local function options_of(body)
  local names = names_in(body)
  if body:find "STATE_OPTION" then names[#names + 1] = "state" end
  if body:find "JSON_OPTION" then names[#names + 1] = "json" end
  return names
end

describe("docs/cli.md", function()
  it("has each option in the section of its command", function()
    local missing, tables = {}, 0
    for name, body in TABLE:gmatch "cli_option (%w+)_options%[%] = (.-)\n};" do
      tables = tables + 1
      local heading = assert(SECTIONS[name], "no section is known for " .. name)
      for _, option in ipairs(options_of(body)) do
        if not section(heading):find("%-%-" .. option:gsub("%-", "%%-") .. "%f[^%w-]") then
          missing[#missing + 1] = heading .. ": --" .. option
        end
      end
    end
    assert.same({}, missing)
    assert.equal(11, tables)
  end)

  it("has the options that all commands share", function()
    local missing = {}
    assert.is_true(#COMMON >= 5)
    for _, option in ipairs(COMMON) do
      if not PAGE:find("--" .. option, 1, true) then missing[#missing + 1] = option end
    end
    assert.same({}, missing)
  end)

  it("has each command in its list", function()
    local list, missing = PAGE:match "```\n(.-)```", {}
    for name in TABLE:gmatch '%.name = "([%l-]+)"' do
      if not list:find("perigee [%l|]*" .. name:gsub("%-", "%%-") .. "%f[^%l-]") then missing[#missing + 1] = name end
    end
    assert.same({}, missing)
  end)
end)

describe("docs/configuration.md", function()
  local page = read "docs/configuration.md"
  local source = read "scripts/lib/config.lua"

  local function fields(body)
    local list = {}
    for name in body:gmatch '"([%l_]+)"' do list[#list + 1] = name end
    return list
  end

  local function missing_of(names)
    local missing = {}
    for _, name in ipairs(names) do
      if not page:find("%f[%w_]" .. name .. "%f[^%w_]") then missing[#missing + 1] = name end
    end
    return missing
  end

  it("has each section of the file with its fields", function()
    local names = fields(source:match "local lists = (%b{})")
    for name, body in source:match("local sections = (%b{})"):gmatch "([%l]+) = (%b{})" do
      names[#names + 1] = name
      table.move(fields(body), 1, #fields(body), #names + 1, names)
    end
    assert.is_true(#names > 8)
    assert.same({}, missing_of(names))
  end)

  it("has each field of a budget", function()
    local names = fields(source:match "local budget_fields = (%b{})")
    assert.is_true(#names > 8)
    local budgets = page .. read "docs/budget.md" -- the limits and options of budget.new are described there
    local missing = {}
    for _, name in ipairs(names) do
      if not budgets:find("%f[%w_]" .. name .. "%f[^%w_]") then missing[#missing + 1] = name end
    end
    assert.same({}, missing)
  end)

  it("has each option of run and daemon that the file may set", function()
    local not_there, names = {}, {}
    for name in source:match("local not_in_file = (%b{})"):gmatch "([%l_]+) = true" do not_there[name] = true end
    for _, command in ipairs { "run", "daemon" } do
      for _, option in ipairs(options_of(TABLE:match("cli_option " .. command .. "_options%[%] = (.-)\n};"))) do
        local field = option:gsub("%-", "_")
        if not not_there[field] then names[#names + 1] = field end
      end
    end
    assert.is_true(#names > 15)
    assert.same({}, missing_of(names))
  end)
end)
