/* SPDX-License-Identifier: MIT */
/*
 * The fleet as commands see it: the configured ports, and nothing that works on jobs. Where no
 * server is configured and a worker of this host has a door, the door stands for all ports: its
 * state and store are the worker's own. The calls below are the same for both.
 */
#ifndef LATHE_CLI_FLEET_H
#define LATHE_CLI_FLEET_H

#include "lathe/door.h"
#include "lathe/flow.h"
#include "lathe/scratch.h"
#include "options.h"

enum lathe_fleet_ports {
    LATHE_FLEET_STATE = 1 << 0,
    LATHE_FLEET_STORE = 1 << 1,
    LATHE_FLEET_QUEUE = 1 << 2,
    LATHE_FLEET_DOOR = 1 << 3, /* a door is as good */
    LATHE_FLEET_ALL = LATHE_FLEET_STATE | LATHE_FLEET_STORE | LATHE_FLEET_QUEUE,
};

struct lathe_fleet {
    struct lathe_door_client *door; /* NULL: the ports are open */
    struct lathe_flow flow;         /* ports, scratch folder and cancel token */
    struct lathe_scratch scratch;   /* with the store */
};

/* Opens the ports that are named, as lathe_cli_configuration says. The caller closes after a
 * failure too. */
int lathe_fleet_open(unsigned ports, struct lathe_fleet *ret, struct lathe_error *err);
void lathe_fleet_close(struct lathe_fleet *fleet);

int lathe_fleet_get(struct lathe_fleet *fleet, const char *job_id, struct lathe_job_view *ret,
                    struct lathe_error *err);
/* As lathe_state_list(); a door has one page only. */
int lathe_fleet_list(struct lathe_fleet *fleet, enum lathe_job_filter filter, uint64_t cursor,
                     uint32_t limit, struct lathe_job_view **ret, size_t *ret_count,
                     uint64_t *ret_cursor, struct lathe_error *err);
int lathe_fleet_cancel(struct lathe_fleet *fleet, const char *job_id, struct lathe_error *err);
int lathe_fleet_retry(struct lathe_fleet *fleet, const char *job_id, bool from_start,
                      struct lathe_error *err);
int lathe_fleet_forget(struct lathe_fleet *fleet, const char *job_id, struct lathe_error *err);
/* The result of a rendition as the new file `path`. */
int lathe_fleet_fetch(struct lathe_fleet *fleet, const char *job_id, const char *rendition,
                      const char *path, struct lathe_error *err);

/* Ends a command. With --json `answer` (taken over) is printed, or {"status": "failed", "error":
 * …}; a failure is also complained about on stderr. Returns the exit code. */
int lathe_fleet_answer(const struct lathe_settings *settings, json_t *answer,
                       const struct lathe_error *err);
/* {"job_id": …, "status": …}. NULL: memory. */
json_t *lathe_fleet_job_answer(const char *job_id, const char *status);

#endif
