-- repl_spec.lua - `perigee repl`: what a pipe gets, exit codes, options, and what Ctrl-C and Ctrl-D do at a terminal.
local helper = require "tests.helper"
local proc = require "perigee.core.proc"
local screens = require "tests.support.screen"
local spawn = require "tests.support.spawn"
local task = require "perigee.core.task"

local function write(path, text)
  local file <close> = assert(io.open(path, "wb"))
  file:write(text)
  return path
end

local function pipe(text, ...)
  local words = { "repl", "--state", ":memory:", ... }
  return spawn.run(words, { stdin = text })
end

describe("perigee repl without a terminal", function()
  it("runs what stands on standard input, and echoes values without prompt or colour", function()
    local result = pipe "local x = 20\nx + 1, 'a'\nprint(x)\nfor i = 1, 2 do\n  print(i)\nend\n_1"
    assert.are.equal("21\n\"a\"\n20\n1\n2\n21\n", result.stdout)
    assert.are.equal("", result.stderr)
    assert.are.equal(0, result.status)
  end)

  it("refuses options that would do nothing", function()
    local cases = {
      { "--write" }, { "--attach", "--emulator" }, { "--attach", "--budget", "5 CCD" }, { "--attach", "README.md" },
    }
    for _, words in ipairs(cases) do
      local result = pipe("print 'ran'\n", table.unpack(words))
      assert.are.equal(2, result.status, result.stderr)
      assert.are.equal("", result.stdout)
      assert.truthy(result.stderr:find("%-%-attach"), result.stderr)
    end
  end)

  it("reads a file whose last line has no end, and lines that end as elsewhere", function()
    local path = write(helper.tmpdir() .. "/lines", "x = 1\r\nif x == 1 then\r\n  print 'crlf'\r\nend\r\nprint(x)")
    local result = proc.run { args = { "sh", "-c", '"$1" repl --state :memory: < "$2"', "sh", spawn.program, path }, timeout = 30 }
    assert.are.equal("crlf\n1\n", result.stdout)
  end)

  it("skips a first line that names the interpreter", function()
    local result = pipe "#!/usr/bin/env -S perigee repl\nprint 'ran'\n"
    assert.are.equal("ran\n", result.stdout, result.stderr)
  end)

  it("ends a line that computes for too long", function()
    local result = pipe("while true do end\nprint 'after'\n", "--max-step", "200ms")
    assert.are.equal("", result.stdout)
    assert.truthy(result.stderr:find("without waiting", 1, true))
    assert.are.equal(1, result.status)
  end)

  it("lets tasks go on while the next line has not come", function()
    local code = [[(echo 'task.spawn(function() task.sleep(0.01) print "child" end) print "ready"'; sleep 60) | "$1" repl --state :memory:]]
    local child <close> = proc.spawn { args = { "sh", "-c", code, "sh", spawn.program }, timeout = 30 }
    assert.is_true(child:read_until "child")
    child:kill "KILL"
  end)

  it("leaves the pipe as it was for others", function()
    local fifo = helper.tmpdir() .. "/fifo"
    local code = [[mkfifo "$2"; exec 3<>"$2"; (echo 'task.sleep(0.01)'; echo ':quit') >&3
      "$1" repl --state :memory: <&3; cat /proc/self/fdinfo/3]]
    local result = proc.run { args = { "sh", "-c", code, "sh", spawn.program, fifo }, timeout = 30 }
    local flags = tonumber(result.stdout:match "flags:%s+(%d+)", 8)
    assert.are.equal(0, flags & tonumber("4000", 8), "O_NONBLOCK was set")
  end)

  it("ends at the first error, and runs nothing that follows", function()
    local result = pipe "print 'before'\nerror 'spoilt'\nprint 'after'\n"
    assert.are.equal("before\n", result.stdout)
    assert.truthy(result.stderr:find("spoilt", 1, true))
    assert.are.equal(1, result.status)
  end)

  it("ends with the exit code that perigee run would give", function()
    assert.are.equal(3, pipe("sxwl:gpu_types()\n").status)
    assert.are.equal(4, pipe("error(require 'perigee.error'.new { kind = 'denied', message = 'no' })\n").status)
    assert.are.equal(1, pipe("x = = 1\n").status)
    assert.are.equal(42, pipe("os.exit(42)\n").status)
    assert.are.equal(71, pipe("task.queue():get()\n").status)
  end)

  it("takes a statement without an end for an error", function()
    local result = pipe "x = 1\nif x then\nprint(x)\n"
    assert.are.equal(1, result.status)
    assert.truthy(result.stderr:find("the input ends in the middle of a statement: if x then", 1, true))
  end)

  it("waits for what runs in the background, and counts its error", function()
    local result = pipe "(function() task.sleep(0.05) return 'late' end)() &\nprint 'soon'\n"
    assert.are.equal("[1] started\nsoon\n[1] done: (function() task.sleep(0.05) return 'late' end)() &\n\"late\"\n", result.stdout)
    assert.are.equal(0, result.status)
    assert.are.equal(1, pipe("task.sleep(0.01); error 'x' &\nprint 'soon'\n").status)
    assert.are.equal(1, pipe("task.spawn(function() task.sleep(0.01) error 'x' end)\n").status)
  end)

  it("runs no line after a background task has failed", function()
    local result = pipe "error 'x' &\ntask.sleep(0.05)\nprint 'after'\n"
    assert.is_nil(result.stdout:find("after", 1, true))
    assert.are.equal(1, result.status)
  end)

  it("says what to type instead of help, quit and exit", function()
    local result = pipe "help\nquit\nexit\nquit()\nprint 'after'\n"
    assert.truthy(result.stdout:find "^<type :help .*>\n<:quit or Ctrl%-D leaves>\n<:quit or .*>\n$", result.stdout)
  end)

  it("tells that a task was started before it tells of its end", function()
    assert.truthy(pipe("error 'at once' &\n").stdout:find "^%[1%] started\n%[1%] failed: ")
  end)

  it("keeps perigee's own workers out of the tasks of a line", function()
    local config = write(helper.tmpdir() .. "/config.lua", "return { sxwl = { prices = { ['NVIDIA-GeForce-RTX-3090'] = '7 CNY/h' } } }")
    assert.are.equal(0, proc.run({ args = { "chmod", "600", config }, timeout = 30 }).status)
    local result = spawn.run({ "repl", "--emulator", "--yes" }, { env = { PERIGEE_CONFIG = config }, stdin = [[
      spec = { gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "registry/train:1", jobType = "GeneralJob" }
      spec.ckptPath, spec.ckptVol, spec.modelPath, spec.modelVol = "/ckpt", 10, "/model", 10
      job = jobs.submit { service = "sxwl", name = "x", max_cost = "5 CNY", spec = spec }
      :tasks
      :cancel all
      while job:status() ~= "running" do task.sleep(0.02) end
      job.state]] .. "\n" })
    assert.truthy(result.stdout:find "^no tasks\n[^\n]*\n\"running\"\n", result.stdout .. result.stderr)
  end)

  it("is left by :quit", function()
    local result = pipe "print 'before'\n:quit\nprint 'after'\n"
    assert.are.equal("before\n", result.stdout)
    assert.are.equal(0, result.status)
  end)

  it("denies what has to be paid unless --yes was said", function()
    local line = "sxwl:create_job { gpuType = 'NVIDIA-GeForce-RTX-3090', gpuNumber = 1, imagePath = 'r/t:1', "
      .. "jobType = 'GeneralJob', ckptPath = '/c', ckptVol = 10, modelPath = '/m', modelVol = 10, stopType = '1', stopTime = 5 }\n"
    local denied = pipe(line, "--emulator")
    assert.are.equal(4, denied.status)
    assert.truthy(denied.stderr:find("--yes", 1, true), denied.stderr)
    local paid = pipe(line, "--emulator", "--yes")
    assert.are.equal(0, paid.status, paid.stderr)
  end)

  it("ends with the remote jobs that go on, also those nobody waited for", function()
    local job = "{ gpuType = 'NVIDIA-GeForce-RTX-3090', gpuNumber = 1, imagePath = 'r/t:1', jobType = 'GeneralJob', "
      .. "ckptPath = '/c', ckptVol = 10, modelPath = '/m', modelVol = 10, stopType = '1', stopTime = 5 }"
    local line = ("sxwl = sxwl.client { prices = { ['NVIDIA-GeForce-RTX-3090'] = '6 CNY/h' } }\nid = sxwl:create_job %s\n"):format(job)
    local left = pipe(line, "--emulator", "--yes")
    assert.truthy(left.stderr:find "goes on, and is paid for:\n  sxwl [%w-]+, worst cost 0.5 CNY\n    stop it with: ", left.stderr)
    local stopped = pipe(line .. "sxwl:stop_job(id)\n", "--emulator", "--yes")
    assert.is_nil(stopped.stderr:find("goes on", 1, true))
  end)

  it("ends with a summary where a service was called", function()
    local result = pipe("sxwl:gpu_types()[1].gpuProd\n", "--emulator")
    assert.are.equal(0, result.status)
    assert.truthy(result.stderr:find "perigee: summary, .*\n  calls +1")
  end)

  it("is bounded by the options of a run", function()
    local result = pipe("x = ('a'):rep(64 * 1024 * 1024)\n", "--max-memory", "16M")
    assert.are.equal(1, result.status)
    assert.truthy(result.stderr:find("memory", 1, true))
  end)

  it("is ended by a signal as a run is", function()
    local child <close> = spawn.start({ "repl", "--state", ":memory:" }, { stdin = "print 'ready'\ntask.sleep(60)\n" })
    assert.is_true(child:read_until "ready")
    child:kill "INT"
    assert.are.equal(130, child:wait().status)
  end)
end)

describe("perigee repl FILE", function()
  it("runs the script first, in the session, and its names stay", function()
    local path = write(helper.tmpdir() .. "/first.lua", "#!/usr/bin/env perigee\nlocal a, b = ...\nglobal = a .. b\n"
      .. "local function f() return b end\nprint(arg[0] == 'x', arg[1])\nreturn 5")
    local result = spawn.run({ "repl", "--state", ":memory:", path, "1", "2" }, { stdin = "a, global, f()\n#arg\n" })
    assert.are.equal("false\t1\n\"1\"\n\"12\"\n\"2\"\n2\n", result.stdout, result.stderr)
  end)

  it("ends with its error where there is no terminal", function()
    local path = write(helper.tmpdir() .. "/bad.lua", "\nlocal x = nil + 1")
    local result = spawn.run({ "repl", "--state", ":memory:", path }, { stdin = "print 'after'\n" })
    assert.are.equal("", result.stdout)
    assert.truthy(result.stderr:find("bad.lua:2", 1, true), result.stderr)
    assert.are.equal(1, result.status)
  end)

  it("that is not there is refused", function()
    assert.are.equal(2, spawn.run({ "repl", "/nonexistent.lua" }, { stdin = "" }).status)
  end)
end)

local describe_screen = screens.describe(describe, pending)

-- What a person without and one with a line editor sees is the same, as far as it is asked for here.
for _, terminal in ipairs { "screen-256color", "dumb" } do
  describe_screen("perigee repl at a terminal (" .. terminal .. ")", function()
    local function start(...)
      local s = screens.perigee({ "repl", "--state", ":memory:", ... }, { env = { TERM = terminal }, columns = 100 })
      s:wait_for "perigee>\n$"
      return s
    end

    it("echoes values, and asks for the rest of a block", function()
      local s <close> = start()
      s:type "local x = 6\nx * 7\n"
      s:wait_for "42\nperigee>\n$" -- a dumb terminal echoes what is typed ahead
      s:type "for i = 1, 2 do\n"
      s:wait_for "\n +%.%.\n$"
      s:type "print(i * x)\nend\n"
      s:wait_for "6\n12\nperigee>\n$"
    end)

    it("stops the call that runs with Ctrl-C, and nothing else", function()
      local s <close> = start()
      s:type "task.spawn(function() task.sleep(0.3) print 'goes on' end) x = 5; task.sleep(60)\n"
      s:wait_for "task.sleep%(60%)\n$"
      task.sleep(0.1)
      s:keys "C-c"
      s:wait_for "interrupted\nperigee>"
      s:type "x\n"
      s:wait_for "\n5\n"
    end)

    it("stops a loop that computes with Ctrl-C", function()
      local s <close> = start()
      s:type "print 'begun' while true do end\n"
      s:wait_for "\nbegun\n"
      s:keys "C-c"
      s:wait_for "interrupted\nperigee>\n$"
      s:type "print 'still here'\n"
      s:wait_for "\nstill here\n"
    end)

    it("leaves a task in the background alone, even one that computes", function()
      local s <close> = start()
      s:type "function busy() local t = os.clock() while os.clock() - t < 0.3 do end end\n"
      s:wait_for "end end\nperigee>\n$"
      s:type "(function() for i = 1, 4 do busy() task.sleep(0) end return 'all done' end)() &\n"
      s:wait_for "%[1%] started\n"
      s:keys "C-c"
      s:wait_for "%[1%] done: [^\n]*\n\"all done\"\n"
    end)

    it("clears the line, or the block, with Ctrl-C", function()
      local s <close> = start()
      s:type "half a line"
      s:wait_for "half a line"
      s:keys "C-c"
      s:wait_for "half a line.*\nperigee>\n$"
      s:type "if true then\n"
      s:wait_for "%.%.\n$"
      s:keys "C-c"
      s:wait_for "%.%..*\nperigee>\n$"
      s:type "1 + 1\n"
      s:wait_for "\n2\nperigee>\n$"
    end)

    it("stops the remote job whose wait Ctrl-C ends, as perigee run does", function()
      local s <close> = screens.perigee({ "repl", "--emulator", "--yes" }, { env = { TERM = terminal }, columns = 200 })
      s:wait_for "emulator>\n$"
      s:type("sxwl:run { gpuType = 'NVIDIA-GeForce-RTX-3090', gpuNumber = 1, imagePath = 'r/t:1', jobType = 'GeneralJob', "
        .. "ckptPath = '/c', ckptVol = 10, modelPath = '/m', modelVol = 10, stopType = '1', stopTime = 60, "
        .. "on_start = function() print 'begun' end }\n")
      s:wait_for "\nbegun\n"
      s:keys "C-c"
      s:wait_for "sxwl.stopped.*interrupted\nemulator>\n$"
      s:type "task.sleep(0) print 'here'\n"
      s:wait_for "\nhere\n"
    end)

    it("takes what follows Ctrl-C at once for the next line", function()
      local s <close> = start()
      for i = 1, 5 do
        s:type "half"
        s:wait_for "half\n$"
        s:keys("C-c", "2", "0", "+", tostring(i), "Enter")
        s:wait_for(("%d\nperigee>\n$"):format(20 + i))
      end
    end)

    it("begins an echo on a line of its own", function()
      local s <close> = start()
      s:type "7\n"
      s:wait_for "> 7\n7\nperigee>\n$"
      if terminal == "dumb" then return end
      s:type "io.write 'abc' and 7\n"
      s:wait_for "\nabc\n7\nperigee>\n$"
    end)

    it("is ended by os.exit", function()
      local s <close> = start()
      s:type "os.exit(7)\n"
      assert.are.equal(7, s:wait_end())
    end)

    it("is left with Ctrl-D, and asks first if tasks run", function()
      local s <close> = start()
      s:type "task.sleep(60) &\n"
      s:wait_for "%[1%] started\nperigee>\n$"
      s:keys "C-d"
      s:wait_for "A task still runs, and would be stopped:\n  %[1%] task.sleep%(60%) &\nLeave all the same%? %[y/N%]\n$"
      s:type "n\n"
      s:wait_for "%[y/N%] n\nperigee>\n$"
      s:keys "C-d"
      s:wait_for "%[y/N%]\n$"
      s:type "y\n"
      assert.are.equal(0, s:wait_end())
    end)

    it("asks as well if a remote job would go on", function()
      local s <close> = screens.perigee({ "repl", "--emulator", "--yes" }, { env = { TERM = terminal }, columns = 200 })
      s:wait_for "emulator>\n$"
      s:type("id = sxwl:create_job { gpuType = 'NVIDIA-GeForce-RTX-3090', gpuNumber = 1, imagePath = 'r/t:1', jobType = 'GeneralJob', "
        .. "ckptPath = '/c', ckptVol = 10, modelPath = '/m', modelVol = 10, stopType = '1', stopTime = 5 }\n")
      s:wait_for "ungoverned.*emulator>\n$"
      s:keys "C-d"
      s:wait_for "A remote job would go on, and is paid for:\n  sxwl [%w-]+\nLeave all the same%? %[y/N%]\n$"
      s:keys "C-d" -- once more means yes
      assert.are.equal(0, s:wait_end())
    end)

    it("is ended by SIGTERM with a summary", function()
      local s <close> = screens.perigee({ "repl", "--emulator" }, { env = { TERM = terminal } })
      s:wait_for "emulator>\n$"
      s:type "#sxwl:gpu_types()\n"
      s:wait_for "\n3\nemulator>\n$"
      s:type "half"
      proc.run { args = { "sh", "-c", "kill -TERM $0", tostring(s:pid()) }, timeout = 30 } -- the shell has one of its own
      assert.are.equal(143, s:wait_end())
      assert.truthy(s:text():find("perigee: ended by SIGTERM", 1, true))
      assert.truthy(s:text():find "perigee: summary, .*exit code 143")
    end)

    it("tells the end and the error of a background task", function()
      local s <close> = start()
      s:type "(function() task.sleep(0.01) return 5 end)() &\n"
      s:wait_for "%[1%] done: [^\n]* &\n5\n"
      s:type "error 'spoilt' &\n"
      s:wait_for "%[2%] failed: error 'spoilt' &\nerror: .*spoilt"
    end)

    it("asks before it pays, and Ctrl-C at the question pays nothing", function()
      local s <close> = screens.perigee({ "repl", "--emulator" }, { env = { TERM = terminal }, columns = 150 })
      s:wait_for "emulator>\n$"
      s:type("job = { gpuType = 'NVIDIA-GeForce-RTX-3090', gpuNumber = 1, imagePath = 'r/t:1', jobType = 'GeneralJob', ckptPath = '/c', "
        .. "ckptVol = 10, modelPath = '/m', modelVol = 10, stopType = '1', stopTime = 5 }\n")
      s:type "sxwl:create_job(job)\n"
      s:wait_for "Pay%? .*: *\n$"
      s:keys "C-c"
      s:wait_for "interrupted\nemulator>\n$"
      s:type "sxwl:create_job(job)\n"
      s:wait_for "interrupted.*Pay%? .*: *\n$"
      s:type "n\n"
      s:wait_for "denied.*emulator>\n$"
      s:type "paid = sxwl:create_job(job)\n"
      s:wait_for "denied.*Pay%? .*: *\n$"
      s:type "y\n"
      s:wait_for ": +y\n.*emulator>\n$"
      s:type "type(paid), #sxwl:jobs():all()\n"
      s:wait_for "\n\"string\"\n1\n"
    end)
  end)
end

describe_screen("repl() in a script", function()
  local SCRIPT <const> = [[
    local price, word = 5, "outer"
    shown = "global"
    local function work(n)
      local inner = n + price
      repl()
      print("after", inner, price, shown, fresh)
    end
    work(2)]]

  it("opens a prompt with the locals of the place, and goes on with what was assigned", function()
    local path = write(helper.tmpdir() .. "/here.lua", SCRIPT)
    local s <close> = screens.perigee({ "run", path }, { columns = 200 })
    s:wait_for "repl%(%) at .*here%.lua:5, locals inner, n, price; Ctrl%-D goes on\nrepl>\n$"
    s:type "inner, n, price, shown, word\n"
    s:wait_for "\n7\n2\n5\n\"global\"\nnil\nrepl>\n$"
    s:type "inner = 100; price = price * 2; shown = 'changed'; fresh = true\n"
    s:type "task.sleep(60)\n"
    s:wait_for "sleep%(60%)\n$"
    task.sleep(0.1)
    s:keys "C-c"
    s:wait_for "interrupted\nrepl>\n$"
    s:keys "C-d"
    s:wait_for "after%s+100%s+10%s+changed%s+true\n"
    assert.are.equal(0, s:wait_end())
  end)

  it("leaves Ctrl-C to the script afterwards", function()
    local path = write(helper.tmpdir() .. "/after.lua", "repl() print 'sleeps' require 'perigee.task'.sleep(60)")
    local s <close> = screens.perigee { "run", path }
    s:wait_for "repl>\n$"
    s:keys "C-d"
    s:wait_for "sleeps"
    s:keys "C-c"
    assert.are.equal(130, s:wait_end())
  end)

  it("says at a prompt that there is one", function()
    local s <close> = screens.perigee({ "run", write(helper.tmpdir() .. "/twice.lua", "repl()") }, { columns = 200 })
    s:wait_for "repl>\n$"
    s:type "repl()\n"
    s:wait_for "there is a prompt already"
    s:wait_for "repl>\n$"
    s:keys "C-d"
    assert.are.equal(0, s:wait_end())
  end)

  it("is an error where nobody could type", function()
    local result = spawn.run { "run", "-e", "repl()" }
    assert.are.equal(1, result.status)
    assert.truthy(result.stderr:find("nobody could type", 1, true))
  end)
end)
