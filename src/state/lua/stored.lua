-- SPDX-License-Identifier: MIT
-- id, fence of the split, units "1 2 7": what they read is in the store.
local job = load_job(id)
if not job or job.ended then return {'GONE'} end
if job.planned and not is_cutting(job) then return {'DONE'} end
if not holds(job, 'split', ARGV[2]) then return {'STALE'} end
if not job.planned then return {'NONE'} end
for unit in string.gmatch(ARGV[3], '%d+') do
    if call('SREM', job.prefix .. 'unstored', unit) == 1 then
        block(job, unit, unit_of(job, unit))
    end
end
unblock(job)
return {end_split_when_stored(job)}
