-- job_spec.lua - what jobs.submit is given, as it is journalled and as it is sent.  -- internal
--
-- prepare() checks everything before anything is written or sent, and makes plain text of it: canonical JSON
-- (sorted keys, exact numbers) in which a secret is only named ({"$secret":"env:HF_TOKEN"}) and a local file
-- stands with its content's hash ({"$file":"/data/x.csv","sha256":…}).  resolve() makes of that text the fields
-- to send, with the secrets and files that are there now.  Two specs are the same if their hashes are: by
-- content, wherever the files lie.

local core = require "perigee.core.ops"
local errors = require "perigee.error"
local fs = require "perigee.fs"
local json = require "perigee.json"
local literals = require "perigee.job_literals"
local options_of = require "perigee.job_options"
local secret = require "perigee.secret"

local job_spec = {}

local WHERE <const> = "jobs.submit"
local KINDS <const> = { deai = { "train", "infer" }, sxwl = { "job" } }
local SERVICES <const> = { "deai", "sxwl" }
local FILE_CLASS <const> = "perigee.deai.file"
local MOST_BYTES <const> = 256 * 1024 -- of a spec in the journal

local function invalid(where, message, ...)
  errors.invalid(where .. ": " .. message:format(...))
end

-- ---- from journalled form and back -------------------------------------------------------------------------------

local function is_file(value)
  local meta = type(value) == "table" and getmetatable(value)
  return meta and meta.__name == FILE_CLASS or false
end

local function file_of(path)
  return require "perigee.deai".file(path)
end

-- The value a journalled reference stands for; nil for what is none.
local function referred(value)
  if type(value) ~= "table" or getmetatable(value) ~= nil then return nil end
  if type(value["$secret"]) == "string" then return secret.from(value["$secret"]) end
  if type(value["$file"]) == "string" then return file_of(value["$file"]) end
end

-- A copy of the spec in which references are secrets and files again.
local function revive(spec)
  local copy = {}
  for name, value in pairs(spec) do
    local found = referred(value)
    if found ~= nil then
      copy[name] = found
    elseif type(value) == "table" and getmetatable(value) == nil then
      local map = {}
      for key, one in pairs(value) do
        local live = referred(one)
        if live == nil then live = one end
        map[key] = live
      end
      copy[name] = map
    else
      copy[name] = value
    end
  end
  return copy
end

local function secret_reference(where, place, value)
  local source = secret.source(value)
  if not source then
    invalid(where, '%s is a secret made from text, which a journal must not keep: write secret.env "NAME", secret.file "/path" or '
      .. 'secret.credential "name"', place)
  end
  return { ["$secret"] = source }
end

local function file_reference(value)
  return { ["$file"] = fs.absolute(value.path), sha256 = fs.sha256(value.path) }
end

-- The exact values as plain data: `given` says where secrets stood.
local function journalled(where, exact, given)
  local plain = {}
  for name, value in pairs(exact) do
    local source = given[name]
    if secret.is(source) then
      plain[name] = secret_reference(where, "spec." .. name, source)
    elseif is_file(value) then
      plain[name] = file_reference(value)
    elseif type(value) == "table" then
      plain[name] = {}
      for key, one in pairs(value) do
        local from = type(source) == "table" and source[key]
        plain[name][key] = secret.is(from) and secret_reference(where, ("spec.%s.%s"):format(name, key), from) or one
      end
    else
      plain[name] = value
    end
  end
  return plain
end

-- ---- the fields of each service --------------------------------------------------------------------------------------

-- Options of a call are options of the job here, and stand beside the spec.
local function refuse_options(where, service, compound, spec, but)
  local taken = {}
  for _, row in ipairs(core.describe(service).compounds) do
    if row.name == compound then
      for _, name in ipairs(row.options) do taken[#taken + 1] = name end
    end
  end
  table.sort(taken)
  for _, name in ipairs(taken) do
    if spec[name] ~= nil and name ~= but then
      invalid(where, "spec.%s: this is no field of the service%s", name,
        options_of.known(name) and ("; write %s beside spec"):format(name) or "; a job has no use for it")
    end
  end
end

local function merge(first, second)
  for name, value in pairs(second) do first[name] = value end
  return first
end

local read = {}

-- stopType and stopTime may both be left to max_cost or deadline; "0" has no worst case, so it means the same.
function read.job(where, spec, bounded)
  refuse_options(where, "sxwl", "run", spec)
  local asked = core.check("sxwl", "create_job", spec, { partial = true, name = where .. ": spec" })
  local open = asked.stopTime == nil
  if open and not bounded then
    invalid(where, 'an SXWL job needs an end, or its cost has none: give max_cost = "5 CNY", deadline = "2h", or spec.stopTime in minutes')
  end
  local probe = merge(merge({}, spec), { stopType = "1", stopTime = asked.stopTime or 1 })
  local exact = core.check("sxwl", "create_job", probe, { name = where .. ": spec" })
  if open then exact.stopType, exact.stopTime = nil, nil end
  return exact
end

function read.train(where, spec, _, name)
  local operation = require("perigee.deai_flows").model_operation("estimate", spec)
  local compound = operation:gsub("^estimate", "train")
  refuse_options(where, "deai", compound, spec)
  local parts = core.split("deai", compound, merge({ jobName = name }, spec), "train")
  local exact = core.check("deai", operation, parts[1], { local_files = true, name = where .. ": spec" })
  return merge(exact, core.check("deai", "create_job", parts[2], { name = where .. ": spec" }))
end

function read.infer(where, spec)
  refuse_options(where, "deai", "infer", spec, "file")
  local parts, options = core.split("deai", "infer", spec)
  if options.file ~= nil then
    if spec.data_path ~= nil then invalid(where, "spec: takes data_path or file, not both") end
    if not is_file(options.file) and type(options.file) ~= "string" then invalid(where, "spec.file is the path of a local file") end
    parts[1].data_path = is_file(options.file) and options.file or file_of(options.file)
  end
  local exact = core.check("deai", "estimate_inference", parts[1], { local_files = true, name = where .. ": spec" })
  return merge(exact, core.check("deai", "start_inference", parts[2], { name = where .. ": spec" }))
end

-- ---- identity ------------------------------------------------------------------------------------------------------------

-- What counts when specs are compared: of a file its content, not its place.
local function comparable(plain)
  local copy = {}
  for name, value in pairs(plain) do
    copy[name] = type(value) == "table" and value["$file"] and { ["$file"] = value.sha256 } or value
  end
  return copy
end

--- Checks the fields of a service and makes them plain: the JSON to journal, and its hash.  spec: as a person
--- writes it, or with references as in the journal.  bounded: max_cost or a deadline will set an SXWL job's end.
function job_spec.plain(spec, options)
  local where = options.where or WHERE
  if type(spec) ~= "table" then invalid(where, "spec must be a table with the fields of the service, not a %s", type(spec)) end
  spec = revive(spec)
  literals.check(where, spec)
  if type(spec.env) == "table" and spec.env.PERIGEE_INTENT ~= nil then
    invalid(where, "spec.env.PERIGEE_INTENT is set by perigee: it is how a job is found again")
  end
  local exact = read[options.kind](where, spec, options.bounded, options.name)
  local plain = journalled(where, exact, spec)
  local text = json.encode(plain)
  if #text > MOST_BYTES then invalid(where, "spec is %d bytes long; the most is %d", #text, MOST_BYTES) end
  local compared = { service = options.service, kind = options.kind, spec = comparable(plain) }
  return text, fs.sha256_text(json.encode(compared))
end

--- Names of the top-level fields in which two journalled specs differ, sorted.
function job_spec.differences(one, other)
  local a, b = comparable(json.decode(one)), comparable(json.decode(other))
  local names, seen = {}, {}
  for _, fields in ipairs { a, b } do
    for name in pairs(fields) do
      if not seen[name] and json.encode { a[name] } ~= json.encode { b[name] } then names[#names + 1] = name end
      seen[name] = true
    end
  end
  table.sort(names)
  return names
end

-- ---- jobs.submit -----------------------------------------------------------------------------------------------------------

local function choose(field, value, known)
  for _, name in ipairs(known) do
    if value == name then return value end
  end
  local near = type(value) == "string" and errors.nearest(value, known)
  invalid(WHERE, '%s must be "%s", not %s%s', field, table.concat(known, '" or "'),
    type(value) == "string" and ("%q"):format(value) or tostring(value), near and ('; did you mean "%s"?'):format(near) or "")
end

local function service_and_kind(t)
  local service = choose("service", t.service, SERVICES)
  local kinds = KINDS[service]
  if t.kind == nil and #kinds == 1 then return service, kinds[1] end
  return service, choose("kind", t.kind, kinds)
end

--- Checks what jobs.submit is given: {name, key, service, kind, spec, hash, options, tags, attach}, all of it text.
--- Raises `invalid`, naming the field, or `auth` for a secret that is not there; nothing was written or sent.
function job_spec.prepare(t)
  if type(t) ~= "table" then invalid(WHERE, "takes one table, such as { service = \"sxwl\", name = \"train\", spec = { … } }") end
  options_of.check_names(WHERE, t)
  local service, kind = service_and_kind(t)
  local prepared = options_of.read(WHERE, t)
  prepared.service, prepared.kind = service, kind
  prepared.spec, prepared.hash = job_spec.plain(t.spec, {
    service = service, kind = kind, name = prepared.name, bounded = t.max_cost ~= nil or t.max_cost_per_attempt ~= nil or t.deadline ~= nil,
  })
  return prepared
end

-- ---- sending ---------------------------------------------------------------------------------------------------------------

local function check_unchanged(reference)
  local path = reference["$file"]
  local ok, hash = pcall(fs.sha256, path)
  if not ok and errors.is(hash, "cancelled") then error(hash, 0) end
  if not ok then
    invalid("spec", "the file %s cannot be read any more: %s", path, errors.is(hash) and hash.message or tostring(hash))
  end
  if hash ~= reference.sha256 then
    invalid("spec", "the file %s is not the one that was submitted: its content has changed. Submit it under another key", path)
  end
end

--- The fields to send of a journalled spec: secrets read now, files marked for upload.  Raises `auth`, naming the
--- secret that is not there, or `invalid` for a file that is gone or has changed.
function job_spec.resolve(text)
  local spec = json.decode(text)
  local names = {}
  for name, value in pairs(spec) do
    if type(value) == "table" and value["$file"] then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do check_unchanged(spec[name]) end
  return revive(spec)
end

--- A journalled spec as people may see it: references stay references.
function job_spec.shown(text)
  return json.decode(text)
end

return job_spec
