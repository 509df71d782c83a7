-- forget_session: deletes what a session remembers. Tasks of it that are live go on, in order, and leave no turn.
-- ARGV: 2 caller, 3 the session's key
-- Returns how many turns there had been, '' when there is no such session: it may be a repeat
return sessions.forget({ caller = ARGV[2], session = ARGV[3] }) or ''
