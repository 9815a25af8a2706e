-- retry_rejects: move dead letters of one list into a batch of their own, to be decoded once more.
-- KEYS  1 rejects  2 totals  3 frozen list  4 state  5 leases  6 stores
-- ARGV  1 batch id  2 store id  3 decoder version  4 the gateway's list  5… ids
-- Reply {outcome, records}; outcome: sealed | again | empty
-- Repeating: the batch exists, or its tombstone does.

if redis.call('EXISTS', KEYS[3], KEYS[4]) > 0 then
  return {'again', tonumber(redis.call('HGET', KEYS[4], 'count') or 0)}
end
local ids, records, bytes = {}, {}, 0
for at = 5, #ARGV do
  local fields = (redis.call('XRANGE', KEYS[1], ARGV[at], ARGV[at])[1] or {nil, {}})[2]
  for field = 1, #fields, 2 do
    if fields[field] == 'record' then
      ids[#ids + 1] = ARGV[at]
      records[#records + 1] = fields[field + 1]
      bytes = bytes + #fields[field + 1] + 128
    end
  end
end
if #ids == 0 then return {'empty', 0} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
now = string.format('%.0f', now)

-- XDEL needs no memory, so it opens the script for the rest at the memory limit; no one sees it half done.
for _, id in ipairs(ids) do redis.call('XDEL', KEYS[1], id) end
redis.call('RPUSH', KEYS[3], unpack(records))
redis.call('HSET', KEYS[4], 'list', ARGV[4], 'count', #ids, 'offset', 0, 'chunk', #ids, 'decoder', ARGV[3],
  'store', ARGV[2], 'sealed_at', now, 'bytes', bytes, 'sealed_bytes', bytes, 'ttl', -1, 'attempt', 0, 'takes', 0,
  'retry', 1)
redis.call('ZADD', KEYS[5], 0, ARGV[1])
redis.call('HINCRBY', KEYS[2], 'rejects', 0 - #ids)
redis.call('HINCRBY', KEYS[2], 'reject_bytes', 0 - bytes)
redis.call('HINCRBY', KEYS[2], 'batches', 1)
redis.call('HINCRBY', KEYS[2], 'records', #ids)
redis.call('HINCRBY', KEYS[2], 'bytes', bytes)
redis.call('HSET', KEYS[6], ARGV[2], now)
return {'sealed', #ids}
