-- SPDX-License-Identifier: MIT
-- What every script begins with. A script is one transition of protocol.md and runs as one
-- transaction. The driver puts FAILURES_MAX, DEATHS_MAX, UNITS_MAX and RETAIN_MS before this text.
--
-- Fences are texts "epoch-counter": a number of Lua has 53 bits.
--
-- job:<id>                 hash  what people read, and the counts of the job
-- {job:<id>}:plan          text  5 bytes a unit: kind + 4 * needs_pilots + 8 * needs_object,
--                                needs_chunks (big endian)
-- {job:<id>}:done          hash  unit -> "fence result"
-- {job:<id>}:lease         hash  unit, "split" or "merge" -> "fence deadline_us since_us owner"
-- {job:<id>}:open          zset  units that can be claimed: open, or found expired
-- {job:<id>}:blocked       zset  units that wait, by the chunks that they need
-- {job:<id>}:blocked_pilots      the same, of units that wait for pilots too
-- {job:<id>}:unstored      set   units whose object is not in the store yet
-- {job:<id>}:tries         hash  "f<unit>" failures, "d<unit>" deaths
-- {job:<id>}:errors        hash  unit -> why its last attempt came to nothing
-- {job:<id>}:floor         hash  unit -> counter: results up to that fence were unusable
-- lathe:open               zset  places of the jobs that have not ended, most urgent first
-- lathe:ready              zset  places of those that have a unit in :open
-- lathe:leases             zset  "<id>/<unit>" by deadline, until it is found expired
-- lathe:serial             the number of the youngest job
-- lathe:open_by_age        zset  ids of the jobs that have not ended, by their number
-- lathe:ended_by_age       zset  ids of those that have
-- lathe:expiring           zset  ids of those by the time when their keys expire
-- lathe:workers            zset  names of workers by the time when they count as gone
-- lathe:worker:<name>      hash  host, record, seen_us, and drain once it was drained
local call, fmt = redis.call, string.format
local SUFFIXES = {'plan', 'done', 'lease', 'open', 'blocked', 'blocked_pilots', 'tries', 'floor',
    'unstored', 'errors'}

local function text(number) return fmt('%.0f', number) end

local function now_us()
    local t = call('TIME')
    return tonumber(t[1]) * 1000000 + tonumber(t[2])
end

local function load_job(id)
    local h = call('HMGET', 'job:' .. id, 'epoch', 'status', 'counter', 'planned', 'pilots',
        'audio', 'pilots_left', 'chunk_prefix', 'total_units', 'place', 'replan')
    if not h[1] then return nil end -- a hash of somebody else counts as none
    local status = h[2]
    return {
        id = id, key = 'job:' .. id, prefix = '{job:' .. id .. '}:',
        epoch = tonumber(h[1]), status = status, counter = tonumber(h[3]), planned = h[4] == '1',
        pilots = tonumber(h[5]), audio = tonumber(h[6]), pilots_left = tonumber(h[7]),
        chunk_prefix = tonumber(h[8]), total = tonumber(h[9]), place = h[10],
        replanned = h[11] ~= false,
        ended = status == 'completed' or status == 'failed' or status == 'cancelled',
    }
end

local function touch(job, ...)
    call('HSET', job.key, 'updated_us', text(now_us()), ...)
end

-- The number in its place.
local function serial_of(job) return tonumber(string.sub(job.place, 11, 26)) end

local function is_unit(unit) return unit ~= 'split' and unit ~= 'merge' end

local function unit_of(job, unit)
    local at = unit * 5
    local record = call('GETRANGE', job.prefix .. 'plan', at, at + 4)
    local flags, a, b, c, d = string.byte(record, 1, 5)
    local u = {kind = flags % 4, needs_pilots = flags % 8 >= 4, needs_object = flags >= 8,
        needs_chunks = ((a * 256 + b) * 256 + c) * 256 + d}
    u.index = unit
    if u.kind > 0 then u.index = u.index - job.pilots end
    if u.kind > 1 then u.index = u.index - job.audio end
    return u
end

local function name_of(job, unit)
    if not is_unit(unit) then return 'the ' .. unit end
    local u = unit_of(job, unit)
    return ({[0] = 'pilot', 'audio', 'chunk'})[u.kind] .. ' ' .. text(u.index)
end

local function tries_of(job, unit)
    local t = call('HMGET', job.prefix .. 'tries', 'f' .. unit, 'd' .. unit)
    return tonumber(t[1] or 0), tonumber(t[2] or 0)
end

local function lease_of(job, unit)
    local lease = call('HGET', job.prefix .. 'lease', unit)
    if not lease then return nil end
    local fence, deadline, since, owner = string.match(lease, '^(%S+) (%d+) (%d+) (.*)$')
    return {fence = fence, deadline = tonumber(deadline), since = since, owner = owner}
end

local function holds(job, unit, fence)
    local lease = lease_of(job, unit)
    return lease ~= nil and lease.fence == fence
end

local function note_error(job, unit, reason) call('HSET', job.prefix .. 'errors', unit, reason) end

local function done_of(job, unit)
    local done = call('HGET', job.prefix .. 'done', unit)
    return done and string.match(done, '^%S+')
end

local function open(job, unit)
    call('ZADD', job.prefix .. 'open', unit, unit)
    call('ZADD', 'lathe:ready', 0, job.place)
end

local function take_off(job, unit)
    call('ZREM', job.prefix .. 'open', unit)
    if call('EXISTS', job.prefix .. 'open') == 0 then call('ZREM', 'lathe:ready', job.place) end
end

local function drop_lease(job, unit)
    call('HDEL', job.prefix .. 'lease', unit)
    if is_unit(unit) then call('ZREM', 'lathe:leases', job.id .. '/' .. unit) end
end

-- Ends a lease; the unit can be claimed again.
local function open_again(job, unit)
    drop_lease(job, unit)
    if is_unit(unit) then
        open(job, unit)
    elseif unit == 'merge' or not job.planned then
        touch(job, 'status', unit == 'split' and 'queued' or 'transcoding')
    end
end

local function block(job, unit, u)
    call('ZADD', job.prefix .. (u.needs_pilots and 'blocked_pilots' or 'blocked'), u.needs_chunks,
        unit)
end

local function unblock(job)
    local sets = {job.prefix .. 'blocked'}
    if job.pilots_left == 0 then sets[2] = job.prefix .. 'blocked_pilots' end
    for _, set in ipairs(sets) do
        local units = call('ZRANGEBYSCORE', set, '-inf', job.chunk_prefix)
        for _, unit in ipairs(units) do
            call('ZREM', set, unit)
            call('ZADD', job.prefix .. 'open', unit, unit)
        end
        if #units > 0 then call('ZADD', 'lathe:ready', 0, job.place) end
    end
end

-- The units are published, and the split still stores what they read.
local function is_cutting(job) return call('EXISTS', job.prefix .. 'unstored') == 1 end

-- DONE: no unit waits for its object, and the split is done; else GRANTED.
local function end_split_when_stored(job)
    local left = call('SCARD', job.prefix .. 'unstored')
    touch(job, 'unstored_units', left)
    if left > 0 then return 'GRANTED' end
    drop_lease(job, 'split')
    return 'DONE'
end

local function end_job(job, status, reason, result)
    for _, unit in ipairs(call('HKEYS', job.prefix .. 'lease')) do drop_lease(job, unit) end
    for _, suffix in ipairs({'open', 'blocked', 'blocked_pilots', 'lease'}) do
        call('UNLINK', job.prefix .. suffix)
    end
    call('ZREM', 'lathe:open', job.place)
    call('ZREM', 'lathe:ready', job.place)
    call('ZREM', 'lathe:open_by_age', job.id)
    call('ZADD', 'lathe:ended_by_age', serial_of(job), job.id)
    touch(job, 'status', status, 'finished_us', text(now_us()))
    if reason then call('HSET', job.key, 'error', reason) end
    if result then call('HSET', job.key, 'result', result) end
    if RETAIN_MS == 0 then return end
    call('ZADD', 'lathe:expiring', text(now_us() + RETAIN_MS * 1000), job.id)
    call('PEXPIRE', job.key, RETAIN_MS)
    for _, suffix in ipairs(SUFFIXES) do call('PEXPIRE', job.prefix .. suffix, RETAIN_MS) end
end

-- The unit is neither done nor blocked. The last of too many deaths fails the job instead of
-- killing another worker.
local function grant(job, unit, owner, ttl_ms)
    local now = now_us()
    local lease = lease_of(job, unit)
    if lease then
        if lease.deadline > now then
            return 'BUSY', nil, math.floor((lease.deadline - now) / 1000) + 1
        end
        note_error(job, unit, 'its worker died or hung: ' .. lease.owner)
        if call('HINCRBY', job.prefix .. 'tries', 'd' .. unit, 1) >= DEATHS_MAX then
            end_job(job, 'failed', fmt('%s: %d workers died or hung while they worked on it',
                name_of(job, unit), DEATHS_MAX))
            return 'GONE'
        end
    end
    local deadline = now + ttl_ms * 1000
    local fence = text(job.epoch) .. '-' .. text(call('HINCRBY', job.key, 'counter', 1))
    call('HSET', job.prefix .. 'lease', unit, fmt('%s %.0f %.0f %s', fence, deadline, now, owner))
    if is_unit(unit) then
        take_off(job, unit)
        call('ZADD', 'lathe:leases', text(deadline), job.id .. '/' .. unit)
    end
    return 'GRANTED', fence
end

-- Verdict, fence, wait_ms, job id, unit, kind, index, needs_pilots, needs_chunks, attempt.
local function claimed(job, unit, verdict, fence, wait_ms)
    if verdict ~= 'GRANTED' then return {verdict, fence or '', wait_ms or 0} end
    local u = unit_of(job, unit)
    local failures, deaths = tries_of(job, unit)
    return {verdict, fence, 0, job.id, tonumber(unit), u.kind, u.index, u.needs_pilots and 1 or 0,
        u.needs_chunks, 1 + failures + deaths}
end

-- Appends unit, kind, index, needs_pilots, needs_chunks and "fence result" of each done unit.
local function read_results(job, first, last, reply)
    if not job.planned then return reply end
    if last > job.total then last = job.total end
    for from = first, last - 1, 1000 do
        local to = math.min(from + 1000, last)
        local names = {}
        for unit = from, to - 1 do names[#names + 1] = text(unit) end
        local results = call('HMGET', job.prefix .. 'done', unpack(names))
        for i, result in ipairs(results) do
            if result then
                local u = unit_of(job, from + i - 1)
                local n = #reply
                reply[n + 1], reply[n + 2], reply[n + 3] = from + i - 1, u.kind, u.index
                reply[n + 4], reply[n + 5] = u.needs_pilots and 1 or 0, u.needs_chunks
                reply[n + 6] = result
            end
        end
    end
    return reply
end

-- A new epoch: `keep` leaves the units and the results of the done ones.
local function restart(job, epoch, keep)
    for _, unit in ipairs(call('HKEYS', job.prefix .. 'lease')) do drop_lease(job, unit) end
    for _, suffix in ipairs({'lease', 'open', 'blocked', 'blocked_pilots', 'floor'}) do
        call('UNLINK', job.prefix .. suffix)
    end
    call('ZREM', 'lathe:ready', job.place)
    call('ZADD', 'lathe:open', 0, job.place)
    call('ZADD', 'lathe:open_by_age', serial_of(job), job.id)
    call('ZREM', 'lathe:ended_by_age', job.id)
    call('ZREM', 'lathe:expiring', job.id)
    call('HDEL', job.key, 'error', 'result', 'merge_fence')
    touch(job, 'epoch', text(epoch), 'counter', 0, 'finished_us', 0, 'planned', keep and 1 or 0,
        'status', keep and 'transcoding' or 'queued')
    call('PERSIST', job.key)
    for _, suffix in ipairs(SUFFIXES) do call('PERSIST', job.prefix .. suffix) end
    if keep then -- done units keep their failures too, should the merge refuse them later
        call('HDEL', job.prefix .. 'tries', 'fmerge', 'dmerge', 'fsplit', 'dsplit')
        call('HDEL', job.prefix .. 'errors', 'merge', 'split')
        for unit = 0, job.total - 1 do
            if call('HEXISTS', job.prefix .. 'done', unit) == 0 then
                call('HDEL', job.prefix .. 'tries', 'f' .. unit, 'd' .. unit)
                call('HDEL', job.prefix .. 'errors', unit)
                if call('SISMEMBER', job.prefix .. 'unstored', unit) == 0 then
                    block(job, unit, unit_of(job, unit))
                end
            end
        end
        return unblock(job)
    end
    for _, suffix in ipairs({'plan', 'done', 'tries', 'unstored', 'errors'}) do
        call('UNLINK', job.prefix .. suffix)
    end
    touch(job, 'unstored_units', 0, 'total_units', 0, 'completed_units', 0, 'total_chunks', 0, 'completed_chunks', 0,
        'pilots', 0, 'audio', 0, 'pilots_left', 0, 'chunk_prefix', 0)
end

local id = ARGV[1]
