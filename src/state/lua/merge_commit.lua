-- SPDX-License-Identifier: MIT
-- id, fence, result: the only commit point.
local job = load_job(id)
if not job then return {'GONE'} end
if job.status == 'completed' then
    return {call('HGET', job.key, 'merge_fence') == ARGV[2] and 'DONE' or 'DUPLICATE'}
end
if job.ended then return {'GONE'} end
if not holds(job, 'merge', ARGV[2]) then return {'STALE'} end
call('HSET', job.key, 'merge_fence', ARGV[2])
end_job(job, 'completed', nil, ARGV[3])
return {'DONE'}
