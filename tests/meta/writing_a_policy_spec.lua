-- writing_a_policy_spec.lua - docs/writing-a-policy.md does what it says: every file of it is written and checked, every
-- command run, and what it prints is what the page shows.
--
-- A lua block is the file that its first line names.  A sh block is one shell: lines after "$ command" are what the command
-- prints on standard output; a line "…" stands for any one line at least, or the rest.
local fs = require "perigee.fs"
local helper = require "tests.helper"
local spawn = require "tests.support.spawn"

local page = fs.read "docs/writing-a-policy.md"

local blocks = {}
for language, text in page:gmatch "\n```(%l+)\n(.-)\n```" do blocks[#blocks + 1] = { language = language, text = text } end

-- { {command=, shown = { lines }} }
local function commands_of(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do
    local command = line:match "^%$ (.*)$"
    if command then
      list[#list + 1] = { command = command, shown = {} }
    else
      table.insert(list[#list].shown, line)
    end
  end
  return list
end

-- A command in the background is a daemon: the next one waits until it answers, and the shell ends it.
local READY <const> = [[
daemon=$!
for i in $(seq 200); do perigee status --state state >/dev/null 2>&1 && break; sleep 0.05; done]]

local function script_of(commands)
  local lines = { "trap 'test -z \"$daemon\" || { kill $daemon; wait $daemon; }' EXIT" }
  for _, one in ipairs(commands) do
    lines[#lines + 1] = one.command
    if one.command:find "&$" then lines[#lines + 1] = READY end
    lines[#lines + 1] = "printf '\\001'"
  end
  return table.concat(lines, "\n")
end

local function lines_of(text)
  local lines = {}
  for line in text:gmatch "[^\n]+" do lines[#lines + 1] = line end
  return lines
end

-- Whether the lines are those shown; "…" for one line, or as the last for the rest.
local function fits(shown, lines)
  for i, line in ipairs(shown) do
    local any = line:find "^%s*…$"
    if any and i == #shown then return #lines >= i end
    if not any and line ~= lines[i] then return false end
  end
  return #lines == #shown
end

local folder

-- The folder with a program named perigee, in which everything happens.
local function work_folder()
  if folder then return folder end
  folder = helper.tmpdir()
  fs.mkdir(folder .. "/bin")
  require("perigee.proc").run { args = { "ln", "-s", spawn.program, folder .. "/bin/perigee" } }
  return folder
end

local function run_shell(commands)
  local proc = require "perigee.core.proc"
  local env = { "HOME=" .. work_folder(), "PATH=" .. work_folder() .. "/bin:" .. os.getenv "PATH", "TERM=dumb", "LC_ALL=C.UTF-8" }
  for _, name in ipairs { "ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS", "TZDIR" } do
    if os.getenv(name) then env[#env + 1] = name .. "=" .. os.getenv(name) end
  end
  return proc.run { args = { "sh", "-c", script_of(commands) }, cwd = work_folder(), env = env, timeout = 50 }
end

describe("docs/writing-a-policy.md", function()
  it("grows from five lines of code", function()
    local _, lines = blocks[1].text:gsub("\n", "")
    assert.is_true(lines <= 7, lines)
    assert.is_true(#blocks >= 12)
  end)

  for i, block in ipairs(blocks) do
    if block.language == "lua" then
      local name = block.text:match "^%-%- ([%w_]+%.lua)\n"
      it(("has a whole file in block %d: %s"):format(i, tostring(name)), function()
        assert.is_truthy(name, "its first line names no file")
        fs.write(work_folder() .. "/" .. name, block.text .. "\n", { mode = "0600" })
        local is_policy = block.text:find("name = ", 1, true) and block.text:find "return %l+$"
        local args = is_policy and { "check", work_folder() .. "/" .. name } or { "run", "--quiet", work_folder() .. "/" .. name }
        local result = spawn.run(args, { env = { SXWL_TOKEN = "a-token", HOME = work_folder(), XDG_CONFIG_HOME = false,
          PERIGEE_CONFIG = fs.exists(work_folder() .. "/config.lua") and work_folder() .. "/config.lua" or false } })
        assert.equal(0, result.status, result.stdout .. result.stderr)
      end)
    elseif block.language == "sh" then
      it(("prints what block %d shows"):format(i), function()
        local commands = commands_of(block.text)
        local result = run_shell(commands)
        local parts = {}
        for part in result.stdout:gmatch "([^\1]*)\1" do parts[#parts + 1] = part end

        for k, one in ipairs(commands) do
          assert.is_true(fits(one.shown, lines_of(parts[k] or "")),
            ("%s\nprints:\n%s\nnot:\n%s\n%s"):format(one.command, parts[k], table.concat(one.shown, "\n"), result.stderr))
        end
      end)
    end
  end

  it("is about the shipped commands and modules only", function()
    for command in page:gmatch "`?perigee (%l[%l-]+)" do
      assert.is_truthy(fs.exists("scripts/lib/command_" .. command:gsub("-", "_") .. ".lua") or command == "run", command)
    end
  end)
end)
