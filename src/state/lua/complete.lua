-- SPDX-License-Identifier: MIT
-- id, unit, fence, result: the first valid result of a unit stays.
local job, unit, fence = load_job(id), ARGV[2], ARGV[3]
if not job then return {'GONE'} end
local done = done_of(job, unit)
-- Asked before anything else: the winner must never take its own result for garbage.
if done == fence then return {'DONE'} end
if job.ended then return {'GONE'} end
local epoch, counter = string.match(fence, '^(%d+)-(%d+)$')
counter = tonumber(counter)
if tonumber(epoch) ~= job.epoch or counter < 1 or counter > job.counter then return {'STALE'} end
if not job.planned or tonumber(unit) >= job.total then return {'NONE'} end
if done then return {'DUPLICATE'} end
if call('SISMEMBER', job.prefix .. 'unstored', unit) == 1 then return {'STALE'} end
-- The merge has refused the result that such a fence brings back.
if counter <= tonumber(call('HGET', job.prefix .. 'floor', unit) or 0) then return {'STALE'} end

call('HSET', job.prefix .. 'done', unit, fence .. ' ' .. ARGV[4])
drop_lease(job, unit)
take_off(job, unit)
call('ZREM', job.prefix .. 'blocked', unit)
call('ZREM', job.prefix .. 'blocked_pilots', unit)
local u = unit_of(job, unit)
if u.kind == 0 then job.pilots_left = job.pilots_left - 1 end
if u.kind == 2 then
    call('HINCRBY', job.key, 'completed_chunks', 1)
    local first = job.pilots + job.audio -- each chunk is looked at once in the life of a job
    while call('HEXISTS', job.prefix .. 'done', first + job.chunk_prefix) == 1 do
        job.chunk_prefix = job.chunk_prefix + 1
    end
end
call('HINCRBY', job.key, 'completed_units', 1)
touch(job, 'pilots_left', job.pilots_left, 'chunk_prefix', job.chunk_prefix)
unblock(job)
return {'DONE'}
