-- service_docs_spec.lua - docs and editor stubs say what the tables of operations say.
local core = require "perigee.core.ops"
local tables = require "tests.meta.service_tables"

describe("docs and stubs of the services", function()
  for _, file in ipairs(tables.files()) do
    it("agree with the table of operations in " .. file.path, function()
      local now = tables.between(file)
      assert.is_true(now == file.text, file.path .. " differs from the table: run `make docs`")
    end)
  end

  it("name each operation that scripts can call as a method of the client", function()
    for _, service in ipairs(tables.services) do
      local handle = assert(io.open(("scripts/stubs/perigee/%s.lua"):format(service)))
      local stub = handle:read "a"
      handle:close()
      for _, operation in ipairs(core.describe(service).operations) do
        local name = operation.name:gsub("^estimate_cnn$", "estimate"):gsub("^estimate_lstm$", "estimate")
        if operation.effect ~= "login" then assert.truthy(stub:find("Client:" .. name .. "(", 1, true), name) end
      end
    end
  end)
end)

describe("the tables of operations", function()
  it("have a text for each field, and a mark that says where it is known from", function()
    for _, service in ipairs(tables.services) do
      for _, operation in ipairs(core.describe(service).operations) do
        assert.truthy(operation.doc, operation.name)
        for _, field in ipairs(operation.fields) do
          assert.truthy(field.doc and field.doc ~= "", operation.name .. "." .. field.name)
          assert.truthy(("DSI"):find(field.mark, 1, true), operation.name .. "." .. field.name)
        end
      end
    end
  end)

  it("spell no option of ours like a field of the service", function()
    for _, service in ipairs(tables.services) do
      local all = core.describe(service)
      local by_name = {}
      for _, operation in ipairs(all.operations) do
        by_name[operation.name] = operation
        for _, field in ipairs(operation.fields) do
          for _, option in ipairs(operation.options) do assert.not_equal(field.name, option) end
        end
      end
      for _, compound in ipairs(all.compounds) do
        for _, part in ipairs(compound.parts) do
          for _, field in ipairs(by_name[part].fields) do
            for _, option in ipairs(compound.options) do assert.not_equal(field.name, option) end
          end
        end
      end
    end
  end)
end)
