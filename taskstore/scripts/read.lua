-- read: a record, its place in the queue, and `dead_until` of a dead letter; with its stream, also what has happened to
--       it, without the models' words (tokens), which only those read who follow them; or with what a client is shown of
--       its progress: the stream if there are steps in it, the words of the model call that goes on, and what an
--       estimate of its end goes by. Writes nothing.
-- ARGV: 2 id, 3 caller or '*', 4 '' | 'stream' | 'progress'
-- Returns {position or -1, {field, value, ...}}
--         | {position, {...}, now ms, what has kept it from being started in this wait: '{reason} {ms} ...', {entry, ...},
--            the task that has its session if it stands behind that, else ''}
--         | {position, {...}, {entry, ...}, words or '', {name, value, ...} (estimate.Outlook; empty of a final task)}
--         | 'not_found'
local MOST_ENTRIES = 5000
local id, caller, with = ARGV[2], ARGV[3], ARGV[4] or ''
local flat = call('HGETALL', task_key(id))
local r = { at = '' }
for i = 1, #flat, 2 do r[flat[i]] = flat[i + 1] end
if not r.caller or (caller ~= '*' and caller ~= r.caller) then return 'not_found' end
local kept = dead_until(id, r)
if kept then
  flat[#flat + 1] = 'dead_until'
  flat[#flat + 1] = kept
end
local position, held = -1, ''
if string.sub(r.at, 1, 6) == 'ready:' then
  position = call('ZRANK', P .. r.at, id) or -1
  if with == 'stream' then held = gates.held_text(gates.held(r), r.held_from or '') end
end
if with == '' then return { whole(position), flat } end

-- The entries but for the tokens, and the text that this run's last model call with any has said so far. A token's fields
-- stand in the order in which append_token writes them.
local MOST_WORDS = 65536
local function events_and_words()
  local entries, words, number, missing = {}, {}, nil, false
  for _, entry in ipairs(call('XRANGE', P .. 'events:' .. id, '-', '+', 'COUNT', MOST_ENTRIES)) do
    local fields = entry[2]
    if fields[2] ~= 'token' then
      entries[#entries + 1] = entry
    elseif fields[8] == r.fence and fields[14] == 'text' then
      if fields[12] ~= number then words, number = {}, fields[12] end
      if fields[17] then words[#words + 1] = '…' end
      words[#words + 1] = fields[16]
    end
  end
  return entries, beginning(table.concat(words), MOST_WORDS)
end
if with == 'stream' then
  local behind = string.sub(r.at, 1, 8) == 'blocked:' and sessions.holder(r) or ''
  return { whole(position), flat, whole(now), held, (events_and_words()), behind }
end

-- Slots of the workers that are alive, and what they have beyond for interactive tasks. Of a large fleet so many are looked
-- at, and the others taken to be like them.
local MOST_WORKERS = 50
local function slots()
  local count, extra, looked = 0, 0, 0
  local found = call('ZREVRANGEBYSCORE', P .. 'workers', '+inf', whole(alive_since), 'LIMIT', 0, MOST_WORKERS)
  for _, wid in ipairs(found) do
    local has, alone = unpack(call('HMGET', P .. 'worker:' .. wid, 'slots', 'quarantine'))
    if has and not alone then
      count = count + tonumber(has)
      extra = extra + math.ceil(tonumber(has) / 10)
    end
    looked = looked + 1
  end
  if looked < MOST_WORKERS then return count, extra end
  local all = call('ZCOUNT', P .. 'workers', whole(alive_since), '+inf') / looked
  return math.floor(count * all), math.floor(extra * all)
end

-- Where it stands in the fair order, or would if it were ready now.
local function score()
  if r.vscore then return r.vscore end
  local clock, last = unpack(call('HMGET', P .. 'fair', '*', r.flow))
  return string.format('%.6f', math.max(tonumber(clock or '0'), tonumber(last or '0')) + 1 / tonumber(r.weight))
end

-- By model: how many tasks are to be started before it, and how many run.
local function counts(paused)
  local ahead, running, before = {}, {}, '(' .. score()
  for _, lane in ipairs(call('SMEMBERS', P .. 'lanes')) do
    local model, kind = string.match(lane, '^(.*):([ib])$')
    local agent
    if not model then model, kind, agent = string.match(lane, '^(.-):([ib]):(.*)$') end
    if model then
      if not agent then running[model] = (running[model] or 0) + call('ZCARD', P .. 'leases:' .. lane) end
      local ready = 0
      if paused['model ' .. model] or (agent and paused['agent ' .. agent]) then
        ready = 0
      elseif r.at == 'ready:' .. lane then
        ready = position
      elseif kind == r.kind then
        ready = call('ZCOUNT', P .. 'ready:' .. lane, '-inf', before)
      elseif kind == 'i' then
        ready = call('ZCARD', P .. 'ready:' .. lane)
      end
      ahead[model] = (ahead[model] or 0) + ready
    end
  end
  return ahead, running
end

local function listed(numbers)
  local found = {}
  for name, number in pairs(numbers) do
    if number > 0 then
      found[#found + 1] = name
      found[#found + 1] = whole(number)
    end
  end
  return found
end

local function outlook()
  if FINAL[r.status] then return {} end
  local facts = { 'now', whole(now) }
  local function tell(name, value)
    facts[#facts + 1] = name
    facts[#facts + 1] = value
  end
  if r.at == 'scheduled' then tell('due', call('ZSCORE', P .. 'scheduled', id) or whole(now)) end
  local starts = position >= 0 or r.at == 'scheduled'
  if r.status ~= 'running' and not starts then return facts end
  local paused = {}
  for i, name in ipairs(starts and call('HGETALL', P .. 'paused') or {}) do
    if i % 2 == 1 then paused[name] = true end
  end
  if paused['model ' .. r.model] or paused['agent ' .. r.agent] then
    tell('paused', '1')
    return facts
  end
  local count, extra = slots()
  tell('slots', whole(count))
  tell('extra', whole(extra))
  tell('runs', table.concat(call('LRANGE', P .. 'pace:' .. r.model .. ':' .. r.agent, 0, -1), ' '))
  if not starts then return facts end
  local ahead, running = counts(paused)
  ahead[r.model] = ahead[r.model] or 0
  local left = {}
  for model in pairs(ahead) do
    local cooling = gates.cooling(call('HGET', P .. 'gates', model .. '|cooling'))
    if cooling then left[model] = cooling.ends - now end
  end
  tell('ahead', listed(ahead))
  tell('running', listed(running))
  tell('cooling', listed(left))
  local bucket = call('HGET', P .. 'gates', r.model .. '|bucket')
  if bucket then tell('requests', string.format('%.6f', gates.bucket(bucket).left)) end
  return facts
end

local entries, words = {}, ''
if r.steps then entries, words = events_and_words() end
-- of one that has had all the words that are kept, the last are no longer the end of what was said
if r.status ~= 'running' or tonumber(r.tokens or '0') > MAX_TOKENS then words = '' end
return { whole(position), flat, entries, words, outlook() }
