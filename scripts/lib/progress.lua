-- perigee.progress: how far a long piece of work is.
-- On a terminal a bar at the bottom, which print and log lines do not disturb; elsewhere a plain line now
-- and then, and one at the end.  A bar is a <close> value: leaving the block ends it.

local core = require "perigee.core.term"
local errors = require "perigee.error"

local progress = {}

local Bar = {}
Bar.__index = Bar
Bar.__name = "perigee.progress"

local function check_open(self)
  if not self.core then errors.invalid "progress: the bar is finished" end
end

--- progress.new{label=, total=, unit=}: total may be left out and told later; unit "bytes" shows kB, MB, GB.
function progress.new(options)
  return setmetatable({ core = core.bar(options or {}), count = 0 }, Bar)
end

--- Things done so far, and the total when it is known only now.
function Bar:set(done, total)
  check_open(self)
  self.core:set(done, total)
  self.count = done
end

--- n more are done (default 1).
function Bar:add(n)
  self:set(self.count + (n or 1))
end

--- Another label.
function Bar:label(text)
  check_open(self)
  self.core:label(text)
end

local function finish(self, failed, note)
  check_open(self)
  local bar = self.core
  self.core = nil
  bar:finish(failed, note)
end

--- The work is done; the last line stays. note: a few words behind it.
function Bar:done(note) finish(self, false, note) end

--- The work ended before its end.
function Bar:fail(note) finish(self, true, note) end

function Bar:__close(err)
  if self.core then finish(self, err ~= nil) end
end

--- for item in progress.each(list, {label=, unit=}): a bar over a list.
function progress.each(list, options)
  local all = { total = #list }
  for key, value in pairs(options or {}) do
    all[key] = value
  end
  local bar = progress.new(all)
  local i = 0
  local function next_item()
    if i > 0 then bar:set(i) end
    i = i + 1
    return list[i]
  end
  return next_item, nil, nil, bar
end

return progress
