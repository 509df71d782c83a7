-- decide: a person's answer sends a waiting task on, at its old place in the queue.
-- ARGV: 2 id, 3 caller or '*', 4 decision (JSON)
-- Returns 'ok:{status}' | 'wrong_status:{status}' | 'not_found'
-- Event: status pending
also_when_full()
local id, caller, decision = ARGV[2], ARGV[3], ARGV[4]
local r = load(id)
if not r or (caller ~= '*' and caller ~= r.caller) then return 'not_found' end
if r.status ~= 'waiting' then
  -- sent again after a lost reply, perhaps when the task has gone on already
  if call('HGET', task_key(id), 'decision') == decision then return 'ok:' .. r.status end
  return 'wrong_status:' .. r.status
end
leave(id, r)
set(id, r, { status = 'pending', decision = decision, cause = 'decided', queued_at = now })
place(id, r, now)
event(id, r, 'status', { 'cause', r.cause })
return 'ok:pending'
