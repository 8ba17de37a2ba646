-- SPDX-License-Identifier: MIT
-- id, seen epoch, keep results (0 or 1)
local job = load_job(id)
if not job then return {'GONE'} end
local seen = tonumber(ARGV[2])
if job.status == 'completed' or job.epoch > seen then return {'DONE'} end
restart(job, seen + 1, ARGV[3] == '1' and job.planned)
return {'GRANTED'}
