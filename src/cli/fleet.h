/* SPDX-License-Identifier: MIT */
/*
 * The fleet as commands see it: the configured ports, and nothing that works on jobs.
 */
#ifndef LATHE_CLI_FLEET_H
#define LATHE_CLI_FLEET_H

#include "lathe/flow.h"
#include "options.h"
#include "scratch.h"

enum lathe_fleet_ports {
    LATHE_FLEET_STATE = 1 << 0,
    LATHE_FLEET_STORE = 1 << 1,
    LATHE_FLEET_QUEUE = 1 << 2,
    LATHE_FLEET_ALL = LATHE_FLEET_STATE | LATHE_FLEET_STORE | LATHE_FLEET_QUEUE,
};

struct lathe_fleet {
    struct lathe_flow flow;       /* ports, scratch folder and cancel token */
    struct lathe_scratch scratch; /* with the store */
};

/* Opens the ports that are named, as lathe_cli_configuration says. The caller closes after a
 * failure too. */
int lathe_fleet_open(unsigned ports, struct lathe_fleet *ret, struct lathe_error *err);
void lathe_fleet_close(struct lathe_fleet *fleet);

/* Ends a command. With --json `answer` (taken over) is printed, or {"status": "failed", "error":
 * …}; a failure is also complained about on stderr. Returns the exit code. */
int lathe_fleet_answer(const struct lathe_settings *settings, json_t *answer,
                       const struct lathe_error *err);
/* {"job_id": …, "status": …}. NULL: memory. */
json_t *lathe_fleet_job_answer(const char *job_id, const char *status);

#endif
