-- resume: ends a pause, and of a model also its cooldown: what waited for it may start at once.
-- ARGV: 2 'model {key}' or 'agent {name}'
-- Returns {'1' if it was paused, '1' if it was cooling down}
local what = ARGV[2]
local was_paused = call('HDEL', P .. 'paused', what)
local current, cooled = gates.held_now(what), 0
local model = string.match(what, '^model (.*)$')
if model then
  cooled = call('HDEL', P .. 'gates', model .. '|cooling')
  call('HDEL', P .. 'gates', model .. '|faults')
end
if current and not (model and string.match(current, '^limit ')) then gates.hold(what, nil, current) end
if was_paused + cooled > 0 then
  for _, kind in ipairs({ 'i', 'b' }) do ring(kind) end
end
return { whole(was_paused), whole(cooled) }
