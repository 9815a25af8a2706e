-- release: give a batch back at once. Only where no insert of its chunk is under way or of unknown outcome: the try
-- is not counted, so the next worker has nothing to recover.
-- KEYS  1 frozen list  2 state  3 leases
-- ARGV  1 batch id  2 lease
-- Reply {outcome}; outcome: released | lost
-- Repeating: the first call ends the lease, a repeat finds it lost and does nothing.

if redis.call('HGET', KEYS[2], 'lease') ~= ARGV[2] or not redis.call('ZSCORE', KEYS[3], ARGV[1]) then
  return {'lost'}
end
redis.call('PERSIST', KEYS[1])
redis.call('HINCRBY', KEYS[2], 'attempt', -1)
redis.call('HDEL', KEYS[2], 'lease', 'owner')
redis.call('ZADD', KEYS[3], 'XX', 0, ARGV[1])
return {'released'}
