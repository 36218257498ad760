-- perigee.daemon_watch: notices that files have changed, by looking at them every two seconds.  -- internal
-- A change counts once it stands still for a look, so that a file that is being written is not read half.

local fs = require "perigee.fs"
local task = require "perigee.task"

local watch = {}

local INTERVAL <const> = 2

-- What a file looks like from outside; nothing for one that is not there.
local function print_of(path)
  local ok, stat = pcall(fs.stat, path)
  if not ok or not stat then return "" end
  return ("%s %s"):format(tostring(stat.mtime), tostring(stat.size))
end

--- The look of all files, as one text.
function watch.look(files)
  local names, lines = {}, {}
  for name in pairs(files) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do lines[i] = name .. " " .. print_of(name) end
  return table.concat(lines, "\n")
end

--- Calls changed() after every change of the files; files() -> { path = true }. Ends when its task is cancelled. known:
--- the look of them as they were read.
function watch.run(files, changed, interval, known)
  known = known or watch.look(files())
  local before = known
  while true do
    task.sleep(interval or INTERVAL)
    local now = watch.look(files())
    if now ~= known and now == before then
      changed()
      known = watch.look(files())
      now = known
    end
    before = now
  end
end

return watch
