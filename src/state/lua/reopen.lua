-- SPDX-License-Identifier: MIT
-- id, fence of the merge, reason, units "1 2 7": done, and then found unusable.
local job = load_job(id)
if not job or job.ended then return {'GONE'} end
if not holds(job, 'merge', ARGV[2]) then return {'DUPLICATE'} end
local units, exhausted = {}, nil
for unit in string.gmatch(ARGV[4], '%d+') do
    if not done_of(job, unit) then return {'NONE', unit} end -- before anything is written
    if tries_of(job, unit) + 1 >= FAILURES_MAX then
        exhausted = unit
        break
    end
    units[#units + 1] = unit
end
for _, unit in ipairs(units) do
    local u = unit_of(job, unit)
    call('HDEL', job.prefix .. 'done', unit)
    call('HINCRBY', job.prefix .. 'tries', 'f' .. unit, 1)
    note_error(job, unit, ARGV[3])
    call('HSET', job.prefix .. 'floor', unit, text(job.counter))
    call('HINCRBY', job.key, 'completed_units', -1)
    if u.kind == 0 then job.pilots_left = job.pilots_left + 1 end
    if u.kind == 2 then
        call('HINCRBY', job.key, 'completed_chunks', -1)
        if u.index < job.chunk_prefix then job.chunk_prefix = u.index end
    end
    block(job, unit, u)
end
touch(job, 'pilots_left', job.pilots_left, 'chunk_prefix', job.chunk_prefix)
if exhausted then
    end_job(job, 'failed', fmt('%s failed %d times, the last time: ', name_of(job, exhausted),
        FAILURES_MAX) .. ARGV[3])
    return {'EXHAUSTED'}
end
unblock(job)
open_again(job, 'merge')
return {'RETRY'}
