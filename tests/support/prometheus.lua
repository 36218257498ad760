-- prometheus.lua - a strict reader of Prometheus' text format: raises at the first thing that a server would refuse,
-- and at what the format asks of whoever writes it (HELP and TYPE once and first, samples together, none twice).
local prometheus = {}

local ESCAPED <const> = { ["\\"] = "\\", ["n"] = "\n", ['"'] = '"' }

local function read_labels(text, line)
  local labels, at, names = {}, 1, {}
  while at <= #text do
    local name, start = text:match('^([%a_][%w_]*)="()', at)
    assert(name, "no label in: " .. line)
    assert(not labels[name], "a label twice in: " .. line)
    local value = {}
    at = start
    while true do
      local c = text:sub(at, at)
      assert(c ~= "", "a label's value without an end in: " .. line)
      if c == '"' then break end
      if c == "\\" then
        at = at + 1
        c = assert(ESCAPED[text:sub(at, at)], "a bad escape in: " .. line)
      end
      value[#value + 1] = c
      at = at + 1
    end
    labels[name] = table.concat(value)
    assert(utf8.len(labels[name]), "no UTF-8 in: " .. line)
    names[#names + 1] = name .. "=" .. labels[name]
    at = at + 1
    if at <= #text then
      assert(text:sub(at, at) == ",", "no comma in: " .. line)
      at = at + 1
    end
  end
  table.sort(names)
  return labels, table.concat(names, "\0")
end

local function read_value(text, line)
  if text == "+Inf" then return math.huge elseif text == "-Inf" then return -math.huge elseif text == "NaN" then return 0 / 0 end
  assert(text:match "^[+-]?[%d.]+[eE]?[+-]?%d*$", "no number in: " .. line)
  return assert(tonumber(text), "no number in: " .. line)
end

local SUFFIXES <const> = { histogram = { "_bucket", "_sum", "_count" }, summary = { "_sum", "_count", "" } }

-- The name of the family that a sample belongs to.
local function belongs(family, name)
  for _, suffix in ipairs(SUFFIXES[family.type] or { "" }) do
    if name == family.name .. suffix then return true end
  end
  return false
end

local function check_histogram(family)
  local last, last_bound, sum, count, infinite = -1, -math.huge, nil, nil, nil
  for _, sample in ipairs(family.samples) do
    if sample.name:find "_bucket$" then
      local bound = read_value(assert(sample.labels.le, family.name .. ": a bucket without le"), sample.name)
      assert(bound > last_bound and sample.value >= last, family.name .. ": buckets out of order")
      last, last_bound = sample.value, bound
      if bound == math.huge then infinite = sample.value end
    elseif sample.name:find "_sum$" then sum = sample.value
    else count = sample.value end
  end
  assert(sum and count and infinite == count, family.name .. ": +Inf, _sum and _count must agree")
end

--- The families by name: { name=, help=, type=, samples = { {name=, labels=, value=} } }.
function prometheus.read(text)
  assert(text == "" or text:sub(-1) == "\n", "the last line has no end")
  local families, order, seen, present = {}, {}, {}, nil
  for line in text:gmatch "([^\n]*)\n" do
    local help_name, help = line:match "^# HELP ([%a_:][%w_:]*) (.+)$"
    local type_name, kind = line:match "^# TYPE ([%a_:][%w_:]*) (%a+)$"
    if help_name then
      assert(not families[help_name], "HELP twice, or a family in two pieces: " .. help_name)
      present = { name = help_name, help = help, samples = {} }
      families[help_name] = present
      order[#order + 1] = present
    elseif type_name then
      assert(present and present.name == type_name and not present.type and #present.samples == 0, "TYPE out of place: " .. line)
      assert(({ counter = 1, gauge = 1, histogram = 1, summary = 1 })[kind], "no such type: " .. line)
      present.type = kind
    else
      local name, rest = line:match "^([%a_:][%w_:]*)(.*)$"
      assert(name and present and present.type, "no sample, or one before its TYPE: " .. line)
      assert(belongs(present, name), ("%s does not belong to %s"):format(name, present.name))
      local inner, value = rest:match "^{(.*)} (%S+)$"
      if not inner then inner, value = "", rest:match "^ (%S+)$" end
      assert(value, "no value in: " .. line)
      local labels, key = read_labels(inner, line)
      key = name .. "\1" .. key
      assert(not seen[key], "twice: " .. line)
      seen[key] = true
      present.samples[#present.samples + 1] = { name = name, labels = labels, value = read_value(value, line) }
    end
  end
  for _, family in ipairs(order) do
    assert(#family.samples > 0, family.name .. " has no samples")
    if family.type == "counter" then assert(family.name:find "_total$", family.name .. ": a counter ends with _total") end
    if family.type == "histogram" then check_histogram(family) end
  end
  return families
end

--- The value of the sample with just these labels, or nil.
function prometheus.value(families, name, labels)
  for _, family in pairs(families) do
    for _, sample in ipairs(family.samples) do
      local same = sample.name == name
      for k, v in pairs(labels or {}) do same = same and sample.labels[k] == v end
      for k in pairs(sample.labels) do same = same and (labels or {})[k] ~= nil end
      if same then return sample.value end
    end
  end
end

return prometheus
