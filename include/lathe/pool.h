/* SPDX-License-Identifier: MIT */
/*
 * Slots as the parent sees them: start a `lathe-slot`, give it one order, watch it, collect it.
 *
 * Guarantee: lathe_pool_run() returns within `stall_seconds` plus a few seconds of the slot's last
 * progress, whatever the slot does: crash, hang, stop, or send nonsense. It never waits for a
 * process that cannot be killed; such a child is counted as stuck and collected later.
 * Every order gets a fresh process, so nothing of one source can leak into the next; only chunks of
 * one job on one GPU follow each other in one process, which keeps its device open, until one
 * fails or none comes for some seconds. With `many_orders` it is a copy of a slot that has only
 * loaded its libraries (which costs more than a short order, measured), while there is one; this
 * process then becomes the reaper of its orphans (PR_SET_CHILD_SUBREAPER), and must not wait for
 * children that it does not know. Threads: one pool may be shared; each caller of lathe_pool_run()
 * blocks in it. A slot dies with the thread that started it, so a caller must not be cancelled
 * asynchronously.
 */
#ifndef LATHE_POOL_H
#define LATHE_POOL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lathe/cancel.h"
#include "lathe/error.h"
#include "lathe/slot.h"

#define LATHE_STALL_SECONDS_DEFAULT 60

struct lathe_pool;

struct lathe_pool_options {
    const char *slot_path; /* NULL: lathe_pool_find_slot() */
    double stall_seconds;  /* 0: $LATHE_STALL_SECONDS, or the default */
    bool many_orders;      /* worth a template that slots are copied from; see below */
};

/* What ended children used. */
struct lathe_usage {
    uint64_t user_us;
    uint64_t system_us;
    uint64_t max_rss_bytes; /* of one child */
    uint32_t children;
};

/* Called on the thread of lathe_pool_run(), which does not count the time that it takes as the
 * slot's. Not 0: the slot is ended, and lathe_pool_run() returns that. */
typedef int (*lathe_pool_progress)(void *opaque, const struct lathe_progress *progress);

/* The path of the lathe-slot program (malloc'd): $LATHE_SLOT, or beside this program, or in the
 * build tree, or in the libexec folder. -ENOENT with fault CONFIG. */
int lathe_pool_find_slot(char **ret_path, struct lathe_error *err);

/* `options` may be NULL. */
int lathe_pool_create(const struct lathe_pool_options *options, struct lathe_pool **ret,
                      struct lathe_error *err);
/* Only when no thread is in lathe_pool_run(). NULL is allowed. */
void lathe_pool_destroy(struct lathe_pool *pool);

/*
 * Runs one order to its end. Returns 0 and the report's body (the caller's reference) only when the
 * slot said that all went well, and nothing odd followed. Else the slot's own error, or:
 * -ETIMEDOUT (no progress: killed), -ECONNABORTED (crashed), -EPROTO (nonsense: killed), all
 * retriable; -ECANCELED after `cancel` (may be NULL) fired and the slot was killed.
 * `progress` and `usage` may be NULL; `usage` is filled when the child has ended and could be
 * collected.
 */
int lathe_pool_run(struct lathe_pool *pool, const struct lathe_order *order,
                   lathe_pool_progress progress, void *opaque, struct lathe_cancel *cancel,
                   json_t **ret_body, struct lathe_usage *usage, struct lathe_error *err);

/* Sum over all ended children so far; max_rss_bytes is the largest of them. */
void lathe_pool_usage(struct lathe_pool *pool, struct lathe_usage *ret);
/* Ends the slots that have waited for another order for so long; 0: all. Not counted in the usage
 * before they have ended. May take seconds. */
void lathe_pool_cool(struct lathe_pool *pool, double idle_seconds);
/* Largest resident memory of this process and all live slots together, sampled. */
uint64_t lathe_pool_peak_bytes(struct lathe_pool *pool);
/* Children that were killed but have not ended (stuck in the kernel): so many slots or lanes fewer.
 * Counts those whose order named this GPU (`path` NULL: any of the family), or with
 * LATHE_ENCODER_AUTO those whose order named none. */
unsigned lathe_pool_stuck_on(struct lathe_pool *pool, enum lathe_encoder family, const char *path);

#endif
