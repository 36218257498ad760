-- Lines typed at a terminal: what the screen shows, and what the program gets.
local editing = require "tests.support.editing"
local screen = require "tests.support.screen"
local spawn = require "tests.support.spawn"

local start = editing.start

local describe_screen = screen.describe(describe, pending)

-- The rows from the last that matches on.
local function below(s, pattern)
  local rows = s:rows()
  for i = #rows, 1, -1 do
    if rows[i]:find(pattern) then return table.concat(rows, "\n", i) end
  end
end

describe_screen("the line editor", function()
  it("takes lines, also of wide and of composed characters", function()
    local s <close> = start()
    s:type "hello\n"
    s:wait_for 'got "hello"\n>'
    s:type "你好世界x"
    s:keys("Left", "Left", "BSpace")
    s:type "é"
    s:wait_for "> 你好é界x\n"
    assert.same({ 3, 8 }, { s:cursor() })
    s:keys "Enter"
    s:wait_for 'got "你好é界x"'
  end)

  it("keeps the line and the cursor while tasks print, also when it wraps", function()
    local s <close> = start { columns = 30, rows = 12 }
    s:type '!for i = 1, 200 do print("row " .. i) task.sleep(0.02) end\n'
    s:type "a line of 写字 that goes on and on to a third row, it is so long"
    s:keys("M-b", "M-b", "M-b")
    s:wait_for "row 200\n"
    assert.equal("row 200\n> a line of 写字 that goes on\nand on to a third row, it is s\no long", below(s, "^row 200"))
    local row, column = s:cursor()
    assert.same({ 11, 27 }, { row, column })
    s:type "X\n"
    s:wait_for('that goes on and on to a third row, it Xis so long"', { all = true })
    local text = s:text()
    for i = 1, 200 do assert.truthy(text:find("\nrow " .. i .. "\n", 1, true), "row " .. i .. " is missing") end
  end)

  it("counts no cells for the colours of a prompt", function()
    local s <close> = start { columns = 20 }
    s:type '=prompt = "\\27[1;32mgreen>\\27[0m "\n'
    s:wait_for "green>\n$"
    s:type "123456789012345"
    s:wait_for "green> 1234567890123\n45\n"
    s:keys "Home"
    s:wait_for(function() local _, column = s:cursor() return column == 8 end)
    s:keys("End", "BSpace", "BSpace", "Enter")
    s:wait_for('got "1234567890123"', { all = true })
  end)

  it("shows controls in a prompt as escapes", function()
    local s <close> = start()
    s:type '=prompt = "a\\27]0;title\\7b "\n'
    s:wait_for "a\\x1b%]0;title\\x07b\n$"
  end)

  it("draws the line again when the size changes while output comes", function()
    local s <close> = start { columns = 60, rows = 16 }
    s:type '!for i = 1, 1000 do print("row " .. i) task.sleep(0.01) end\n'
    s:type "this line is longer than the sixty cells of a row, and wraps 一次"
    for _, columns in ipairs { 30, 70, 25, 40 } do
      s:resize(columns, 16)
      s:wait_for(function(text)
        local line = text:match "\n> (this line.*)$"
        return line and line:gsub("\n", "") == "this line is longer than the sixty cells of a row, and wraps 一次"
      end, { name = "the line, whole, at " .. columns })
    end
    s:keys "Enter"
    s:wait_for('got "this line is longer than the sixty cells of a row, and wraps 一次"', { all = true })
    s:wait_for("row 300\n", { all = true })
  end)

  it("recalls a block of several lines whole, under output", function()
    local s <close> = start { columns = 40 }
    s:type '=ed:set_history { "first", "for i = 1, 2 do\\n  print(i)\\nend" }\n'
    s:type '!task.sleep(0.5) for i = 1, 5 do print("row " .. i) end\n'
    s:keys("Up")
    s:wait_for "row 5\n> for i = 1, 2 do\n  print%(i%)\nend\n$"
    s:keys("Up")
    s:wait_for "row 5\n> first\n$"
    s:keys("Down", "Enter")
    s:wait_for 'got "for i = 1, 2 do\\'
  end)

  it("searches the history, and an arrow takes what was found", function()
    if not spawn.run({ "--version" }).stdout:find("readline", 1, true) then
      return pending "libedit's search would hold the loop up, and is unbound"
    end
    local s <close> = start()
    s:type '=ed:set_history { "alpha one", "beta two", "gamma" }\n'
    s:keys "C-r"
    s:type "lpha"
    s:wait_for "%(reverse%-i%-search%)`lpha': alpha one\n"
    s:keys "Right"
    s:wait_for "\n> alpha one\n$"
    s:keys("Enter")
    s:wait_for "\n>\n$"
    s:keys("C-r")
    s:type "eta"
    s:wait_for "`eta': beta two\n"
    s:keys "Enter"
    s:wait_for '\n> beta two\ngot "beta two"\n>\n$'
  end)

  it("keeps a question of several rows in one piece while tasks print", function()
    local s <close> = start { columns = 30, rows = 16 }
    s:type '!task.sleep(0.5) for i = 1, 5 do print("row " .. i) task.sleep(0.2) end\n'
    s:type '!print("answer", ed:ask { prompt = "a job of 写字, which has a row that wraps\\n  price 3 CNY\\nPay? " })\n'
    s:wait_for "row 5\na job of 写字, which has a row\n that wraps\n  price 3 CNY\nPay%?\n$"
    local _, shown = s:text():gsub("\n  price 3 CNY\n", "")
    assert.equal(1, shown)
    s:type "yes\n"
    s:wait_for "Pay%? yes\nanswer +yes\n>\n$"
  end)

  it("takes a paste as one text, its tabs and line ends with it", function()
    local s <close> = start()
    s:paste "function f()\n\treturn 1\nend"
    s:wait_for "> function f%(%)\n.*return 1\nend\n$"
    s:keys "Enter"
    s:wait_for('got "function f()\\\n', { plain = true })
    s:wait_for('return 1\\\nend"', { plain = true })
    local long = {}
    for i = 1, 2000 do long[i] = "line " .. i .. " of a long script" end
    s:type "=prompt = 'again> '\n"
    s:wait_for "again>\n$"
    s:paste(table.concat(long, "\n"))
    s:keys "Enter"
    s:wait_for "line 2000 of a long script\"\nagain>\n$"
  end)

  it("keeps what is typed while nothing is read, and shows it then", function()
    local s <close> = start()
    s:type "=task.sleep(1)\none\ntwo"
    assert.is_nil(s:text():find "one")
    s:wait_for '\n> one\ngot "one"\n> two\n$'
  end)

  it("reads without showing what is typed", function()
    local s <close> = start()
    s:type "=hidden = true prompt = 'Password: '\n"
    s:wait_for "Password:\n$"
    s:type "hush\n"
    s:wait_for 'Password:\ngot "hush"\nPassword:\n$'
  end)
end)

describe_screen("Tab", function()
  it("inserts the one, what several have in common, and lists them at the second", function()
    local s <close> = start { columns = 40, rows = 20 }
    s:type '=words = { "print", "printf", "prefix", "zwölf" } for i = 1, 300 do words[#words + 1] = "many_" .. i end\n'
    s:type "zw"
    s:keys "Tab"
    s:wait_for "> zwölf\n$"
    s:keys "C-u"
    s:type "x(p"
    s:keys "Tab"
    s:wait_for "> x%(pr\n$"
    s:keys "Tab"
    s:wait_for "\nprefix  print   printf\n> x%(pr\n$"
    s:keys "C-u"
    s:type "m"
    s:keys("Tab")
    s:wait_for "> many_\n$"
    s:keys "Tab"
    s:wait_for "\nmany_1 +many_%d+ +many_%d+ +many_%d+\n.*\n… and %d+ more\n> many_\n$"
  end)

  it("comes before what is typed after it", function()
    local s <close> = start()
    s:type '=words, pause = { "print" }, 0.1\n'
    s:type "pr"
    s:keys("Tab", "(", "1", ")", "Enter")
    s:wait_for '\n> print%(1%)\ngot "print%(1%)"\n'
  end)

  it("changes nothing when the line has changed meanwhile", function()
    local s <close> = start()
    s:type '=words, slow = { "print" }, 1\n'
    s:type "pr"
    s:keys "Tab"
    s:type "x"
    s:wait_for "asked about pr\nanswered\n> prx\n$"
  end)

  it("indents at the start of a row of a block", function()
    local s <close> = start()
    s:paste "do\n"
    s:keys "Tab"
    s:type " "
    s:keys "Tab"
    s:type "x\n"
    s:wait_for 'got "do\\\n     x"'
  end)
end)
