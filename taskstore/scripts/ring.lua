-- ring: passes a wake-up on that reached a worker without room.
-- ARGV: 2 kind of the bell, 'i' or 'b'
-- Returns 'ok'
ring(ARGV[2])
return 'ok'
