-- SPDX-License-Identifier: MIT
-- id, status, reason
local job = load_job(id)
if not job or job.ended then return {'GONE'} end
end_job(job, ARGV[2], ARGV[3])
return {'DONE'}
