-- Conversations: one task of a session at a time, in order, and the memory of what was said. Joined in front of each script.
-- A session without a live task is idle: it stands in `idle` and has a time to live. One with a live task never expires.

function sessions.key(r) return P .. 'session:' .. r.caller .. ':' .. r.session end

function sessions.blocked(r) return 'blocked:' .. r.caller .. ':' .. r.session end

-- The live task that has the session, or nil.
function sessions.holder(r)
  local holder = call('HGET', sessions.key(r), 'holder')
  return holder and call('ZSCORE', P .. 'live', holder) and holder or nil
end

-- The caller stands in the member: when the session's own time to live comes first, its index entry must go all the same.
local function idle_member(r) return r.session .. ' ' .. r.caller end

local function wake(key, r)
  call('ZREM', P .. 'idle', idle_member(r))
  call('PERSIST', key)
  call('PERSIST', key .. ':log')
end

local function touch(key, r)
  call('HSET', key, 'updated_at', whole(now))
  call('ZADD', P .. 'sessions:' .. r.caller, whole(now), r.session)
end

-- A new task of the session. first: it goes before those that wait, also before earlier ones that went first.
-- The memory has the id of the task that began it: a turn goes only into the memory that its task was submitted to.
function sessions.join(id, r, first)
  local key = sessions.key(r)
  local turn = call('HINCRBY', key, 'seq', 1)
  call('HINCRBY', key, 'live', 1)
  local memory = call('HGET', key, 'memory')
  if not memory then
    memory = id
    call('DEL', key .. ':log')
    local name = call('HGET', task_key(id), 'session_id') or ''
    call('HSET', key, 'memory', id, 'session_id', name, 'created_at', whole(now), 'turns', 0, 'bytes', 0)
    if call('HEXISTS', task_key(id), 'user_id') == 1 then call('HSET', key, 'user_id', r.user_id) end
  end
  set(id, r, { turn = first and -turn or turn, memory = memory })
  wake(key, r)
  touch(key, r)
end

-- A task that was final is live again.
function sessions.join_again(r)
  local key = sessions.key(r)
  call('HINCRBY', key, 'live', 1)
  wake(key, r)
end

-- How many tasks of a caller stand behind another one of their session: by as many entries as came or went.
function sessions.count_behind(caller, by)
  if by ~= 0 and call('HINCRBY', P .. 'behind', caller, whole(by)) <= 0 then call('HDEL', P .. 'behind', caller) end
end

-- A caller is known while there is a task or a session of it.
function sessions.forget_caller(caller)
  if call('EXISTS', P .. 'caller:' .. caller, P .. 'sessions:' .. caller) == 0 then
    call('SREM', P .. 'callers', caller)
  end
end

-- Gives the task its session, or else puts it behind the one that has it. Whether it got it.
function sessions.enter(id, r)
  local key = sessions.key(r)
  local named, holder = call('HGET', key, 'holder'), sessions.holder(r)
  if holder and holder ~= id then
    set(id, r, { at = sessions.blocked(r) })
    sessions.count_behind(r.caller, call('ZADD', P .. r.at, whole(r.turn), id))
    return false
  end
  if named and not holder then call('HINCRBY', key, 'live', -1) end  -- its record is gone, and it never came to an end
  call('HSET', key, 'holder', id)
  return true
end

-- Of one text of a turn, and of a session's turns: a claim answers the turns of a hundred tasks at once.
local TEXT_BYTES, LOG_BYTES = 65536, 262144

local function kept(text)
  return #text <= TEXT_BYTES and text or beginning(text, TEXT_BYTES) .. '…'
end

local function remember(key, id, data)
  local message, input = unpack(call('HMGET', task_key(id), 'message', 'input'))
  if message == '' and input then message = input end
  local answer = data.result or data.result_json or ''
  local turn = cjson.encode({ task = id, at = whole(now), message = kept(message), answer = kept(answer) })
  local count = call('RPUSH', key .. ':log', turn)
  local bytes = call('HINCRBY', key, 'bytes', #turn)
  call('HINCRBY', key, 'turns', 1)
  while count > policy.session_turns or (bytes > LOG_BYTES and count > 1) do
    bytes = call('HINCRBY', key, 'bytes', -#call('LPOP', key .. ':log'))
    count = count - 1
  end
end

-- The turns that a run is given, oldest first.
function sessions.history(r)
  if r.session == '' then return {} end
  return call('LRANGE', sessions.key(r) .. ':log', -policy.session_turns, -1)
end

local function let_in_next(r)
  while true do
    local id = call('ZPOPMIN', P .. sessions.blocked(r))[1]
    if not id then return end
    sessions.count_behind(r.caller, -1)
    local waiting = load(id)
    if waiting and waiting.at == sessions.blocked(r) then
      place(id, waiting, now)
      event(id, waiting, 'let_in')
      return
    end
  end
end

-- A task of the session is final: a success is remembered, the next is let in, and after the last one it may expire.
-- data: as of `final`.
function sessions.leave(id, r, data)
  local key = sessions.key(r)
  local live = call('HINCRBY', key, 'live', -1)
  local holder, memory = unpack(call('HMGET', key, 'holder', 'memory'))
  if holder == id and r.status == 'success' and memory and memory == r.memory then remember(key, id, data) end
  if memory then touch(key, r) end
  if holder == id then
    call('HDEL', key, 'holder')
    let_in_next(r)
  end
  if live > 0 then return end
  if not memory then
    call('DEL', key)
    return
  end
  call('PEXPIRE', key, whole(policy.session_ttl))
  call('PEXPIRE', key .. ':log', whole(policy.session_ttl))
  call('ZADD', P .. 'idle', whole(now + policy.session_ttl), idle_member(r))
end

-- Deletes what was said, and how many turns that was; nil when there is nothing. A task that is live keeps its place in the
-- order, and its turn will be forgotten. Nothing here takes memory: a full Redis does it.
function sessions.forget(r)
  local key = sessions.key(r)
  local memory, turns, live = unpack(call('HMGET', key, 'memory', 'turns', 'live'))
  call('ZREM', P .. 'sessions:' .. r.caller, r.session)
  sessions.forget_caller(r.caller)
  call('ZREM', P .. 'idle', idle_member(r))
  call('DEL', key .. ':log')
  if tonumber(live or '0') > 0 then
    call('HDEL', key, 'memory', 'turns', 'bytes', 'session_id', 'user_id', 'created_at', 'updated_at')
  else
    call('DEL', key)
  end
  return memory and turns or nil
end

-- What people see of a session: {field, value, ...}, how many of its tasks wait for their turn, and when it expires, ms or
-- ''. nil when there is none.
function sessions.view(r)
  local flat = call('HGETALL', sessions.key(r))
  for i = 1, #flat, 2 do
    if flat[i] == 'memory' then
      local waiting = call('ZCARD', P .. sessions.blocked(r))
      return { flat, whole(waiting), call('ZSCORE', P .. 'idle', idle_member(r)) or '' }
    end
  end
end

