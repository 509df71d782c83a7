-- audit: every way in which what is stored breaks the rules. Only one script can see an atomic state. Writes nothing.
-- Returns a list of sentences; empty is right. Reads everything: for tests, chaos runs and the doctor.
local broken = {}
local function wrong(...) broken[#broken + 1] = table.concat({ ... }, ' ') end

local ALLOWED = {
  pending = { ready = true, scheduled = true, blocked = true },
  retrying = { ready = true, scheduled = true, blocked = true },
  running = { leases = true },
  waiting = { waiting = true },
}

local indices = { scheduled = true, waiting = true }
for _, lane in ipairs(call('SMEMBERS', P .. 'lanes')) do
  indices['ready:' .. lane] = true
  indices['leases:' .. lane] = true
end

for _, id in ipairs(call('ZRANGE', P .. 'live', 0, -1)) do
  local r = load(id)
  if not r then
    wrong('live task', id, 'has no record')
  elseif FINAL[r.status] then
    wrong('final task', id, 'is in live')
  else
    if call('PTTL', task_key(id)) >= 0 then wrong('live task', id, 'would expire') end
    local index = string.match(r.at, '^[^:]*')
    if not ALLOWED[r.status][index] then wrong(r.status, 'task', id, 'stands in', r.at) end
    if r.at ~= '' and not call('ZSCORE', P .. r.at, id) then wrong('task', id, 'is not in its index', r.at) end
    if r.session ~= '' then
      indices[blocked_name(r)] = true
      local holder = call('HGET', session_key(r), 'holder')
      if holder and not call('ZSCORE', P .. 'live', holder) then wrong('holder', holder, 'of a session is not live') end
      if r.status == 'running' and holder ~= id then wrong('running task', id, 'does not hold its session') end
      if index == 'blocked' and (not holder or holder == id) then wrong('task', id, 'waits for nobody') end
    end
    if r.settled > r.fence then wrong('task', id, 'was settled with a fence it never had') end
  end
end

for name in pairs(indices) do
  for _, id in ipairs(call('ZRANGE', P .. name, 0, -1)) do
    local at = call('HGET', task_key(id), 'at')
    if at ~= name then wrong('index', name, 'holds', id, 'which stands in', at or 'no record') end
    if not call('ZSCORE', P .. 'live', id) then wrong('index', name, 'holds', id, 'which is not live') end
  end
end

for _, id in ipairs(call('ZRANGE', P .. 'gone', 0, -1)) do
  local status = call('HGET', task_key(id), 'status')
  if status and not FINAL[status] then wrong(status, 'task', id, 'is to be forgotten') end
  if status and call('PTTL', task_key(id)) < 0 then wrong('final task', id, 'would never expire') end
end
for _, kind in ipairs({ 'i', 'b' }) do
  if call('LLEN', P .. 'bell:' .. kind) > 1 then wrong('bell', kind, 'holds more than one token') end
end
return broken
