-- advance: let go of a chunk that the store has accepted.
-- KEYS  1 frozen list  2 state  3 leases  4 totals  5 rejects  6 list of the pump (only with ARGV[7] > 0)
-- ARGV  1 batch id  2 lease  3 offset  4 records of the chunk  5 lease length in ms  6 tombstone in ms
--       7 most bytes of the pump's list, 0: do not forward  8 its TTL in ms, 0: none
--       9 whether MEMORY USAGE may be tried  10… rejects, three each: index in the chunk (rising), reason, digest
-- Reply {outcome, offset, finished, bytes of the pump's list, records dropped from it}
--       outcome: advanced | again | lost | moved (not at this offset) | damaged (offset = records found)
--                | not_a_list (the pump's key)
-- Repeating: the offset is the fence, a repeat finds it moved by just this chunk and does nothing. The state of a
-- finished batch stays as a tombstone, for such repeats and for those of seal.

local SLICE = 500
local offset, count = tonumber(ARGV[3]), tonumber(ARGV[4])
local limit = tonumber(ARGV[7])

local function size_of(key, length)
  if ARGV[9] == '1' then
    local used = redis.pcall('MEMORY', 'USAGE', key)
    if type(used) == 'number' then return used end
  end
  local sample = redis.call('LRANGE', key, 0, 9)
  local sum = 0
  for _, record in ipairs(sample) do sum = sum + #record + 16 end
  return math.ceil(sum / #sample * length)
end

local state = redis.call('HMGET', KEYS[2], 'lease', 'offset', 'count', 'bytes', 'retry', 'decoder')
if state[1] ~= ARGV[2] then return {'lost', 0, 0, 0, 0} end
local at, total, bytes = tonumber(state[2]), tonumber(state[3]), tonumber(state[4])
if at == offset + count and count > 0 then
  return {'again', at, at == total and 1 or 0, -1, 0}
end
if at ~= offset then return {'moved', at, 0, 0, 0} end
local length = redis.call('LLEN', KEYS[1])
if length ~= total - offset or count > length then return {'damaged', length, 0, 0, 0} end
-- A record that is tried again went to the pump the first time.
local forward = limit > 0 and state[5] ~= '1'
if forward then
  local kind = redis.call('TYPE', KEYS[6]).ok
  if kind ~= 'list' and kind ~= 'none' then return {'not_a_list', at, 0, 0, 0} end
end

-- Needs no memory: once a script has written, Redis lets the rest pass at the memory limit too.
redis.call('PERSIST', KEYS[1])

local reject, rejected, rejected_bytes = 10, 0, 0
for first = 0, count - 1, SLICE do
  local last = math.min(first + SLICE, count) - 1
  local wanted = ARGV[reject] and tonumber(ARGV[reject]) <= last
  if forward or wanted then
    local records = redis.call('LRANGE', KEYS[1], first, last)
    while ARGV[reject] and tonumber(ARGV[reject]) <= last do
      local index = tonumber(ARGV[reject])
      local record = records[index - first + 1]
      redis.call('XADD', KEYS[5], '*', 'batch', ARGV[1], 'seq', offset + index, 'reason', ARGV[reject + 1],
        'digest', ARGV[reject + 2], 'decoder', state[6], 'record', record)
      rejected = rejected + 1
      rejected_bytes = rejected_bytes + #record + 128
      reject = reject + 3
    end
    if forward then redis.call('RPUSH', KEYS[6], unpack(records)) end
  end
end

local pump_bytes, dropped = -1, 0
if forward then
  -- As the gateway does: once, where the list has none.
  if tonumber(ARGV[8]) > 0 and redis.call('PTTL', KEYS[6]) == -1 then
    redis.call('PEXPIRE', KEYS[6], ARGV[8])
  end
  local pump_length = redis.call('LLEN', KEYS[6])
  pump_bytes = size_of(KEYS[6], pump_length)
  if pump_bytes > limit then
    local keep = math.floor(pump_length * limit / pump_bytes)
    dropped = pump_length - keep
    redis.call('LTRIM', KEYS[6], dropped, -1)
    pump_bytes = math.floor(pump_bytes * keep / pump_length)
    redis.call('HINCRBY', KEYS[4], 'forward_dropped', dropped)
  end
  redis.call('HINCRBY', KEYS[4], 'forwarded', count)
  redis.call('HSET', KEYS[4], 'forward_bytes', pump_bytes)
end

local finished = offset + count == total
local share = finished and bytes or math.floor(bytes * count / (total - offset))
-- 0 - x, as Lua's -0 is sent as "-0", which older servers refuse as a number.
redis.call('HINCRBY', KEYS[4], 'records', 0 - count)
redis.call('HINCRBY', KEYS[4], 'bytes', 0 - share)
if rejected > 0 then
  redis.call('HINCRBY', KEYS[4], 'rejects', rejected)
  redis.call('HINCRBY', KEYS[4], 'reject_bytes', rejected_bytes)
end
redis.call('HSET', KEYS[2], 'offset', offset + count, 'bytes', bytes - share, 'attempt', 1)
redis.call('HDEL', KEYS[2], 'tokens')
if finished then
  redis.call('UNLINK', KEYS[1])
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('HINCRBY', KEYS[4], 'batches', -1)
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
else
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('LTRIM', KEYS[1], count, -1)
  redis.call('ZADD', KEYS[3], 'XX', string.format('%.0f', now + tonumber(ARGV[5])), ARGV[1])
end
return {'advanced', offset + count, finished and 1 or 0, pump_bytes, dropped}
