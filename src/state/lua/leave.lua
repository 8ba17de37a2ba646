-- SPDX-License-Identifier: MIT
-- worker
call('ZREM', 'lathe:workers', id)
return call('DEL', 'lathe:worker:' .. id)
