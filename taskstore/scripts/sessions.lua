-- sessions: one caller's sessions, those first in which something happened last. Looks at a bounded number. Writes nothing.
-- ARGV: 2 caller, 3 most sessions, 4 most looked at, 5 where to go on: updated_at ms or '', 6 and the session's key,
--       7 '1' to look for one user_id, 8 which
-- Returns {'more' | 'stopped' (before the page was full) | 'end', updated_at and key of the last one looked at,
--         {a session's view (_sessions.lua), ...}}
local caller, most, budget = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local after, after_key = tonumber(ARGV[5]), ARGV[6]
local CHUNK = 50
local index = P .. 'sessions:' .. caller

local rank = after and call('ZCOUNT', index, '(' .. whole(after), '+inf') or 0
local found, last, last_key = {}, '', ''
while true do
  local chunk = call('ZREVRANGE', index, rank, rank + CHUNK - 1, 'WITHSCORES')
  if #chunk == 0 then return { 'end', '', '', found } end
  rank = rank + CHUNK
  for i = 1, #chunk, 2 do
    local key, updated_at = chunk[i], tonumber(chunk[i + 1])
    if not (after and updated_at == after and key >= after_key) then
      if #found >= most then return { 'more', last, last_key, found } end
      if budget <= 0 then return { 'stopped', last, last_key, found } end
      budget = budget - 1
      local r = { caller = caller, session = key }
      if ARGV[7] ~= '1' or call('HGET', sessions.key(r), 'user_id') == ARGV[8] then
        found[#found + 1] = sessions.view(r)  -- of one that expired just now there is none
      end
      last, last_key = whole(updated_at), key
    end
  end
end
