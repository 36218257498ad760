-- task_core_spec.lua - the eleven rules of tasks, one by one.
local core = require "perigee.core.task"

describe("a wait", function()
  it("gives the results of the operation it waited for", function()
    local child = core.spawn(function(a) core.sleep(0.001) return a, nil, 3 end, "x")

    local results = table.pack(child:wait())

    assert.same({"x", nil, 3, n = 3}, results)
  end)
end)
