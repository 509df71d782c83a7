-- replay: an operator gives a failed task new attempts. Its fence, events and spending go on from where they were.
-- ARGV: 2 id, 3 new deadline ms from now, or 0
-- Returns 'ok:pending' | 'wrong_status:{status}' | 'not_found'
-- Event: status pending
local id, deadline = ARGV[2], tonumber(ARGV[3])
local r = load(id)
if not r then return 'not_found' end
if r.status ~= 'failed' then
  -- sent again after a lost reply
  if r.status == 'pending' and call('HGET', task_key(id), 'cause') == 'replayed' then return 'ok:pending' end
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
call('HDEL', task_key(id), 'error', 'error_code', 'completed_at', 'cancel_at', 'deadline_at')
r.deadline_at, r.cancel_at = 0, ''
if deadline > 0 then set(id, r, { deadline_at = now + deadline }) end
set(id, r, { status = 'pending', retries = 0, crashes = 0, cause = 'replayed', queued_at = now })
call('ZADD', P .. 'live', deadline > 0 and whole(r.deadline_at) or '+inf', id)
place(id, r, now)
event(id, r, 'status', { 'cause', r.cause })
return 'ok:pending'
