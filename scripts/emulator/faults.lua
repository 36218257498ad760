-- faults.lua - what goes wrong, on request.
--
-- A fault specification is a list of rules; each says where, what, and how often:
--
--   sxwl.create_job:fail=1, deai.start_inference:drop_after=10%, *.*:delay(3s)=0.05
--
-- A rule without a place, `delay=0.1`, is about every operation.
--
-- `faults.new(text, draw)` makes a set of them; `set:plan(service, operation)` is asked once for each call and
-- answers with what is to happen to that call.  The draws are by rule and number of the call, so one seed
-- gives one series of faults, and a rule more does not move the others.  What each fault does is in service.lua
-- and, for the life of jobs, in deai.lua and sxwl.lua; docs/emulator.md has the table for people.

local errors = require "perigee.error"

local faults = {}

-- The argument in parentheses: "seconds", "status" or "count"; with its default.
local KINDS <const> = {
  drop_before = {},
  drop_after = {},
  delay = { argument = "seconds", default = 2 },
  error = { argument = "status", default = 503 },
  error_after = { argument = "status", default = 502 },
  rate_limit = { argument = "seconds", default = 1 },
  transient = {},
  garbage = {},
  no_id = { only = { "deai.create_job" } },
  fail = { only = { "sxwl.create_job" } },
  never = { only = { "sxwl.create_job", "deai.create_job", "deai.start_inference" } },
  back = { only = { "sxwl.create_job" }, argument = "count", default = 2 },
  no_url = { only = { "sxwl.create_job" } },
  callback_never = { only = { "sxwl.create_job" } },
  callback_twice = { only = { "sxwl.create_job" } },
  callback_early = { only = { "sxwl.create_job" } },
  callback_late = { only = { "sxwl.create_job" }, argument = "seconds", default = 60 },
  expired = { only = { "sxwl.download", "deai.*" } },
}

local OPERATIONS <const> = {
  deai = {
    "login", "user", "upload", "estimate", "create_job", "estimate_inference", "start_inference", "inference",
    "inferences", "jobs", "job", "submissions", "usage", "delete_job",
  },
  sxwl = { "create_job", "job_status", "stop_job", "jobs", "gpu_types", "download" },
}

--- The names that may stand before the colon, for messages and documentation.
function faults.operations()
  local list = {}
  for _, service in ipairs { "deai", "sxwl" } do
    for _, operation in ipairs(OPERATIONS[service]) do
      list[#list + 1] = service .. "." .. operation
    end
  end
  return list
end

--- The names of all faults, sorted.
function faults.kinds()
  local list = {}
  for kind in pairs(KINDS) do
    list[#list + 1] = kind
  end
  table.sort(list)
  return list
end

local function refuse(rule, why)
  error(errors.new { kind = "invalid", message = ('fault "%s": %s'):format(rule, why) }, 0)
end

local function matches(pattern, name)
  return pattern == "*" or pattern == name
end

local function parse_target(rule, target)
  local service, operation = target:match "^([%w_*]+)%.([%w_*]+)$"
  if not service then
    refuse(rule, "write it as service.operation, for example sxwl.create_job; * stands for any")
  end
  for _, known in ipairs(faults.operations()) do
    local s, o = known:match "^(%w+)%.([%w_]+)$"
    if matches(service, s) and matches(operation, o) then
      return service, operation
    end
  end
  refuse(rule, "no such operation; there are " .. table.concat(faults.operations(), " "))
end

local function parse_seconds(text)
  local number, unit = text:match "^(%d+%.?%d*)(%a*)$"
  local scale = ({ [""] = 1, ms = 0.001, s = 1, m = 60, h = 3600 })[unit]
  return number and scale and tonumber(number) * scale
end

local function parse_argument(rule, kind, text)
  local known = KINDS[kind]
  if text == "" then
    return known.default
  elseif not known.argument then
    refuse(rule, kind .. " takes nothing in parentheses")
  end
  local value
  if known.argument == "seconds" then
    value = parse_seconds(text)
  else
    value = math.tointeger(tonumber(text))
    if known.argument == "status" and value and (value < 400 or value > 599) then
      value = nil
    end
  end
  return value or refuse(rule, ("%s takes %s in parentheses, not %q"):format(kind, known.argument, text))
end

-- nil: always.  "3": the first three.  "#3", "#2-4": those.  "0.1", "10%": that share, by chance.
local function parse_often(rule, text)
  if text == nil then
    return { first = 1, last = math.huge }
  elseif text:match "^%d+$" then
    return { first = 1, last = math.tointeger(text) }
  end
  local first, last = text:match "^#(%d+)%-?(%d*)$"
  if first then
    return { first = math.tointeger(first), last = math.tointeger(last ~= "" and last or first) }
  end
  local percent = text:match "^(%d+%.?%d*)%%$"
  local share = percent and tonumber(percent) / 100 or (text:match "^%d*%.%d+$" and tonumber(text))
  if not share or share > 1 then
    refuse(rule, "how often: 3 (the first three), #3 or #2-4 (those), 0.1 or 10% (by chance)")
  end
  return { share = share }
end

local function allowed(kind, service, operation)
  local only = KINDS[kind].only
  if not only then
    return true
  end
  for _, name in ipairs(only) do
    local s, o = name:match "^(%w+)%.([%w_*]+)$"
    if (service == s or service == "*") and (o == "*" or operation == o or operation == "*") then
      return true
    end
  end
  return false
end

local function parse_rule(text)
  local target, what = text:match "^([^:%s]+):(.*)$"
  local kind, argument, rest = (what or text):match "^([%a_]+)(%b())(.*)$"
  if not kind then
    kind, rest = (what or text):match "^([%a_]+)(.*)$"
    argument = "()"
  end
  local often = rest and rest:match "^=(.+)$"
  if not kind or (rest ~= "" and not often) then
    refuse(text, "a rule is written service.operation:fault(argument)=how-often")
  elseif not KINDS[kind] then
    refuse(text, "no such fault; there are " .. table.concat(faults.kinds(), " "))
  end
  local service, operation = parse_target(text, target or "*.*")
  if not allowed(kind, service, operation) then
    refuse(text, ("%s is for %s"):format(kind, table.concat(KINDS[kind].only, " ")))
  end
  return {
    text = text,
    service = service,
    operation = operation,
    kind = kind,
    argument = parse_argument(text, kind, argument:sub(2, -2)),
    often = parse_often(text, often),
    asked = 0,
    fired = 0,
  }
end

--- The rules of a specification.  Raises `invalid`, naming the rule and what would be right.
function faults.parse(text)
  local rules = {}
  for rule in (text or ""):gmatch "[^,;]+" do
    rule = rule:match "^%s*(.-)%s*$"
    if rule ~= "" then
      rules[#rules + 1] = parse_rule(rule)
    end
  end
  return rules
end

local set = {}
set.__index = set

--- text: a specification, or nil for none.  draw: from random.keyed.
function faults.new(text, draw)
  return setmetatable({ rules = faults.parse(text), draw = draw }, set)
end

local function fires(self, index, rule)
  local often = rule.often
  if often.share then
    return self.draw("fault", index, rule.text, rule.asked) < often.share
  end
  return rule.asked >= often.first and rule.asked <= often.last
end

--- What happens to this call: a table of kind -> argument (or true).  Delays add up; of two rules of one kind
--- the first counts.
function set:plan(service, operation)
  local plan = {}
  for index, rule in ipairs(self.rules) do
    local here = matches(rule.service, service) and matches(rule.operation, operation)
    if here and allowed(rule.kind, service, operation) then
      rule.asked = rule.asked + 1
      if fires(self, index, rule) then
        rule.fired = rule.fired + 1
        local value = rule.argument or true
        if rule.kind == "delay" and plan.delay then
          plan.delay = plan.delay + value
        else
          plan[rule.kind] = plan[rule.kind] or value
        end
      end
    end
  end
  return plan
end

--- Other rules in place of these, counted from now on.  Raises `invalid` and changes nothing if the text is wrong.
function set:replace(text)
  self.rules = faults.parse(text)
end

--- How often each rule was asked and fired: a list of { rule=, asked=, fired= }.
function set:report()
  local list = {}
  for i, rule in ipairs(self.rules) do
    list[i] = { rule = rule.text, asked = rule.asked, fired = rule.fired }
  end
  return list
end

return faults
