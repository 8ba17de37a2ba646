-- SPDX-License-Identifier: MIT
-- id, owner, ttl_ms
local job = load_job(id)
if not job or job.ended then return {'GONE', '', 0} end
if job.planned and not is_cutting(job) then return {'DONE', '', 0} end
local verdict, fence, wait_ms = grant(job, 'split', ARGV[2], tonumber(ARGV[3]))
if verdict == 'GRANTED' and not job.planned then touch(job, 'status', 'splitting') end
return {verdict, fence or '', wait_ms or 0}
