-- Shared by every verb: the clock, the record, and the steps that move a task. Joined in front of each script.
-- KEYS[1] = key prefix; ARGV[1] = policy (JSON, scripts.py). One primary, no Cluster: names are built from the prefix.
-- Numbers leave as whole strings: Lua's .. keeps only 14 digits.
local call = redis.call
local P = KEYS[1]
local policy = cjson.decode(ARGV[1])

local clock_parts = call('TIME')
local now = clock_parts[1] * 1000 + math.floor(clock_parts[2] / 1000)

-- Workers that were seen since then count as alive.
local alive_since = now - math.max(10000, 2 * policy.lease)

-- %d is several times as fast, and would cut what is behind the point.
local function whole(number) return string.format(number % 1 == 0 and '%d' or '%.0f', number) end

-- A full Redis (maxmemory, noeviction) refuses a script at its first write, if that may take memory, and never later: no
-- verb is stopped half-way. Verbs that end, keep or free what was let in begin with a write that takes none, and so are
-- never refused: what they may add is bounded by what runs.
local function also_when_full() call('HDEL', P .. 'swept', 'full') end

local gates, sessions = {}, {}  -- what _gates.lua and _sessions.lua define

-- What operators count (monitoring/metrics.py has the metrics, STORED), by label values. A verb adds up what it did, and
-- wind_up writes each field once, however many tasks the batch had.
local tallied = {}
local function tally(metric, by, ...)
  local field = table.concat({ metric, ... }, '\31')
  tallied[field] = (tallied[field] or 0) + by
end

local LANE_NAMES = { i = 'interactive', b = 'batch' }

local FINAL = { success = true, failed = true, cancelled = true }

-- What scripts decide by; bodies (message, result) stay in Redis until they are asked for.
local FIELDS = {
  'status', 'at', 'caller', 'model', 'agent', 'kind', 'flow', 'weight', 'vscore', 'session', 'turn', 'memory',
  'user_id', 'fence', 'settled', 'attempt', 'retries', 'crashes', 'worker', 'created_at', 'queued_at', 'started_at',
  'deadline_at', 'cancel_at', 'interrupted_by', 'idem', 'cause', 'kept', 'error_code',
}
local NUMBERS = {
  turn = true, fence = true, settled = true, attempt = true, retries = true, crashes = true, created_at = true,
  queued_at = true, started_at = true, deadline_at = true,
}

local function task_key(id) return P .. 'task:' .. id end

local function steps_key(id) return P .. 'steps:' .. id end

-- The same of values by name.
local function decision_fields(of)
  local r = {}
  for _, name in ipairs(FIELDS) do
    if NUMBERS[name] then r[name] = tonumber(of[name] or 0) or 0 else r[name] = of[name] or '' end
  end
  return r
end

-- The record's decision fields, or nil when there is none. names: FIELDS and others behind them, whose values are then
-- the second answer.
local function load(id, names)
  local values = call('HMGET', task_key(id), unpack(names or FIELDS))
  if not values[1] then return nil end
  local r = {}
  for i, name in ipairs(FIELDS) do
    local value = values[i]
    if NUMBERS[name] then r[name] = tonumber(value or 0) or 0 else r[name] = value or '' end
  end
  return r, values
end

-- Changes the record with the next `set`, which saves a command: only where one is sure to follow.
local function change(r, fields)
  r.changes = r.changes or {}
  for name, value in pairs(fields) do
    r[name] = value
    r.changes[name] = value
  end
end

local function set(id, r, fields)
  change(r, fields)
  local flat = {}
  for name, value in pairs(r.changes) do
    flat[#flat + 1] = name
    flat[#flat + 1] = type(value) == 'number' and whole(value) or value
  end
  r.changes = nil
  call('HSET', task_key(id), unpack(flat))
end

-- One token at most: it wakes one worker, and whoever claims rings again when more is left. Nobody takes it before the
-- script has ended.
local rung = {}
local function ring(kind)
  if rung[kind] then return end
  rung[kind] = true
  local bell = P .. 'bell:' .. kind
  if call('LLEN', bell) == 0 then call('RPUSH', bell, '1') end
end

-- Appends to the task's stream and announces it there; the entry's id is what watchers resume from.
local function event(id, r, kind, extra)
  local stream = P .. 'events:' .. id
  local fields = { 'type', kind, 'status', r.status, 'attempt', whole(r.attempt), 'fence', whole(r.fence),
    'at', whole(now) }
  for _, part in ipairs(extra or {}) do fields[#fields + 1] = part end
  local entry = call('XADD', stream, 'MAXLEN', '~', '10000', '*', unpack(fields))
  call('PUBLISH', stream, entry)
end

-- What a task may keep of its steps: the stream is read whole by whoever asks for the task's steps.
local MAX_STEPS, MAX_STEP_BYTES = 1000, 1048576

-- The number of the last write of this fence that a field of the record remembers, 0 before the first.
local function last_of(id, field, fence)
  local of, number = string.match(call('HGET', task_key(id), field) or '', '^(%d+) (%d+)$')
  return of == whole(fence) and tonumber(number) or 0
end

-- What it may keep of what its models say while they say it: with the steps, less than a stream keeps.
local MAX_TOKENS, MAX_TOKEN_BYTES = 3000, 1048576

local function characters(text) return select(2, string.gsub(text, '[^\128-\191]', '')) end

local function words_of(key)
  local count, bytes = unpack(call('HMGET', key, 'tokens', 'token_bytes'))
  return { count = tonumber(count or '0'), bytes = tonumber(bytes or '0') }
end

-- Appends a piece of a model's words: {ms ago, text, 'token', step number, kind, characters missing before it or nothing}.
-- words counts the task's; the piece that is too much goes in without its text, and after it come none. Returns the entry.
local function append_token(id, r, token, words)
  if words.count > MAX_TOKENS then return nil end
  local text, lost = token[2], token[6] or 0
  words.count, words.bytes = words.count + 1, words.bytes + #text
  if words.count > MAX_TOKENS or words.bytes > MAX_TOKEN_BYTES then
    words.count = MAX_TOKENS + 1
    text, lost = '', lost + characters(text)
  end
  local fields = { 'type', 'token', 'status', r.status, 'attempt', whole(r.attempt), 'fence', whole(r.fence),
    'at', whole(now - token[1]), 'number', whole(token[4]), 'kind', token[5], 'text', text }
  if lost > 0 then
    fields[#fields + 1] = 'lost'
    fields[#fields + 1] = whole(lost)
  end
  return call('XADD', P .. 'events:' .. id, 'MAXLEN', '~', '10000', '*', unpack(fields))
end

-- Appends what the calls of a run did, each once however often it is sent: data.first numbers the first entry within
-- the fence, and the record remembers the last. An entry is {ms ago, JSON}, a token (above), or {count} of steps that were dropped.
-- One announcement for all: whoever follows the task looks once.
local function append_steps(id, r, data)
  local key, last = task_key(id), last_of(id, 'stepped', r.fence)
  local number, entry, dropped, bytes = data.first - 1, nil, 0, 0
  local kept = tonumber(call('HGET', key, 'steps') or '0')
  local size = tonumber(call('HGET', key, 'step_bytes') or '0')
  local before, words = kept, nil
  for _, step in ipairs(data.steps) do
    number = number + 1
    if number > last and step[3] == 'token' then
      words = words or words_of(key)
      entry = append_token(id, r, step, words) or entry
    elseif number > last then
      gates.told(step)
      if not step[2] then
        dropped = dropped + step[1]
      elseif kept >= MAX_STEPS or size + bytes >= MAX_STEP_BYTES then
        dropped = dropped + 1
      else
        kept = kept + 1
        bytes = bytes + #step[2]
        entry = call('XADD', P .. 'events:' .. id, 'MAXLEN', '~', '10000', '*', 'type', 'step', 'status', r.status,
          'attempt', whole(r.attempt), 'fence', whole(r.fence), 'at', whole(now - step[1]), 'step', step[2])
      end
    end
  end
  if number <= last then return end
  call('HSET', key, 'stepped', whole(r.fence) .. ' ' .. whole(number))
  if kept > before then call('HSET', key, 'steps', whole(kept), 'step_bytes', whole(size + bytes)) end
  if words then call('HSET', key, 'tokens', whole(words.count), 'token_bytes', whole(words.bytes)) end
  if dropped > 0 then call('HINCRBY', key, 'steps_dropped', whole(dropped)) end
  if entry then call('PUBLISH', P .. 'events:' .. id, entry) end
end

-- A running task's slot is free: a worker that had room, but not for this model, has to look again. at: where it ran.
local freed = {}
local function ring_for_slot(r, at)
  local leased = gates.leased(at)
  if leased then freed[leased] = true end
  freed[r.model] = true
end

-- The virtual clock of the fair order: read once, and moved once, by the script that claims.
local fair = {}
local function fair_clock()
  fair.clock = fair.clock or tonumber(call('HGET', P .. 'fair', '*') or '0')
  return fair.clock
end

-- The end of every verb that moves tasks: what is done once for all of them.
local function wind_up()
  for model in pairs(freed) do gates.room(model) end
  if fair.moved_to then call('HSET', P .. 'fair', '*', fair.moved_to) end
  for field, by in pairs(tallied) do
    if by > 0 then call('HINCRBY', P .. 'counts', field, whole(by)) end
  end
end

-- A worker's death is charged to all that it ran, whoever brought it about. So the last run that MAX_CRASHES allows is
-- always one in quarantine, where a task answers for nobody else; by its second crash it gets there anyhow.
local QUARANTINE_FROM = math.max(1, math.min(2, policy.max_crashes - 1))
local function quarantined(r) return r.crashes >= QUARANTINE_FROM end

local function lane_of(r)
  if quarantined(r) then return 'quarantine' end
  return r.model .. ':' .. r.kind
end

-- Where a ready task stands in its lane. In quarantine those that took down fewest workers come first: one that takes
-- down each process that is started for the lane would else keep all behind it waiting until it is buried.
local PER_CRASH = 1e12
local function score_of(r)
  return quarantined(r) and string.format('%.6f', r.crashes * PER_CRASH + tonumber(r.vscore)) or r.vscore
end

local function bell_of(r) return quarantined(r) and 'b' or r.kind end

local function leave(id, r)
  if r.at == '' then return end
  local left = call('ZREM', P .. r.at, id)
  if string.sub(r.at, 1, 8) == 'blocked:' then sessions.count_behind(r.caller, -left) end
end

-- The first bytes of a text, up to `most`, and not half a character.
local function beginning(text, most)
  if #text <= most then return text end
  return (string.gsub(string.sub(text, 1, most), '[\192-\255][\128-\191]*$', ''))
end

-- The fair order: a virtual finish time, given once, when the task is first ready, and kept for good.
local function stamp(r)
  if r.vscore ~= '' then return end
  local last = tonumber(call('HGET', P .. 'fair', r.flow) or '0')
  local finish = string.format('%.6f', math.max(fair_clock(), last) + 1 / tonumber(r.weight))
  call('HSET', P .. 'fair', r.flow, finish)
  change(r, { vscore = finish })
end

-- Puts a live task that stands in no index where it belongs: later, behind its session, or ready.
local function place(id, r, due)
  if due > now then
    set(id, r, { at = 'scheduled' })
    call('ZADD', P .. 'scheduled', whole(due), id)
    -- a worker that sleeps until the next due task has to learn of an earlier one
    if call('ZRANGE', P .. 'scheduled', 0, 0)[1] == id then ring(bell_of(r)) end
    return
  end
  stamp(r)
  if r.session ~= '' and not sessions.enter(id, r) then return end
  local lane = lane_of(r)
  local held, ever = gates.held(r)
  if ever then change(r, { held_from = gates.held_text(held, '') }) end
  -- one whose time came has been ready since then: a worker without room promotes nobody
  local ready_at = r.at == 'scheduled' and math.min(now, r.queued_at) or now
  set(id, r, { at = 'ready:' .. lane, ready_at = ready_at })
  call('SADD', P .. 'lanes', lane)
  call('ZADD', P .. r.at, score_of(r), id)
  ring(bell_of(r))
end

-- Adds what an attempt spent to the record and to the day's total; records die after an hour, the bill must not.
-- data counts from the attempt's begin, and `charged` is how much of that is on the bill: sent again, it adds nothing.
local function charge(id, r, data)
  if not data.usage then return end
  local key = task_key(id)
  local before, noted = unpack(call('HMGET', key, 'usage', 'charged'))
  local charged = noted and cjson.decode(noted) or {}
  local first = charged.fence ~= r.fence
  if first then charged = { usage = {}, cost_nusd = 0, unpriced = 0 } end
  local more = {}
  for name, count in pairs(data.usage) do more[name] = count - (charged.usage[name] or 0) end
  local cost, unpriced = data.cost_nusd - charged.cost_nusd, data.unpriced - charged.unpriced
  local sum = cjson.decode(before or '{}')
  for name, count in pairs(more) do sum[name] = (sum[name] or 0) + count end
  call('HSET', key, 'usage', cjson.encode(sum))
  call('HINCRBY', key, 'cost_nusd', whole(cost))
  call('HINCRBY', key, 'unpriced', whole(unpriced))
  local model = data.answered_by or r.model
  tally('agent_tokens_total', more.prompt_tokens, r.caller, r.agent, model, 'prompt')
  tally('agent_tokens_total', more.completion_tokens, r.caller, r.agent, model, 'completion')
  -- an attempt whose price becomes unknown takes back what it cost on the bill; a counter never shrinks
  tally('agent_cost_usd_total', math.max(0, cost), r.caller, r.agent, model)
  tally('agent_unpriced_answers_total', unpriced, model)
  local day = math.floor(now / 86400000)
  local totals = P .. 'usage:' .. whole(day)
  local who = table.concat({ r.caller, r.user_id, r.agent, model }, '\31') .. '\31'
  call('HINCRBY', totals, who .. 'tasks', before and 0 or 1)
  call('HINCRBY', totals, who .. 'attempts', first and 1 or 0)
  call('HINCRBY', totals, who .. 'prompt_tokens', whole(more.prompt_tokens))
  call('HINCRBY', totals, who .. 'completion_tokens', whole(more.completion_tokens))
  call('HINCRBY', totals, who .. 'total_tokens', whole(more.total_tokens))
  call('HINCRBY', totals, who .. 'cost_nusd', whole(cost))
  call('HINCRBY', totals, who .. 'unpriced', whole(unpriced))
  call('PEXPIREAT', totals, whole((day + 1 + policy.usage_days) * 86400000))
end

-- Keeps what a run has got done (progress.Progress), and charges what that cost: a run that goes on from there pays only
-- for the rest. Each write once: progress.number counts them within the fence. Field and value stand in ARGV from `at`.
local function keep(id, r, progress, at)
  if progress.number <= last_of(id, 'kept', r.fence) then return end
  r.kept = whole(r.fence) .. ' ' .. whole(progress.number)
  call('HSET', task_key(id), 'kept', r.kept)
  for _, field in ipairs(progress.dropped) do call('HDEL', steps_key(id), field) end
  for i = at, at + 2 * progress.fields - 2, 2 do call('HSET', steps_key(id), ARGV[i], ARGV[i + 1]) end
  local spent = progress.spent
  if not spent then return end
  charge(id, r, spent)
  call('HSET', task_key(id), 'charged', cjson.encode({ fence = r.fence, usage = spent.usage,
    cost_nusd = spent.cost_nusd, unpriced = spent.unpriced }))
  if spent.answered_by then call('HSET', task_key(id), 'answered_by', spent.answered_by) end
  if spent.simulated then call('HSET', task_key(id), 'simulated', '1') end
  if spent.partial then call('HSET', task_key(id), 'partial', spent.partial) end
end

-- The caller stands in the member: when the record's own time to live comes first, its index entry must go all the same.
local function gone_member(id, r) return id .. ' ' .. r.caller end

-- Of a dead letter, when it is forgotten, ms; false of every other task.
local function dead_until(id, r)
  return r.status == 'failed' and call('ZSCORE', P .. 'dead', id) and call('ZSCORE', P .. 'gone', gone_member(id, r))
end

-- Deletes a final task without a trace; of r only the caller is needed. Nothing here takes memory: a full Redis does it.
local function forget(id, r)
  local caller, idem = P .. 'caller:' .. r.caller, call('HGET', task_key(id), 'idem')
  call('ZREM', caller, id)
  sessions.forget_caller(r.caller)
  -- a key that outlived an earlier record may be another task's by now
  if idem and idem ~= '' and string.match(call('GET', idem) or '', '^(%S+)') == id then call('DEL', idem) end
  call('DEL', task_key(id), P .. 'events:' .. id, steps_key(id))
  call('ZREM', P .. 'dead', id)
  call('ZREM', P .. 'gone', gone_member(id, r))
end

-- Ends a task. data: result, result_json, partial, error, error_code, cause, answered_by, simulated; dead = also a dead letter.
local function final(id, r, status, data)
  leave(id, r)
  local fields = { status = status, at = '', completed_at = now, cause = data.cause or data.error_code or '' }
  for _, name in ipairs({ 'result', 'result_json', 'partial', 'error', 'error_code', 'answered_by' }) do
    if data[name] then fields[name] = data[name] end
  end
  if data.simulated then fields.simulated = '1' end
  -- what an earlier attempt failed with, or has said so far, is not how the task ended
  local failed_before = r.error_code ~= ''
  if failed_before then call('HDEL', task_key(id), 'error', 'error_code') end
  if status == 'success' and (failed_before or r.kept ~= '') then call('HDEL', task_key(id), 'partial') end
  set(id, r, fields)
  call('ZREM', P .. 'live', id)
  local code = data.error_code or ''
  tally('agent_tasks_finished_total', 1, r.caller, r.agent, r.model, status, code)
  local ttl = policy.retention
  if data.dead then
    tally('agent_dead_letters_total', 1, r.agent, r.model, code)
    ttl = policy.dead_ttl
    call('ZADD', P .. 'dead', whole(now), id)
  end
  call('ZADD', P .. 'gone', whole(now + ttl), gone_member(id, r))
  event(id, r, 'status', { 'cause', r.cause, 'error_code', code })
  if r.session ~= '' then sessions.leave(id, r, data) end
  -- a minute longer than the sweep's own time to forget: the sweep is the rule, this the net
  local net = whole(ttl + 60000)
  call('PEXPIRE', task_key(id), net)
  call('PEXPIRE', P .. 'events:' .. id, net)
  if r.idem ~= '' then call('PEXPIRE', r.idem, net) end
  if r.kept == '' then return end
  -- what it got done is of use to a replay only, and only what failed can be replayed
  if status == 'failed' then call('PEXPIRE', steps_key(id), net) else call('DEL', steps_key(id)) end
end

-- What a task ends with whose cancel was requested.
local function cancelled(r)
  if r.interrupted_by == '' then
    return { error_code = 'cancelled', error = 'The task was cancelled.', cause = 'cancelled' }
  end
  local error = 'The task was interrupted by task ' .. r.interrupted_by .. ' of its session.'
  return { error_code = 'cancelled', error = error, cause = 'interrupted' }
end

local EXPIRED = { error_code = 'deadline_exceeded', error = 'The task did not finish before its deadline.' }

-- A task that no worker holds ends at once; a running one is asked to, by a field that no message can lose. by: the task
-- that interrupts it, if it is that; of two who ask, the first counts. The status after it.
local function cancel(id, r, by)
  if r.cancel_at == '' and by then set(id, r, { interrupted_by = by }) end
  if r.status ~= 'running' then
    final(id, r, 'cancelled', cancelled(r))
    return r.status
  end
  if r.cancel_at == '' then
    set(id, r, { cancel_at = now })
    event(id, r, 'cancel_requested', by and { 'cause', 'interrupted' })
  end
  call('PUBLISH', P .. 'cancel', id)
  return r.status
end

