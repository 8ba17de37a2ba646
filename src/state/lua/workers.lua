-- SPDX-License-Identifier: MIT
-- Of each worker that lives: name, host, record, drain (0 or 1), seen_us, left_ms.
local now, reply = now_us(), {}
local members = call('ZRANGEBYSCORE', 'lathe:workers', '(' .. text(now), '+inf', 'WITHSCORES')
for i = 1, #members, 2 do
    local h = call('HMGET', 'lathe:worker:' .. members[i], 'host', 'record', 'seen_us', 'drain')
    if h[1] then
        reply[#reply + 1] = {members[i], h[1], h[2], h[4] and 1 or 0, h[3],
            text((tonumber(members[i + 1]) - now) / 1000)}
    end
end
return reply
