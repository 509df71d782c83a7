-- purge: an operator deletes a dead letter for good, as the sweep does when its time is over. The bill keeps what it cost.
-- ARGV: 2 id, 3 fence of the record that the operator saw
-- Returns 'ok', also when nothing has this id: it may be a repeat
--         | 'not_dead:{status}': it is no dead letter, or was replayed since and buried again
-- It announces nothing: the stream goes too.
local id, fence = ARGV[2], ARGV[3]
local r = load(id)
if not r then return 'ok' end
if not call('ZSCORE', P .. 'dead', id) or whole(r.fence) ~= fence then return 'not_dead:' .. r.status end
forget(id, r)
return 'ok'
