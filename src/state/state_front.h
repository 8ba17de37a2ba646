/* SPDX-License-Identifier: MIT */
/*
 * What the two files of the front share: the handle, and the checks of arguments.
 */
#ifndef LATHE_STATE_FRONT_H
#define LATHE_STATE_FRONT_H

#include <stddef.h>

#include "lathe/port.h"
#include "lathe/state.h"

#define LATHE_OWNER_MAX 256 /* bytes of the name of a worker */

struct lathe_state {
    const struct lathe_state_driver *driver;
    struct lathe_patience patience;
    max_align_t priv[];
};

#define CALL(op, ...) LATHE_PORT_CALL(st, op, __VA_ARGS__)

/* -EINVAL */
int lathe_state_bad_argument(struct lathe_error *err, const char *what);
int lathe_state_check_id(const char *job_id, struct lathe_error *err);

#endif
