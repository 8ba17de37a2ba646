-- SPDX-License-Identifier: MIT
-- id, unit, owner, ttl_ms
local job, unit = load_job(id), ARGV[2]
if not job or job.ended then return {'GONE', '', 0} end
if not job.planned then return {'WAIT', '', 0} end
if tonumber(unit) >= job.total then return {'GONE', '', 0} end -- a bell of an earlier plan
if done_of(job, unit) then return {'DONE', '', 0} end
if not lease_of(job, unit) and not call('ZSCORE', job.prefix .. 'open', unit) then
    return {'WAIT', '', 0}
end
return claimed(job, unit, grant(job, unit, ARGV[3], tonumber(ARGV[4])))
