-- promises_spec.lua - docs/promises.md names a test for what it promises: `file`: "sentence". Each of them is there.
local PAGE <const> = "docs/promises.md"

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read "a"
  file:close()
  return text
end

-- True if the file has a test of that sentence; words about its length may follow.
local function has_test(text, sentence)
  for _, word in ipairs { "it", "case" } do
    for found in text:gmatch("%f[%w]" .. word .. '%(%(?"([^"\n]+)"') do
      if found:gsub(" #%w+$", "") == sentence then return true end
    end
  end
  return false
end

-- Rows of the tables of promises: lists of cells. What cannot be promised stands in the last section.
local function promises()
  local rows = {}
  local part = read(PAGE):match "^(.-)\n## What it cannot promise"
  for line in part:gmatch "\n(| [^\n]+)" do
    if not line:find "^| promise |" then
      local cells = {}
      for cell in line:gmatch "| ([^|]+) %f[|]" do cells[#cells + 1] = cell end
      rows[#rows + 1] = cells
    end
  end
  return rows
end

describe("has_test", function()
  it("finds a sentence as a whole, and only where it is a test's", function()
    local text = 'it("is kept #long", function()\nit(("%s is kept"):format(x), f)\ncase("counts", f)\nsubmit("is lost")\n'
    assert.is_true(has_test(text, "is kept"))
    assert.is_true(has_test(text, "%s is kept"))
    assert.is_true(has_test(text, "counts"))
    assert.is_false(has_test(text, "is lost"))
    assert.is_false(has_test(text, "is"))
  end)
end)

describe("docs/promises.md", function()
  it("names a test for each promise", function()
    local rows, bare = promises(), {}
    assert.is_true(#rows > 20)
    for _, cells in ipairs(rows) do
      if #cells ~= 3 or not cells[3]:find '`tests/[%w_/]+%.lua`: "' then bare[#bare + 1] = cells[1] end
    end
    assert.same({}, bare)
  end)

  it("names only tests that are there", function()
    local count, missing = 0, {}
    for path, sentence in read(PAGE):gmatch '`(tests/[%w_/]+%.lua)`: "([^"]+)"' do
      local text = read(path)
      if not text or not has_test(text, sentence) then missing[#missing + 1] = path .. ": " .. sentence end
      count = count + 1
    end
    assert.same({}, missing)
    assert.is_true(count > 30)
  end)

  it("names only files that are there", function()
    local missing = {}
    for path in read(PAGE):gmatch "`([hs]%w+/[%w_/]+%.%l+)`" do
      if not read(path) then missing[#missing + 1] = path end
    end
    assert.same({}, missing)
  end)
end)
