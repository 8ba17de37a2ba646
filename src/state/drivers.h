/* SPDX-License-Identifier: MIT */
/*
 * The state drivers of this build, each defined at the end of its own file; and what they share.
 */
#ifndef LATHE_STATE_DRIVERS_H
#define LATHE_STATE_DRIVERS_H

#include "lathe/state.h"

extern const struct lathe_state_driver lathe_state_sqlite;
extern const struct lathe_state_driver lathe_state_redis;

/* The excepted ids as a JSON list, for a script or a statement; "[]" where a job is named.
 * malloc'd, NULL: no memory. */
char *lathe_state_except_json(const struct lathe_claim_wish *wish);

#endif
