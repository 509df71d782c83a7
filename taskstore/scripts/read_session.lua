-- read_session: a session and the turns that it remembers, oldest first. Writes nothing.
-- ARGV: 2 caller, 3 the session's key
-- Returns {a session's view (_sessions.lua), {turn (JSON), ...}} | 'not_found'
local r = { caller = ARGV[2], session = ARGV[3] }
local view = sessions.view(r)
if not view then return 'not_found' end
return { view, sessions.history(r) }
