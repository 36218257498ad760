-- perigee.repl_show: values and errors as people read them at the prompt.  -- internal

local repl_show = {}

--- values: of table.pack. -> text, "" or ending with a line end
function repl_show.values(values)
  local lines = {}
  for i = 1, values.n do lines[i] = require("perigee.inspect")(values[i]) .. "\n" end
  return table.concat(lines)
end

--- context: traceback=. -> text
function repl_show.error(err, context)
  return require("perigee.report").render(err, { traceback = context.traceback })
end

return repl_show
