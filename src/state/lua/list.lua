-- SPDX-License-Identifier: MIT
-- '', filter, cursor (0 = from the youngest), limit, fields of a job: the next cursor, then of each
-- job its id and these fields.
local sets = {
    all = {'lathe:open_by_age', 'lathe:ended_by_age'},
    open = {'lathe:open_by_age'},
    ended = {'lathe:ended_by_age'},
}
local from, limit = ARGV[3] == '0' and '+inf' or '(' .. ARGV[3], tonumber(ARGV[4])
local found = {}
for _, set in ipairs(sets[ARGV[2]]) do
    local members = call('ZREVRANGEBYSCORE', set, from, '-inf', 'WITHSCORES', 'LIMIT', 0, limit)
    for i = 1, #members, 2 do
        found[#found + 1] = {id = members[i], serial = members[i + 1], set = set}
    end
end
table.sort(found, function(a, b) return tonumber(a.serial) > tonumber(b.serial) end)
local reply = {found[limit] and found[limit].serial or '0'}
for i = 1, math.min(limit, #found) do
    local fields = call('HMGET', 'job:' .. found[i].id, unpack(ARGV, 5))
    if fields[1] then
        reply[#reply + 1] = found[i].id
        reply[#reply + 1] = fields
    else -- expired, or deleted by hand
        call('ZREM', found[i].set, found[i].id)
    end
end
return reply
