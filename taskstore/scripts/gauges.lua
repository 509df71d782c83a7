-- gauges: how much stands where at this moment, for operators' metrics. Writes nothing. What it costs grows with what is
--         configured (lanes, callers, models) and with the workers, never with the tasks.
-- Returns {{{model or '', 'i' | 'b' | 'q' (quarantine), ready, running, ms that the first has been ready}, ...},
--          of a lane and of those beside it where paused agents' tasks stand,
--         {scheduled, waiting, dead letters, sessions, idle ones of them},
--         {{caller, its tasks behind another one of their session}, ...},
--         {ordinary workers, quarantine workers, slots of the ordinary ones},
--         {'model {key}' or 'agent {name}' that is paused, ...}, {model that cools down, ...}}
local paused, behind, named = {}, {}, {}
local flat = call('HGETALL', P .. 'paused')
for i = 1, #flat, 2 do
  named[#named + 1] = flat[i]
  paused[flat[i]] = true
end

-- Tasks of a paused agent stand beside their lane by order: nobody is late with those.
local function head_age(lane, agent)
  local head = call('ZRANGE', P .. 'ready:' .. lane, 0, 0)[1]
  if not head or (agent and paused['agent ' .. agent]) then return 0 end
  -- records of earlier versions do not say since when they are ready
  local since, queued_at = unpack(call('HMGET', task_key(head), 'ready_at', 'queued_at'))
  return math.max(0, now - tonumber(since or queued_at or now))
end

local lanes = {}
for _, lane in ipairs(call('SMEMBERS', P .. 'lanes')) do
  local model, kind = string.match(lane, '^(.*):([ib])$')
  local agent
  if not model then model, kind, agent = string.match(lane, '^(.-):([ib]):(.*)$') end
  lanes[#lanes + 1] = { model or '', kind or 'q', whole(call('ZCARD', P .. 'ready:' .. lane)),
    whole(call('ZCARD', P .. 'leases:' .. lane)), whole(head_age(lane, agent)) }
end

flat = call('HGETALL', P .. 'behind')
for i = 1, #flat, 2 do behind[flat[i]] = flat[i + 1] end
local callers, remembered = {}, 0
for _, caller in ipairs(call('SMEMBERS', P .. 'callers')) do
  callers[#callers + 1] = { caller, behind[caller] or '0' }
  remembered = remembered + call('ZCARD', P .. 'sessions:' .. caller)
end

local ordinary, alone, slots = 0, 0, 0
for _, wid in ipairs(call('ZRANGEBYSCORE', P .. 'workers', whole(alive_since), '+inf')) do
  local has, quarantine = unpack(call('HMGET', P .. 'worker:' .. wid, 'slots', 'quarantine'))
  if quarantine then
    alone = alone + 1
  else
    ordinary, slots = ordinary + 1, slots + tonumber(has or '0')
  end
end

-- Until its time is over, and then while a task tries it, no other is started.
local cooling = {}
flat = call('HGETALL', P .. 'gates')
for i = 1, #flat, 2 do
  local model = string.match(flat[i], '^(.*)|cooling$')
  if model then
    local one = gates.cooling(flat[i + 1])
    if now < one.ends or gates.probing(one) then cooling[#cooling + 1] = model end
  end
end

local counts = { call('ZCARD', P .. 'scheduled'), call('ZCARD', P .. 'waiting'), call('ZCARD', P .. 'dead'), remembered,
  call('ZCARD', P .. 'idle') }
local workers = { ordinary, alone, slots }
for _, numbers in ipairs({ counts, workers }) do
  for i, number in ipairs(numbers) do numbers[i] = whole(number) end
end
return { lanes, counts, callers, workers, named, cooling }
