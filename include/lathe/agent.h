/* SPDX-License-Identifier: MIT */
/*
 * The agent: opens the ports, keeps a thread for each slot, and lets every one of them take work
 * and carry it through, until a job has ended or somebody says stop. `lathe run` is one agent that
 * works on one job; a worker of a fleet is the same agent with other drivers and no job named.
 *
 * Threads: an agent belongs to one thread, which may read progress from its tick.
 */
#ifndef LATHE_AGENT_H
#define LATHE_AGENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lathe/cancel.h"
#include "lathe/error.h"
#include "lathe/flow.h"
#include "lathe/log.h"
#include "lathe/pool.h"

struct lathe_agent;

struct lathe_agent_options {
    const char *queue_driver, *queue_location;
    const char *state_driver, *state_location;
    const char *store_driver, *store_location;
    const char *scratch_dir; /* made when missing; best on the store's file system */
    const char *slot_path;   /* NULL: lathe_pool_find_slot() */
    unsigned slots;          /* 0: lathe_agent_default_slots() */
    int lease_ttl_ms;        /* 0: LATHE_LEASE_TTL_MS */
    /* GPUs are looked for in the background, and chunks go to them; else all is done in software.
     */
    bool gpus;
    enum lathe_mix mix; /* of the jobs: with LATHE_MIX_ALLOW software and GPUs work side by side */
    enum lathe_chunks chunks; /* auto: as LATHE_CHUNKS says */
    bool keep_intermediates;
    bool only_host;              /* see flow.h; also: an error of a port ends the run */
    struct lathe_cancel *cancel; /* the user's; obeyed by every step; may be NULL */

    /* A worker of a fleet: waits for servers that are away, answers bells, says that it lives, and
     * takes no more than it has room for. Its steps are logged. */
    bool is_daemon;
    unsigned patience_seconds;  /* for servers when it is opened; 0: for ever */
    struct lathe_cancel *drain; /* fired: it takes nothing new, and ends when all it has is done */
    unsigned drain_seconds;     /* … or handed back after so long */
    uint64_t scratch_quota_bytes; /* 0: by what is free */
    double keep_hours;            /* ended jobs are in the state's list so long */
    void (*notice)(void *opaque, enum lathe_log_level level, const char *text); /* any thread */
    void *notice_opaque;
};

enum lathe_phase {
    LATHE_PHASE_PLANNING = 0, /* the source is read */
    LATHE_PHASE_MEASURING,    /* pilots */
    LATHE_PHASE_ENCODING,
    LATHE_PHASE_MERGING,
    LATHE_PHASE_ENDED,
};
const char *lathe_phase_name(enum lathe_phase phase); /* "planning", … */

/* Of the job that is worked on. Speed and the rest leave out what an earlier run had finished. */
struct lathe_agent_progress {
    enum lathe_phase phase;
    uint64_t frames_done, frames_total;
    uint32_t chunks_done, chunks_total, chunks_resumed;
    double fps;         /* 0 = not known yet */
    double speed;       /* seconds of the source per second; 0 = not known yet */
    double eta_seconds; /* negative = not known yet */
};

/* --- the memory of slots --- */
/* Address space for one of `slots` slots (0 counts as 1). */
uint64_t lathe_slot_memory_share(uint64_t usable_bytes, unsigned slots);
/* Puts the limit of later slots into the environment, unless the user has chosen it. `slots` 0: as
 * many as the agent takes. Before threads are started. -EINVAL with fault CONFIG. */
int lathe_slot_memory_set(unsigned slots, struct lathe_error *err);

/* Least of: processors, and memory at 0.6 GB a slot. At least 1. */
unsigned lathe_agent_default_slots(void);

int lathe_agent_open(const struct lathe_agent_options *options, struct lathe_agent **ret,
                     struct lathe_error *err);
void lathe_agent_close(struct lathe_agent *agent); /* NULL is allowed */

/* For steps that the caller does itself (submit, adopt, publish), and for its slots. */
struct lathe_flow *lathe_agent_flow(struct lathe_agent *agent);
unsigned lathe_agent_slots(const struct lathe_agent *agent);

const char *lathe_agent_name(const struct lathe_agent *agent); /* the owner of its leases */

/* What a daemon can be told while it runs; from any thread. */
void lathe_agent_set_drain_seconds(struct lathe_agent *agent, unsigned seconds);
void lathe_agent_set_quota(struct lathe_agent *agent, uint64_t bytes);
void lathe_agent_set_keep_hours(struct lathe_agent *agent, double hours);
void lathe_agent_probe_again(struct lathe_agent *agent); /* the GPUs */
/* Whether it takes work; else one line in `why`. */
bool lathe_agent_is_taking(struct lathe_agent *agent, char *why, size_t size);

/*
 * Works until job `job_id` has ended (NULL: until drained or cancelled). Once per agent. `tick`
 * (may be NULL) is called about ten times a second. 0 when the job is completed (its outputs are
 * published in the store), or the drain is over; -ECANCELED; else why it failed.
 */
int lathe_agent_run(struct lathe_agent *agent, const char *job_id, void (*tick)(void *opaque),
                    void *opaque, struct lathe_error *err);

void lathe_agent_get_progress(struct lathe_agent *agent, struct lathe_agent_progress *ret);
/* Whether chunk `index` was finished by an earlier run. */
bool lathe_agent_is_resumed(struct lathe_agent *agent, uint32_t index);
/* Attempts that failed and were tried again, one line each: a new array, or NULL (memory). */
json_t *lathe_agent_retries(struct lathe_agent *agent);
/* Chunks that left a GPU, or could not go there, so far (see flow.h): a new array, or NULL. */
json_t *lathe_agent_fallbacks(struct lathe_agent *agent);

/* Logs what a worker does, one line an event, with fields (lathe/log.h). Sets `begun` and `ended`.
 */
void lathe_agent_log_events(struct lathe_flow_sink *sink);

/* Looks up for the metrics what nobody counts: jobs that wait, devices, scratch space. For daemons;
 * stopped before the agent is closed. */
struct lathe_observer;
int lathe_observer_start(struct lathe_agent *agent, struct lathe_observer **ret,
                         struct lathe_error *err);
void lathe_observer_stop(struct lathe_observer *observer); /* NULL is allowed */

#endif
