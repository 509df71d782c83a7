-- claim: takes as many due tasks as there is room for, and answers all that their runs need.
-- ARGV: 2 worker, 3 claim number, 4 room for batch tasks, 5 room in all, 6... model, most of it at once (0 = any), ...
-- Returns {'ok', ms until the next scheduled task or -1, '1' if more could or might be taken, {task, ...}}; see unpack.py
-- Event: status running; cancelled or failed for a task whose time is over; due for a task whose time has come
local wid, number, room, total = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local worker = P .. 'worker:' .. wid

local BODY = { 'message', 'session_id', 'metadata', 'input', 'output_schema' }

local function answer_of(id, r)
  local body = call('HMGET', task_key(id), unpack(BODY))
  local left = r.deadline_at > 0 and r.deadline_at - now or -1
  local history = {}
  if r.session ~= '' then history = call('LRANGE', session_key(r) .. ':log', 0, -1) end
  return { id, whole(r.fence), whole(r.attempt), whole(r.crashes), whole(r.retries), r.caller, r.model, r.agent, r.kind,
    body[1] or '', r.user_id, body[2] or '', body[3] or '{}', whole(left), history,
    body[4] or '', body[5] or '', whole(call('EXISTS', steps_key(id))) }
end

local function next_due()
  local head = call('ZRANGE', P .. 'scheduled', 0, 0, 'WITHSCORES')[2]
  return head and whole(math.max(0, tonumber(head) - now)) or '-1'
end

-- A reply that was lost is given again: what that claim took and still holds.
if call('HGET', worker, 'claim_no') == number then
  local tasks = {}
  for _, pair in ipairs(cjson.decode(call('HGET', worker, 'claim_ids'))) do
    local r = load(pair[1])
    if r and r.status == 'running' and whole(r.fence) == pair[2] then tasks[#tasks + 1] = answer_of(pair[1], r) end
  end
  return { 'ok', next_due(), '0', tasks }
end

for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'scheduled', '-inf', whole(now), 'LIMIT', 0, 100)) do
  call('ZREM', P .. 'scheduled', id)
  local r = load(id)
  if r and r.at == 'scheduled' then
    place(id, r, now)
    event(id, r, 'due', { 'due', whole(r.queued_at) })
  end
end

-- Which lanes this worker may take from, and how many more each model allows over all workers.
local lanes, free = { i = {}, b = {} }, {}
local function add(kind, lane, model)
  local heads = call('ZRANGE', P .. 'ready:' .. lane, 0, total, 'WITHSCORES')  -- one more than can be taken
  if #heads > 0 then table.insert(lanes[kind], { name = lane, model = model, heads = heads, position = 1 }) end
end
for i = 6, #ARGV, 2 do
  local model, most = ARGV[i], tonumber(ARGV[i + 1])
  free[model] = math.huge
  if most > 0 then
    local running = call('ZCARD', P .. 'leases:' .. model .. ':i') + call('ZCARD', P .. 'leases:' .. model .. ':b')
    free[model] = most - running
  end
  add('i', model .. ':i', model)
  add('b', model .. ':b', model)
end
local QUARANTINE_SLOTS = 2
free[''] = QUARANTINE_SLOTS - call('ZCARD', P .. 'leases:quarantine')
add('b', 'quarantine', '')

local tasks, taken, dropped = {}, {}, 0

local function take(lane, id, vscore)
  local r = load(id)
  -- an entry that its record does not name: whatever left it here, only the record says where a task is
  if not r or r.at ~= 'ready:' .. lane.name then
    call('ZREM', P .. 'ready:' .. lane.name, id)
    dropped = dropped + 1
    return
  end
  -- in quarantine stand tasks of all models, also of those that only other workers know
  if not free[r.model] then return end
  local late = r.deadline_at > 0 and r.deadline_at <= now
  if late or r.cancel_at ~= '' then
    dropped = dropped + 1
    if r.cancel_at ~= '' then return final(id, r, 'cancelled', CANCELLED) end
    return final(id, r, 'failed', EXPIRED)
  end
  leave(id, r)
  set(id, r, { status = 'running', at = 'leases:' .. lane.name, fence = r.fence + 1, attempt = r.attempt + 1,
    worker = wid, started_at = now, cause = '' })
  call('HSET', task_key(id), 'queued_ms', whole(math.max(0, now - r.queued_at)))
  call('ZADD', P .. r.at, whole(now + policy.lease), id)
  local clock = tonumber(call('HGET', P .. 'fair', '*') or '0')
  if tonumber(vscore) > clock then call('HSET', P .. 'fair', '*', vscore) end
  -- of its wait, what the model's limit was the reason for
  local about, limited = { 'worker', wid }, limited_ms(r.model)
  if limited > 0 then limited = limited - tonumber(call('HGET', task_key(id), 'limited_from') or '0') end
  if limited > 0 then about = { 'worker', wid, 'limited_ms', whole(limited) } end
  event(id, r, 'status', about)
  free[lane.model] = free[lane.model] - 1
  tasks[#tasks + 1] = answer_of(id, r)
  taken[#taken + 1] = { id, whole(r.fence) }
end

-- The lane whose head comes first among those that may still run.
local function first_of(kind)
  local best, best_score
  for _, lane in ipairs(lanes[kind]) do
    local score = tonumber(lane.heads[lane.position + 1])
    if score and free[lane.model] > 0 and (not best or score < best_score) then best, best_score = lane, score end
  end
  return best
end

local function fill(kind, limit)
  while true do
    local lane = first_of(kind)
    if not lane then return false end
    if #tasks >= limit then return true end
    local id, vscore = lane.heads[lane.position], lane.heads[lane.position + 1]
    lane.position = lane.position + 2
    take(lane, id, vscore)
  end
end

local more = fill('i', total)
if more then ring('i') end
if fill('b', math.min(total, room)) then
  more = more or room > 0
  ring('b')
end

for i = 6, #ARGV, 2 do
  local model = ARGV[i]
  if free[model] > 0 then
    model_has_room(model)
  else
    call('HSETNX', P .. 'full', model .. '|since', whole(now))
  end
end

-- Those that were dropped may have hidden others: look again while that gets anywhere.
if dropped > 0 and #tasks < total then more = true end

call('HSET', worker, 'claim_no', number, 'claim_ids', cjson.encode(taken))
call('PEXPIRE', worker, 3600000)
-- Only renew says that a worker lives on. Were a claim to say it too, the tasks of a busy worker that died would look like
-- lost claims when their leases end, and a task that kills its workers would never be charged.
call('ZADD', P .. 'workers', 'NX', whole(now), wid)
return { 'ok', next_due(), more and '1' or '0', tasks }
