-- SPDX-License-Identifier: MIT
-- id, unit, fence, permanent (0 or 1), reason
local job, unit = load_job(id), ARGV[2]
if not job or job.ended then return {'GONE'} end
if not holds(job, unit, ARGV[3]) then return {'DUPLICATE'} end
note_error(job, unit, ARGV[5])
if ARGV[4] == '1' then
    end_job(job, 'failed', name_of(job, unit) .. ': ' .. ARGV[5])
    return {'EXHAUSTED'}
end
if call('HINCRBY', job.prefix .. 'tries', 'f' .. unit, 1) >= FAILURES_MAX then
    end_job(job, 'failed', fmt('%s failed %d times, the last time: ', name_of(job, unit),
        FAILURES_MAX) .. ARGV[5])
    return {'EXHAUSTED'}
end
open_again(job, unit)
return {'RETRY'}
