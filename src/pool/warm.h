/* SPDX-License-Identifier: MIT */
/*
 * Slots that have done an order on a GPU and wait for the next one of the same reach (the same job
 * and device): opening a device costs some hundred milliseconds and as many megabytes, for every
 * chunk anew. One that failed is never kept; one that is not needed for a while, that has done many
 * orders, or whose device is wanted by another job, ends.
 *
 * Threads: the caller holds a lock, except for lathe_warm_end().
 */
#ifndef LATHE_POOL_WARM_H
#define LATHE_POOL_WARM_H

#include <stdint.h>

#include "process.h"

#define LATHE_WARM_ORDERS 64 /* drivers leak */

struct lathe_live;

struct lathe_warm {
    struct lathe_process process;
    struct lathe_live *live; /* the pool's own books */
    char *reach;             /* lathe_order_reach() */
    unsigned orders;         /* done */
    int64_t since_us;
    struct lathe_warm *next;
};

/* Takes out of the list: one of this reach, else NULL. */
struct lathe_warm *lathe_warm_take(struct lathe_warm **list, const char *reach);
/* Takes out of the list: one that waits since then or longer, and (`device` not NULL: the beginning
 * of a reach) is on this device. NULL: none. */
struct lathe_warm *lathe_warm_take_old(struct lathe_warm **list, int64_t since_us,
                                       const char *device);
/* Ends the process in order, else by force; frees all but `live`. What became of it is in `ret`. */
void lathe_warm_end(struct lathe_warm *warm, struct lathe_process *ret);

#endif
