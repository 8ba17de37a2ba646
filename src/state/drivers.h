/* SPDX-License-Identifier: MIT */
/*
 * The state drivers of this build; each is defined at the end of its own file.
 */
#ifndef LATHE_STATE_DRIVERS_H
#define LATHE_STATE_DRIVERS_H

#include "lathe/state.h"

extern const struct lathe_state_driver lathe_state_sqlite;
extern const struct lathe_state_driver lathe_state_redis;

#endif
