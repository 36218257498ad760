-- perigee.policy_args: the words after `perigee run policy.lua --`.  -- internal
-- "name=value" words are options, the others are a list; what is missing or unknown is named, with the usage.

local errors = require "perigee.error"

local policy_args = {}

local function fail(usage, message)
  errors.invalid(("%s\n%s"):format(message, usage))
end

--- args: list of words.  Returns the options as a table and the other words as a list.
--- spec: { usage=, needs = { names }, takes = { names }, anything = true for further options }
function policy_args.read(args, spec)
  local options, words = {}, {}
  local names, known = {}, {}
  for _, list in ipairs { spec.needs or {}, spec.takes or {} } do
    for _, name in ipairs(list) do
      names[#names + 1] = name
      known[name] = true
    end
  end
  for i, word in ipairs(args or {}) do
    local name, value = word:match "^([%a_][%w_]*)=(.*)$"
    if i == 1 and word == "--" then -- luacheck: ignore 542
      -- what parts the host's words from ours
    elseif not name then
      words[#words + 1] = word
    elseif not known[name] and not spec.anything then
      local nearest = errors.nearest(name, names)
      fail(spec.usage, ("there is no option %q%s"):format(name,
        nearest and (", did you mean %q?"):format(nearest) or ""))
    else
      options[name] = value
    end
  end
  for _, name in ipairs(spec.needs or {}) do
    if options[name] == nil then fail(spec.usage, name .. "=… is missing") end
  end
  return options, words
end

--- The whole number of an option, or the default.
function policy_args.integer(options, name, default)
  if options[name] == nil then return default end
  local number = math.tointeger(tonumber(options[name]))
  if not number then errors.invalid(("%s=%s: a whole number is needed"):format(name, options[name])) end
  return number
end

return policy_args
