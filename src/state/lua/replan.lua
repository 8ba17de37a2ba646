-- SPDX-License-Identifier: MIT
-- id, fence of the split or the merge, reason: another plan, once in the life of a job.
local job = load_job(id)
if not job or job.ended then return {'GONE'} end
if not holds(job, 'merge', ARGV[2]) and not holds(job, 'split', ARGV[2]) then
    return {'DUPLICATE'}
end
if job.replanned then
    end_job(job, 'failed', ARGV[3])
    return {'EXHAUSTED'}
end
call('HSET', job.key, 'replan', ARGV[3])
restart(job, job.epoch + 1, false)
return {'RETRY'}
