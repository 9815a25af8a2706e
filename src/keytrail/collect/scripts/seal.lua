-- seal: freeze a gateway's list as a batch, in constant time.
-- KEYS  1 the gateway's list  2 frozen list  3 state  4 leases  5 totals  6 stores
-- ARGV  1 batch id  2 store id  3 decoder version  4 fewest and 5 most records of a chunk  6 most bytes of a chunk
--       7 whether MEMORY USAGE may be tried (1 or 0)
-- Reply {outcome, records, bytes, chunk, ttl_ms, how the bytes were found}
--       outcome: sealed | again (this batch id was sealed before) | empty | not_a_list
-- Repeating: the state outlives the batch as a tombstone, so a late repeat can't give the id to newer records.

local function size_of(key, count)
  if ARGV[7] == '1' then
    local used = redis.pcall('MEMORY', 'USAGE', key)
    if type(used) == 'number' then return used, 'memory' end
  end
  local sample = redis.call('LRANGE', key, 0, 9)
  local sum = 0
  for _, record in ipairs(sample) do sum = sum + #record + 16 end
  return math.ceil(sum / #sample * count), 'sample'
end

if redis.call('EXISTS', KEYS[2], KEYS[3]) > 0 then
  local old = redis.call('HMGET', KEYS[3], 'count', 'sealed_bytes', 'chunk', 'ttl')
  return {'again', tonumber(old[1] or 0), tonumber(old[2] or 0), tonumber(old[3] or 0), tonumber(old[4] or -1), ''}
end
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then return {'empty', 0, 0, 0, -2, ''} end
if kind ~= 'list' then return {'not_a_list', 0, 0, 0, -1, ''} end

local count = redis.call('LLEN', KEYS[1])
local ttl = redis.call('PTTL', KEYS[1])
local bytes, how = size_of(KEYS[1], count)
local chunk = math.max(tonumber(ARGV[4]), math.ceil(count / math.ceil(count / tonumber(ARGV[5]))))
chunk = math.max(1, math.min(chunk, math.floor(tonumber(ARGV[6]) / (bytes / count))))
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
now = string.format('%.0f', now)

-- PERSIST first: it needs no memory, and once a script has written Redis lets the rest pass at the memory limit too.
-- The list moves last: an earlier command that is refused then leaves the records where they were.
redis.call('PERSIST', KEYS[1])
redis.call('HSET', KEYS[3], 'list', KEYS[1], 'count', count, 'offset', 0, 'chunk', chunk, 'decoder', ARGV[3],
  'store', ARGV[2], 'sealed_at', now, 'bytes', bytes, 'sealed_bytes', bytes, 'ttl', ttl, 'attempt', 0, 'takes', 0)
redis.call('ZADD', KEYS[4], 0, ARGV[1])
redis.call('HINCRBY', KEYS[5], 'batches', 1)
redis.call('HINCRBY', KEYS[5], 'records', count)
redis.call('HINCRBY', KEYS[5], 'bytes', bytes)
redis.call('HINCRBY', KEYS[5], 'seals', 1)
redis.call('HSET', KEYS[5], 'ttl', ttl)
redis.call('HSET', KEYS[6], ARGV[2], now)
local moved = redis.pcall('RENAMENX', KEYS[1], KEYS[2])
if moved ~= 1 then
  redis.call('UNLINK', KEYS[3])
  redis.call('ZREM', KEYS[4], ARGV[1])
  redis.call('HINCRBY', KEYS[5], 'batches', -1)
  redis.call('HINCRBY', KEYS[5], 'records', 0 - count)
  redis.call('HINCRBY', KEYS[5], 'bytes', 0 - bytes)
  return moved
end
return {'sealed', count, bytes, chunk, ttl, how}
