-- perigee.daemon_verdicts: what several policies say about one job, as one decision.  -- internal
-- A verdict is { policy=, decision=, why=, … }. Nothing here waits or knows where verdicts come from.

local verdicts = {}

local WEIGHT <const> = { deny = 3, hold = 2, allow = 1 }

local function reasons(list, decision)
  local texts = {}
  for _, verdict in ipairs(list) do
    if verdict.decision == decision and verdict.why then
      texts[#texts + 1] = ("%s: %s"):format(verdict.policy, verdict.why)
    end
  end
  return #texts > 0 and table.concat(texts, "; ") or nil
end

--- job.submit: deny beats hold beats allow; of several holds the earliest expiry (seconds) stands.
function verdicts.on_submit(list)
  local result = { decision = "allow", verdicts = list }
  for _, verdict in ipairs(list) do
    if WEIGHT[verdict.decision] > WEIGHT[result.decision] then
      result.decision, result.policy = verdict.decision, verdict.policy
    end
  end
  for _, verdict in ipairs(list) do
    if verdict.decision == "hold" and verdict.expires then
      result.expires = math.min(result.expires or math.huge, verdict.expires)
    end
  end
  result.why = reasons(list, result.decision)
  return result
end

--- job.failed and job.unknown: the first verdict that decides something; nil if none does.
function verdicts.first(list)
  for _, verdict in ipairs(list) do
    if verdict.decision then
      local result = { verdicts = list }
      for field, value in pairs(verdict) do result[field] = value end
      return result
    end
  end
  return nil
end

--- The failure of a hook, as the verdict it means: a gate that cannot be asked denies, elsewhere the job's own rules go on.
function verdicts.of_failure(event, policy, why)
  if event ~= "job.submit" then return nil end
  return { policy = policy, decision = "deny", why = "it could not decide: " .. why }
end

return verdicts
