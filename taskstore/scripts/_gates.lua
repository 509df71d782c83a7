-- Gates: what keeps tasks of a model from being started, whatever room workers have. Joined behind the prelude.
-- `gates`  '{model}|cooling' = '{ends ms} {times} {code} {probe's id} {probe's fence}'
--          '{model}|faults' = '{failures in a row} {the last, ms}'
--          '{model}|bucket' = '{requests left} {as of ms} {requests a minute}', of models that have such a limit
-- `paused` 'model {key}' or 'agent {name}' = since ms
-- `holds`  of the same names: '{name}|now' = '{reason} {since ms}', '{name}|{reason}' = ms in all

-- Failures in a row that make a model cool down, and for how long the first time and at most, ms.
local FAULTS = {
  provider_rate_limited = { 1, 2000, 60000 },
  provider_unavailable = { 5, 5000, 60000 },
  provider_timeout = { 5, 5000, 60000 },
  provider_bad_response = { 5, 5000, 60000 },
  provider_no_balance = { 1, 30000, 600000 },
  provider_auth = { 3, 30000, 600000 },
  model_unavailable = { 3, 30000, 600000 },
}
local IN_A_ROW_MS = 60000  -- failures further apart are not one row
local ASKED_LEAST_MS, ASKED_MOST_MS = 1000, 60000  -- of what a provider asks for by Retry-After

local REASONS = { 'limit', 'rate', 'cooldown', 'pause' }

-- For how long, in all, each reason has kept tasks like r from being started (ms), and whether any ever has. The
-- difference of two looks is the wait that it cost.
local looked = {}
function gates.held(r)
  local like = r.model .. '\31' .. r.agent
  if looked[like] then return unpack(looked[like]) end
  local totals, any, fields = {}, false, {}
  for _, what in ipairs({ 'model ' .. r.model, 'agent ' .. r.agent }) do
    fields[#fields + 1] = what .. '|now'
    for _, name in ipairs(REASONS) do fields[#fields + 1] = what .. '|' .. name end
  end
  local values = call('HMGET', P .. 'holds', unpack(fields))
  for i = 1, #fields, 5 do
    local reason, since = string.match(values[i] or '', '^(%S+) (%d+)$')
    for j, name in ipairs(REASONS) do
      local total = tonumber(values[i + j] or '0') + (reason == name and math.max(0, now - since) or 0)
      totals[name] = (totals[name] or 0) + total
      any = any or total > 0 or reason == name
    end
  end
  looked[like] = { totals, any }
  return totals, any
end

-- '{reason} {ms} ...' of what is more than in `from`, a text of the same form.
function gates.held_text(totals, from)
  local before, parts = {}, {}
  for name, ms in string.gmatch(from, '(%S+) (%d+)') do before[name] = tonumber(ms) end
  for _, name in ipairs(REASONS) do
    local ms = (totals[name] or 0) - (before[name] or 0)
    if ms > 0 then parts[#parts + 1] = name .. ' ' .. whole(ms) end
  end
  return table.concat(parts, ' ')
end

-- From now on `reason` keeps those tasks from being started, or nothing does. current: what `holds` says of now.
function gates.hold(what, reason, current)
  local was, since = string.match(current or '', '^(%S+) (%d+)$')
  if was == reason then return end
  looked = {}
  if was then call('HINCRBY', P .. 'holds', what .. '|' .. was, whole(math.max(0, now - since))) end
  if reason then
    call('HSET', P .. 'holds', what .. '|now', reason .. ' ' .. whole(now))
  else
    call('HDEL', P .. 'holds', what .. '|now')
  end
end

function gates.held_now(what) return call('HGET', P .. 'holds', what .. '|now') end

-- Wakes those who may start tasks of a model now.
function gates.ring(model)
  for _, kind in ipairs({ 'i', 'b' }) do
    if call('ZCARD', P .. 'ready:' .. model .. ':' .. kind) > 0 then ring(kind) end
  end
  if call('ZCARD', P .. 'ready:quarantine') > 0 then ring('b') end
end

-- A running task's slot is free.
function gates.room(model)
  local current = gates.held_now('model ' .. model)
  if current and string.sub(current, 1, 6) == 'limit ' then gates.hold('model ' .. model, nil, current) end
  gates.ring(model)
end

-- The model that a lease counts on: a task that was started at a fallback counts there.
function gates.leased(at) return string.match(at, '^leases:(.*):[ib]$') end

-- A cooldown as a table, or nil. One that has ended lasts as a probe: one task at a time until a call succeeds.
function gates.cooling(text)
  if not text then return nil end
  local ends, times, code, probe, fence = string.match(text, '^(%d+) (%d+) (%S+) ?(%S*) ?(%d*)$')
  return { ends = tonumber(ends), times = tonumber(times), code = code, probe = probe, fence = fence }
end

-- Whether the task that tries a model whose cooldown has ended still runs.
function gates.probing(cooling)
  if cooling.probe == '' then return false end
  local r = load(cooling.probe)
  return r ~= nil and r.status == 'running' and whole(r.fence) == cooling.fence
end

function gates.save_cooling(model, cooling)
  local parts = { whole(cooling.ends), whole(cooling.times), cooling.code }
  if cooling.probe ~= '' then
    parts[4] = cooling.probe
    parts[5] = cooling.fence
  end
  call('HSET', P .. 'gates', model .. '|cooling', table.concat(parts, ' '))
end

local fine = {}  -- models of which an answer has been told, and no failure since

-- A call of the model failed. asked_ms: the provider's Retry-After, or nil.
function gates.failed(model, code, asked_ms)
  fine[model] = nil
  local fault = FAULTS[code]
  if not fault then return end
  local most, first, longest = unpack(fault)
  local asked = asked_ms and math.max(ASKED_LEAST_MS, math.min(ASKED_MOST_MS, asked_ms))
  local texts = call('HMGET', P .. 'gates', model .. '|cooling', model .. '|faults')
  local cooling = gates.cooling(texts[1])
  if cooling and now < cooling.ends then
    -- calls that ran when it began fail too, and say nothing new; but the provider's own word counts
    if asked and now + asked > cooling.ends then
      cooling.ends = now + asked
      gates.save_cooling(model, cooling)
    end
    return
  end
  if not cooling and not asked then
    local count, last = string.match(texts[2] or '', '^(%d+) (%d+)$')
    count = (last and now - last <= IN_A_ROW_MS and tonumber(count) or 0) + 1
    if count < most then
      call('HSET', P .. 'gates', model .. '|faults', whole(count) .. ' ' .. whole(now))
      return
    end
  end
  local times = cooling and cooling.times or 0
  local ms = asked or math.min(longest, first * 2 ^ math.min(times, 20))
  gates.save_cooling(model, { ends = now + ms, times = times + 1, code = code, probe = '' })
  call('HDEL', P .. 'gates', model .. '|faults')
end

-- A call of the model succeeded. While it cools down, that was one which had begun before.
function gates.answered(model)
  if fine[model] then return end
  fine[model] = true
  local texts = call('HMGET', P .. 'gates', model .. '|cooling', model .. '|faults')
  if texts[2] then call('HDEL', P .. 'gates', model .. '|faults') end
  local cooling = gates.cooling(texts[1])
  if cooling and now >= cooling.ends then gates.open(model) end
end

function gates.open(model)
  call('HDEL', P .. 'gates', model .. '|cooling', model .. '|faults')
  gates.ring(model)
end

-- Requests a minute as a bucket that fills all the time and holds a tenth of a minute's, but one at least.
function gates.bucket(text, rpm)
  local left, as_of, before = string.match(text or '', '^(%S+) (%d+) (%d+)$')
  rpm = rpm or tonumber(before)
  local most = math.max(1, rpm / 10)
  if not left then return { left = most, rpm = rpm } end
  return { left = math.min(most, left + math.max(0, now - as_of) * rpm / 60000), rpm = rpm }
end

function gates.save_bucket(model, bucket)
  local text = string.format('%.6f', bucket.left) .. ' ' .. whole(now) .. ' ' .. whole(bucket.rpm)
  call('HSET', P .. 'gates', model .. '|bucket', text)
end

-- A call began that no claim has paid for: the bucket may go below nothing, and tasks wait until that is made up.
local function charge_call(model)
  local text = call('HGET', P .. 'gates', model .. '|bucket')
  if not text then return end
  local bucket = gates.bucket(text)
  bucket.left = bucket.left - 1
  gates.save_bucket(model, bucket)
end

-- What a step says of a model: {.., .., 'begun' | 'answered' | an error's code, model, Retry-After in ms or nothing}
function gates.told(step)
  local word, model = step[3], step[4]
  if word == 'begun' then
    charge_call(model)
  elseif word == 'answered' then
    gates.answered(model)
  elseif word then
    gates.failed(model, word, step[5])
  end
end
