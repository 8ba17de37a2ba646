/* SPDX-License-Identifier: MIT */
/*
 * The daemon: one agent on the configured servers, watched from outside, until it is told to stop.
 */
#ifndef LATHE_WORKER_H
#define LATHE_WORKER_H

#include <stdatomic.h>

#include "lathe/agent.h"
#include "lathe/config.h"

struct lathe_worker {
    int argc; /* the flags, read again with the rest of the configuration */
    char **argv;
    struct lathe_config config;
    struct lathe_cancel *drain;  /* fired by the first signal to stop */
    struct lathe_cancel *cancel; /* by the second one */
    atomic_bool reload;          /* set by SIGHUP */
    struct lathe_agent *agent;
    atomic_int_least64_t ticked_us; /* monotonic: when the control loop last went round */
};

/* Runs to the end. Faults as in error.h; 0 after a drain. */
int lathe_worker_run(struct lathe_worker *worker, struct lathe_error *err);

/* --- reload.c --- */
/* How much is logged, and how; a daemon whose configuration says nothing tells of milestones. */
void lathe_worker_set_log(const struct lathe_config *config);
/* Reads the configuration again and takes what can be taken; a wrong one changes nothing. GPUs are
 * tried anew. */
void lathe_worker_reload(struct lathe_worker *worker);

#endif
