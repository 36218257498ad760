-- closed_patterns_spec.lua - patterns matched in Lua give what the C library gives.
local slow = require "perigee.closed_patterns"(string.find)

local SUBJECTS <const> = { "", "abc", "hello world  foo", "key = value; k2=v2", "((a)(b(c)))x", "THE (quick) fox", "aaa\0bbb",
  "  trim me ", "a.b-c", "x^y$z", "日本 語", "abcabc", "  ", "%d" }
local PATTERNS <const> = { "", "%w*", "%w+", "(%w+)", "()%w", "(%w+)%s*=%s*(%w+)", "%b()", "%f[%a]%a+", "(.)%1", "^%s*(.-)%s*$",
  "[^%w]", "[]]", "[a-c]+", "a?b?c", "x?", "-", "%-", "^a", "$", "a$", ".", ".-", "(a)(b)(c)", "%%", "[%]x]", "(%w)(%w)", "%s+",
  "^", "^x^y", "l+", "()", "(()a)", "b*", "%f[%W]", "(%w+) (%w+)", "[%a_][%w_]*", "a-b", "[^]]" }

local function same(what, s, p, expected, got)
  for i = 1, math.max(expected.n, got.n) do
    assert.equal(expected[i], got[i], ("%s(%q, %q), result %d"):format(what, s, p, i))
  end
end

local function each(f)
  for _, s in ipairs(SUBJECTS) do
    for _, p in ipairs(PATTERNS) do f(s, p) end
  end
end

describe("patterns matched in Lua", function()
  it("find and match the same places", function()
    each(function(s, p)
      for _, init in ipairs { 1, 3, -2, 100 } do
        same("find", s, p, table.pack(s:find(p, init)), table.pack(slow.find(s, p, init)))
        same("match", s, p, table.pack(s:match(p, init)), table.pack(slow.match(s, p, init)))
      end
    end)
  end)

  it("go through the same matches", function()
    local function all(gmatch, s, p)
      local found = {}
      for a, b in gmatch(s, p) do found[#found + 1] = ("%s %s"):format(a, b) end
      return { n = 1, table.concat(found, ";") }
    end
    each(function(s, p) same("gmatch", s, p, all(string.gmatch, s, p), all(slow.gmatch, s, p)) end)
  end)

  it("replace the same", function()
    local function join(a, b) return b and a .. "+" .. b end
    for _, replacement in ipairs { "<%0>", "%1", "x", join, { a = "A", hello = "bye" } } do
      each(function(s, p)
        same("gsub", s, p, table.pack(s:gsub(p, replacement)), table.pack(slow.gsub(s, p, replacement)))
        same("gsub", s, p, table.pack(s:gsub(p, replacement, 2)), table.pack(slow.gsub(s, p, replacement, 2)))
      end)
    end
  end)

  it("refuse what is no pattern", function()
    for _, pattern in ipairs { "[a", "%", "(a", "%f", "%b", "%a)", "%1" } do
      assert.is_false((pcall(string.find, "abc", pattern)))
      assert.is_false((pcall(slow.find, "abc", pattern)), pattern)
    end
  end)
end)
