-- overview: the queue at one moment. Writes nothing.
-- Returns {{queued, running, scheduled, blocked, waiting, dead},
--         {{worker, ms since seen, host, pid, version, slots, '1' if it takes quarantined tasks only}},
--         {{agent, problem or '', worker, ms since it said so}},
--         {{'model {key}' or 'agent {name}', ms since it was paused}},
--         {{model that cools down, ms left or 0 while it is tried, error code}}}
local ready, running = 0, 0
for _, lane in ipairs(call('SMEMBERS', P .. 'lanes')) do
  ready = ready + call('ZCARD', P .. 'ready:' .. lane)
  running = running + call('ZCARD', P .. 'leases:' .. lane)
end
local scheduled, waiting = call('ZCARD', P .. 'scheduled'), call('ZCARD', P .. 'waiting')
local blocked = call('ZCARD', P .. 'live') - ready - running - scheduled - waiting

local workers = {}
for _, wid in ipairs(call('ZRANGEBYSCORE', P .. 'workers', whole(alive_since), '+inf')) do
  local about = call('HMGET', P .. 'worker:' .. wid, 'host', 'pid', 'version', 'slots', 'quarantine')
  local seen = tonumber(call('ZSCORE', P .. 'workers', wid))
  workers[#workers + 1] = { wid, whole(now - seen), about[1] or '', about[2] or '0', about[3] or '', about[4] or '0',
    about[5] or '0' }
end
local counts = { ready, running, scheduled, blocked, waiting, call('ZCARD', P .. 'dead') }
for i, count in ipairs(counts) do counts[i] = whole(count) end

local agents, said = {}, call('HGETALL', P .. 'agents')
for i = 1, #said, 2 do
  local word = cjson.decode(said[i + 1])
  agents[#agents + 1] = { said[i], word.problem, word.worker, whole(math.max(0, now - tonumber(word.at))) }
end

local paused, cooling = {}, {}
local flat = call('HGETALL', P .. 'paused')
for i = 1, #flat, 2 do paused[#paused + 1] = { flat[i], whole(math.max(0, now - flat[i + 1])) } end
flat = call('HGETALL', P .. 'gates')
for i = 1, #flat, 2 do
  local model = string.match(flat[i], '^(.*)|cooling$')
  if model then
    local one = gates.cooling(flat[i + 1])
    cooling[#cooling + 1] = { model, whole(math.max(0, one.ends - now)), one.code }
  end
end
return { counts, workers, agents, paused, cooling }
