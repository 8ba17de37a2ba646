/* SPDX-License-Identifier: MIT */
/*
 * The pool's books: which children there are, which cannot be killed, and what all of them used.
 */
#ifndef LATHE_POOL_BOOKS_H
#define LATHE_POOL_BOOKS_H

#include <pthread.h>

#include "process.h"
#include "template.h"
#include "warm.h"

#define LATHE_TICK_MS 200 /* how often clocks and memory are looked at */

/* Counted by lathe_pool_stuck_on(), shown in live memory: a child at work, waiting warm, or stuck.
 */
struct lathe_live {
    pid_t pid;
    bool stuck;
    enum lathe_encoder gpu_family; /* auto: it was given none */
    char gpu_path[128];
    struct lathe_live *next;
};

struct lathe_pool {
    char *slot_path;
    struct lathe_template *template; /* NULL: none */
    struct lathe_warm *warm;         /* between two orders on a GPU */
    int64_t stall_us;
    pthread_mutex_t lock;
    struct lathe_live *live;
    struct lathe_usage usage;
    uint64_t peak_bytes;
    int64_t sampled_us;
};

/* Called with the lock held: looks at the memory of all, at most once a tick. */
void lathe_books_sample(struct lathe_pool *pool);
/* Called with the lock held: stuck children that have ended after all are forgotten. */
void lathe_books_collect(struct lathe_pool *pool);
/* The end of the process as the books see it: collected, or left behind as stuck. */
void lathe_books_settle(struct lathe_pool *pool, struct lathe_process *process,
                        struct lathe_live *live, struct lathe_usage *ret_usage);

#endif
