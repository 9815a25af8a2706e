-- take: give an expired lease to a worker.
-- KEYS  1 frozen list  2 state  3 leases  4 totals
-- ARGV  1 batch id  2 lease (made anew for each take)  3 owner  4 lease length in ms
-- Reply {outcome, state as HGETALL}; outcome: taken | again | busy (another's lease runs) | gone
-- Repeating: the same lease gets the same answer and counts as one attempt.

local score = redis.call('ZSCORE', KEYS[3], ARGV[1])
if not score then return {'gone'} end
if redis.call('HGET', KEYS[2], 'lease') == ARGV[2] then
  return {'again', redis.call('HGETALL', KEYS[2])}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if tonumber(score) > now then return {'busy'} end
if redis.call('EXISTS', KEYS[2]) == 0 then return {'stateless'} end

-- A write that needs no memory comes first, so that a Redis at its limit can still be drained.
redis.call('PERSIST', KEYS[1])
if tonumber(score) > 0 then redis.call('HINCRBY', KEYS[4], 'takeovers', 1) end
redis.call('HSET', KEYS[2], 'lease', ARGV[2], 'owner', ARGV[3])
redis.call('HINCRBY', KEYS[2], 'attempt', 1)
redis.call('HINCRBY', KEYS[2], 'takes', 1)
redis.call('ZADD', KEYS[3], 'XX', string.format('%.0f', now + tonumber(ARGV[4])), ARGV[1])
return {'taken', redis.call('HGETALL', KEYS[2])}
