-- set_token: record, before it is used, the fresh token under which the present chunk is inserted from now on.
-- KEYS  1 frozen list  2 state
-- ARGV  1 lease  2 offset  3 token
-- Reply {outcome, tokens of this chunk, one a line}; outcome: recorded | again | lost | moved
-- Repeating: a token is recorded once. A late repeat must not become the last one again: its rows were deleted and
-- the store would drop an insert under it.

local state = redis.call('HMGET', KEYS[2], 'lease', 'offset', 'tokens')
if state[1] ~= ARGV[1] then return {'lost', ''} end
if tonumber(state[2]) ~= tonumber(ARGV[2]) then return {'moved', ''} end
local tokens = state[3] or ''
if string.find('\n' .. tokens .. '\n', '\n' .. ARGV[3] .. '\n', 1, true) then return {'again', tokens} end
redis.call('PERSIST', KEYS[1])
tokens = tokens == '' and ARGV[3] or tokens .. '\n' .. ARGV[3]
redis.call('HSET', KEYS[2], 'tokens', tokens)
return {'recorded', tokens}
