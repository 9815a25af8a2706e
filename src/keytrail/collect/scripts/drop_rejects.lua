-- drop_rejects: delete dead letters, and take them out of the totals.
-- KEYS  1 rejects  2 totals
-- ARGV  1 most to delete  2 delete those added before this time (ms since 1970)
--       or 2 '' and 3… the ids to delete
-- Reply {'dropped', how many, bytes}
-- Repeating: what is gone is not counted again.

local dropped, bytes = 0, 0
local function drop(entries)
  for _, entry in ipairs(entries) do
    local fields = entry[2]
    for at = 1, #fields, 2 do
      if fields[at] == 'record' then bytes = bytes + #fields[at + 1] + 128 end
    end
    dropped = dropped + redis.call('XDEL', KEYS[1], entry[1])
  end
end

if ARGV[2] ~= '' then
  drop(redis.call('XRANGE', KEYS[1], '-', '(' .. ARGV[2] .. '-0', 'COUNT', ARGV[1]))
else
  for at = 3, #ARGV do drop(redis.call('XRANGE', KEYS[1], ARGV[at], ARGV[at])) end
end
if dropped > 0 then
  redis.call('HINCRBY', KEYS[2], 'rejects', 0 - dropped)
  redis.call('HINCRBY', KEYS[2], 'reject_bytes', 0 - bytes)
end
return {'dropped', dropped, bytes}
