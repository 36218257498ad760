-- kills_spec.lua - kills at random moments, under load and with faults; in between nothing is waited for.
local siege = require "tests.survival.siege"
local task = require "perigee.task"

local KILLS <const> = 5

-- The same moments for the same seed: this machine's speed is random enough.
local function moments(seed)
  local state = seed
  return function()
    state = (state * 1103515245 + 12345) % 2147483648
    return 0.2 + 2 * state / 2147483648
  end
end

describe("five kills at random moments", function()
  it("lose no job, create none twice, and leave money for each that was created #long", function()
    local s <close> = siege.open {
      jobs = { sxwl = 24, train = 8, infer = 16 }, speed = 200, seed = 21,
      faults = "sxwl.create_job:drop_after=5%,sxwl.create_job:fail=10%,*.*:delay(200ms)=10%,*.*:error(503)=3%,"
        .. "deai.create_job:drop_after=5%",
    }
    local moment = moments(21)

    for _ = 1, KILLS do
      s:start()
      task.sleep(moment())
      s:kill()
      assert.same({}, s:audit())
    end
    s:start()
    s:settle(190)

    assert.same({}, s:audit())
  end)
end)
