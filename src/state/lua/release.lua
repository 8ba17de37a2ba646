-- SPDX-License-Identifier: MIT
-- id, unit, fence
local job = load_job(id)
if job and not job.ended and holds(job, ARGV[2], ARGV[3]) then open_again(job, ARGV[2]) end
return {'DONE'}
