/* SPDX-License-Identifier: MIT */
/*
 * What the two files of the front share: the handle, and the checks of arguments.
 */
#ifndef LATHE_STATE_FRONT_H
#define LATHE_STATE_FRONT_H

#include <stddef.h>

#include "lathe/metrics.h"
#include "lathe/state.h"

#define LATHE_OWNER_MAX 256 /* bytes of the name of a worker */

struct lathe_state {
    const struct lathe_state_driver *driver;
    max_align_t priv[];
};

/* A driver's call, counted and timed. */
#define CALL(op, ...)                                                                              \
    ({                                                                                             \
        int64_t began_us = lathe_clock_monotonic_us();                                             \
        int call_result = st->driver->op(st->priv, __VA_ARGS__);                                   \
        lathe_metrics_request(st->driver->name, #op, began_us, call_result, err);                  \
        call_result;                                                                               \
    })

/* -EINVAL */
int lathe_state_bad_argument(struct lathe_error *err, const char *what);
int lathe_state_check_id(const char *job_id, struct lathe_error *err);

#endif
