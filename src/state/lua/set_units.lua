-- SPDX-License-Identifier: MIT
-- id, fence, pilots, audio, chunks, plan (5 bytes a unit)
local job = load_job(id)
if not job or job.ended then return {'GONE'} end
if job.planned then return {'DONE'} end
if not holds(job, 'split', ARGV[2]) then return {'STALE'} end
job.pilots, job.audio = tonumber(ARGV[3]), tonumber(ARGV[4])
job.total = job.pilots + job.audio + tonumber(ARGV[5])
job.pilots_left, job.chunk_prefix = job.pilots, 0
call('SET', job.prefix .. 'plan', ARGV[6])
for unit = 0, job.total - 1 do
    local u = unit_of(job, unit)
    if u.needs_object then
        call('SADD', job.prefix .. 'unstored', unit)
    else
        block(job, unit, u)
    end
end
unblock(job)
end_split_when_stored(job)
touch(job, 'status', 'transcoding', 'planned', 1, 'total_units', job.total, 'completed_units', 0,
    'total_chunks', ARGV[5], 'completed_chunks', 0, 'pilots', job.pilots, 'audio', job.audio,
    'pilots_left', job.pilots, 'chunk_prefix', 0)
return {'GRANTED'}
