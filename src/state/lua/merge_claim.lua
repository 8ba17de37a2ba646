-- SPDX-License-Identifier: MIT
-- id, owner, ttl_ms: with the manifest, from the same transaction.
local job = load_job(id)
if not job then return {'GONE', '', 0} end
if job.ended then return {job.status == 'completed' and 'DONE' or 'GONE', '', 0} end
-- The number of results that are there, not a counter beside them.
if not job.planned or call('HLEN', job.prefix .. 'done') < job.total then return {'WAIT', '', 0} end
local verdict, fence, wait_ms = grant(job, 'merge', ARGV[2], tonumber(ARGV[3]))
local reply = {verdict, fence or '', wait_ms or 0}
if verdict ~= 'GRANTED' then return reply end
touch(job, 'status', 'merging')
return read_results(job, 0, job.total, reply)
