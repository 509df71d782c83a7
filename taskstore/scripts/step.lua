-- step: what the calls of running tasks did and left, in one script for a batch. Only the fence of the claim may write.
-- ARGV: 2... id, fence, steps (JSON, steps.StepBatch), number of fields, each field and its bytes, ...
-- Returns a word per task: 'ok' (also for a repeat) | 'lease_lost'
-- Event: step, token
also_when_full()
local words, i = {}, 2
while i <= #ARGV do
  local id, fence, data, fields = ARGV[i], tonumber(ARGV[i + 1]), cjson.decode(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local r = load(id)
  if r and r.status == 'running' and r.fence == fence then
    append_steps(id, r, data)
    if data.progress then keep(id, r, data.progress, i + 4) end
    words[#words + 1] = 'ok'
  else
    local repeated = r and fence > 0 and data.first + #data.steps - 1 <= last_of(id, 'stepped', fence)
      and (not data.progress or data.progress.number <= last_of(id, 'kept', fence))
    words[#words + 1] = repeated and 'ok' or 'lease_lost'
  end
  i = i + 4 + 2 * fields
end
wind_up()
return words
