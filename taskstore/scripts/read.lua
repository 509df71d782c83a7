-- read: a record, its place in the queue, and `dead_until` of a dead letter; with its stream, also what has happened to
--       it, without the models' words (tokens), which only those read who follow them. Writes nothing.
-- ARGV: 2 id, 3 caller or '*', 4 '1' for the stream
-- Returns {position or -1, {field, value, ...}} | {position, {...}, now ms, what has kept it from being started in
--         this wait: '{reason} {ms} ...', {entry, ...}} | 'not_found'
local MOST_ENTRIES = 5000
local id, caller, with_stream = ARGV[2], ARGV[3], ARGV[4] == '1'
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
  if with_stream then held = gates.held_text(gates.held(r), r.held_from or '') end
end
if not with_stream then return { whole(position), flat } end
local entries = {}
for _, entry in ipairs(call('XRANGE', P .. 'events:' .. id, '-', '+', 'COUNT', MOST_ENTRIES)) do
  if entry[2][2] ~= 'token' then entries[#entries + 1] = entry end
end
return { whole(position), flat, whole(now), held, entries }
