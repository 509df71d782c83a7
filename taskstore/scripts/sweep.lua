-- sweep: rescues, expires and forgets what is due, at most a limit of each. Every process sends it; it needs no leader.
-- ARGV: 2 id of a worker that is known to be dead, or '', 3 most of each kind
-- Returns {ms until the next lease ends or '' when nothing runs,
--          {'rescued', n, 'expired', n, 'forgotten', n, 'placed', n, 'granted', n}}
-- Event: status retrying, failed or cancelled
also_when_full()
local dead_worker, LIMIT = ARGV[2], tonumber(ARGV[3])
local OVERDUE_MS = 30000
-- Renewed every third of a lease, one has two thirds left at least when Redis goes away. So a time without a sweep that
-- could have cost a lease counts as a gap; one process's sweeps, twice a second, are never so far apart by themselves.
local GAP_MS = math.min(3000, math.max(1000, 0.6 * policy.lease))
local counts = { rescued = 0, expired = 0, forgotten = 0, placed = 0, granted = 0 }

local lanes = call('SMEMBERS', P .. 'lanes')

local function after_loss(id, r, free)
  if r.cancel_at ~= '' then return final(id, r, 'cancelled', cancelled(r)) end
  if free then
    change(r, { attempt = r.attempt - 1 })
  else
    change(r, { crashes = r.crashes + 1 })
  end
  change(r, { duration_ms = math.max(0, now - r.started_at) })
  if r.crashes >= policy.max_crashes then
    return final(id, r, 'failed', { dead = true, error_code = 'worker_lost',
      error = 'The worker was lost ' .. whole(r.crashes) .. ' times while it ran this task.' })
  end
  if r.deadline_at > 0 and r.deadline_at <= now then return final(id, r, 'failed', EXPIRED) end
  leave(id, r)
  change(r, { status = 'retrying', queued_at = now, cause = free and 'lost_claim' or 'worker_lost' })
  place(id, r, now)
  event(id, r, 'status', { 'cause', r.cause })
end

-- Takes a running task from the worker that lost it. free: the claim was lost, not the worker, so nothing is charged.
local function rescue(id, r, free)
  local at = r.at
  tally('agent_rescues_total', 1, free and 'lost_claim' or 'worker_lost')
  after_loss(id, r, free)
  ring_for_slot(r, at)
end

local function each_lease(from, to, act)
  for _, lane in ipairs(lanes) do
    local leases = P .. 'leases:' .. lane
    for _, id in ipairs(call('ZRANGEBYSCORE', leases, from, to, 'LIMIT', 0, LIMIT)) do
      local r = load(id)
      if not r or r.at ~= 'leases:' .. lane then call('ZREM', leases, id) else act(id, r, leases) end
    end
  end
end

local function rescue_dead(wid)
  call('ZREM', P .. 'workers', wid)
  call('ZREM', P .. 'attending', wid)
  for _, lane in ipairs(lanes) do
    for _, id in ipairs(call('ZRANGE', P .. 'leases:' .. lane, 0, -1)) do
      local r = load(id)
      if r and r.worker == wid then
        rescue(id, r, false)
        counts.rescued = counts.rescued + 1
      end
    end
  end
end

for _, member in ipairs(call('ZRANGEBYSCORE', P .. 'gone', '-inf', whole(now), 'LIMIT', 0, LIMIT)) do
  local id, caller = string.match(member, '^(%S+) (.*)$')
  forget(id, { caller = caller })
  counts.forgotten = counts.forgotten + 1
end

for _, member in ipairs(call('ZRANGEBYSCORE', P .. 'idle', '-inf', whole(now), 'LIMIT', 0, LIMIT)) do
  local session, caller = string.match(member, '^(%S+) (.*)$')
  sessions.forget({ session = session, caller = caller })
end

-- Nobody could renew while Redis was away, or its clock jumped: every lease gets a full term before any is judged.
local last = tonumber(call('HGET', P .. 'swept', 'at') or '0')
local gap = now - last > GAP_MS or now < last
call('HSET', P .. 'swept', 'at', whole(now))
if dead_worker ~= '' then rescue_dead(dead_worker) end
if gap then
  for _, lane in ipairs(lanes) do
    local leases = P .. 'leases:' .. lane
    for _, id in ipairs(call('ZRANGE', leases, 0, -1)) do
      call('ZADD', leases, 'XX', whole(now + policy.lease), id)
      counts.granted = counts.granted + 1
    end
  end
end

each_lease('-inf', whole(now), function(id, r)
  local seen = tonumber(call('ZSCORE', P .. 'workers', r.worker) or '0')
  -- one that renews does so every third of a lease. The last renewal of a dead one may be a little younger than this
  -- lease: a claim is held from when its answer is read, and a busy worker may renew the others in between
  rescue(id, r, now - seen < 0.8 * policy.lease)
  counts.rescued = counts.rescued + 1
end)

for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'live', '-inf', whole(now), 'LIMIT', 0, LIMIT)) do
  local r = load(id)
  if not r then
    call('ZREM', P .. 'live', id)
  elseif r.status ~= 'running' then
    final(id, r, 'failed', EXPIRED)
    counts.expired = counts.expired + 1
  elseif now - r.deadline_at >= OVERDUE_MS then
    -- its worker times it out at the deadline; one that has not by now will not
    local at = r.at
    final(id, r, 'failed', EXPIRED)
    ring_for_slot(r, at)
    counts.expired = counts.expired + 1
  else
    -- looked at again when it is overdue; so that many of these cannot hide others
    call('ZADD', P .. 'live', whole(r.deadline_at + OVERDUE_MS), id)
  end
end

-- Orphans: a live record that stands in no index is put back into one. A few each time, so that all are seen in turn.
local cursor = call('HGET', P .. 'swept', 'cursor') or '0'
local scanned = call('ZSCAN', P .. 'live', cursor, 'COUNT', LIMIT)
call('HSET', P .. 'swept', 'cursor', scanned[1])
for i = 1, #scanned[2], 2 do
  local id = scanned[2][i]
  local r = load(id)
  if not r then
    call('ZREM', P .. 'live', id)
  elseif not FINAL[r.status] then
    local stands = r.at ~= '' and call('ZSCORE', P .. r.at, id)
    if stands and string.sub(r.at, 1, 8) == 'blocked:' then
      if not sessions.holder(r) then
        leave(id, r)
        stands = nil
      end
    end
    if not stands then
      if r.status == 'running' then
        rescue(id, r, true)
      elseif r.status == 'waiting' then
        set(id, r, { at = 'waiting' })
        call('ZADD', P .. 'waiting', '+inf', id)
      else
        place(id, r, now)
      end
      counts.placed = counts.placed + 1
    end
  end
end

-- Flows whose last finish is behind the clock start from the clock again: the same as not being known.
if fair_clock() > 0 then
  local flows = call('HSCAN', P .. 'fair', '0', 'COUNT', LIMIT)[2]
  for i = 1, #flows, 2 do
    if flows[i] ~= '*' and tonumber(flows[i + 1]) <= fair_clock() then call('HDEL', P .. 'fair', flows[i]) end
  end
end
call('ZREMRANGEBYSCORE', P .. 'workers', '-inf', whole(now - 3600000))

-- Versions that did not count who stands behind another task let some of them in uncounted.
if call('EXISTS', P .. 'behind') == 1 then
  local behind = call('ZCARD', P .. 'live') - call('ZCARD', P .. 'scheduled') - call('ZCARD', P .. 'waiting')
  for _, lane in ipairs(lanes) do
    behind = behind - call('ZCARD', P .. 'ready:' .. lane) - call('ZCARD', P .. 'leases:' .. lane)
  end
  if behind <= 0 then call('DEL', P .. 'behind') end
end

wind_up()
local answer = {}
for name, count in pairs(counts) do
  answer[#answer + 1] = name
  answer[#answer + 1] = whole(count)
end
local next_end = ''
for _, lane in ipairs(lanes) do
  local ends = tonumber(call('ZRANGE', P .. 'leases:' .. lane, 0, 0, 'WITHSCORES')[2])
  if ends and (next_end == '' or ends < next_end) then next_end = ends end
end
return { next_end == '' and '' or whole(math.max(0, next_end - now)), answer }
