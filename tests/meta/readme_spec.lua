-- readme_spec.lua - the README tells of every option, exit code, variable and target there is, and of no others.
local lfs = require "lfs"

local function read(path)
  local file = assert(io.open(path, "rb"), path .. " is missing")
  local text = file:read "a"
  file:close()
  return text
end

local readme = read "README.md"

-- "## Options" to the next heading of the same depth or less
local function section(heading)
  local marks, title = heading:match "^(#+) (.*)$"
  local start = assert(readme:find("\n" .. marks .. " " .. title .. "\n", 1, true), "no heading " .. heading) + 1
  local rest = readme:sub(start)
  local stop = #rest
  for depth = 1, #marks do
    local at = rest:find("\n" .. ("#"):rep(depth) .. " ", 2, true)
    if at and at < stop then stop = at end
  end
  return rest:sub(1, stop)
end

local function keys(set)
  local list = {}
  for key in pairs(set) do list[#list + 1] = key end
  table.sort(list)
  return list
end

-- Options as host/cli_table.c has them: { run = {…}, emulator = {…}, both = {…} }
local function options_in_code()
  local text = read "host/cli_table.c":gsub("\\\n", " ")
  local function names(body)
    local set = {}
    for name in body:gmatch '{%s*"(%a[%w-]*)",%s*[\'0]' do set[name] = true end
    return set
  end
  local tables = { both = names(text:match "#define COMMON_OPTIONS(.-)\n" or "") }
  for command, body in text:gmatch "cli_option (%w+)_options%[%] = (.-)\n};" do tables[command] = names(body) end
  return tables
end

local function options_in_section(heading)
  local set = {}
  for row in section(heading):gmatch "\n|([^|]+)|" do
    local name = row:match "%-%-(%a[%w-]*)"
    if name then set[name] = true end
  end
  return set
end

describe("README", function()
  local code = options_in_code()

  for _, command in ipairs { "run", "emulator", "both" } do
    it("has the options of " .. command .. " that the program has", function()
      assert.are.same(keys(code[command] or {}), keys(options_in_section("### Options of " .. command)))
    end)
  end

  it("shows a script of about ten lines first, and it is the one in scripts/examples", function()
    local script = readme:match "```lua\n(.-)```"
    local _, lines = script:gsub("\n", "")
    assert.is_true(lines >= 8 and lines <= 14, "lines: " .. lines)
    assert.are.equal(script, (read "scripts/examples/readme.lua":gsub("^%-%-[^\n]*\n", ""):gsub("^%-%-[^\n]*\n", "")
      :gsub("^%-%-[^\n]*\n", "")))
  end)

  it("shows what that script prints", function()
    local proc = require "perigee.core.proc"
    local command, shown = readme:match "`perigee ([^`]+)` prints\n\n```\n(.-)```"
    local args = { os.getenv "PERIGEE" }
    for word in command:gmatch "%S+" do args[#args + 1] = word end

    local result = proc.run { args = args, timeout = 50 }

    assert.are.equal(shown, result.stdout, result.stderr)
  end)

  it("has the exit codes that the help of run has, and no others", function()
    local found = {}
    for codes in section("### Exit codes"):gmatch "\n| ([%d, ]+) |" do
      for number in codes:gmatch "%d+" do found[number] = true end
    end
    local help = read "host/cli_table.c":match "Exit codes:(.-)\",\n"
    local expected = {}
    for number in help:gsub('\\n"%s*"', " "):gmatch "%f[%d]%d+%f[%D]" do expected[number] = true end
    assert.are.same(keys(expected), keys(found))
  end)

  it("has every variable that the program reads", function()
    local missing = {}
    for _, folder in ipairs { "host", "bindings", "scripts/lib" } do
      for entry in lfs.dir(folder) do
        if entry:find "%.[clu]+a?$" then
          for name in read(folder .. "/" .. entry):gmatch '["\']([DS][EX][AW][IL]_[%u_]+)["\']' do
            if not readme:find("`" .. name .. "`", 1, true) then missing[name] = true end
          end
        end
      end
    end
    assert.are.same({}, keys(missing))
  end)

  it("names only make targets and variables that exist", function()
    local makefile = read "Makefile"
    local bad = {}
    for target in readme:gmatch "make ([%l][%l-]*)" do
      if not ("\n" .. makefile):find("\n" .. target:gsub("%-", "%%-") .. ":") then bad[target] = true end
    end
    assert.are.same({}, keys(bad))
  end)

  it("has every part of the program in its layout", function()
    local layout, missing = readme:match "\n## How the code is laid out\n(.-)\n## ", {}
    for floor in read("Makefile"):gmatch "\nFLOOR%d := ([^\n]+)" do
      for name in floor:gmatch "%S+" do
        if not (layout:find("`" .. name .. "`", 1, true) or layout:find("`host/" .. name, 1, true)) then missing[name] = true end
      end
    end
    assert.are.same({}, keys(missing))
  end)

  it("names only files and folders that exist", function()
    local bad = {}
    for path in readme:gmatch "`([%l]+/[%l_/]*[%l_])/?`" do
      if not (lfs.attributes(path) or lfs.attributes(path .. ".c") or lfs.attributes(path .. ".h")) then bad[path] = true end
    end
    bad["share/doc/perigee"], bad["share/perigee"] = nil, nil -- where make install puts things
    assert.are.same({}, keys(bad))
  end)
end)
