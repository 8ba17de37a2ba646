-- SPDX-License-Identifier: MIT
-- id, priority, record: registers a job; the second time changes nothing.
if load_job(id) then return {'DONE'} end
local now = text(now_us())
local place = fmt('%010.0f%016.0f:%s', 2147483647 - tonumber(ARGV[2]), call('INCR', 'lathe:serial'),
    id)
call('HSET', 'job:' .. id, 'v', 1, 'status', 'queued', 'priority', ARGV[2], 'epoch', 1,
    'counter', 0, 'planned', 0, 'total_units', 0, 'completed_units', 0,
    'total_chunks', call('HGET', 'job:' .. id, 'total_chunks') or 0, -- a foreign producer's word
    'completed_chunks', 0, 'pilots', 0, 'audio', 0, 'pilots_left', 0, 'chunk_prefix', 0,
    'created_us', now, 'updated_us', now, 'finished_us', 0, 'place', place, 'record', ARGV[3])
call('PERSIST', 'job:' .. id)
call('ZADD', 'lathe:open', 0, place)
call('ZADD', 'lathe:open_by_age', call('GET', 'lathe:serial'), id)
-- Those that have expired leave the list, a few each time.
for _, old in ipairs(call('ZRANGEBYSCORE', 'lathe:expiring', '-inf', now, 'LIMIT', 0, 10)) do
    call('ZREM', 'lathe:expiring', old)
    if call('EXISTS', 'job:' .. old) == 0 then call('ZREM', 'lathe:ended_by_age', old) end
end
return {'GRANTED'}
