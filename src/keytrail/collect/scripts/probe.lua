-- probe: try each command that the other scripts use, on a scratch key that is deleted again.
-- KEYS  1 scratch key of ours  2 a gateway's list (only renamed to itself, which changes nothing)  3 the pump's list or ''
-- Reply {command, error, command, error, …} of those that failed
-- Repeating: harmless.

local failed = {}
local function try(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err and not string.find(reply.err, 'no such key') then
    failed[#failed + 1] = (select(1, ...))
    failed[#failed + 1] = reply.err
  end
end

local key = KEYS[1]
try('UNLINK', key)
try('EXISTS', key)
try('TYPE', key)
try('TIME')
try('PERSIST', key)
try('PTTL', key)
try('RPUSH', key, 'x')
try('LLEN', key)
try('LRANGE', key, 0, 0)
try('LTRIM', key, 0, 0)
try('PEXPIRE', key, 1000)
try('MEMORY', 'USAGE', key)
try('UNLINK', key)
try('HSET', key, 'x', '1')
try('HGET', key, 'x')
try('HMGET', key, 'x')
try('HGETALL', key)
try('HINCRBY', key, 'x', 1)
try('HDEL', key, 'x')
try('UNLINK', key)
try('ZADD', key, 0, 'x')
try('ZSCORE', key, 'x')
try('ZCARD', key)
try('ZRANGEBYSCORE', key, 0, 0)
try('ZREM', key, 'x')
try('UNLINK', key)
try('XADD', key, '*', 'x', '1')
try('XRANGE', key, '-', '+', 'COUNT', 1)
try('XDEL', key, '0-1')
try('UNLINK', key)
try('LLEN', KEYS[2])
try('RENAMENX', KEYS[2], KEYS[2])
if KEYS[3] then try('LLEN', KEYS[3]) end
return failed
