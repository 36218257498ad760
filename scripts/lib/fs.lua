-- fs.lua - perigee.fs: files without stopping other tasks.
--
-- Every function but sha256_text and absolute waits: the work is done on a pool of threads.  What goes wrong raises an
-- error of kind `unavailable` whose code is the system's ("ENOENT", "EACCES"); what may well be missing
-- (stat, exists, remove) is answered instead.
local core = require "perigee.core.fs"
local new_error = require "perigee.error".new

local fs = {
  read = core.read,
  write = core.write,
  append = core.append,
  stat = core.stat,
  list = core.list,
  mkdir = core.mkdir,
  remove = core.remove,
  rename = core.rename,
  sha256 = core.sha256,
  sha256_text = core.sha256_text,
  absolute = core.absolute,
}

local PIECE = 64 * 1024
local LONGEST_LINE = 1024 * 1024

--- True if there is something under the path; a link that points nowhere is nothing.
function fs.exists(path)
  return core.stat(path) ~= nil
end

--- Bytes of the file; raises if there is none.
function fs.size(path)
  local stat = core.stat(path)
  if not stat then
    error(new_error {kind = "unavailable", code = "ENOENT", message = "there is no " .. tostring(path)}, 0)
  end
  return stat.size
end

--- for line in fs.lines(path) do … end: lines without their line feed, read in pieces while the loop runs.
function fs.lines(path)
  local file = core.open(path)
  local text, at, count = "", 1, 0
  local function next_line()
    while true do
      local feed = text:find("\n", at, true)
      if feed or not file then
        local line = text:sub(at, feed and feed - 1)
        if not feed and line == "" then return nil end
        at = feed and feed + 1 or #text + 1
        count = count + 1
        return line
      end
      if #text - at >= LONGEST_LINE then
        error(new_error {kind = "limit", code = "too_long",
          message = ("%s: line %d is longer than 1 MB"):format(path, count + 1)}, 0)
      end
      local piece = file:read(PIECE)
      if not piece then
        file:close()
        file = nil
      end
      text, at = text:sub(at) .. (piece or ""), 1
    end
  end
  return next_line, nil, nil, file
end

return fs
