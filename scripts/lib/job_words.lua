-- job_words.lua - jobs in words for people: identity, state, times.  -- internal
--
-- Pure.  Takes jobs as plain tables (times in seconds since 1970, money as text or amounts).

local errors = require "perigee.error"
local time = require "perigee.time"

local words = {}

local SHORT <const> = 12 -- digits of an id that people see: all of it
words.STATES = { "planned", "denied", "held", "submitting", "running", "unknown", "succeeded", "failed", "stopped", "expired" }
local ACTIVE <const> = { planned = true, held = true, submitting = true, running = true, unknown = true }

--- What the end of a job is called in a sentence.
words.ended = { succeeded = "has succeeded", failed = "has failed", denied = "was denied", stopped = "was stopped",
  expired = "has passed its deadline" }

--- True for a state that is not the end of a job.
function words.is_active(state)
  return ACTIVE[state] or false
end

--- Raises `invalid` for what is no state.
function words.check_state(where, state)
  for _, known in ipairs(words.STATES) do
    if state == known then return end
  end
  local near = type(state) == "string" and errors.nearest(state, words.STATES)
  errors.invalid(("%s: there is no state %s%s; there is %s"):format(where, tostring(state),
    near and ('; did you mean "%s"?'):format(near) or "", table.concat(words.STATES, ", ")))
end

--- The beginning of an id, long enough for people.
function words.short(job)
  return (type(job) == "table" and job.id or tostring(job)):sub(1, SHORT)
end

--- `"train", key "monday" (1a2b3c4d5e6f)`
function words.identity(job)
  local text = ('"%s"'):format(job.name)
  if job.key and job.key ~= "" then text = ('%s, key "%s"'):format(text, job.key) end
  return job.id and ("%s (%s)"):format(text, words.short(job)) or text
end

--- "5 min 03 s", "2 h 05 min": how long something has taken, from a minute on.
function words.took(seconds)
  if seconds < 3600 then return ("%d min %02d s"):format(seconds // 60, seconds // 1 % 60) end
  return ("%d h %02d min"):format(seconds // 3600, seconds // 60 % 60)
end

-- "3 min", "2 h 5 min", "12 days"
local function span(seconds)
  if seconds < 1 then return "a moment" end
  if seconds < 60 then return ("%d s"):format(seconds // 1) end
  if seconds < 3600 then return ("%d min"):format(seconds // 60) end
  if seconds < 86400 then
    local minutes = seconds // 60 % 60
    return minutes > 0 and seconds < 36000 and ("%d h %d min"):format(seconds // 3600, minutes) or ("%d h"):format(seconds // 3600)
  end
  local days = seconds // 86400
  return days == 1 and "1 day" or ("%d days"):format(days)
end

--- "3 min ago"; a time to come is "in 3 min", none is "".
function words.ago(at, now)
  if not at then return "" end
  local passed = (now or time.now()) - at
  if passed < 0 then return "in " .. span(-passed) end
  return passed < 1 and "just now" or span(passed) .. " ago"
end

local function with_attempt(job, text)
  if not job.attempt or job.attempt < 1 or job.attempt == 1 and (job.attempts or 1) == 1 then return text end
  return ("%s, attempt %d of %d"):format(text, job.attempt, math.max(job.attempts or 1, job.attempt))
end

--- The state with what belongs to it: "running, attempt 2 of 3".
function words.state(job)
  return with_attempt(job, job.state)
end

--- The same as the end of a sentence: "is running, attempt 2 of 3", "has failed".
function words.sentence(job)
  return with_attempt(job, words.ended[job.state] or "is " .. job.state)
end

--- What the job has cost or may cost: "5 CNY", "at most 5 CNY", "".
function words.money(job)
  if job.cost then return tostring(job.cost) end
  if job.price then return "at most " .. tostring(job.price) end
  return ""
end

--- The job in a line.
function words.line(job)
  local money = words.money(job)
  return ("job %s: %s%s"):format(words.identity(job), words.state(job), money ~= "" and ", " .. money or "")
end

return words
