-- perigee.histogram: how often a value fell where, in few numbers.  -- internal

local histogram = {}
histogram.__index = histogram

--- bounds: upper ends in growing order; what is above the last falls into a bucket of its own.
function histogram.new(bounds)
  local h = { bounds = bounds, counts = {}, sum = 0, count = 0 }
  for i = 1, #bounds + 1 do h.counts[i] = 0 end
  return setmetatable(h, histogram)
end

--- Counts a value.
function histogram:observe(value)
  local i = 1
  while self.bounds[i] and value > self.bounds[i] do i = i + 1 end
  self.counts[i] = self.counts[i] + 1
  self.sum = self.sum + value
  self.count = self.count + 1
end

return histogram
