-- SPDX-License-Identifier: MIT
-- id, first, end
local job = load_job(id)
if not job then return {'NONE', '', 0} end
return read_results(job, tonumber(ARGV[2]), tonumber(ARGV[3]), {'DONE', '', 0})
