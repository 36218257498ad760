-- perigee.paging: one reading of a service's list, page after page.  -- internal
--
-- A service may give fewer rows than it was asked for, leave out how many there are, or always give the same page.  So
-- a short page is no end: the end is that all rows that it counts were seen, or a page with none.  What a reading that
-- is not complete does not show may be there all the same.

local paging = {}

local reading = {}
reading.__index = reading

--- A reading that asks for `size` rows at once: ask for page .number of .size rows, and give what came to take().
function paging.open(size, number)
  number = number or 1
  return setmetatable({
    size = size, number = number, from = number, seen = (number - 1) * size, complete = false, ended = false,
  }, reading)
end

--- The rows of page .number came.  total: how many the service says there are, or nil; mark(row), or nil: what tells
--- rows apart; last: the service says for sure that there is no other page.  False if it is the first page once more.  Then
--- .ended says that there is nothing more to ask for, and .complete whether everything was seen.
function reading:take(rows, total, mark, last)
  local marks = mark and rows[1] and ("%s %s %d"):format(mark(rows[1]), mark(rows[#rows]), #rows)
  if marks and marks == self.marks then
    self.ended = true
    return false
  end
  self.seen = self.seen + #rows
  if total then
    self.complete = self.seen >= total
  else
    self.complete = last or #rows == 0
  end
  self.ended = self.complete or #rows == 0
  if self.number == self.from then
    self.marks = marks
    if self.from == 1 and #rows > 0 and #rows < self.size then self.size = #rows end -- perhaps it gives no more at once
  end
  self.number = self.number + 1
  return true
end

return paging
