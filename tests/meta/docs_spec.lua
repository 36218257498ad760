-- docs_spec.lua - every public module has a page and editor stubs, and both name every function it offers.
--
-- A file of scripts/lib is public unless its first line begins or ends with "-- internal".  What a module offers is read
-- from the module itself; methods of its objects are read from the stubs and looked for in the page.
local lfs = require "lfs"

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "a"
  file:close()
  return text
end

local function sorted_names(folder, pattern)
  local names = {}
  if not lfs.attributes(folder, "mode") then return names end
  for entry in lfs.dir(folder) do
    local name = entry:match(pattern)
    if name then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

local function opening_comment(text)
  local lines = {}
  for line in text:gmatch "[^\n]*" do
    if not line:find "^%-%-" then break end
    lines[#lines + 1] = line
  end
  return table.concat(lines, "\n")
end

local function public_modules()
  local names = { "error" } -- C alone, host/luax.c
  for _, name in ipairs(sorted_names("scripts/lib", "^(.+)%.lua$")) do
    local charter = opening_comment(read("scripts/lib/" .. name .. ".lua")) .. "\n"
    if not (charter:find "^%-%- internal: " or charter:find "^[^\n]*%-%- internal\n") then names[#names + 1] = name end
  end
  return names
end

-- The functions of a module by name; names with a leading underscore are its own business.
local function functions_of(module)
  local names = {}
  if type(module) == "table" then
    for key, value in pairs(module) do
      if type(key) == "string" and not key:find "^_" and type(value) == "function" then names[#names + 1] = key end
    end
  end
  table.sort(names)
  return names
end

-- A function counts as described where a heading, a table row or a list item has it in backquotes:
-- `task.sleep(seconds)`, `sleep(…)`, `:wait()`.
local function describes(page, name)
  local escaped = name:gsub("%p", "%%%0")
  for line in page:gmatch "[^\n]+" do
    if line:find "^#+ " or line:find "^|" or line:find "^%s*[-*] " then
      for code in line:gmatch "`([^`]+)`" do
        for word in code:gmatch "[%w_.:]+" do
          if word:find("^" .. escaped .. "$") or word:find("[.:]" .. escaped .. "$") then return true end
        end
      end
    end
  end
  return false
end

local function declares(stub, name)
  local escaped = name:gsub("%p", "%%%0")
  return stub:find("function [%w_.]+[.:]" .. escaped .. "%s*%(") ~= nil
    or stub:find("[\n%s][%w_]+%." .. escaped .. "%s*=") ~= nil
    or stub:find("%-%-%-@field " .. escaped .. "[%s?]") ~= nil
end

describe("the checks of this file", function()
  it("find a described function in headings, rows and lists, and nowhere else", function()
    assert.is_true(describes("## `task.sleep(seconds)`\n", "sleep"))
    assert.is_true(describes("| `sleep(seconds)` | waits |\n", "sleep"))
    assert.is_true(describes("- `t:wait()` waits\n", "wait"))
    assert.is_false(describes("One may `task.sleep(1)` here.\n", "sleep"))
    assert.is_false(describes("## `task.sleepy()`\n", "sleep"))
    assert.is_false(describes("## `task.asleep()`\n", "sleep"))
  end)

  it("find a declared function in stubs", function()
    assert.is_true(declares("local task = {}\nfunction task.sleep(seconds) end\n", "sleep"))
    assert.is_true(declares("function Task:wait() end\n", "wait"))
    assert.is_true(declares("---@field wait fun()\n", "wait"))
    assert.is_false(declares("function task.sleepy() end\n", "sleep"))
  end)
end)

describe("scripts/lib", function()
  for _, name in ipairs(public_modules()) do
    describe("perigee." .. name, function()
      local page_path = "docs/" .. name .. ".md"
      local stub_path = "scripts/stubs/perigee/" .. name .. ".lua"
      local page, stub = read(page_path), read(stub_path)

      it("has a page", function()
        assert.is_truthy(page, page_path .. " is missing")
      end)

      it("has editor stubs", function()
        assert.is_truthy(stub, stub_path .. " is missing")
        assert.is_truthy(stub:find("^%-%-%-@meta"), stub_path .. " does not begin with ---@meta")
      end)

      it("has each of its functions in page and stubs", function()
        local missing = {}
        for _, key in ipairs(functions_of(require("perigee." .. name))) do
          if not (page and describes(page, key)) then missing[#missing + 1] = page_path .. ": " .. key end
          if not (stub and declares(stub, key)) then missing[#missing + 1] = stub_path .. ": " .. key end
        end
        assert.are.same({}, missing)
      end)

      it("has each method of its stubs in the page", function()
        local missing = {}
        for method in (stub or ""):gmatch "\nfunction [%w_.]+:([%w_]+)%s*%(" do
          if not (page and describes(page, method)) then missing[#missing + 1] = page_path .. ": :" .. method end
        end
        assert.are.same({}, missing)
      end)

      it("has an example in its page", function()
        assert.is_truthy(page and page:find("```lua", 1, true), page_path .. " has no ```lua block")
      end)
    end)
  end
end)

describe("docs", function()
  it("have every kind of error that host/err.c names", function()
    local page, missing = read "docs/error.md", {}
    for kind in read("host/err.c"):gmatch 'case ERR_[%u_]+: return "([%l_]+)"' do
      if not page:find("| `" .. kind .. "` |", 1, true) then missing[#missing + 1] = kind end
    end
    assert.are.same({}, missing)
  end)

  it("have valid Lua in every lua block", function()
    local pages = { "README.md" }
    for _, name in ipairs(sorted_names("docs", "^(.+%.md)$")) do pages[#pages + 1] = "docs/" .. name end
    local bad = {}
    for _, path in ipairs(pages) do
      for block in (read(path) or ""):gmatch "\n```lua\n(.-)\n```" do
        local chunk, why = load(block, "=" .. path)
        -- "…" stands for what the reader fills in
        if not chunk and not block:find "…" then bad[#bad + 1] = why .. "\n" .. block end
      end
    end
    assert.are.same({}, bad)
  end)

  it("can all be reached from the README", function()
    local readme, lost = read "README.md", {}
    for _, name in ipairs(sorted_names("docs", "^(.+%.md)$")) do
      -- status.md is a working list of those who change perigee: nothing for readers, so no page leads there.
      if name == "status.md" then
        assert.is_nil(readme:find("docs/status.md", 1, true))
      elseif not readme:find("(docs/" .. name .. ")", 1, true) then lost[#lost + 1] = name end
    end
    assert.are.same({}, lost)
  end)

  it("link only to files and headings that exist", function()
    local function anchors(text)
      local set = {}
      for heading in ("\n" .. text):gmatch "\n#+ ([^\n]+)" do
        set[heading:lower():gsub("[^%w%s_-]", ""):gsub("%s", "-")] = true
      end
      return set
    end
    local bad = {}
    for _, path in ipairs { "README.md", "CONTRIBUTING.md", table.unpack(sorted_names("docs", "^(.+%.md)$")) } do
      local full = (read(path) and path) or "docs/" .. path
      local text = read(full) or ""
      local folder = full:match "^(.*/)" or ""
      for target in text:gmatch "%]%(([^)%s]+)%)" do
        if not target:find "^%a+://" then
          local file, anchor = target:match "^([^#]*)#?(.*)$"
          local other = file == "" and text or read(folder .. file)
          if file ~= "" and not other and lfs.attributes(folder .. file, "mode") == "directory" then other = "" end
          if not other then
            bad[#bad + 1] = full .. ": " .. target
          elseif anchor ~= "" and not anchors(other)[anchor] then
            bad[#bad + 1] = full .. ": no heading " .. target
          end
        end
      end
    end
    assert.are.same({}, bad)
  end)
end)
