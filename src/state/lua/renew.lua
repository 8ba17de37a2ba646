-- SPDX-License-Identifier: MIT
-- id, unit, fence, ttl_ms
local job, unit = load_job(id), ARGV[2]
if not job or job.ended then return {'GONE'} end
local lease = call('HGET', job.prefix .. 'lease', unit)
local fence, owner = string.match(lease or '', '^(%S+) %d+ (.*)$')
if fence ~= ARGV[3] then return {'GONE'} end
local deadline = text(now_us() + tonumber(ARGV[4]) * 1000)
call('HSET', job.prefix .. 'lease', unit, fence .. ' ' .. deadline .. ' ' .. owner)
if is_unit(unit) then
    take_off(job, unit)
    call('ZADD', 'lathe:leases', deadline, id .. '/' .. unit)
end
return {'GRANTED'}
