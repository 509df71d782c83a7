-- read: a record and its place in the queue. Writes nothing.
-- ARGV: 2 id, 3 caller or '*'
-- Returns {position or -1, {field, value, ...}} | 'not_found'
local id, caller = ARGV[2], ARGV[3]
local flat = call('HGETALL', task_key(id))
local at = ''
local owner
for i = 1, #flat, 2 do
  if flat[i] == 'at' then at = flat[i + 1] end
  if flat[i] == 'caller' then owner = flat[i + 1] end
end
if not owner or (caller ~= '*' and caller ~= owner) then return 'not_found' end
local position = -1
if string.sub(at, 1, 6) == 'ready:' then position = call('ZRANK', P .. at, id) or -1 end
return { whole(position), flat }
