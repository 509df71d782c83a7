-- audit: every way in which what is stored breaks the rules. Only one script can see an atomic state. Writes nothing.
-- ARGV: none of its own
-- Returns a list of sentences; empty is right. Reads every key of the prefix: for tests, chaos runs and the doctor.
local broken = {}
local function wrong(...) broken[#broken + 1] = table.concat({ ... }, ' ') end
local function has(index, id) return call('ZSCORE', P .. index, id) end

local ALLOWED = {
  pending = { ready = true, scheduled = true, blocked = true },
  retrying = { ready = true, scheduled = true, blocked = true },
  running = { leases = true },
  waiting = { waiting = true },
}
local INDEX_KINDS = { ready = true, scheduled = true, blocked = true, leases = true, waiting = true }

-- Not by way of the indices: a task that stands in none of them is what matters most.
local records, indices, streams, progress, conversations = {}, {}, {}, {}, {}
local pattern = string.gsub(P, '[%*%?%[%]\\%^%-]', '\\%0') .. '*'
local cursor = '0'
repeat
  local page = call('SCAN', cursor, 'MATCH', pattern, 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    local name = string.sub(key, #P + 1)
    local kind = string.match(name, '^[^:]*')
    if kind == 'task' then records[string.sub(name, 6)] = true end
    if kind == 'events' then streams[string.sub(name, 8)] = true end
    if kind == 'steps' then progress[string.sub(name, 7)] = true end
    if INDEX_KINDS[kind] then indices[name] = true end
    if kind == 'session' then
      local of_log = string.gsub(name, ':log$', '')
      conversations[of_log] = { string.match(of_log, '^session:(.*):([^:]*)$') }
    end
  end
until cursor == '0'

-- How many tasks of each caller stand behind another one of their session.
local behind_of, behind = {}, call('HGETALL', P .. 'behind')
for name in pairs(indices) do
  local caller = string.match(name, '^blocked:(.*):[^:]*$')
  if caller then behind_of[caller] = (behind_of[caller] or 0) + call('ZCARD', P .. name) end
end
for i = 1, #behind, 2 do
  local caller, counted = behind[i], behind[i + 1]
  local count = whole(behind_of[caller] or 0)
  if counted ~= count then wrong('caller', caller, 'counts', counted, 'tasks behind others and has', count) end
  behind_of[caller] = nil
end
for caller in pairs(behind_of) do wrong('caller', caller, 'counts no tasks behind others and has some') end

-- How many live tasks each session has, by its key.
local live_of = {}

local function check_session(id, r, index)
  local key, holder = sessions.key(r), sessions.holder(r)
  live_of[key] = (live_of[key] or 0) + 1
  if (index == 'leases' or index == 'ready') and holder ~= id then
    wrong(r.status, 'task', id, 'does not hold its session')
  end
  if index == 'blocked' and (not holder or holder == id) then wrong('task', id, 'waits for nobody') end
end

-- caller and name of a session's key behind the prefix.
local function check_stored_session(caller, name)
  local r = { caller = caller, session = name }
  local key, member = sessions.key(r), name .. ' ' .. caller
  local about = 'session ' .. name .. ' of ' .. caller
  local holder, live, memory, turns = unpack(call('HMGET', key, 'holder', 'live', 'memory', 'turns'))
  local count, ttl, log = live_of[key] or 0, call('PTTL', key), call('LLEN', key .. ':log')
  if tonumber(live or '0') ~= count then wrong(about, 'counts', live or 'no', 'live tasks and has', whole(count)) end
  if holder and not has('live', holder) then wrong('holder', holder, 'of', about, 'is not live') end
  if count > 0 and (ttl >= 0 or has('idle', member)) then wrong(about, 'has a live task and would expire') end
  if count == 0 and (ttl < 0 or not has('idle', member)) then wrong(about, 'has no live task and would never expire') end
  if memory and not has('sessions:' .. caller, name) then wrong(about, 'is missing from those of its caller') end
  if not memory and (has('sessions:' .. caller, name) or log > 0) then wrong(about, 'was forgotten and is still there') end
  if memory and call('SISMEMBER', P .. 'callers', caller) == 0 then wrong(about, 'is of a caller whom nobody knows') end
  if log > tonumber(turns or '0') then wrong(about, 'remembers more than was said') end
  if log > 0 and (call('PTTL', key .. ':log') >= 0) ~= (ttl >= 0) then wrong('turns of', about, 'expire without it') end
end

-- A ready task stands in its lane, or beside it in its paused agent's, which claims only know from `aside`.
local function check_ready(id, r)
  local lane = lane_of(r)
  if r.at == 'ready:' .. lane then return end
  local member = table.concat({ r.kind, r.agent, r.model }, '\31')
  if r.at ~= 'ready:' .. lane .. ':' .. r.agent then
    wrong('ready task', id, 'stands in another lane,', r.at)
  elseif call('SISMEMBER', P .. 'aside', member) == 0 then
    wrong('ready task', id, 'stands aside where no claim looks,', r.at)
  end
end

local function check_live(id, r)
  local index = string.match(r.at, '^[^:]*')
  if not has('live', id) then wrong(r.status, 'task', id, 'is not in live') end
  if has('gone', gone_member(id, r)) or has('dead', id) then wrong(r.status, 'task', id, 'is to be forgotten') end
  if call('PTTL', task_key(id)) >= 0 then wrong('live task', id, 'would expire') end
  if call('PTTL', P .. 'events:' .. id) >= 0 then wrong('events of live task', id, 'would expire') end
  if call('PTTL', steps_key(id)) >= 0 then wrong('steps of live task', id, 'would expire') end
  if not (ALLOWED[r.status] or {})[index] then wrong(r.status, 'task', id, 'stands in', r.at) end
  if r.at ~= '' and not has(r.at, id) then wrong('task', id, 'is not in its index', r.at) end
  if r.session ~= '' then check_session(id, r, index) end
  if index == 'ready' then check_ready(id, r) end
  if r.status == 'running' and r.settled >= r.fence then wrong('running task', id, 'was settled with its fence') end
end

local function check_final(id, r)
  if has('live', id) then wrong('final task', id, 'is in live') end
  if r.at ~= '' then wrong('final task', id, 'stands in', r.at) end
  if not has('gone', gone_member(id, r)) then wrong('final task', id, 'would never be forgotten') end
  if has('dead', id) and r.status ~= 'failed' then wrong(r.status, 'task', id, 'is a dead letter') end
  if call('PTTL', task_key(id)) < 0 then wrong('final task', id, 'would never expire') end
end

for id in pairs(records) do
  local r = load(id)
  if not r then
    wrong('task', id, 'has no status')
  else
    if r.settled > r.fence then wrong('task', id, 'was settled with a fence it never had') end
    if not has('caller:' .. r.caller, id) then wrong('task', id, 'is missing from those of its caller') end
    if FINAL[r.status] then check_final(id, r) else check_live(id, r) end
  end
end

for _, names in pairs(conversations) do check_stored_session(unpack(names)) end
for _, member in ipairs(call('ZRANGE', P .. 'idle', 0, -1)) do
  local name, caller = string.match(member, '^(%S+) (.*)$')
  local known = call('EXISTS', sessions.key({ caller = caller, session = name })) == 1
  if not known and tonumber(has('idle', member)) > now then wrong('idle session', member, 'does not exist') end
end

for _, id in ipairs(call('ZRANGE', P .. 'live', 0, -1)) do
  if not records[id] then wrong('live task', id, 'has no record') end
end
for name in pairs(indices) do
  local lane = string.match(name, '^ready:(.*)$') or string.match(name, '^leases:(.*)$')
  if lane and call('SISMEMBER', P .. 'lanes', lane) == 0 then wrong('index', name, 'is of a lane that no sweep knows') end
  for _, id in ipairs(call('ZRANGE', P .. name, 0, -1)) do
    local at = call('HGET', task_key(id), 'at')
    if at ~= name then wrong('index', name, 'holds', id, 'which stands in', at or 'no record') end
  end
end
for id in pairs(streams) do
  if not records[id] and call('PTTL', P .. 'events:' .. id) < 0 then wrong('events of', id, 'outlive its record') end
end
for id in pairs(progress) do
  local status = call('HGET', task_key(id), 'status')
  if status == 'success' or status == 'cancelled' then wrong('steps of', status, 'task', id, 'are kept for nobody') end
  if (not status or FINAL[status]) and call('PTTL', steps_key(id)) < 0 then
    wrong('steps of', id, 'would never expire')
  end
end
local flat = call('HGETALL', P .. 'gates')
for i = 1, #flat, 2 do
  local model, what = string.match(flat[i], '^(.*)|(%l+)$')
  local text = flat[i + 1]
  local good = what == 'faults' and string.match(text, '^%d+ %d+$')
    or what == 'cooling' and gates.cooling(text).ends
    or what == 'bucket' and string.match(text, '^%-?[%d.]+ %d+ [1-9]%d*$')
  if not good then wrong('gate', flat[i], 'of model', model or '?', 'reads', text) end
end
for _, kind in ipairs({ 'i', 'b' }) do
  if call('LLEN', P .. 'bell:' .. kind) > 1 then wrong('bell', kind, 'holds more than one token') end
end
table.sort(broken)
return broken
