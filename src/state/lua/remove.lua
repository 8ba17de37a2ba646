-- SPDX-License-Identifier: MIT
-- id
local job = load_job(id)
if not job then return {'DONE'} end
for _, unit in ipairs(call('HKEYS', job.prefix .. 'lease')) do drop_lease(job, unit) end
for _, suffix in ipairs(SUFFIXES) do call('UNLINK', job.prefix .. suffix) end
call('UNLINK', job.key)
for _, set in ipairs({'open_by_age', 'ended_by_age', 'expiring'}) do
    call('ZREM', 'lathe:' .. set, id)
end
call('ZREM', 'lathe:open', job.place)
call('ZREM', 'lathe:ready', job.place)
return {'DONE'}
