-- SPDX-License-Identifier: MIT
-- name or host: how many workers take nothing new.
local asked = 0
for _, worker in ipairs(call('ZRANGEBYSCORE', 'lathe:workers', '(' .. text(now_us()), '+inf')) do
    local key = 'lathe:worker:' .. worker
    local host = call('HGET', key, 'host')
    if host and (worker == id or host == id) then
        call('HSET', key, 'drain', 1)
        asked = asked + 1
    end
end
return asked
