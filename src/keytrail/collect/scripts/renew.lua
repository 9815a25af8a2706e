-- renew: move the deadline of our lease; one that has expired but that nobody took is still ours.
-- KEYS  1 frozen list  2 state  3 leases
-- ARGV  1 batch id  2 lease  3 lease length in ms
-- Reply {outcome}; outcome: renewed | lost
-- Repeating: moves the deadline again.

if redis.call('HGET', KEYS[2], 'lease') ~= ARGV[2] or not redis.call('ZSCORE', KEYS[3], ARGV[1]) then
  return {'lost'}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('PERSIST', KEYS[1])
redis.call('ZADD', KEYS[3], 'XX', string.format('%.0f', now + tonumber(ARGV[3])), ARGV[1])
return {'renewed'}
