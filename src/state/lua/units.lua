-- SPDX-License-Identifier: MIT
-- id, first, end, whether the merge and the split too (0 or 1). Of each: unit, kind, index,
-- needs_pilots, needs_chunks, needs_object, state (enum lathe_unit_state), failures, deaths, owner,
-- since_us, left_ms, error, result.
local BLOCKED, OPEN, LEASED, DONE, CLOSED = 0, 1, 2, 3, 4
local job = load_job(id)
if not job then return {'NONE'} end
local now, reply = now_us(), {'DONE'}

local function state_of(unit, done, lease)
    if done then return DONE end
    if job.ended then return CLOSED end
    if lease then return LEASED end
    if not is_unit(unit) or call('ZSCORE', job.prefix .. 'open', unit) then return OPEN end
    return BLOCKED
end

local function add(unit, u, done, result)
    local lease = lease_of(job, unit)
    local failures, deaths = tries_of(job, unit)
    reply[#reply + 1] = {unit, u.kind, u.index, u.needs_pilots and 1 or 0, u.needs_chunks,
        call('SISMEMBER', job.prefix .. 'unstored', unit), state_of(unit, done, lease), failures, deaths,
        lease and lease.owner or false, lease and lease.since or '0',
        lease and text((lease.deadline - now) / 1000) or '0',
        call('HGET', job.prefix .. 'errors', unit), result}
end

if job.planned then
    for unit = tonumber(ARGV[2]), math.min(tonumber(ARGV[3]), job.total) - 1 do
        local done = call('HGET', job.prefix .. 'done', unit)
        add(text(unit), unit_of(job, unit), done, done and string.match(done, '^%S+ (.*)$'))
    end
end
if ARGV[4] == '1' then
    local none = {kind = 0, index = 0, needs_chunks = 0}
    add('merge', none, job.status == 'completed', false)
    add('split', none, job.planned and not is_cutting(job), false)
end
return reply
