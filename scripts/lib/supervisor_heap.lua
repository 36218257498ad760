-- supervisor_heap.lua - entries in the order in which they want to be woken.  -- internal
--
-- A binary heap that knows where each entry stands (entry.slot), so that one can be moved or taken out.  An entry is
-- in one heap at a time (entry.heap); its time is entry.wake, in seconds of the monotonic clock.

local Heap = {}
Heap.__index = Heap

local function new()
  return setmetatable({ count = 0 }, Heap)
end

local function place(heap, entry, slot)
  heap[slot] = entry
  entry.slot = slot
end

local function rise(heap, entry, slot)
  while slot > 1 do
    local parent = slot // 2
    if heap[parent].wake <= entry.wake then break end
    place(heap, heap[parent], slot)
    slot = parent
  end
  place(heap, entry, slot)
end

local function sink(heap, entry, slot)
  while true do
    local child = slot * 2
    if child > heap.count then break end
    if child < heap.count and heap[child + 1].wake < heap[child].wake then child = child + 1 end
    if heap[child].wake >= entry.wake then break end
    place(heap, heap[child], slot)
    slot = child
  end
  place(heap, entry, slot)
end

--- Takes the entry out, if it is in here.
function Heap:remove(entry)
  if entry.heap ~= self then return end
  local slot, last = entry.slot, self[self.count]
  self[self.count] = nil
  self.count = self.count - 1
  entry.heap, entry.slot = nil, nil
  if last == entry then return end
  if slot > 1 and self[slot // 2].wake > last.wake then rise(self, last, slot) else sink(self, last, slot) end
end

--- Puts the entry in, or moves it: it wants to be woken at that time.
function Heap:set(entry, wake)
  if entry.heap then entry.heap:remove(entry) end
  entry.wake, entry.heap = wake, self
  self.count = self.count + 1
  rise(self, entry, self.count)
end

--- The entry that is due first, or nil.
function Heap:peek()
  return self[1]
end

return { new = new }
