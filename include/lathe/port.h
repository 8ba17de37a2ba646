/* SPDX-License-Identifier: MIT */
/*
 * What the fronts of the ports share: how a driver is called, and what is done when the server
 * behind it is away.
 */
#ifndef LATHE_PORT_H
#define LATHE_PORT_H

#include <stdbool.h>

#include "lathe/base.h"
#include "lathe/cancel.h"
#include "lathe/error.h"
#include "lathe/metrics.h"

/*
 * Patience of a daemon: a call that failed because a server is away is repeated until it succeeds.
 * Every call of a port may be repeated, so whoever makes it need not know. A port without patience
 * (all members 0) tells its caller at once.
 */
struct lathe_patience {
    struct lathe_cancel *cancel; /* ends all waiting: the call then fails as it last did */
    /* After each failed try, on the caller's thread; `why` is NULL when a try succeeded after some
     * had failed. May be NULL. */
    void (*waiting)(void *opaque, const struct lathe_error *why);
    void *opaque;
};

/* Calls of this thread are not repeated while `impatient`: those that ask for new work, which can
 * be asked for again, and should come after those that deliver what is done. */
void lathe_patience_suspend(bool impatient);

/* Whether waiting can help with this error of a port. */
bool lathe_patience_is_for(const struct lathe_error *why);

/* A jittered pause, longer with each `try` (from 0), at most about 5 s; shorter when `cancel` (may
 * be NULL) fires. */
void lathe_backoff(unsigned attempt, struct lathe_cancel *cancel);

/* After a try: whether there is to be another one, when it is time for that. */
bool lathe_patience_wait(const struct lathe_patience *patience, unsigned *tries, int result,
                         const struct lathe_error *why);

/* A call of `handle`'s driver, whose last argument is the function's own `err`: counted, timed, and
 * repeated with the handle's patience. */
#define LATHE_PORT_CALL(handle, op, ...)                                                           \
    ({                                                                                             \
        struct lathe_error *const port_err = err;                                                  \
        struct lathe_error port_why;                                                               \
        unsigned port_tries = 0;                                                                   \
        int port_result;                                                                           \
        err = &port_why;                                                                           \
        do {                                                                                       \
            port_why = (struct lathe_error){0};                                                    \
            int64_t port_began_us = lathe_clock_monotonic_us();                                    \
            port_result = (handle)->driver->op((handle)->priv, __VA_ARGS__);                       \
            lathe_metrics_request((handle)->driver->name, #op, port_began_us, port_result, err);   \
        } while (lathe_patience_wait(&(handle)->patience, &port_tries, port_result, &port_why));   \
        err = port_err;                                                                            \
        if (port_result < 0 && port_why.code && err) {                                             \
            *err = port_why;                                                                       \
            err->by_port = true;                                                                   \
        }                                                                                          \
        port_result;                                                                               \
    })

#endif
