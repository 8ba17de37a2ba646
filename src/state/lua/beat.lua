-- SPDX-License-Identifier: MIT
-- worker, host, record, ttl_ms: whether it was drained (0 or 1).
local key, now = 'lathe:worker:' .. id, now_us()
call('ZREMRANGEBYSCORE', 'lathe:workers', '-inf', text(now))
call('ZADD', 'lathe:workers', text(now + tonumber(ARGV[4]) * 1000), id)
call('HSET', key, 'host', ARGV[2], 'record', ARGV[3], 'seen_us', text(now))
call('PEXPIRE', key, ARGV[4])
return call('HEXISTS', key, 'drain')
