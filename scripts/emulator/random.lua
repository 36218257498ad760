-- random.lua - where the emulator's chance comes from.
--
-- Two things: `random.new(seed)`, a generator (a function returning [0, 1)) for whoever has none, and
-- `random.keyed(generator)`, which turns one into draws by name: the same words give the same number, whatever
-- was drawn in between.  So prices, durations and faults depend on the seed and on what was asked, not on the
-- order in which concurrent tasks happened to ask.  No state is shared, and nothing here reads a clock.

local random = {}

local FNV_OFFSET <const>, FNV_PRIME <const> = 0xcbf29ce484222325, 0x100000001b3

-- The finaliser of splitmix64: every bit of the input reaches every bit of the output.
local function mix(z)
  z = (z ~ (z >> 30)) * 0xbf58476d1ce4e5b9
  z = (z ~ (z >> 27)) * 0x94d049bb133111eb
  return z ~ (z >> 31)
end

local function to_unit(bits)
  return (bits >> 11) * 0x1p-53
end

--- A generator (splitmix64) with a state of its own.
function random.new(seed)
  local state = math.tointeger(seed) or error("random.new: seed must be an integer", 2)
  return function()
    state = state + 0x9e3779b97f4a7c15
    return to_unit(mix(state))
  end
end

--- draw(word, …) -> [0, 1), always the same for the same words.  Takes two numbers from the generator, once.
function random.keyed(generator)
  local high, low = math.floor(generator() * 0x1p32), math.floor(generator() * 0x1p32)
  local salt = high << 32 | low
  return function(...)
    local hash = FNV_OFFSET ~ salt
    for i = 1, select("#", ...) do
      local word = tostring((select(i, ...)))
      for k = 1, #word do
        hash = (hash ~ word:byte(k)) * FNV_PRIME
      end
      hash = (hash ~ 0x1f) * FNV_PRIME -- a separator: ("ab", "c") is not ("a", "bc")
    end
    return to_unit(mix(hash))
  end
end

return random
