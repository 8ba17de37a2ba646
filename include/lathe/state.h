/* SPDX-License-Identifier: MIT */
/*
 * State port: who may work on what, and what is finished.
 *
 * The one transition table that every driver implements is src/state/protocol.md; this header
 * gives the calls. The state never holds media, and it can be lost: open jobs are rebuilt from
 * the store.
 *
 * Rules that hold for every driver:
 *  - Every call is safe to repeat: a lost reply cannot be told from a lost request.
 *  - Leases are for efficiency. Correctness comes from "first complete wins" and from fences
 *    (numbers that only grow within a job), checked where something is committed.
 *  - A job's epoch grows with each retry of the whole job; a fence names its epoch in its upper
 *    32 bits, so completions of an earlier epoch are refused (-ESTALE).
 *  - Failures of a slot and deaths of a worker are counted apart (limits below).
 *
 * Threads: one lathe_state may be shared by several threads.
 */
#ifndef LATHE_STATE_H
#define LATHE_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "lathe/error.h"
#include "lathe/finding.h"
#include "lathe/job.h"

enum lathe_job_status {
    LATHE_JOB_QUEUED = 0,
    LATHE_JOB_SPLITTING,
    LATHE_JOB_TRANSCODING,
    LATHE_JOB_MERGING,
    LATHE_JOB_COMPLETED, /* terminal */
    LATHE_JOB_FAILED,    /* terminal */
    LATHE_JOB_CANCELLED, /* terminal */
};
const char *lathe_job_status_name(enum lathe_job_status status);

/* A unit is one claimable piece of a job. Numbered from 0 within the job, pilots first, then the
 * audio (if any), then the chunks; unit numbers are the claim order. */
enum lathe_unit_kind { LATHE_UNIT_PILOT = 0, LATHE_UNIT_AUDIO, LATHE_UNIT_CHUNK };
const char *lathe_unit_kind_name(enum lathe_unit_kind kind);

struct lathe_unit {
    enum lathe_unit_kind kind;
    uint32_t index;        /* within its kind */
    bool needs_pilots;     /* claimable only when every pilot is done */
    uint32_t needs_chunks; /* claimable only when chunks 0 … needs_chunks-1 are done */
    bool needs_object;     /* claimable only when stored() has named it; claims leave it out */
};

/* Outcome of claims and completions; never an error. */
enum lathe_verdict {
    LATHE_GRANTED = 0, /* the lease is yours; a fence was returned */
    LATHE_BUSY,        /* somebody holds a live lease; look again after ret_wait_ms */
    LATHE_WAIT,        /* its needs are not met yet */
    LATHE_DONE,        /* it is finished already: nothing to do */
    LATHE_GONE,        /* the job is unknown or ended: drop the work */
    LATHE_DUPLICATE,   /* complete(): somebody was first; your result is garbage */
    LATHE_RETRY,       /* attempt_failed(), reopen(), replan(): it is to be done again */
    LATHE_EXHAUSTED,   /* the same: limit reached, the job is failed now */
};

#define LATHE_LIMIT_SLOT_FAILURES 3  /* failures of a unit before its job fails */
#define LATHE_LIMIT_WORKER_DEATHS 10 /* leases of a unit that ran out before its job fails */
#define LATHE_LEASE_TTL_MS 30000     /* default lease; renewed at a third of it */

struct lathe_claim {
    char job_id[LATHE_ID_MAX + 1];
    uint32_t unit;  /* number within the job */
    uint64_t fence; /* epoch << 32 | counter */
    struct lathe_unit what;
    uint32_t attempt; /* 1 for the first */
};

/* One finished unit: what merge_claim returns. */
struct lathe_done {
    uint32_t unit;
    struct lathe_unit what;
    uint64_t fence;
    char *result; /* the JSON given to complete() */
};

struct lathe_job_view {
    char id[LATHE_ID_MAX + 1];
    enum lathe_job_status status;
    int priority;
    uint32_t epoch;
    uint32_t total_chunks, completed_chunks; /* for people; nothing is decided from them */
    uint32_t total_units, completed_units;
    uint32_t unstored_units;                     /* wait for stored(): the split has not ended */
    int64_t created_us, updated_us, finished_us; /* wall clock; 0 = not yet */
    char *error;                                 /* why it failed, or NULL */
    char *record;                                /* the JSON given to create() */
    char *result;                                /* the JSON given to merge_commit(), or NULL */
    char *replan;                                /* the reason given to replan(), or NULL */
};
void lathe_job_view_clear(struct lathe_job_view *view);
void lathe_job_views_free(struct lathe_job_view *list, size_t count);
void lathe_done_free(struct lathe_done *list, size_t count);

/* --- what people are shown; no worker decides anything from it --- */

enum lathe_job_filter { LATHE_JOBS_ALL = 0, LATHE_JOBS_OPEN, LATHE_JOBS_ENDED };

enum lathe_unit_state {
    LATHE_UNIT_IS_BLOCKED = 0, /* its needs are not met */
    LATHE_UNIT_IS_OPEN,
    LATHE_UNIT_IS_LEASED, /* also when the lease has run out and nobody else has taken it yet */
    LATHE_UNIT_IS_DONE,
    LATHE_UNIT_IS_CLOSED, /* not done, and the job ended */
};
const char *lathe_unit_state_name(enum lathe_unit_state state); /* "blocked", "open", … */

struct lathe_unit_view {
    uint32_t unit;          /* LATHE_UNIT_SPLIT and LATHE_UNIT_MERGE too */
    struct lathe_unit what; /* of a unit; needs_object: as long as it waits for it */
    enum lathe_unit_state state;
    uint32_t failures, deaths; /* in this epoch */
    char *owner;               /* of the lease; NULL: nobody works on it */
    int64_t leased_us;         /* wall clock: since when */
    int64_t lease_left_ms;     /* 0 or less: it has run out */
    char *error;               /* why the last attempt came to nothing; NULL: none did */
    char *result;              /* of a unit that is done, else NULL */
};
void lathe_unit_views_free(struct lathe_unit_view *list, size_t count);
/* "chunk 7", "the split". */
void lathe_unit_describe(uint32_t unit, const struct lathe_unit *what, char *ret, size_t size);

/* A worker that beats. `record` is an object; readers take no member for granted: "pid", "version",
 * "started_us", "slots", "devices": [{"name", "family"}], "work": [{"job_id", "unit"}]. */
struct lathe_worker_view {
    char *name; /* the owner of its leases */
    char *host;
    char *record;
    bool drain;          /* it was asked to take nothing new */
    int64_t seen_us;     /* wall clock: its last beat */
    int64_t ttl_left_ms; /* until it counts as gone */
};
void lathe_worker_views_free(struct lathe_worker_view *list, size_t count);

struct lathe_state;
struct lathe_patience;

/* Which of the jobs of the highest priority comes first. Were it always the oldest, a job of three
 * chunks would wait for one of ten thousand that was there before it. */
enum lathe_claim_order { LATHE_OLDEST_FIRST, LATHE_YOUNGEST_FIRST };

#define LATHE_CLAIM_EXCEPT_MAX 256u

/* What a worker wants next; zero: whatever comes first. */
struct lathe_claim_wish {
    const char *job_id; /* of this job; NULL: of any */
    enum lathe_claim_order order;
    /* Of any job but these, which the worker cannot serve. Ignored where a job is named. */
    const char *const *except;
    size_t n_except;
};

/* A driver provides all of these ("must") unless marked. Arguments were validated by the front. */
struct lathe_state_driver {
    const char *name; /* "sqlite", "redis" */
    size_t priv_size;
    bool is_of_one_host; /* no other host has workers that share it */

    int (*open)(void *priv, const char *location, struct lathe_error *err);
    void (*close)(void *priv);

    /* Registers an accepted job; a second create() of the same id changes nothing. */
    int (*create)(void *priv, const char *job_id, int priority, const char *record,
                  struct lathe_error *err);
    /* May provide (only a driver whose jobs others can see and make): how many chunks a foreign
     * producer says that a job has, of which Lathe knows nothing; 0 when it does not say yet.
     * -ENOENT: nobody knows it, or it is Lathe's. Absent: -ENOENT. */
    int (*announced)(void *priv, const char *job_id, uint32_t *ret, struct lathe_error *err);
    /* Lease on the split. GRANTED, BUSY, DONE (already planned), GONE. */
    int (*claim_split)(void *priv, const char *job_id, const char *owner, int ttl_ms,
                       enum lathe_verdict *ret, uint64_t *ret_fence, int *ret_wait_ms,
                       struct lathe_error *err);
    /* Publishes the units; from here chunks can be claimed. GRANTED (stored), DONE (there already),
     * GONE; -ESTALE when `fence` is not the current split's. The split is done with it, unless
     * units need an object: then its lease goes on. */
    int (*set_units)(void *priv, const char *job_id, uint64_t fence, const struct lathe_unit *units,
                     uint32_t count, enum lathe_verdict *ret, struct lathe_error *err);
    /* The split has stored what these units (ascending) read. GRANTED; DONE when no unit waits for
     * its object any more (then the split is done, and its lease over; also the repeat); GONE;
     * -ESTALE when `fence` is not the current split's; -ENOENT before set_units(). */
    int (*stored)(void *priv, const char *job_id, uint64_t fence, const uint32_t *units,
                  uint32_t count, enum lathe_verdict *ret, struct lathe_error *err);
    /* Lease on one named unit. GONE also for a number that the plan does not have. */
    int (*claim)(void *priv, const char *job_id, uint32_t unit, const char *owner, int ttl_ms,
                 enum lathe_verdict *ret, struct lathe_claim *ret_claim, int *ret_wait_ms,
                 struct lathe_error *err);
    /* Lease on the next open unit that is wished for: higher priority first, then by its order
     * among the jobs of that priority, then lower unit. GRANTED, or WAIT when nothing is claimable
     * now. */
    int (*claim_next)(void *priv, const struct lathe_claim_wish *wish, const char *owner,
                      int ttl_ms, enum lathe_verdict *ret, struct lathe_claim *ret_claim,
                      struct lathe_error *err);
    /* Extends a lease (a unit's, or the split's / merge's with unit = LATHE_UNIT_SPLIT / _MERGE).
     * GRANTED, or GONE when it is no longer yours. */
    int (*renew)(void *priv, const char *job_id, uint32_t unit, uint64_t fence, int ttl_ms,
                 enum lathe_verdict *ret, struct lathe_error *err);
    /* First valid result wins, whether or not the lease still lives. DONE (stored; also the repeat
     * of the winner), DUPLICATE, GONE; -ESTALE when the fence is of another epoch. */
    int (*complete)(void *priv, const char *job_id, uint32_t unit, uint64_t fence,
                    const char *result, enum lathe_verdict *ret, struct lathe_error *err);
    /* Counts a failed attempt; permanent = no retry can help. RETRY, EXHAUSTED, DUPLICATE (the unit
     * is done or the lease is not yours any more), GONE. Also for split and merge. */
    int (*attempt_failed)(void *priv, const char *job_id, uint32_t unit, uint64_t fence,
                          bool permanent, const char *reason, enum lathe_verdict *ret,
                          struct lathe_error *err);
    /* Hands a lease back without counting (drain, Ctrl-C). A lease not yours is success. */
    int (*release)(void *priv, const char *job_id, uint32_t unit, uint64_t fence,
                   struct lathe_error *err);
    /* When every unit is done: lease on the merge, with the manifest from the same transaction.
     * GRANTED, WAIT (incomplete), BUSY, DONE, GONE. The caller frees *ret_done. */
    int (*merge_claim)(void *priv, const char *job_id, const char *owner, int ttl_ms,
                       enum lathe_verdict *ret, uint64_t *ret_fence, struct lathe_done **ret_done,
                       size_t *ret_count, int *ret_wait_ms, struct lathe_error *err);
    /* The single commit point: DONE (committed; also the repeat of the winner), DUPLICATE (another
     * merge was committed before), GONE;
     * -ESTALE when the fence is not the current merge's. */
    int (*merge_commit)(void *priv, const char *job_id, uint64_t fence, const char *result,
                        enum lathe_verdict *ret, struct lathe_error *err);
    /* The merge found the results of these units (ascending) unusable: they are open again, each
     * with one failure more, and the merge's lease is over. RETRY; EXHAUSTED (a unit reached the
     * limit: the job is failed now); DUPLICATE (`fence` is not the merge's lease); GONE. */
    int (*reopen)(void *priv, const char *job_id, uint64_t fence, const uint32_t *units,
                  uint32_t count, const char *reason, enum lathe_verdict *ret,
                  struct lathe_error *err);
    /* The plan itself is unusable: the job begins again with its split, in a new epoch, without
     * any result, and its view says why. Once only. `fence` is that of the merge's or the split's
     * lease. RETRY; EXHAUSTED (replanned before: the job is failed now); DUPLICATE; GONE. */
    int (*replan)(void *priv, const char *job_id, uint64_t fence, const char *reason,
                  enum lathe_verdict *ret, struct lathe_error *err);
    /* Ends a job as failed or cancelled. An ended job is left as it is (GONE), else DONE. */
    int (*finish)(void *priv, const char *job_id, enum lathe_job_status status, const char *reason,
                  enum lathe_verdict *ret, struct lathe_error *err);
    /* Opens a job that has not completed in a new epoch, `seen_epoch` + 1; nothing happens when its
     * epoch is larger than `seen_epoch` already (so a repeat changes nothing). Counts and leases
     * are forgotten. `keep_results`: done units stay done, if units were published; otherwise the
     * job begins with its split. GRANTED, DONE (completed, or retried before), GONE (unknown). */
    int (*retry)(void *priv, const char *job_id, uint32_t seen_epoch, bool keep_results,
                 enum lathe_verdict *ret, struct lathe_error *err);
    /* Results of the done units (any kind) with first <= number < end, in unit order. -ENOENT when
     * the job is unknown. The caller frees. The cost must not depend on units outside the range. */
    int (*results)(void *priv, const char *job_id, uint32_t first, uint32_t end,
                   struct lathe_done **ret_done, size_t *ret_count, struct lathe_error *err);
    /* -ENOENT when unknown. The caller clears. */
    int (*get)(void *priv, const char *job_id, struct lathe_job_view *ret, struct lathe_error *err);
    /* Ids of the jobs that have not ended, most urgent first. The caller frees each and the array.
     */
    int (*list_open)(void *priv, char ***ret_ids, size_t *ret_count, struct lathe_error *err);
    /* Forgets a job. Unknown is success. */
    int (*remove)(void *priv, const char *job_id, struct lathe_error *err);

    /* At most `limit` jobs of the filter, the youngest first, without their results. `cursor` 0:
     * from the youngest on; *ret_cursor continues the list, or is 0 when that was all. A page may
     * be short. The caller frees with lathe_job_views_free(). */
    int (*list)(void *priv, enum lathe_job_filter filter, uint64_t cursor, uint32_t limit,
                struct lathe_job_view **ret, size_t *ret_count, uint64_t *ret_cursor,
                struct lathe_error *err);
    /* The units with first <= number < end, in order; with `end` LATHE_UNITS_MAX the split and the
     * merge come last. -ENOENT when the job is unknown. The cost must not depend on units outside
     * the range. */
    int (*units)(void *priv, const char *job_id, uint32_t first, uint32_t end,
                 struct lathe_unit_view **ret, size_t *ret_count, struct lathe_error *err);
    /* A worker says that it lives, for `ttl_ms` more; *ret_drain: it is to finish what
     * it has and to take nothing new, until it is started again. */
    int (*beat)(void *priv, const char *worker, const char *host, const char *record, int ttl_ms,
                bool *ret_drain, struct lathe_error *err);
    /* It ends. Unknown is success. */
    int (*leave)(void *priv, const char *worker, struct lathe_error *err);
    /* Workers whose time has not run out, in no order. */
    int (*workers)(void *priv, struct lathe_worker_view **ret, size_t *ret_count,
                   struct lathe_error *err);
    /* Asks the workers that live now and have this name or host; *ret_count says how many. Those
     * that start later are not asked. */
    int (*drain)(void *priv, const char *host, uint32_t *ret_count, struct lathe_error *err);

    /* Looks its server over. Whether it can be opened at all is the front's to say. */
    void (*check)(void *priv, const struct lathe_check *check, struct lathe_findings *ret);
};

#define LATHE_UNIT_SPLIT UINT32_MAX
#define LATHE_UNIT_MERGE (UINT32_MAX - 1)
#define LATHE_UNITS_MAX 1000000u /* units of one job */

/* The front: the same calls with a handle first. */
int lathe_state_open(const char *driver, const char *location, struct lathe_state **ret,
                     struct lathe_error *err);
void lathe_state_close(struct lathe_state *state); /* NULL is allowed */
/* For all calls from here on; before other threads use the handle. See port.h. */
void lathe_state_set_patience(struct lathe_state *st, const struct lathe_patience *patience);
int lathe_state_create(struct lathe_state *st, const char *job_id, int priority, const char *record,
                       struct lathe_error *err);
int lathe_state_announced(struct lathe_state *st, const char *job_id, uint32_t *ret,
                          struct lathe_error *err);
int lathe_state_claim_split(struct lathe_state *st, const char *job_id, const char *owner,
                            int ttl_ms, enum lathe_verdict *ret, uint64_t *ret_fence,
                            int *ret_wait_ms, struct lathe_error *err);
int lathe_state_set_units(struct lathe_state *st, const char *job_id, uint64_t fence,
                          const struct lathe_unit *units, uint32_t count, enum lathe_verdict *ret,
                          struct lathe_error *err);
int lathe_state_stored(struct lathe_state *st, const char *job_id, uint64_t fence,
                       const uint32_t *units, uint32_t count, enum lathe_verdict *ret,
                       struct lathe_error *err);
int lathe_state_claim(struct lathe_state *st, const char *job_id, uint32_t unit, const char *owner,
                      int ttl_ms, enum lathe_verdict *ret, struct lathe_claim *ret_claim,
                      int *ret_wait_ms, struct lathe_error *err);
bool lathe_state_is_of_one_host(const struct lathe_state *st); /* the driver's; see there */
int lathe_state_claim_next(struct lathe_state *st, const struct lathe_claim_wish *wish,
                           const char *owner, int ttl_ms, enum lathe_verdict *ret,
                           struct lathe_claim *ret_claim, struct lathe_error *err);
int lathe_state_renew(struct lathe_state *st, const char *job_id, uint32_t unit, uint64_t fence,
                      int ttl_ms, enum lathe_verdict *ret, struct lathe_error *err);
int lathe_state_complete(struct lathe_state *st, const char *job_id, uint32_t unit, uint64_t fence,
                         const char *result, enum lathe_verdict *ret, struct lathe_error *err);
int lathe_state_attempt_failed(struct lathe_state *st, const char *job_id, uint32_t unit,
                               uint64_t fence, bool permanent, const char *reason,
                               enum lathe_verdict *ret, struct lathe_error *err);
int lathe_state_release(struct lathe_state *st, const char *job_id, uint32_t unit, uint64_t fence,
                        struct lathe_error *err);
int lathe_state_merge_claim(struct lathe_state *st, const char *job_id, const char *owner,
                            int ttl_ms, enum lathe_verdict *ret, uint64_t *ret_fence,
                            struct lathe_done **ret_done, size_t *ret_count, int *ret_wait_ms,
                            struct lathe_error *err);
int lathe_state_merge_commit(struct lathe_state *st, const char *job_id, uint64_t fence,
                             const char *result, enum lathe_verdict *ret, struct lathe_error *err);
int lathe_state_reopen(struct lathe_state *st, const char *job_id, uint64_t fence,
                       const uint32_t *units, uint32_t count, const char *reason,
                       enum lathe_verdict *ret, struct lathe_error *err);
int lathe_state_replan(struct lathe_state *st, const char *job_id, uint64_t fence,
                       const char *reason, enum lathe_verdict *ret, struct lathe_error *err);
int lathe_state_finish(struct lathe_state *st, const char *job_id, enum lathe_job_status status,
                       const char *reason, enum lathe_verdict *ret, struct lathe_error *err);
int lathe_state_retry(struct lathe_state *st, const char *job_id, uint32_t seen_epoch,
                      bool keep_results, enum lathe_verdict *ret, struct lathe_error *err);
/* All results: 0, LATHE_UNITS_MAX. */
int lathe_state_results(struct lathe_state *st, const char *job_id, uint32_t first, uint32_t end,
                        struct lathe_done **ret_done, size_t *ret_count, struct lathe_error *err);
int lathe_state_get(struct lathe_state *st, const char *job_id, struct lathe_job_view *ret,
                    struct lathe_error *err);
int lathe_state_list_open(struct lathe_state *st, char ***ret_ids, size_t *ret_count,
                          struct lathe_error *err);
int lathe_state_remove(struct lathe_state *st, const char *job_id, struct lathe_error *err);
/* `limit`: 1 … LATHE_LIST_MAX. */
#define LATHE_LIST_MAX 1000u
int lathe_state_list(struct lathe_state *st, enum lathe_job_filter filter, uint64_t cursor,
                     uint32_t limit, struct lathe_job_view **ret, size_t *ret_count,
                     uint64_t *ret_cursor, struct lathe_error *err);
int lathe_state_units(struct lathe_state *st, const char *job_id, uint32_t first, uint32_t end,
                      struct lathe_unit_view **ret, size_t *ret_count, struct lathe_error *err);
int lathe_state_beat(struct lathe_state *st, const char *worker, const char *host,
                     const char *record, int ttl_ms, bool *ret_drain, struct lathe_error *err);
int lathe_state_leave(struct lathe_state *st, const char *worker, struct lathe_error *err);
int lathe_state_workers(struct lathe_state *st, struct lathe_worker_view **ret, size_t *ret_count,
                        struct lathe_error *err);
int lathe_state_drain(struct lathe_state *st, const char *host, uint32_t *ret_count,
                      struct lathe_error *err);
/* For people: what is wrong with it, and what cures that. Adds at least one finding,
 * "state.reachable". */
void lathe_state_check(const char *driver, const char *location, const struct lathe_check *check,
                       struct lathe_findings *ret);

#endif
