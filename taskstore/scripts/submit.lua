-- submit: a new task into the record, the index and the stream, or nothing at all.
-- ARGV: 2 id, 3 run_at ms or 0, 4 deadline ms from now or 0, 5 idempotency key's Redis key or '', 6 sha256 of the body,
--       7 when another task has its session: enqueue | reject | interrupt, 8... the record's fields and values
-- Returns {'created'|'exists', id, status, created_at} | {'full'} (little memory is left) | {'queue_full'}
--         | {'idempotency_conflict'} | {'never_due'} (its time comes after its deadline)
--         | {'session_busy', id of the task that has its session}
--         | {'agent_unavailable', the workers' word on why, or '' when they do not have it}
-- Event: status pending; of a task that it interrupts, status cancelled or cancel_requested
local id, run_at, deadline, idem, body = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5], ARGV[6]
local on_busy = ARGV[7]

local function existing(known)
  local status, created_at = unpack(call('HMGET', task_key(known), 'status', 'created_at'))
  return { 'exists', known, status, created_at }
end

if call('EXISTS', task_key(id)) == 1 then return existing(id) end
if idem ~= '' then
  local held = call('GET', idem)
  if held then
    local known, known_body = string.match(held, '^(%S+) (%S*)$')
    -- a key that outlived its record is a new task's
    if call('EXISTS', task_key(known)) == 1 then
      if known_body ~= body then return { 'idempotency_conflict' } end
      return existing(known)
    end
  end
end

if deadline > 0 and run_at >= now + deadline then return { 'never_due' } end

-- The last tenth of the memory is for what was let in already: without it a queue that filled Redis could never run.
local RESERVE = 0.1
local function full()
  local memory = redis.pcall('INFO', 'memory')
  if type(memory) ~= 'string' then return false end  -- its user may not ask
  local used, most = string.match(memory, '\nused_memory:(%d+)'), string.match(memory, '\nmaxmemory:(%d+)')
  return used and most and tonumber(most) > 0 and tonumber(used) > (1 - RESERVE) * tonumber(most)
end
if full() then return { 'full' } end

-- Before any worker has said which agents there are, a task waits for the one that will.
local function agent_problem(agent)
  local said = call('HGET', P .. 'agents', agent)
  if said then
    local problem = cjson.decode(said).problem
    return problem ~= '' and problem or nil
  end
  return call('EXISTS', P .. 'agents') == 1 and '' or nil
end
local given = {}
for i = 8, #ARGV, 2 do given[ARGV[i]] = ARGV[i + 1] end
local problem = given.agent and agent_problem(given.agent)
if problem then return { 'agent_unavailable', problem } end

-- Of a task for later nobody knows yet what it will meet: it waits for its session's turn.
local busy
if (given.session or '') ~= '' and run_at <= now then busy = sessions.holder(given) end
local interrupts = busy and on_busy == 'interrupt'
if busy and on_busy == 'reject' then return { 'session_busy', busy } end

-- The count of all live tasks settles most cases; only near the limit is it worth asking how many of them run.
local depth = call('ZCARD', P .. 'live')
if depth >= policy.max_depth then
  depth = depth - call('ZCARD', P .. 'waiting')
  for _, lane in ipairs(call('SMEMBERS', P .. 'lanes')) do depth = depth - call('ZCARD', P .. 'leases:' .. lane) end
  if depth >= policy.max_depth then return { 'queue_full' } end
end

local fields = { 'status', 'pending', 'at', '', 'idem', idem, 'created_at', whole(now),
  'queued_at', whole(math.max(now, run_at)) }
if run_at > 0 then fields[#fields + 1] = 'run_at'; fields[#fields + 1] = whole(run_at) end
local deadline_at = '+inf'
if deadline > 0 then
  deadline_at = whole(now + deadline)
  fields[#fields + 1] = 'deadline_at'; fields[#fields + 1] = deadline_at
end
for i = 8, #ARGV do fields[#fields + 1] = ARGV[i] end
call('HSET', task_key(id), unpack(fields))

for i = 1, #fields, 2 do given[fields[i]] = fields[i + 1] end
local r = decision_fields(given)
if r.session ~= '' then sessions.join(id, r, interrupts) end
call('ZADD', P .. 'live', deadline_at, id)
call('ZADD', P .. 'caller:' .. r.caller, whole(now), id)
call('SADD', P .. 'callers', r.caller)
if idem ~= '' then call('SET', idem, id .. ' ' .. body) end
place(id, r, run_at)
event(id, r, 'status')
tally('agent_tasks_submitted_total', 1, r.caller, r.agent, r.model, LANE_NAMES[r.kind])
if interrupts then cancel(busy, load(busy), id) end  -- which lets the new one in, when no worker holds it
wind_up()
return { 'created', id, 'pending', whole(now) }
