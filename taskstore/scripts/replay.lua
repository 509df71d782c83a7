-- replay: an operator gives a failed task new attempts, on another model if one is named. Its fence, events and spending
-- go on from where they were. It is never refused for the queue's depth: what waits in the dead letters was let in once.
-- ARGV: 2 id, 3 new deadline ms from now, or 0, 4 model, or '' for the task's own
-- Returns 'ok:{status}' | 'wrong_status:{status}' | 'not_found'
-- Event: status pending, with the model if it is another
local id, deadline, model = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local r = load(id)
if not r then return 'not_found' end
if model == '' then model = r.model end
if r.status ~= 'failed' then
  -- Sent again after a lost reply: the life that the first one began goes on, or has ended otherwise than by failing.
  if model == r.model and call('HEXISTS', task_key(id), 'replays') == 1 then return 'ok:' .. r.status end
  return 'wrong_status:' .. r.status
end
for _, key in ipairs({ task_key(id), P .. 'events:' .. id, steps_key(id) }) do call('PERSIST', key) end
-- It goes on from what was done, with as many model calls again. Who replays a task whose tool died on the way has seen to
-- what that did: the call is made again.
for _, field in ipairs(call('HKEYS', steps_key(id))) do
  if field == 'answered' or string.sub(field, 1, 6) == 'begun\31' then call('HDEL', steps_key(id), field) end
end
if r.idem ~= '' then call('PERSIST', r.idem) end
call('ZREM', P .. 'gone', gone_member(id, r))
call('ZREM', P .. 'dead', id)
-- whose answer it was and how long it waited for that model's limit was told of the run that failed
call('HDEL', task_key(id), 'error', 'error_code', 'completed_at', 'cancel_at', 'interrupted_by', 'deadline_at', 'answered_by', 'held_from')
-- what goes on from a simulated answer stays simulated
if call('EXISTS', steps_key(id)) == 0 then call('HDEL', task_key(id), 'simulated') end
call('HINCRBY', task_key(id), 'replays', 1)
call('HSET', task_key(id), 'replayed_at', whole(now))
r.deadline_at, r.cancel_at = 0, ''
if deadline > 0 then set(id, r, { deadline_at = now + deadline }) end
tally('agent_replays_total', 1, r.agent, model)
local about = { 'cause', 'replayed' }
if model ~= r.model then about = { 'cause', 'replayed', 'model', model } end
set(id, r, { status = 'pending', model = model, retries = 0, crashes = 0, cause = 'replayed', queued_at = now })
call('ZADD', P .. 'live', deadline > 0 and whole(r.deadline_at) or '+inf', id)
if r.session ~= '' then sessions.join_again(r) end
place(id, r, now)
event(id, r, 'status', about)
wind_up()
return 'ok:pending'
