-- pause: tasks of a model or an agent are accepted, but not started. Those that run go on.
-- ARGV: 2 'model {key}' or 'agent {name}'
-- Returns 'ok' (also for a repeat)
also_when_full()
local what = ARGV[2]
if call('HSETNX', P .. 'paused', what, whole(now)) == 1 then gates.hold(what, 'pause', gates.held_now(what)) end
return 'ok'
