-- free: end the lease of a worker that is known to be dead. The try stays counted: its outcome is unknown.
-- KEYS  1 frozen list  2 state  3 leases
-- ARGV  1 batch id  2 the lease that was seen  3 the owner who asks
-- Reply {outcome}; outcome: freed | changed (another lease by now, or our own)
-- Repeating: the lease that was seen is gone, so a repeat can't end a newer one.

local state = redis.call('HMGET', KEYS[2], 'lease', 'owner')
if not state[1] or state[1] ~= ARGV[2] or state[2] == ARGV[3] or not redis.call('ZSCORE', KEYS[3], ARGV[1]) then
  return {'changed'}
end
redis.call('PERSIST', KEYS[1])
redis.call('HDEL', KEYS[2], 'lease', 'owner')
redis.call('ZADD', KEYS[3], 'XX', 1, ARGV[1])
return {'freed'}
