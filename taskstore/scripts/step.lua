-- step: what the calls of running tasks did, in one script for a batch. Only the fence of the claim may write.
-- ARGV: 2... id, fence, steps (JSON, steps.StepBatch), ...
-- Returns a word per task: 'ok' (also for a repeat) | 'lease_lost'
-- Event: step
local words = {}
for i = 2, #ARGV, 3 do
  local id, fence, data = ARGV[i], tonumber(ARGV[i + 1]), cjson.decode(ARGV[i + 2])
  local r = load(id)
  if r and r.status == 'running' and r.fence == fence then
    append_steps(id, r, data)
    words[#words + 1] = 'ok'
  else
    local repeated = r and fence > 0 and data.first + #data.steps - 1 <= last_step(id, fence)
    words[#words + 1] = repeated and 'ok' or 'lease_lost'
  end
end
return words
