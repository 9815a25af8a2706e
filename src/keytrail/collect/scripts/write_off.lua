-- write_off: accept that something else took records out of a frozen batch, and go on with what is there.
-- KEYS  1 frozen list  2 state  3 leases  4 totals
-- ARGV  1 batch id  2 lease  3 tombstone in ms
-- Reply {outcome, records missing, finished}; outcome: written_off | lost
-- Repeating: nothing is missing any more, so a repeat says 0, or after the end what the first call said.
-- The try counts as a second one: the chunk's content may not be what an earlier try inserted.

local state = redis.call('HMGET', KEYS[2], 'lease', 'offset', 'count', 'bytes', 'missing')
if state[1] ~= ARGV[2] then return {'lost', 0, 0} end
local left = tonumber(state[3]) - tonumber(state[2])
local found = redis.call('LLEN', KEYS[1])
local missing = left - found
if not redis.call('ZSCORE', KEYS[3], ARGV[1]) then
  return {'written_off', tonumber(state[5] or 0), 1}
end
redis.call('PERSIST', KEYS[1])
redis.call('HINCRBY', KEYS[4], 'records', 0 - missing)
redis.call('HINCRBY', KEYS[4], 'missing', missing)
redis.call('HSET', KEYS[2], 'count', tonumber(state[2]) + found)
redis.call('HINCRBY', KEYS[2], 'missing', missing)
if missing ~= 0 then redis.call('HINCRBY', KEYS[2], 'attempt', 1) end
if found > 0 then return {'written_off', missing, 0} end
redis.call('HINCRBY', KEYS[4], 'bytes', 0 - tonumber(state[4]))
redis.call('HINCRBY', KEYS[4], 'batches', -1)
redis.call('HSET', KEYS[2], 'bytes', 0)
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return {'written_off', missing, 1}
