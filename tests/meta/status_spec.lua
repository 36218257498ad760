-- status_spec.lua - docs/status.md claims nothing without a test: each ticked line names one, and each named one exists.
local lfs = require "lfs"

local function rows()
  local list = {}
  for line in io.lines "docs/status.md" do
    local done, what, how = line:match "^| %[([ x])%] | (.-) | (.-) ?| .-|$"
    if done then list[#list + 1] = { done = done == "x", what = what, how = how } end
    assert(done or not line:find "^| %[", "no row of four columns: " .. line)
  end
  return list
end

-- Words that stand for files of the tests: "tests/cli/run_spec", then "usage_spec.lua" of the same folder, "test_spend".
local function missing_of(how)
  local folder, missing = nil, {}
  for word in how:gmatch "[%w_./-]+" do
    word = word:gsub("[.]$", "")
    local own = word:match "^(tests/.+/)[^/]+$"
    folder = own or folder
    local is_test = own or word:find "_spec$" or word:find "_spec%.lua$" or word:find "^test_" or word:find "^fuzz_"
    if is_test and not word:find "%*" then
      local path = own and word or (folder or "tests/c/") .. word
      local found = false
      for _, ending in ipairs { "", ".lua", ".c" } do found = found or lfs.attributes(path .. ending) ~= nil end
      if not found then missing[#missing + 1] = path end
    end
  end
  return missing
end

describe("docs/status.md", function()
  it("has the lines of the first slice", function()
    assert.is_true(#rows() > 100)
  end)

  it("ticks no line without saying how it is tested", function()
    local bare = {}
    for _, row in ipairs(rows()) do
      if row.done and not (row.how:find "tests/" or row.how:find "%.ci/run" or row.how:find "make bench") then
        bare[#bare + 1] = row.what
      end
    end
    assert.are.same({}, bare)
  end)

  it("names only tests that exist", function()
    local missing = {}
    for _, row in ipairs(rows()) do
      for _, path in ipairs(missing_of(row.how)) do missing[#missing + 1] = row.what .. ": " .. path end
    end
    assert.are.same({}, missing)
  end)
end)
