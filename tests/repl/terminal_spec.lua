-- terminal_spec.lua - the prompt at a real terminal: what is typed stays whole, whatever else goes on.
local fs = require "perigee.fs"
local helper = require "tests.helper"
local proc = require "perigee.core.proc"
local screen = require "tests.support.screen"
local spawn = require "tests.support.spawn"
local describe = screen.describe(describe, pending)

-- What only GNU readline does; libedit has no search that could be used here, and other row ends for wide characters.
local function with_readline(name, body)
  if spawn.run({ "--version" }).stdout:find("readline", 1, true) then return it(name, body) end
  return pending(name)
end

-- A prompt on a screen. options: those of the screen, and `args`.
local function prompt(options)
  options = options or {}
  local args = { "repl", table.unpack(options.args or { "--state", ":memory:" }) }
  local s = screen.perigee(args, options)
  s:wait_for((options.prompt or "perigee>") .. "\n$")
  return s
end

-- Starts a task of the background that prints n lines, so that typing and printing overlap.
local function start_ticks(s, n, text)
  s:type(("for i = 1, %d do task.sleep(0.01) print(('%s %%d.'):format(i)) end &\n"):format(n, text or "tick"))
  s:wait_for("%[1%] started", { all = true })
end

-- All n lines are there, each whole, in their order.
local function check_ticks(s, n, text)
  s:wait_for(("\n%s %d%%.\n"):format(text or "tick", n), { all = true })
  local seen = 0
  for line in s:text():gmatch "[^\n]+" do
    local number = line:match("^" .. (text or "tick") .. " (%d+)%.$")
    if number then
      seen = seen + 1
      assert.are.equal(seen, tonumber(number), s:text())
    end
  end
  assert.are.equal(n, seen, s:text())
end

local function type_slowly(s, text)
  for _, code in utf8.codes(text) do s:type(utf8.char(code)) end
end

describe("The prompt, while tasks print,", function()
  it("keeps the line that is typed whole, below all output", function()
    local s <close> = prompt { rows = 12 }
    start_ticks(s, 60)
    type_slowly(s, "'typed while tasks print'")
    check_ticks(s, 60)
    s:wait_for "perigee> 'typed while tasks print'\n$"
    s:keys "Enter"
    s:wait_for '\n"typed while tasks print"\nperigee>\n$'
  end)

  it("keeps a line that wraps over rows, and the cursor in its middle", function()
    local s <close> = prompt { columns = 40, rows = 20 }
    start_ticks(s, 60)
    local text = "'" .. ("0123456789"):rep(9) .. "'"
    s:type(text)
    s:keys("Left", "Left", "Left")
    s:type "x"
    check_ticks(s, 60)
    local wanted = "perigee> '" .. ("0123456789"):rep(8) .. "01234567x89'"
    s:wait_for(function(all) return all:sub(-#wanted - 1) == wanted .. "\n" end, { all = true, name = wanted })
    s:keys "Enter"
    s:wait_for('\n"' .. ("0123456789"):rep(8) .. '01234567x89"\n', { all = true })
  end)

  with_readline("keeps Chinese whole, printed and typed, also where a wide character meets the edge", function()
    local s <close> = prompt { columns = 41, rows = 16 }
    start_ticks(s, 40, "训练")
    type_slowly(s, "'训练数据推理结果模型价格账户余额任务完成'")
    s:keys("BSpace", "BSpace")
    s:type "了'"
    check_ticks(s, 40, "训练")
    -- the cell that was too narrow for a wide character is seen as a blank
    local wanted = "perigee>'训练数据推理结果模型价格账户余额任务完了'\n"
    s:wait_for(function(all) return all:gsub(" ", ""):sub(-#wanted) == wanted end, { all = true, name = wanted })
    s:keys "Enter"
    s:wait_for('\n"训练数据推理结果模型价格账户余额任务完了"\n', { all = true })
  end)

  it("keeps the line when the terminal gets another size", function()
    local s <close> = prompt { columns = 80, rows = 20 }
    -- Prints only once the size is known: tmux tells it a quarter of a second after it has moved what is shown.
    s:type [[do local columns, last = require "perigee.core.term".columns, 80
while true do repeat task.sleep(0.01) until columns() ~= last; last = columns()
for i = 1, 9 do print(("at %d line %d."):format(last, i)) end end end &
]]
    s:wait_for "%[1%] started"
    local text = "'0123456789 0123456789 0123456789 0123456789 0123456789'"
    s:type(text)
    for _, size in ipairs { { 50, 12 }, { 90, 30 }, { 33, 18 }, { 80, 20 } } do
      s:wait_for("6789'\n$", { all = true })
      s:resize(table.unpack(size))
      s:wait_for(("at %d line 9%%.\n"):format(size[1]), { all = true })
      local all = s:text()
      for i = 1, 9 do assert.is_truthy(all:find(("\nat %d line %d.\n"):format(size[1], i), 1, true), all) end
      s:wait_for(function(shown) return shown:sub(-#text - 10) == "perigee> " .. text .. "\n" end, { all = true, name = text })
    end
    s:keys "Enter"
    s:wait_for '\n"0123456789 0123456789 0123456789 0123456789 0123456789"\nperigee>\n$'
  end)

  it("shows lines that are logged, and bars, above it", function()
    local s <close> = prompt { rows = 16, env = { NO_COLOR = "1" } }
    s:type "local bar = progress.new { label = 'upload', total = 3 }; bar:add(); log.warn('careful'); task.sleep(1000) &\n"
    s:wait_for "careful"
    s:type "1 + 1"
    s:wait_for "upload[^\n]* 1 of 3\n.*perigee> 1 %+ 1\n$"
    s:keys "Enter"
    s:wait_for "perigee> 1 %+ 1\n2\n.*perigee>\n$"
  end)
end)

describe("Lines at the prompt", function()
  it("go on until the parser has all of them, and come back as one", function()
    local s <close> = prompt()
    s:type "function f(x)\n  if x then\n    return 'yes'\n  end\nend\n"
    s:wait_for "end\nperigee>\n$"
    s:type "f(1)\n"
    s:wait_for '\n"yes"\nperigee>\n$'
    s:keys("Up", "Up")
    s:wait_for "\nend\n$"
    s:keys("BSpace", "BSpace", "BSpace")
    s:type "return 'no' end\n"
    s:wait_for "return 'no' end\nperigee>\n$"
    s:type "f()\n"
    s:wait_for '\n"no"\nperigee>\n$'
  end)

  it("are taken whole when a script is pasted, and run once", function()
    local s <close> = prompt { rows = 30 }
    local lines = { "local pasted = 0" }
    for i = 1, 200 do lines[#lines + 1] = ("\tpasted = pasted + %d -- 行"):format(i) end
    s:paste(table.concat(lines, "\n"))
    s:keys "Enter"
    s:type "pasted\n"
    s:wait_for "\n20100\nperigee>\n$"
  end)

  with_readline("are found again in the next session, those with a blank in front left out", function()
    local folder = helper.tmpdir()
    local args = { "--state", folder .. "/state" }
    do
      local s <close> = prompt { args = args }
      s:type "'needle ' .. 1\n 'secret of mine'\n'hay'\n"
      s:wait_for '"hay"\nperigee>\n$'
      s:keys "C-d"
      assert.are.equal(0, s:wait_end())
    end
    local s <close> = prompt { args = args }
    repeat -- the history is read beside the prompt
      s:keys "C-r"
      s:wait_for "reverse%-i%-search"
      s:type "needle"
      local found = s:wait_for "([^\n]*)reverse%-i%-search[^\n]*needle'" == "("
      if not found then s:keys "C-c" s:wait_for "perigee>\n$" end
    until found
    s:keys "Enter"
    s:wait_for '\n"needle 1"\nperigee>\n$'
    assert.is_nil(fs.read(folder .. "/state/repl_history"):find("mine", 1, true))
    assert.are.equal("0600", fs.stat(folder .. "/state/repl_history").mode)
  end)

  it("are completed by Tab, and what is possible is listed above", function()
    local s <close> = prompt { rows = 30 }
    s:type "task.sl"
    s:keys "Tab"
    s:wait_for "perigee> task%.sleep"
    s:keys("C-a", "C-k")
    s:type "task.s"
    s:keys("Tab", "Tab")
    s:wait_for "sleep.*spawn.*\nperigee> task%.s\n$"
    s:type "pa"
    s:keys "Tab"
    s:wait_for "perigee> task%.spawn"
  end)
end)

describe("Ctrl-C", function()
  with_readline("throws away a line, a block and a search, and does nothing to an empty prompt", function()
    local s <close> = prompt()
    s:keys "C-c"
    s:wait_for "perigee>[^\n]*\nperigee>\n$"
    s:type "error 'half"
    s:wait_for "half"
    s:keys "C-c"
    s:wait_for "half^C\nperigee>\n$"
    s:type "function f()\n"
    s:wait_for "%.%.\n$"
    s:type "error()"
    s:wait_for "%.%. error%(%)"
    s:keys "C-c"
    s:wait_for "%^C\nperigee>\n$"
    s:type "'kept'\n"
    s:wait_for '\n"kept"\nperigee>\n$'
    s:keys "C-r"
    s:wait_for "reverse%-i%-search"
    s:keys "C-c"
    s:wait_for "perigee>\n$"
    s:type "1 + 1\n"
    s:wait_for "\n2\nperigee>\n$"
  end)

  it("stops what waits and what computes, and leaves the other tasks alone", function()
    local s <close> = prompt()
    s:type "task.sleep(1000) &\n"
    s:wait_for "%[1%] started"
    for _, text in ipairs { "task.sleep(1000)", "while true do end", "pcall(function() while true do task.sleep(1) end end)" } do
      s:type(text .. "\n")
      s:wait_for(text:gsub("%p", "%%%0") .. "\n$")
      s:wait_running()
      s:keys "C-c"
      s:wait_for(text:gsub("%p", "%%%0") .. "\n.*\nperigee>\n$")
      s:type "'here'\n"
      s:wait_for '"here"\nperigee>\n$'
    end
    s:type ":tasks\n"
    s:wait_for "1[^\n]*task%.sleep%(1000%)[^\n]*\n.*perigee>\n$"
  end)

  it("at the question of a paid call means no", function()
    local folder = helper.tmpdir()
    fs.write(folder .. "/config.lua", 'return { sxwl = { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" } } }',
      { mode = "0600" })
    local s <close> = prompt { columns = 110, rows = 30, args = { "--emulator" }, prompt = "emulator>",
      env = { PERIGEE_CONFIG = folder .. "/config.lua" } }
    s:type [[sxwl:create_job { gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "r/t:1", jobType = "GeneralJob",
ckptPath = "/c", ckptVol = 10, modelPath = "/m", modelVol = 10, stopType = 1, stopTime = 30 }
]]
    s:wait_for "3%.5 CNY.*%?[^\n]*\n$"
    s:keys "C-c"
    s:wait_for "\nemulator>\n$"
    s:type "#sxwl:jobs():all()\n"
    s:wait_for "\n0\nemulator>\n$"
  end)
end)

describe("Ctrl-D", function()
  it("leaves from an empty line only", function()
    local s <close> = prompt()
    s:type "ab"
    s:wait_for "perigee> ab\n$"
    s:keys("Left", "C-d") -- takes the b
    s:type "c = 1\n"
    s:wait_for "perigee> ac = 1\nperigee>\n$"
    s:type "do\n"
    s:wait_for "%.%.\n$"
    s:keys "C-d" -- leaves the block
    s:wait_for "\nperigee>\n$"
    s:keys "C-d"
    assert.are.equal(0, s:wait_end())
  end)

  it("asks when tasks run, and no means no", function()
    local s <close> = prompt()
    s:type "task.sleep(1000) &\n"
    s:wait_for "%[1%] started.*perigee>\n$"
    s:keys "C-d"
    s:wait_for "task%.sleep%(1000%) &\nLeave"
    s:type "n\n"
    s:wait_for "n\nperigee>\n$"
    s:keys "C-d"
    s:wait_for "Leave[^\n]*\n$"
    s:type "y\n"
    assert.are.equal(0, s:wait_end())
  end)
end)

describe("A terminal", function()
  it("shows the prompt before the line editor is ready, and keeps what is typed meanwhile", function()
    local inputrc = helper.tmpdir() .. "/inputrc"
    -- the library waits until somebody has written its settings
    assert.are.equal(0, proc.run({ args = { "mkfifo", inputrc }, timeout = 30 }).status)
    local s <close> = prompt { env = { INPUTRC = inputrc, NO_COLOR = "1" } }
    s:type "6 * 7\n"
    assert.are.equal(0, proc.run({ args = { "sh", "-c", "echo '# nothing' >" .. inputrc }, timeout = 30 }).status)
    s:wait_for "\nperigee> 6 %* 7\n42\nperigee>\n$"
  end)

  it("is coloured unless NO_COLOR asks for none", function()
    local s <close> = prompt()
    s:type "{ a = 'text', 12 }\n"
    s:wait_for '{.*"text".*}\nperigee>\n$'
    assert.is_truthy(s:colours():find "\27%[%d")
    local plain <close> = prompt { env = { NO_COLOR = "1" } }
    plain:type "{ a = 'text', 12 }\nerror 'x'\n"
    plain:wait_for 'x.*perigee>\n$'
    assert.is_nil(plain:colours():find "\27%[[%d;]*m")
  end)

  it("that is dumb gets a prompt without editing", function()
    local s <close> = prompt { env = { TERM = "dumb" } }
    s:type "1 + 1\n"
    s:wait_for "\n2\nperigee>\n$"
    s:type "function f()\nreturn 'of two lines'\nend\n"
    s:wait_for "end[^\n]*\nperigee>\n$" -- typed ahead, the echo comes before its prompt
    s:type "f()\n"
    s:wait_for '\n"of two lines"\nperigee>\n$'
    s:type "task.sleep(1000)\n"
    s:wait_for "sleep%(1000%)\n$"
    s:wait_running()
    s:keys "C-c"
    s:wait_for "perigee>\n$"
    s:keys "C-d"
    assert.are.equal(0, s:wait_end())
  end)
end)
