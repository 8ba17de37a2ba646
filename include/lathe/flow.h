/* SPDX-License-Identifier: MIT */
/*
 * The life of a job, one function a step, over nothing but the ports and the slot pool. The same
 * steps run in `lathe run` and in a fleet.
 *
 * A step that fails on its media is no error of the function: it is counted in the state (which
 * bounds retries and fails the job), told to the sink, and 1 is returned. Negative answers mean
 * that the step could not be carried through at all: a port failed, or -ECANCELED, with the lease
 * given back. Every step may be repeated, at any time, by anybody. Threads: one flow may be shared;
 * its members do not change while steps run. The sink is called on the thread of the step (merges
 * of several renditions: on several threads).
 */
#ifndef LATHE_FLOW_H
#define LATHE_FLOW_H

#include <jansson.h>
#include <stdbool.h>

#include "lathe/cancel.h"
#include "lathe/job.h"
#include "lathe/ladder.h"
#include "lathe/placement.h"
#include "lathe/plan.h"
#include "lathe/pool.h"
#include "lathe/queue.h"
#include "lathe/state.h"
#include "lathe/store.h"

struct lathe_leases;
struct lathe_samples;

enum lathe_task {
    LATHE_TASK_SPLIT = 0,
    LATHE_TASK_PILOT,
    LATHE_TASK_AUDIO,
    LATHE_TASK_CHUNK,
    LATHE_TASK_MERGE
};
const char *lathe_task_name(enum lathe_task task); /* "split", "pilot", … */

/* One lease's worth of work, as people and logs know it. */
struct lathe_flow_work {
    const char *job_id;
    uint32_t unit; /* or LATHE_UNIT_SPLIT, LATHE_UNIT_MERGE */
    enum lathe_task task;
    uint32_t index;   /* of pilot or chunk */
    uint32_t attempt; /* 1 for the first; 0 where nobody counts */
    int64_t began_us; /* lathe_clock_monotonic_us() */
};

/* What somebody who watches a job is told; each may be NULL. `unit` may be LATHE_UNIT_SPLIT or
 * LATHE_UNIT_MERGE. */
struct lathe_flow_sink {
    void *opaque;
    void (*planned)(void *opaque, const char *job_id, const struct lathe_plan *plan);
    void (*started)(void *opaque, const char *job_id, uint32_t unit);
    void (*progress)(void *opaque, const char *job_id, uint32_t unit,
                     const struct lathe_progress *progress);
    void (*done)(void *opaque, const char *job_id, uint32_t unit);
    /* What was done before turned out to be unusable. */
    void (*reopened)(void *opaque, const char *job_id, uint32_t unit);
    /* `verdict`: LATHE_RETRY, LATHE_EXHAUSTED (the job is failed now), or who was first. */
    void (*failed)(void *opaque, const char *job_id, uint32_t unit, const struct lathe_error *why,
                   enum lathe_verdict verdict);
    /* A chunk's attempt on a GPU failed, or a GPU was passed over. `fallback` is the callee's to
     * read only: {"chunk", "rendition", "from": {"step", "encoder", "device"}, "to": {…},
     * "verdict", "reason"}. */
    void (*fell_back)(void *opaque, const char *job_id, uint32_t unit, const json_t *fallback);
    /* The same events once more, for who knows no plan. `why` NULL: it is done, with `result` (NULL
     * for a split); else it failed, with `verdict` as above. Work that was handed back, or that
     * somebody else had finished first, only begins. */
    void (*begun)(void *opaque, const struct lathe_flow_work *work);
    /* The slot of this thread's chunk is done; what follows only moves files. */
    void (*encoded)(void *opaque);
    void (*ended)(void *opaque, const struct lathe_flow_work *work, const json_t *result,
                  const struct lathe_error *why, enum lathe_verdict verdict);
};

/* Whether units read the packets that are cut for them, or the source. */
enum lathe_chunks {
    LATHE_CHUNKS_AUTO = 0, /* packets, where objects of the store are no files */
    LATHE_CHUNKS_VIRTUAL,  /* the source */
    LATHE_CHUNKS_OBJECTS
};
/* "auto" (also NULL and ""), "virtual", "objects"; else -EINVAL. */
int lathe_chunks_from_name(const char *name, enum lathe_chunks *ret);

struct lathe_flow {
    struct lathe_queue *queue;
    struct lathe_state *state;
    struct lathe_store *store;
    struct lathe_pool *pool;
    struct lathe_placement *placement;
    struct lathe_leases *leases; /* renews what steps hold */
    struct lathe_samples *samples;
    const char *scratch_dir;        /* exists; best on the store's file system */
    const char *owner;              /* of leases */
    struct lathe_cancel *cancel;    /* may be NULL */
    const struct lathe_flow *whole; /* of the copy that a step works with; else NULL */
    int lease_ttl_ms;
    int merge_parallel; /* renditions joined at once, at least 1 */
    enum lathe_chunks chunks;
    bool keep_intermediates;
    bool only_host; /* nobody else could have more room: a full disk ends the job */
    struct lathe_flow_sink sink;
};

/* A thread that renews registered leases at a third of their life. `stop` (may be NULL) is fired
 * when a lease is over because its job was cancelled, has failed or is not known any more. */
int lathe_leases_create(struct lathe_state *state, int ttl_ms, struct lathe_leases **ret,
                        struct lathe_error *err);
void lathe_leases_destroy(struct lathe_leases *leases); /* NULL is allowed */
int lathe_leases_add(struct lathe_leases *leases, const char *job_id, uint32_t unit, uint64_t fence,
                     struct lathe_cancel *stop);
void lathe_leases_remove(struct lathe_leases *leases, const char *job_id, uint32_t unit,
                         uint64_t fence);

/* What is held now: [{"job_id", "unit"}…], or NULL (memory). */
json_t *lathe_leases_list(struct lathe_leases *leases);

/* The memory of what chunks of recent jobs were encoded with, so that each result is read once. */
int lathe_samples_create(struct lathe_samples **ret, struct lathe_error *err);
void lathe_samples_destroy(struct lathe_samples *samples); /* NULL is allowed */

/* What the ladder is asked for a job with this plan. The result points into both. */
void lathe_flow_ladder_request(const struct lathe_plan *plan, const struct lathe_job *job,
                               struct lathe_ladder_request *ret);

/* Stores the job's record, registers it and rings the bell. `job` was validated. */
int lathe_flow_submit(struct lathe_flow *flow, const struct lathe_job *job,
                      struct lathe_error *err);
/* A record of a foreign producer (job.h): 1 when its job is known, or was made now; 0 when the
 * producer is not ready yet, to be asked again later; -ENOENT when neither the state nor a producer
 * knows the job; else a port's error, or why the record can never be served. The id is "" when it
 * could not be read. */
int lathe_flow_accept_foreign(struct lathe_flow *flow, const json_t *record,
                              char ret_job_id[LATHE_ID_MAX + 1], struct lathe_error *err);
/* The steps: 1 when something was done (or counted as failed), 0 when there was nothing to do. */
int lathe_flow_split(struct lathe_flow *flow, const char *job_id, struct lathe_error *err);
/* Then merges, when it was the last one. LATHE_FLOW_OPEN: the attempt failed, the unit is not done.
 */
#define LATHE_FLOW_OPEN 2
int lathe_flow_unit(struct lathe_flow *flow, const struct lathe_claim *claim,
                    struct lathe_error *err);
int lathe_flow_merge(struct lathe_flow *flow, const char *job_id, struct lathe_error *err);
/* Whatever open jobs (or `job_id`, not NULL) need that no claim of a unit would bring: a split, a
 * merge, whose worker failed or died. */
int lathe_flow_sweep(struct lathe_flow *flow, const char *job_id, struct lathe_error *err);
/* The state does not know the job: it is made again from its record in the store. *ret_is_open: it
 * has not ended, and is in the state now, as a job that waits for its split; else the store does
 * not know it either, or it has ended. */
int lathe_flow_rebuild(struct lathe_flow *flow, const char *job_id, bool *ret_is_open,
                       struct lathe_error *err);
/* All open jobs of the store that the state does not know, with a bell for each. Returns how many.
 */
int lathe_flow_rebuild_all(struct lathe_flow *flow, struct lathe_error *err);
/* After the commit: moves the results to their final names, then removes intermediates. */
int lathe_flow_publish(struct lathe_flow *flow, const char *job_id, struct lathe_error *err);
/* --- what people do to a job; of the flow only the ports and the scratch folder are used --- */

/* Workers hear of it at their next renewal; all of the job but its source leaves the store. A
 * cancelled job is cancelled again. -ENOENT; -EALREADY: it ended otherwise. */
int lathe_flow_cancel(struct lathe_flow *flow, const char *job_id, const char *reason,
                      struct lathe_error *err);
/* A failed or cancelled job begins again; a failed one keeps what is done, unless `from_start`.
 * -ENOENT; -EALREADY: it is complete; -EBUSY: it has not ended. */
int lathe_flow_retry(struct lathe_flow *flow, const char *job_id, bool from_start,
                     struct lathe_error *err);
/* Removes an ended job with its results, and its source where that is called after it
 * (raw/{job}.*). -ENOENT; -EBUSY: it has not ended. */
int lathe_flow_forget(struct lathe_flow *flow, const char *job_id, struct lathe_error *err);

/* Gives a job that was just planned the finished units of an earlier life, where their objects are
 * still whole. Returns how many were taken over. */
int lathe_flow_adopt(struct lathe_flow *flow, const char *job_id, const struct lathe_done *done,
                     size_t count, struct lathe_error *err);

#endif
