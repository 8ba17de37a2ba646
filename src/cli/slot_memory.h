/* SPDX-License-Identifier: MIT */
#ifndef LATHE_CLI_SLOT_MEMORY_H
#define LATHE_CLI_SLOT_MEMORY_H

#include <stdint.h>

#include "lathe/error.h"

/* Address space for one of `slots` slots (0 counts as 1). */
uint64_t lathe_slot_memory_share(uint64_t usable_bytes, unsigned slots);
/* Puts the limit of later slots into the environment, unless the user has chosen it. `slots` 0: as
 * many as the agent takes. Before threads are started. -EINVAL with fault CONFIG. */
int lathe_slot_memory_set(unsigned slots, struct lathe_error *err);

#endif
