-- fs_spec.lua - perigee.fs: files, folders, lines and hashes.
local core = require "perigee.core.task"
local fs = require "perigee.fs"
local helper = require "helper"

describe("perigee.fs", function()
  local dir

  before_each(function() dir = helper.tmpdir() end)
  after_each(function() fs.remove(dir, {recursive = true}) end)

  describe("write and read", function()
    it("give back the bytes that were written, whatever they are", function()
      local bytes = {}
      for i = 0, 255 do bytes[#bytes + 1] = string.char(i) end
      local text = table.concat(bytes):rep(2000)

      fs.write(dir .. "/a", text)

      assert.is_true(fs.read(dir .. "/a") == text)
      assert.equal(#text, fs.size(dir .. "/a"))
    end)

    it("leave no other file in the folder, and keep the permissions of one that is replaced", function()
      fs.write(dir .. "/a", "1", {mode = "0640"})
      fs.write(dir .. "/a", "2")

      assert.same({"a"}, fs.list(dir))
      assert.equal("0640", fs.stat(dir .. "/a").mode)
    end)

    it("let other tasks run while the disk works", function()
      local turns, stop = 0, false
      local ticker = core.spawn(function() while not stop do turns = turns + 1 core.sleep(0) end end)

      fs.write(dir .. "/a", ("x"):rep(4 * 1024 * 1024))
      stop = true
      ticker:wait()

      assert.is_true(turns > 0)
    end)

    it("never show a half-written file to a reader", function()
      local path, seen, writing = dir .. "/a", {}, true
      fs.write(path, ("0"):rep(200000))
      local reader = core.spawn(function()
        while writing do
          local text = fs.read(path)
          seen[#seen + 1] = #text == 200000 and text == text:sub(1, 1):rep(200000)
        end
      end)
      for digit = 1, 9 do fs.write(path, tostring(digit):rep(200000)) end
      writing = false
      reader:wait()

      for _, whole in ipairs(seen) do assert.is_true(whole) end
      assert.is_true(#seen > 0)
    end)

    it("refuse a file that is longer than `max`", function()
      fs.write(dir .. "/a", "12345")

      assert.equal("12345", fs.read(dir .. "/a", {max = 5}))
      assert.equal("limit", helper.error_of(fs.read, dir .. "/a", {max = 4}).kind)
    end)

    it("name the system's reason as the code of the error", function()
      local err = helper.error_of(fs.read, dir .. "/missing")

      assert.equal("unavailable", err.kind)
      assert.equal("ENOENT", err.code)
      assert.truthy(tostring(err):find(dir .. "/missing", 1, true))
      assert.equal("EISDIR", helper.error_of(fs.write, dir, "x").code)
    end)
  end)

  it("appends, and makes the file if it is new", function()
    fs.append(dir .. "/log", "a\n", {mode = "600"})
    fs.append(dir .. "/log", "b\n", {sync = true})

    assert.equal("a\nb\n", fs.read(dir .. "/log"))
    assert.equal("0600", fs.stat(dir .. "/log").mode)
  end)

  describe("stat, exists and size", function()
    it("tell what is there", function()
      local before = os.time()
      fs.write(dir .. "/a", "123")

      local stat = fs.stat(dir .. "/a")

      assert.equal("file", stat.type)
      assert.equal(3, stat.size)
      assert.is_true(math.abs(stat.mtime - before) < 100)
      assert.equal("folder", fs.stat(dir).type)
      assert.is_true(fs.exists(dir .. "/a"))
    end)

    it("answer rather than raise when nothing is there, but size raises", function()
      assert.is_nil(fs.stat(dir .. "/missing"))
      assert.is_nil(fs.stat(dir .. "/missing/below"))
      assert.is_false(fs.exists(dir .. "/missing"))
      assert.equal("ENOENT", helper.error_of(fs.size, dir .. "/missing").code)
    end)
  end)

  describe("folders", function()
    it("are made with their parents, once", function()
      assert.is_true(fs.mkdir(dir .. "/a/b/c"))
      assert.is_false(fs.mkdir(dir .. "/a/b/c"))
      assert.equal("folder", fs.stat(dir .. "/a/b/c").type)
    end)

    it("are listed by name, in an order that does not change", function()
      local empty = helper.tmpdir()
      for _, name in ipairs {"b", "a", ".hidden", "B", "a b", "é"} do fs.write(dir .. "/" .. name, "") end

      assert.same({".hidden", "B", "a", "a b", "b", "é"}, fs.list(dir))
      assert.same({}, fs.list(empty))
      fs.remove(empty)
    end)

    it("are removed with what is in them only when told so", function()
      fs.mkdir(dir .. "/a/b")
      fs.write(dir .. "/a/b/file", "x")

      assert.equal("ENOTEMPTY", helper.error_of(fs.remove, dir .. "/a").code)
      assert.is_true(fs.remove(dir .. "/a", {recursive = true}))
      assert.is_false(fs.remove(dir .. "/a"))
    end)

    it("are never removed whole when the path is the root or the current folder", function()
      for _, path in ipairs {"/", ".", "..", "./", "../..", "//"} do
        assert.equal("invalid", helper.error_of(fs.remove, path, {recursive = true}).kind)
      end
    end)
  end)

  it("renames, replacing what had the name", function()
    fs.write(dir .. "/a", "new")
    fs.write(dir .. "/b", "old")

    fs.rename(dir .. "/a", dir .. "/b")

    assert.same({"b"}, fs.list(dir))
    assert.equal("new", fs.read(dir .. "/b"))
  end)

  describe("sha256", function()
    it("of a file is that of its bytes", function()
      local text = ("perigee"):rep(100000)
      fs.write(dir .. "/a", text)

      assert.equal(fs.sha256_text(text), fs.sha256(dir .. "/a"))
      assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", fs.sha256_text "abc")
      assert.equal("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", fs.sha256_text "")
    end)
  end)

  it("makes a path absolute without looking whether anything is there", function()
    local here = require("lfs").currentdir()

    assert.equal("/x/y", fs.absolute "/x/y")
    assert.equal(here .. "/none/x", fs.absolute "./none/x")
    assert.equal(here .. "/../x", fs.absolute "../x")
  end)

  describe("lines", function()
    local function lines_of(text)
      fs.write(dir .. "/lines", text)
      local lines = {}
      for line in fs.lines(dir .. "/lines") do lines[#lines + 1] = line end
      return lines
    end

    it("come one by one without their line feed, the last one with or without", function()
      assert.same({"one", "", "three"}, lines_of "one\n\nthree\n")
      assert.same({"one", "two"}, lines_of "one\ntwo")
      assert.same({}, lines_of "")
      assert.same({""}, lines_of "\n")
      assert.same({"a\r", "b\0c"}, lines_of "a\r\nb\0c\n")
    end)

    it("are the same when they cross the pieces that are read", function()
      local wanted = {}
      for i = 1, 5000 do wanted[i] = (tostring(i) .. ","):rep(i % 60) end

      assert.same(wanted, lines_of(table.concat(wanted, "\n") .. "\n"))
    end)

    it("end with the loop that reads them, and close the file then", function()
      fs.write(dir .. "/lines", ("x\n"):rep(100000))
      local function open_files() return #fs.list "/proc/self/fd" end
      local before = open_files()
      collectgarbage "stop" -- closing must not depend on it

      for _ in fs.lines(dir .. "/lines") do break end
      local after = open_files()
      collectgarbage "restart"

      assert.equal(before, after)
    end)

    it("longer than 1 MB are refused instead of filling the memory", function()
      local err = helper.error_of(lines_of, "short\n" .. ("x"):rep(3 * 1024 * 1024))

      assert.equal("limit", err.kind)
      assert.truthy(err.message:find("line 2", 1, true))
    end)
  end)

  describe("a wait on a file", function()
    it("can be cancelled, and what was being written is there whole or not at all", function()
      local path = dir .. "/a"
      for i = 1, 30 do
        local writer = core.spawn(function() fs.write(path, ("x"):rep(100000)) end)
        core.sleep(0)
        writer:cancel("enough")
        pcall(writer.wait, writer)
        local ok, text = pcall(fs.read, path)
        assert.is_true(not ok or #text == 100000, "round " .. i)
        fs.remove(path)
      end
      -- a job that ran on has left its temporary file for a moment only
      helper.eventually(function() return #fs.list(dir) <= 1 end)
    end)
  end)

  describe("misuse", function()
    it("is refused before anything is done, naming what is wrong", function()
      for _, case in ipairs {
        {"path", fs.read, nil}, {"path", fs.read, 7}, {"path", fs.write, "", "x"},
        {"path", fs.read, "a\0b"}, {"text", fs.write, dir .. "/a", 5}, {"mode", fs.write, dir .. "/a", "x", {mode = 600}},
        {"mode", fs.write, dir .. "/a", "x", {mode = "999"}}, {"recursive", fs.remove, dir .. "/a", {recursiv = true}},
        {"max", fs.read, dir .. "/a", {max = -1}}, {"text", fs.sha256_text, nil},
      } do
        local err = helper.error_of(table.unpack(case, 2, 5))
        assert.equal("invalid", err.kind, tostring(err))
        assert.truthy(tostring(err):find(case[1], 1, true), tostring(err))
      end
      assert.same({}, fs.list(dir))
    end)
  end)
end)
