-- report: which agents a worker that has just started can run. The last word counts, and whom it does not name is gone.
-- ARGV: 2 worker, 3... agent, its problem or '', ...
-- Returns 'ok'
local agents, wid = P .. 'agents', ARGV[2]
call('DEL', agents)
for i = 3, #ARGV, 2 do
  call('HSET', agents, ARGV[i], cjson.encode({ problem = ARGV[i + 1], worker = wid, at = whole(now) }))
end
call('PEXPIRE', agents, 3600000)
return 'ok'
