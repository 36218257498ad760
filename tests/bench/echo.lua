-- echo.lua - 1,000 tasks that print 100 lines each second in all, above a prompt: see echo.c.
local editor = require "perigee.core.editor"
local task = require "perigee.task"

local TASKS <const>, EACH <const> = 1000, 10

local ed <close> = editor.open()
for i = 1, TASKS do
  task.detach(function()
    task.sleep(i * EACH / TASKS)
    while true do
      print(("%04d 0123456789 0123456789 0123456789"):format(i))
      task.sleep(EACH)
    end
  end)
end
while ed:read { prompt = "> " } do end
os.exit(0)
