-- list: tasks of one caller or of all, newest first, that match a filter. Looks at a bounded number. Writes nothing.
--       With `dead` in the filter only dead letters, and each time below is when they were buried.
-- ARGV: 2 caller or '*', 3 most tasks, 4 most looked at, 5 where to go on: created_at ms or '', 6 and id,
--       7 created since ms or '', 8 before ms or '', 9 filter (JSON, listing.TaskFilter)
-- Returns {'more' | 'stopped' (before the page was full) | 'end', created_at and id of the last one looked at,
--         {{id, {field, value, ...}}, ...}}
local caller, most, budget = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local after, after_id, since, before = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
local filter = cjson.decode(ARGV[9])
local MESSAGE_BYTES = 800

local SUMMARY = {
  'caller', 'status', 'message', 'model', 'agent', 'kind', 'priority', 'user_id', 'session_id', 'metadata',
  'created_at', 'run_at', 'deadline_at', 'started_at', 'completed_at', 'cancel_at', 'queued_ms', 'duration_ms',
  'attempt', 'retries', 'crashes', 'fence', 'worker', 'cause', 'error', 'error_code', 'usage', 'unpriced',
  'cost_nusd', 'answered_by', 'simulated', 'steps', 'steps_dropped',
}

local function summary_of(id)
  local values, flat, is = call('HMGET', task_key(id), unpack(SUMMARY)), {}, {}
  for i, name in ipairs(SUMMARY) do
    -- a task of an input has no message: its JSON text says what was asked
    if name == 'message' and values[i] == '' then values[i] = call('HGET', task_key(id), 'input') or '' end
    if values[i] then
      is[name] = values[i]
      flat[#flat + 1] = name
      flat[#flat + 1] = name == 'message' and beginning(values[i], MESSAGE_BYTES) or values[i]
    end
  end
  local kept = dead_until(id, is)
  if kept then
    flat[#flat + 1] = 'dead_until'
    flat[#flat + 1] = kept
  end
  return { id, flat }
end

local function same(value, wanted)
  if type(value) == 'string' then return value == wanted end
  if type(value) == 'number' then return value == tonumber(wanted) end
  if type(value) == 'boolean' then return tostring(value) == wanted end
  return value == cjson.null and wanted == 'null'
end

-- Large metadata costs as much as many tasks: reading it counts towards the tasks that are looked at.
local function metadata_matches(id)
  local text = call('HGET', task_key(id), 'metadata') or '{}'
  budget = budget - #text / 1024
  for _, one in ipairs(filter.metadata) do
    if not string.find(text, one.quoted, 1, true) then return false end
  end
  local metadata = cjson.decode(text)
  for _, one in ipairs(filter.metadata) do
    if not same(metadata[one.name], one.value) then return false end
  end
  return true
end

local FIELDS_OF_FILTER = { 'session_id', 'user_id', 'agent', 'model', 'error_code' }

local function matches(id)
  local values = call('HMGET', task_key(id), 'caller', 'status', unpack(FIELDS_OF_FILTER))
  local owner, status = values[1], values[2]
  if not owner or (caller ~= '*' and owner ~= caller) then return false end
  if filter.status and not filter.status[status] then return false end
  for i, name in ipairs(FIELDS_OF_FILTER) do
    if filter[name] and values[i + 2] ~= filter[name] then return false end
  end
  return not filter.metadata or metadata_matches(id)
end

-- A set's ids from the newest on, read in chunks. rank: how many come before the first that may be looked at.
local sets = {}
if filter.dead then
  sets[1] = P .. 'dead'
else
  for _, name in ipairs(caller == '*' and call('SMEMBERS', P .. 'callers') or { caller }) do
    sets[#sets + 1] = P .. 'caller:' .. name
  end
end
local CHUNK = #sets > 1 and 10 or 50
local walkers = {}
for _, ids in ipairs(sets) do
  local rank = 0
  if before then rank = call('ZCOUNT', ids, whole(before), '+inf') end
  if after then rank = math.max(rank, call('ZCOUNT', ids, '(' .. whole(after), '+inf')) end
  walkers[#walkers + 1] = { ids = ids, rank = rank, chunk = {}, position = 1 }
end

local function head(walker)
  while true do
    if walker.position > #walker.chunk then
      walker.chunk = call('ZREVRANGE', walker.ids, walker.rank, walker.rank + CHUNK - 1, 'WITHSCORES')
      walker.rank, walker.position = walker.rank + CHUNK, 1
      if #walker.chunk == 0 then return nil end
    end
    local id, created = walker.chunk[walker.position], tonumber(walker.chunk[walker.position + 1])
    if since and created < since then return nil end
    if not (after and created == after and id >= after_id) then return id, created end
    walker.position = walker.position + 2
  end
end

local function newest()
  local best, best_id, best_created
  for _, walker in ipairs(walkers) do
    local id, created = head(walker)
    if id and (not best or created > best_created or (created == best_created and id > best_id)) then
      best, best_id, best_created = walker, id, created
    end
  end
  return best, best_id, best_created
end

local tasks, last, last_id = {}, '', ''
while true do
  local walker, id, created = newest()
  if not walker then return { 'end', '', '', tasks } end
  if #tasks >= most then return { 'more', last, last_id, tasks } end
  if budget <= 0 then return { 'stopped', last, last_id, tasks } end
  -- to find the newest of many callers' costs too
  budget = budget - 1 - #walkers / 100
  walker.position = walker.position + 2
  if matches(id) then tasks[#tasks + 1] = summary_of(id) end
  last, last_id = whole(created), id
end
