-- renew: a worker is alive, and its tasks keep their leases.
-- ARGV: 2 worker, 3 its description (JSON), 4... task id, fence, ...
-- Returns a word per task: 'ok' | 'cancel' (asked for; the lease goes on) | 'lost'
also_when_full()
local wid, about = ARGV[2], cjson.decode(ARGV[3])
local worker = P .. 'worker:' .. wid
call('HSET', worker, 'host', about.host, 'pid', whole(about.pid), 'version', about.version, 'slots', whole(about.slots))
if about.quarantine then call('HSET', worker, 'quarantine', '1') end
call('PEXPIRE', worker, 3600000)
call('ZADD', P .. 'workers', whole(now), wid)
call('PEXPIRE', P .. 'agents', 3600000)

local words = {}
for i = 4, #ARGV, 2 do
  local id, fence = ARGV[i], tonumber(ARGV[i + 1])
  local r = load(id)
  if not r or r.status ~= 'running' or r.fence ~= fence then
    words[#words + 1] = 'lost'
  else
    call('ZADD', P .. r.at, whole(now + policy.lease), id)
    words[#words + 1] = r.cancel_at ~= '' and 'cancel' or 'ok'
  end
end
return words
