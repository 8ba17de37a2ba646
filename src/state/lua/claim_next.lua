-- SPDX-License-Identifier: MIT
-- id or '', owner, ttl_ms, 'oldest' or 'youngest', JSON list of ids: the first claimable unit by
-- priority, age of the job (in that order), number, of any job but those in the list.
-- Expired leases are moved to the claimable units first; each costs once, however many ask.
local function find_expired()
    while true do
        local members = call('ZRANGEBYSCORE', 'lathe:leases', '-inf', text(now_us()), 'LIMIT', 0,
            100)
        if #members == 0 then return end
        for _, member in ipairs(members) do
            local owner, unit = string.match(member, '^(.*)/(%d+)$')
            local job = load_job(owner)
            call('ZREM', 'lathe:leases', member)
            if job and not job.ended and lease_of(job, unit) then open(job, unit) end
        end
    end
end

local excepted, excepted_count = {}, 0
if ARGV[5] ~= '[]' then -- nearly never
    for _, except in ipairs(cjson.decode(ARGV[5])) do
        excepted[except] = true
        excepted_count = excepted_count + 1
    end
end

local function id_at(place) return string.match(place, ':(.*)$') end

-- One of so many that they cannot all be excepted.
local function first_allowed(places)
    for _, place in ipairs(places) do
        if not excepted[id_at(place)] then return place end
    end
end

local function next_place()
    local first = first_allowed(call('ZRANGE', 'lathe:ready', 0, excepted_count))
    if not first or ARGV[4] ~= 'youngest' then return first end
    local priority = string.sub(first, 1, 10)
    return first_allowed(call('ZREVRANGEBYLEX', 'lathe:ready', '(' .. priority .. ';',
        '[' .. priority, 'LIMIT', 0, excepted_count + 1))
end

local function next_job()
    if id ~= '' then return load_job(id) end
    while true do
        local place = next_place()
        if not place then return nil end
        local job = load_job(id_at(place))
        if job and job.place == place then return job end
        call('ZREM', 'lathe:ready', place) -- its hash was deleted by hand
        call('ZREM', 'lathe:open', place)
    end
end

find_expired()
while true do -- each turn but the last fails a job, so this ends
    local job = next_job()
    if not job or job.ended then return {'WAIT', '', 0} end
    local unit = call('ZRANGE', job.prefix .. 'open', 0, 0)[1]
    if not unit then
        call('ZREM', 'lathe:ready', job.place)
        if id ~= '' then return {'WAIT', '', 0} end
    else
        local verdict, fence = grant(job, unit, ARGV[2], tonumber(ARGV[3]))
        if verdict == 'GRANTED' then return claimed(job, unit, verdict, fence) end
        if verdict == 'BUSY' then take_off(job, unit) end -- its lease lives again: the clock moved
    end
end
