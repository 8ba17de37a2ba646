/* SPDX-License-Identifier: MIT */
/*
 * The agent as its files share it. Threads: those of slots (slots.c), one that renews leases, one
 * that looks after GPUs; a daemon has one more that answers bells (bells.c) and one for what is due
 * from time to time (upkeep.c).
 */
#ifndef LATHE_AGENT_PARTS_H
#define LATHE_AGENT_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "hardware.h"
#include "lathe/agent.h"
#include "lathe/base.h"
#include "lathe/port.h"
#include "tracker.h"

#define WANTED_MAX 64 /* jobs whose state is lost, noted to be rebuilt */

/* One server that may be away, and since when. */
struct lathe_outage {
    struct lathe_agent *agent;
    const char *name; /* "queue" */
    pthread_mutex_t lock;
    int64_t since_us, said_us; /* 0 = it answers */
    int64_t ended_us;          /* the last one; 0 = there was none */
};

/* The right of a thread to keep a slot busy; it is on the thread's stack, so to speak. */
struct lathe_turn {
    int64_t since_us;
    bool waits;                /* claimed ahead: no slot was free */
    int64_t first_us, seen_us; /* of the first and the newest word of its frames; 0 = none yet */
    uint64_t first_frames, frames; /* which they said */
    struct lathe_turn *next;
};

struct lathe_turns { /* guarded by the agent's lock */
    struct lathe_turn *taken;
    unsigned count, limit;
    /* Of chunks, lately; 0 = not known. */
    double average_frames, average_begin_us; /* from the claim to the first word of frames */
};

/* A job that this worker cannot serve; forgotten only to make room for another, so that it is told
 * once. */
struct lathe_left_job {
    char job_id[LATHE_ID_MAX + 1];
    unsigned times;   /* that it was found so, within bounds */
    int64_t until_us; /* monotonic: passed over until then */
};

struct lathe_agent {
    struct lathe_flow flow;
    struct lathe_agent_options options; /* texts in it belong to the caller */
    struct lathe_tracker *tracker;
    struct lathe_agent_hardware *hardware; /* NULL: no GPUs are used */
    struct lathe_cancel *stop;             /* what running slots obey */
    char *scratch_dir;
    char owner[128];
    unsigned slots;
    char job_id[LATHE_ID_MAX + 1]; /* "" = any job */
    int wake_fd;

    /* of a daemon */
    struct lathe_outage outages[3]; /* queue, state, store */
    pthread_t bells, upkeep;
    bool has_bells, has_upkeep;
    atomic_int_least64_t drain_us;       /* how long a drain may take */
    atomic_int_least64_t keep_us;        /* how long ended jobs are listed */
    atomic_int_least64_t next_sweep_us;  /* monotonic */
    atomic_uint n_taken;                 /* units, from whichever job came first */
    atomic_bool is_sweeper;              /* the one of the fleet that looks after lost steps */
    atomic_bool is_paused;               /* the fleet asked this host to take nothing */
    atomic_uint_least64_t quota_bytes;   /* 0 = by free space */
    atomic_uint_least64_t scratch_bytes; /* as last measured */
    atomic_bool has_room;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t generation; /* counts finished work, so that a sleeper misses none */
    int64_t changed_us;  /* when it was last counted */
    bool has_scout;      /* see slots.c */
    bool ended, is_draining;
    unsigned n_alive; /* threads of slots */
    struct lathe_turns turns;
    struct lathe_error error; /* a port failed */
    struct lathe_left_job left[LATHE_CLAIM_EXCEPT_MAX];
    unsigned n_left;
    char wanted[WANTED_MAX][LATHE_ID_MAX + 1];
    unsigned n_wanted;
};

/* --- agent.c --- */
/* Something happened that a sleeping slot may want to know. */
void lathe_agent_announce(struct lathe_agent *agent);
/* Ends the run for all threads; `error` NULL: in peace. */
void lathe_agent_end(struct lathe_agent *agent, const struct lathe_error *error);
/* Tells whoever runs the daemon; a line. */
void lathe_agent_notice(struct lathe_agent *agent, enum lathe_log_level level, const char *format,
                        ...) __attribute__((format(printf, 3, 4)));

/* --- outage.c --- */
int lathe_outages_init(struct lathe_agent *agent, struct lathe_error *err);
void lathe_outages_clear(struct lathe_agent *agent);
/* A port cannot be opened for the reason given: waits, and says whether to try again. */
bool lathe_outage_wait_at_start(struct lathe_agent *agent, unsigned port, unsigned *tries,
                                const struct lathe_error *why);
/* Whether all answer, and have done so long enough for what was finished meanwhile to be delivered.
 */
bool lathe_outages_are_over(struct lathe_agent *agent);
/* Sets the patience of the ports that are open. */
void lathe_outages_be_patient(struct lathe_agent *agent);

/* --- turns.c --- */
/* How many slots there are to be kept busy. */
void lathe_turns_set_limit(struct lathe_agent *agent, unsigned limit);
/* Whether this thread may look for work now; if so it gives its turn back afterwards, unless its
 * chunk's end has done that. */
bool lathe_turn_take(struct lathe_agent *agent);
void lathe_turn_give(struct lathe_agent *agent);
/* Whether moving files takes long enough here for threads of its own. */
bool lathe_turns_overlap(const struct lathe_agent *agent);
void lathe_turns_fill_sink(struct lathe_agent *agent);

/* --- left_jobs.c --- */
/* Whether a unit came back because this worker cannot serve its job, and another one may. */
bool lathe_is_for_others(const struct lathe_agent *agent, int code);
/* The job is passed over for a while; the reason is told the first time. False when too many are
 * already: what comes next may be the same job again. */
bool lathe_left_jobs_add(struct lathe_agent *agent, const char *job_id,
                         const struct lathe_error *why);
/* Copies the ids of those that are passed over now; returns how many. */
unsigned lathe_left_jobs_list(struct lathe_agent *agent,
                              char ret[LATHE_CLAIM_EXCEPT_MAX][LATHE_ID_MAX + 1]);

/* --- step.c --- */
/* One piece of work: 1 when something was done, 0 when there is nothing to do now. */
int lathe_agent_step(struct lathe_agent *agent, struct lathe_error *err);

/* --- bells.c --- */
int lathe_bells_start(struct lathe_agent *agent, struct lathe_error *err);
void lathe_bells_stop(struct lathe_agent *agent);
/* "job_id" and (when not NULL) "unit" of a bell; false for one that nobody could ever serve. */
bool lathe_bell_read(const struct lathe_message *message, char job_id[LATHE_ID_MAX + 1],
                     uint32_t *ret_unit);

/* --- sweeper.c --- */
/* Whether the worker of this name and version sweeps: the first name among those of the newest
 * version, since older ones leave alone what they cannot read. `workers` as the state lists them,
 * with or without this one. */
bool lathe_sweeper_is(const struct lathe_worker_view *workers, size_t count, const char *name,
                      const char *version);

/* --- upkeep.c --- */
int lathe_upkeep_start(struct lathe_agent *agent, struct lathe_error *err);
void lathe_upkeep_stop(struct lathe_agent *agent);

/* --- leftovers.c --- */
/* Removes the scratch folders of jobs that have ended. */
void lathe_leftovers_remove(struct lathe_agent *agent);

/* --- old_jobs.c --- */
/* Forgets jobs that ended long ago, from time to time; *due_us is the caller's, 0 at first. */
int lathe_old_jobs_forget(struct lathe_agent *agent, int64_t *due_us, struct lathe_error *err);

/* --- room.c --- */
/* Measures the scratch folder and decides whether more work fits. */
void lathe_room_measure(struct lathe_agent *agent);

#endif
