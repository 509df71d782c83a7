-- cancel: a task that no worker holds ends at once; a running one is asked to, by a field that no message can lose.
-- ARGV: 2 id, 3 caller or '*'
-- Returns 'ok:cancelled' | 'ok:running' (requested) | 'wrong_status:{status}' | 'not_found'
-- Event: status cancelled, or cancel_requested; the id is also published to the channel `cancel`
also_when_full()
local id, caller = ARGV[2], ARGV[3]
local r = load(id)
if not r or (caller ~= '*' and caller ~= r.caller) then return 'not_found' end
if r.status == 'cancelled' then return 'ok:cancelled' end
if FINAL[r.status] then return 'wrong_status:' .. r.status end
local status = cancel(id, r)
wind_up()
return 'ok:' .. status
