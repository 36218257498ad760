-- daemon_watch_spec.lua - the daemon notices that files of its policies have changed.
local helper = require "tests.helper"
local task = require "perigee.task"
local watch = require "perigee.daemon_watch"

local INTERVAL <const> = 0.02

local function write(path, text)
  local file <close> = assert(io.open(path, "w"))
  file:write(text)
end

describe("watching files", function()
  local folder, path, changes, watcher

  before_each(function()
    folder = helper.tmpdir()
    path, changes = folder .. "/policy.lua", 0
    write(path, "one")
  end)

  local function start(files)
    watcher = task.spawn(watch.run, function() return files or { [path] = true } end, function() changes = changes + 1 end, INTERVAL)
    finally(function() watcher:cancel() end)
    task.sleep(3 * INTERVAL)
  end

  it("tells one change once", function()
    start()
    write(path, "other")
    helper.eventually(function() return changes == 1 end)
    task.sleep(5 * INTERVAL)

    assert.equal(1, changes)
  end)

  it("waits until a file that is being written stands still", function()
    start()
    for i = 1, 10 do
      write(path, ("x"):rep(i))
      task.sleep(INTERVAL)
    end
    assert.is_true(changes <= 1)
    helper.eventually(function() return changes >= 1 end)
  end)

  it("tells of files that come and go", function()
    start { [folder] = true, [path] = true }
    os.remove(path)
    helper.eventually(function() return changes == 1 end)
    write(path, "again")
    helper.eventually(function() return changes == 2 end)
  end)

  it("tells nothing while nothing changes", function()
    start()
    task.sleep(10 * INTERVAL)

    assert.equal(0, changes)
  end)
end)
