-- repl_found.lua - what completion finds outside of the text: files, jobs.  -- internal
--
-- These wait (a folder, the journal), so they are bounded: what has not come within LIMIT is as if it were not there.
-- Nothing is made by looking: no journal is created, no service is asked.

local task = require "perigee.task"

local found = {}

local LIMIT <const> = 0.25 -- seconds
local MOST <const> = 2000 -- names that are given
local MOST_STATS <const> = 200 -- files that are looked at to tell folders; beyond them none is marked
local RECENT_JOBS <const> = 200

-- The result of f(…), or nil where it fails or takes too long. What cancels the calling task passes.
local function within_limit(f, ...)
  return (task.try(task.deadline, LIMIT, f, ...))
end

-- ---- files -------------------------------------------------------------------------------------------------------------

local function list_files(fs, folder, start)
  local names = {}
  for _, name in ipairs(fs.list(folder)) do
    local hidden = name:sub(1, 1) == "." and start:sub(1, 1) ~= "."
    if not hidden and name:sub(1, #start) == start and utf8.len(name) and not name:find "%c" then names[#names + 1] = name end
    if #names >= MOST then break end
  end
  return names
end

--- Paths that begin with the text, folders with a "/" at their end. Sorted.
function found.files(text)
  local folder, start = text:match "^(.*/)([^/]*)$"
  if not folder then folder, start = "", text end
  local ok, fs = pcall(require, "perigee.fs")
  if not ok then return {} end
  local names = within_limit(list_files, fs, folder == "" and "." or folder, start) or {}
  local paths = {}
  if #names <= MOST_STATS then
    within_limit(function()
      for i, name in ipairs(names) do
        local stat = fs.stat(folder .. name)
        if stat and stat.type == "folder" then paths[i] = folder .. name .. "/" end
      end
    end)
  end
  for i, name in ipairs(names) do paths[i] = paths[i] or folder .. name end
  table.sort(paths)
  return paths
end

-- ---- jobs --------------------------------------------------------------------------------------------------------------

-- True if the journal of the state directory is there, which a first look would otherwise make.
local function journal_lies_there()
  local config = require "perigee.config"
  if config.switch "emulator" and not config.option "state" then return false end
  local directory = require("perigee.state").directory()
  return directory ~= ":memory:" and require("perigee.fs").exists(directory .. "/journal.db")
end

local function journal_rows(session)
  local journal = (session.require or require) "perigee.core.journal"
  if not journal.status().open and not journal_lies_there() then return {} end
  return journal.call("job.list", { limit = RECENT_JOBS })
end

--- Jobs, newest first: { { id=, name=, service=, state=, remote_id= }, … }; none where none can be read in time.
function found.jobs(session)
  return within_limit(session.list_jobs or journal_rows, session) or {}
end

return found
