-- claim: takes as many due tasks as there is room for, and answers all that their runs need.
-- ARGV: 2 worker, 3 claim number, 4 room for batch tasks, 5 room in all,
--       6 of the quarantine lane: 'leave' | 'offer' (takes none from it, but may be told to attend) | 'only' (takes from
--       no other), 7 the worker that attends: this one, or the one whose quarantine worker asks,
--       8... model, most of it at once (0 = any), requests a minute (0 = any), '1' if it may cool down, its fallbacks
--       (joined by \31), ...
-- Returns {'ok', ms until a task is due or a gate opens by itself or -1, '1' if more could or might be taken,
--         {task, ...}, '1' if this worker is to attend to quarantined tasks}; see unpack.py
-- Event: status running; cancelled or failed for a task whose time is over; due for a task whose time has come
local wid, number, room, total = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local quarantine, attendant = ARGV[6], ARGV[7]
local worker = P .. 'worker:' .. wid

-- What the worker's registry says of each model, and what the gates say of it now. free: how many more may be started.
local models, rules, free, cooling, buckets = {}, {}, {}, {}, {}
local paused, told = {}, {}
local function read_hash(key, into)
  local flat = call('HGETALL', key)
  for i = 1, #flat, 2 do into[flat[i]] = flat[i + 1] end
end
read_hash(P .. 'paused', paused)
read_hash(P .. 'gates', told)
for i = 8, #ARGV, 5 do
  local model, rule = ARGV[i], { most = tonumber(ARGV[i + 1]), rpm = tonumber(ARGV[i + 2]), chain = {} }
  for other in string.gmatch(ARGV[i + 4], '[^\31]+') do table.insert(rule.chain, other) end
  models[#models + 1], rules[model], free[model] = model, rule, math.huge
  if rule.most > 0 then
    rule.running = call('ZCARD', P .. 'leases:' .. model .. ':i') + call('ZCARD', P .. 'leases:' .. model .. ':b')
    free[model] = rule.most - rule.running
  end
  if rule.rpm > 0 then
    buckets[model] = gates.bucket(told[model .. '|bucket'], rule.rpm)
    free[model] = math.min(free[model], math.floor(buckets[model].left))
  end
  local found = ARGV[i + 3] == '1' and gates.cooling(told[model .. '|cooling']) or nil
  if found then
    found.shut = now < found.ends
    found.tried = not found.shut and gates.probing(found)
    cooling[model] = found
    free[model] = math.min(free[model], (found.shut or found.tried) and 0 or 1)
  end
  if paused['model ' .. model] then free[model] = 0 end
end
local QUARANTINE_SLOTS = 2  -- over all workers
free[''] = QUARANTINE_SLOTS - call('ZCARD', P .. 'leases:quarantine')

-- The model that a task of `model` may be started at now: itself, or while it cools down the first fallback that may.
-- A limit or a pause is no fault, so nobody falls back from those.
local function route(model)
  if not free[model] then return nil end
  if free[model] > 0 then return model end
  if not cooling[model] or paused['model ' .. model] then return nil end
  for _, other in ipairs(rules[model].chain) do
    if (free[other] or 0) > 0 then return other end
  end
end

local function full(model) return rules[model].most > 0 and rules[model].running >= rules[model].most end

-- Why not, when it may not be started anywhere.
local function reason(model)
  if route(model) then return nil end
  if paused['model ' .. model] then return 'pause' end
  if cooling[model] then return 'cooldown' end
  return full(model) and 'limit' or 'rate'
end

-- Milliseconds until a model's gate opens by itself, or nil when something has to happen first, which rings then.
local function opens_in(model)
  local ms
  if not rules[model] or full(model) or paused['model ' .. model] then return nil end
  if cooling[model] and cooling[model].shut then ms = cooling[model].ends - now end
  if buckets[model] and buckets[model].left < 1 then
    ms = math.max(ms or 0, math.ceil((1 - buckets[model].left) * 60000 / rules[model].rpm))
  end
  return ms
end

-- Models that a run which starts at `via` should not call: those that cool down, until somebody may try them.
local function avoided(id, model, via)
  local found = {}
  local function look(name)
    local state = cooling[name]
    if name == via or not state or state.probe == id then return end
    if name == model or state.shut or state.tried then found[#found + 1] = name end
  end
  look(model)
  for _, other in ipairs((rules[model] or { chain = {} }).chain) do look(other) end
  return table.concat(found, '\31')
end

-- What a run needs besides, behind what is decided by: one look at the record has all of it.
local BODY = { 'message', 'session_id', 'metadata', 'input', 'output_schema', 'stream', 'ready_at', 'replays',
  'replayed_at', 'traceparent', 'lost' }
local ALL, LOST = {}, #FIELDS + #BODY
for _, name in ipairs(FIELDS) do ALL[#ALL + 1] = name end
for _, name in ipairs(BODY) do ALL[#ALL + 1] = name end

-- Of the attempt before this one, when its worker died with it: fence, attempt, ms since its begin and its end, worker.
local function lost_before(r, noted)
  local fence, attempt, began, ended, worker = string.match(noted or '', '^(%d+) (%d+) (%d+) (%d+) (.*)$')
  if tonumber(fence) ~= r.fence - 1 then return '' end
  return table.concat({ fence, attempt, whole(r.started_at - began), whole(r.started_at - ended), worker }, ' ')
end

-- values: of ALL.
local function answer_of(id, r, via, values)
  local body = { unpack(values, #FIELDS + 1, LOST) }
  local left = r.deadline_at > 0 and r.deadline_at - now or -1
  -- not since it was queued: what waited for its session has not waited for a worker
  local ready = r.started_at - (tonumber(body[7] or '') or r.queued_at)
  return { id, whole(r.fence), whole(r.attempt), whole(r.crashes), whole(r.retries), r.caller, r.model, r.agent, r.kind,
    body[1] or '', r.user_id, body[2] or '', body[3] or '{}', whole(left), sessions.history(r),
    body[4] or '', body[5] or '', r.kept == '' and '0' or whole(call('EXISTS', steps_key(id))), avoided(id, r.model, via), body[6] or '',
    whole(math.max(0, ready)), whole(math.max(0, r.started_at - (body[9] or r.created_at))), body[8] or '0', body[10] or '',
    lost_before(r, body[11]) }
end

local function next_due()
  local head = call('ZRANGE', P .. 'scheduled', 0, 0, 'WITHSCORES')[2]
  return head and whole(math.max(0, tonumber(head) - now)) or '-1'
end

-- A reply that was lost is given again: what that claim took and still holds.
if call('HGET', worker, 'claim_no') == number then
  local tasks = {}
  for _, pair in ipairs(cjson.decode(call('HGET', worker, 'claim_ids'))) do
    local r, values = load(pair[1], ALL)
    if r and r.status == 'running' and whole(r.fence) == pair[2] then
      tasks[#tasks + 1] = answer_of(pair[1], r, gates.leased(r.at) or r.model, values)
    end
  end
  return { 'ok', next_due(), '0', tasks, '0' }
end

-- A full Redis starts nothing new: it refuses this write, and so the whole claim. What runs already has the room there is.
call('HSET', worker, 'claim_no', number, 'claim_ids', '[]')

for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'scheduled', '-inf', whole(now), 'LIMIT', 0, 100)) do
  call('ZREM', P .. 'scheduled', id)
  local r = load(id)
  if r and r.at == 'scheduled' then
    place(id, r, now)
    event(id, r, 'due', { 'due', whole(r.queued_at) })
  end
end

-- A paused agent's tasks leave the lane, so that they hide no others: each once, to a lane of their own, at their place in
-- the fair order. They come back by being taken from there.
local MOST_ASIDE = 200
local moved = 0
local function set_aside(lane, model, kind)
  local found = true
  while found and moved < MOST_ASIDE do
    found = false
    local heads = call('ZRANGE', P .. 'ready:' .. lane, 0, total, 'WITHSCORES')
    for i = 1, #heads, 2 do
      local id = heads[i]
      local agent, at = unpack(call('HMGET', task_key(id), 'agent', 'at'))
      if agent and at == 'ready:' .. lane and paused['agent ' .. agent] then
        local aside = lane .. ':' .. agent
        call('SADD', P .. 'aside', table.concat({ kind, agent, model }, '\31'))
        call('SADD', P .. 'lanes', aside)
        call('ZREM', P .. 'ready:' .. lane, id)
        call('HSET', task_key(id), 'at', 'ready:' .. aside)
        call('ZADD', P .. 'ready:' .. aside, heads[i + 1], id)
        found, moved = true, moved + 1
      end
    end
  end
end
local agents_paused = false
for name in pairs(paused) do agents_paused = agents_paused or string.sub(name, 1, 6) == 'agent ' end

-- Which lanes this worker may take from. In quarantine the first ones may be of models that may not be started.
local MOST_BEFORE = 100
local lanes = { i = {}, b = {} }
local function add(kind, lane, model, looks)
  local heads = call('ZRANGE', P .. 'ready:' .. lane, 0, looks or total, 'WITHSCORES')  -- one more than can be taken
  if #heads > 0 then table.insert(lanes[kind], { name = lane, model = model, heads = heads, position = 1 }) end
  return #heads > 0
end
if quarantine == 'only' then
  add('b', 'quarantine', '', math.max(total, MOST_BEFORE))
else
  for _, model in ipairs(models) do
    for _, kind in ipairs({ 'i', 'b' }) do
      if agents_paused then set_aside(model .. ':' .. kind, model, kind) end
      add(kind, model .. ':' .. kind, model)
    end
  end
  for _, member in ipairs(call('SMEMBERS', P .. 'aside')) do
    local kind, agent, model = string.match(member, '^([^\31]*)\31([^\31]*)\31(.*)$')
    if not paused['agent ' .. agent] and free[model] and not add(kind, model .. ':' .. kind .. ':' .. agent, model) then
      call('SREM', P .. 'aside', member)
    end
  end
end

local tasks, taken, dropped = {}, {}, 0

-- A claim pays for the first request of a run, so that many at once don't all start on the same one.
local function started(id, r, via)
  free[via] = free[via] - 1
  if rules[via].running then rules[via].running = rules[via].running + 1 end
  if buckets[via] then
    buckets[via].left = buckets[via].left - 1
    buckets[via].used = true
  end
  if cooling[via] then
    cooling[via].probe, cooling[via].fence, cooling[via].tried = id, whole(r.fence), true
    gates.save_cooling(via, cooling[via])
  end
end

local function take(lane, id, vscore)
  local r, values = load(id, ALL)
  -- an entry that its record does not name: whatever left it here, only the record says where a task is
  if not r or r.at ~= 'ready:' .. lane.name then
    call('ZREM', P .. 'ready:' .. lane.name, id)
    dropped = dropped + 1
    return
  end
  -- in quarantine stand tasks of all models, also of those that only other workers know
  local via = route(r.model)
  if not via or paused['agent ' .. r.agent] then return end
  local late = r.deadline_at > 0 and r.deadline_at <= now
  if late or r.cancel_at ~= '' then
    dropped = dropped + 1
    if r.cancel_at ~= '' then return final(id, r, 'cancelled', cancelled(r)) end
    return final(id, r, 'failed', EXPIRED)
  end
  leave(id, r)
  if r.cause == 'worker_lost' then  -- which left nobody to tell of that attempt
    local lost = { whole(r.fence), whole(r.attempt), whole(r.started_at), whole(r.queued_at), r.worker }
    values[LOST] = table.concat(lost, ' ')
    change(r, { lost = values[LOST] })
  end
  local leased = lane.model == '' and lane.name or via .. ':' .. r.kind
  if leased ~= lane.name then call('SADD', P .. 'lanes', leased) end
  set(id, r, { status = 'running', at = 'leases:' .. leased, fence = r.fence + 1, attempt = r.attempt + 1,
    worker = wid, started_at = now, cause = '', queued_ms = math.max(0, now - r.queued_at) })
  call('ZADD', P .. r.at, whole(now + policy.lease), id)
  tally('agent_attempts_total', 1, r.agent, r.model)
  if lane.model == '' then vscore = r.vscore end  -- in quarantine an entry's score is another
  if tonumber(vscore) > fair_clock() then fair.clock, fair.moved_to = tonumber(vscore), vscore end
  -- of its wait, what a limit, a cooldown or a pause was the reason for
  local about, totals, ever = { 'worker', wid }, gates.held(r)
  local held = ever and gates.held_text(totals, call('HGET', task_key(id), 'held_from') or '') or ''
  if held ~= '' then about = { 'worker', wid, 'held', held } end
  if lane.model == '' then
    about[#about + 1] = 'alone'
    about[#about + 1] = '1'
  end
  event(id, r, 'status', about)
  if lane.model == '' then free[''] = free[''] - 1 end
  started(id, r, via)
  tasks[#tasks + 1] = answer_of(id, r, via, values)
  taken[#taken + 1] = { id, whole(r.fence) }
end

-- The lane whose head comes first among those that may still run.
local function first_of(kind)
  local best, best_score
  for _, lane in ipairs(lanes[kind]) do
    local score = tonumber(lane.heads[lane.position + 1])
    if score and (not best or score < best_score) and route(lane.model) then best, best_score = lane, score end
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

-- A quarantined task runs alone, in a process that some worker starts for it and that serves one such task after another.
-- `attending` says how many of those stand by or are about to, so that no two workers start one for the same task. It
-- is a hint, and forgets by itself: however many there are, QUARANTINE_SLOTS is what holds.
local STARTING_MS, STANDING_BY_MS = 60000, 3000
local function stand_by(ms)
  call('ZADD', P .. 'attending', whole(now + ms), attendant)
  call('PEXPIRE', P .. 'attending', whole(STARTING_MS))
end

local function to_attend()
  if free[''] <= 0 or call('ZCARD', P .. 'ready:quarantine') == 0 then return false end
  call('ZREM', P .. 'attending', attendant)  -- it has none: what it was told was lost, or its process has ended
  call('ZREMRANGEBYSCORE', P .. 'attending', '-inf', whole(now))
  for _, name in ipairs(call('ZRANGE', P .. 'attending', 0, -1)) do
    local seen = call('ZSCORE', P .. 'workers', name)
    if seen and tonumber(seen) + policy.lease < now then call('ZREM', P .. 'attending', name) end  -- it has died
  end
  local standing_by, waiting = call('ZCARD', P .. 'attending'), 0
  if standing_by >= free[''] then return false end
  for _, id in ipairs(call('ZRANGE', P .. 'ready:quarantine', 0, MOST_BEFORE - 1)) do
    local model, agent, at = unpack(call('HMGET', task_key(id), 'model', 'agent', 'at'))
    -- an entry that its record does not name is there to be cleared away
    if at ~= 'ready:quarantine' or (route(model) and not paused['agent ' .. agent]) then waiting = waiting + 1 end
    if waiting > standing_by then return true end
  end
  return false
end

local attend = false
if quarantine == 'only' then
  if #tasks == 0 then stand_by(STANDING_BY_MS) else call('ZREM', P .. 'attending', attendant) end
elseif quarantine == 'offer' then
  attend = to_attend()
  if attend then stand_by(STARTING_MS) end
end

local names = {}
for i, model in ipairs(models) do names[i] = 'model ' .. model .. '|now' end
local currents = #names > 0 and call('HMGET', P .. 'holds', unpack(names)) or {}
for i, model in ipairs(models) do
  gates.hold('model ' .. model, reason(model), currents[i] or nil)
  if buckets[model] and (buckets[model].used or not told[model .. '|bucket']) then
    gates.save_bucket(model, buckets[model])
  end
end

-- Tasks that stand before a gate which opens by itself: that is when to look again.
local opens
local function wait_for(model)
  local ms = opens_in(model)
  if ms and (not opens or ms < opens) then opens = ms end
end
for _, kind in ipairs({ 'i', 'b' }) do
  for _, lane in ipairs(lanes[kind]) do
    if lane.model == '' then
      for _, model in ipairs(models) do wait_for(model) end
    elseif lane.heads[lane.position] and not route(lane.model) then
      wait_for(lane.model)
      if cooling[lane.model] and not paused['model ' .. lane.model] then
        for _, other in ipairs(rules[lane.model].chain) do wait_for(other) end
      end
    end
  end
end

-- Those that were dropped may have hidden others: look again while that gets anywhere.
if dropped > 0 and #tasks < total then more = true end
if moved >= MOST_ASIDE then more = true end

call('HSET', worker, 'claim_ids', cjson.encode(taken))
call('PEXPIRE', worker, 3600000)
-- Only renew says that a worker lives on. Were a claim to say it too, the tasks of a busy worker that died would look like
-- lost claims when their leases end, and a task that kills its workers would never be charged.
call('ZADD', P .. 'workers', 'NX', whole(now), wid)
wind_up()
local due = next_due()
if opens and (due == '-1' or opens < tonumber(due)) then due = whole(opens) end
return { 'ok', due, more and '1' or '0', tasks, attend and '1' or '0' }
