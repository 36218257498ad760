-- perigee.daemon_policy: one policy file in a VM of its own, as the daemon holds it.  -- internal
-- Owns the VM and its link. It is `live` until the VM ends, whether it was told to or overran its limits; a policy
-- that was replaced is retired: its VM ends when the last hook that runs in it has ended.

local errors = require "perigee.error"
local link = require "perigee.link"
local task = require "perigee.task"
local vms = require "perigee.core.vms"

local policy = {}

local LOADING <const> = 30 -- seconds
local SLACK <const> = 1 -- that a VM has to report that its own deadline has passed
local MEMORY <const> = 256 * 1024 * 1024
local STEP <const> = 2 -- seconds: nothing else of the daemon runs meanwhile
local GRACE <const> = 2

local Policy = {}
Policy.__index = Policy
Policy.__name = "perigee.daemon_policy"

--- What an error says, as one line.
function policy.message(err)
  local text = errors.is(err) and err.message or tostring(err)
  return (text:gsub("%s*\n.*", ""))
end

--- True for an error that means the VM itself is out of order: over its time or memory, or gone.
function policy.is_overrun(err)
  if errors.is(err) then return err.kind == "limit" or err.kind == "closed" end
  return tostring(err):find("not enough memory", 1, true) ~= nil
end

local function start_vm(entry, surroundings)
  return vms.start {
    name = entry.file,
    module = "perigee.policy_host",
    memory = entry.memory or MEMORY,
    step = entry.step or STEP,
    args = {
      file = entry.file,
      options = surroundings.options,
      option_names = surroundings.option_names,
      fixed = surroundings.fixed,
    },
  }
end

--- Loads the file of entry = { file=, memory=, step=, timeout= } in a new VM; raises what is wrong with it.
--- surroundings: { serve= functions the policy may call, given its name, options=, option_names=, fixed= }
function policy.load(entry, surroundings)
  local vm = start_vm(entry, surroundings)
  local self = setmetatable({
    file = entry.file,
    timeout = entry.timeout,
    vm = vm,
    link = link.open(vm:channel()),
    running = 0,
    live = true,
  }, Policy)
  self.reader = task.detach(function()
    self.link:run()
    self.live = false
    if not self.closed and self.on_end then self.on_end(self) end
  end)
  local ok, description = pcall(self.link.call, self.link, "describe", nil, { timeout = LOADING })
  if not ok then
    local gone, why = errors.is(description, "closed"), nil
    if gone then why = select(2, vm:wait()) end
    self:close()
    error(why or description, 0)
  end
  self.name, self.hooks, self.schedules = description.name, {}, description.schedules
  self.budget, self.notify = description.budget, description.notify
  self.max_failures = description.max_failures
  self.files = description.files
  for _, event in ipairs(description.hooks) do
    self.hooks[event] = true
  end
  if surroundings.serve then self.link:serve(surroundings.serve(self.name)) end
  return self
end

-- What ended the VM, if it has ended by itself.
local function end_of(self, err)
  if not errors.is(err, "closed") then return err end
  local ok, why = self.vm:wait()
  if ok then return err end
  return why
end

--- Calls a function of the policy's VM; raises what it raises. seconds: its deadline.
function Policy:call(name, args, seconds)
  if not self.live then
    error(errors.new { kind = "closed", message = ("the VM of %s has ended"):format(self.file) }, 0)
  end
  self.running = self.running + 1
  args.seconds = seconds
  local ok, result = pcall(self.link.call, self.link, name, args, { timeout = seconds + SLACK })
  self.running = self.running - 1
  if self.retired and self.running == 0 then self:close() end
  if ok then return result end
  error(end_of(self, result), 0)
end

--- The files it has read as code, those that hooks have required meanwhile included.
function Policy:read_files()
  if self.live then
    local ok, description = pcall(self.link.call, self.link, "describe", nil, { timeout = SLACK })
    if ok then self.files = description.files end
  end
  return self.files
end

--- No more calls come: the VM ends with the last one that runs.
function Policy:retire()
  self.retired = true
  if self.running == 0 then self:close() end
end

--- Ends the VM, whatever runs in it.
function Policy:close()
  if self.closed then return end
  self.closed, self.live = true, false
  self.link:close()
  self.vm:stop("the daemon has ended this policy", GRACE)
end

--- What has ended its VM, if it was not told to: an error, or nil for one whose main has returned.
function Policy:why_ended()
  local _, why = self.vm:wait()
  return why
end

return policy
