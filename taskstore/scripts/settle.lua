-- settle: what becomes of running tasks, in one script for a batch. Only the fence of the claim may write.
-- ARGV: 2... id, fence, kind, data (JSON, claims.Settlement), number of fields, each field and its bytes, ...
--       kind: success | fail | cancelled | retry | bury | release | suspend
-- Returns per task: 'ok' (also for a repeat) and its status from here on, of one that ended because its cancel was requested
--         with the ms since then ('ok cancelled 1234') | 'lease_lost'
-- Event: status success, failed, cancelled, retrying, pending or waiting; before it, step and token for those that came along

local function again(id, r, status, due, cause)
  leave(id, r)
  change(r, { status = status, queued_at = math.max(now, due), cause = cause or '' })
  place(id, r, due)
  event(id, r, 'status', { 'cause', r.cause })
end

local function note_failure(id, data)
  for _, name in ipairs({ 'partial', 'error', 'error_code', 'answered_by' }) do
    if data[name] then call('HSET', task_key(id), name, data[name]) end
  end
end

local VERBS = {
  success = function(id, r, data) final(id, r, 'success', data) end,
  fail = function(id, r, data) final(id, r, 'failed', data) end,
  bury = function(id, r, data)
    data.dead = true
    final(id, r, 'failed', data)
  end,
  cancelled = function(id, r, data)
    for name, value in pairs(cancelled(r)) do data[name] = value end
    final(id, r, 'cancelled', data)
  end,
  retry = function(id, r, data)
    local due = now + data.delay_ms
    if r.retries >= policy.max_retries or (r.deadline_at > 0 and due >= r.deadline_at) then
      data.dead = true
      return final(id, r, 'failed', data)
    end
    change(r, { retries = r.retries + 1 })
    tally('agent_retries_total', 1, r.agent, r.model, data.error_code or '')
    note_failure(id, data)
    again(id, r, 'retrying', due, data.error_code)
  end,
  release = function(id, r, data)
    local cause = data.cause or 'released'
    change(r, { attempt = r.attempt - 1 })
    tally('agent_releases_total', 1, cause)
    again(id, r, 'pending', now + (data.delay_ms or 0), cause)
  end,
  suspend = function(id, r, data)
    leave(id, r)
    set(id, r, { status = 'waiting', at = 'waiting', cause = data.cause or '' })
    call('ZADD', P .. 'waiting', data.decide_ms > 0 and whole(now + data.decide_ms) or '+inf', id)
    event(id, r, 'status', { 'cause', r.cause })
  end,
}
local NOT_MY_AGENT = { agent_unavailable = true, agent_unknown = true }
local HANDED_ON_MS = 500

-- While workers are replaced, one of before may claim what only those of after can run. The last word on the agents tells:
-- when it is another's, who is alive and has the agent, the task is given back unspent. Not at once: the same worker
-- could take it again.
local function others_can(r, data)
  if not NOT_MY_AGENT[data.error_code or ''] then return false end
  local said = call('HGET', P .. 'agents', r.agent)
  if not said then return false end
  local word = cjson.decode(said)
  local seen = tonumber(call('ZSCORE', P .. 'workers', word.worker) or '0')
  return word.problem == '' and word.worker ~= r.worker and now - seen < 2 * policy.lease
end

-- How long runs take, for those who ask when theirs will be done. Only of runs that succeeded: what failed took as long as
-- its fault. As many keys as the registry has models and the agents file agents.
local PACE_RUNS, PACE_MS = 50, 86400000
local paces = {}
local function note_pace(r, ms)
  local pace = P .. 'pace:' .. r.model .. ':' .. r.agent
  paces[pace] = paces[pace] or {}
  table.insert(paces[pace], whole(ms))
end

local function write_paces()
  for pace, runs in pairs(paces) do
    call('LPUSH', pace, unpack(runs))
    call('LTRIM', pace, 0, PACE_RUNS - 1)
    call('PEXPIRE', pace, PACE_MS)
  end
end

local function done(id, r)
  if r.status ~= 'cancelled' or r.cancel_at == '' then return 'ok ' .. r.status end
  return 'ok cancelled ' .. whole(math.max(0, call('HGET', task_key(id), 'completed_at') - r.cancel_at))
end

local STOPPED_BY_CANCEL = { retry = true, release = true, suspend = true }

also_when_full()
local words, i = {}, 2
while i <= #ARGV do
  local id, fence, kind, fields = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], tonumber(ARGV[i + 4])
  local r = load(id)
  if r and r.status == 'running' and r.fence == fence then
    local data = cjson.decode(ARGV[i + 3])
    -- first: should they not be written, nothing is, and the worker sends the outcome without them
    if data.steps then
      append_steps(id, r, data.steps)
      if data.steps.progress then keep(id, r, data.steps.progress, i + 5) end
    end
    change(r, { settled = fence, duration_ms = math.max(0, now - r.started_at) })
    charge(id, r, data)
    local at = r.at
    if (kind == 'fail' or kind == 'retry') and others_can(r, data) then
      kind = 'release'
      data.delay_ms, data.cause = HANDED_ON_MS, 'handed_on'
    elseif data.fault then
      gates.failed(r.model, data.fault, data.retry_after_ms)
    elseif kind == 'success' then
      gates.answered(data.answered_by or gates.leased(at) or r.model)
    end
    if kind == 'success' then note_pace(r, r.duration_ms) end
    if r.cancel_at ~= '' and STOPPED_BY_CANCEL[kind] then kind = 'cancelled' end
    VERBS[kind](id, r, data)
    ring_for_slot(r, at)
    words[#words + 1] = done(id, r)
  else
    words[#words + 1] = r and fence > 0 and r.settled == fence and done(id, r) or 'lease_lost'
  end
  i = i + 5 + 2 * fields
end
write_paces()
wind_up()
return words
