/* SPDX-License-Identifier: MIT */
/*
 * What the files of the SQLite state share: numbers of statements, the row of a job and of a unit,
 * and the few transitions that several calls end in. All functions run inside a transaction.
 */
#ifndef LATHE_SQLITE_STATE_H
#define LATHE_SQLITE_STATE_H

#include "db.h"
#include "lathe/state.h"

/* State of a row of `units`. The numbers are in the file and in the partial indexes. */
enum unit_state {
    UNIT_BLOCKED = 0, /* needs unmet */
    UNIT_OPEN = 1,
    UNIT_LEASED = 2,
    UNIT_DONE = 3,
    UNIT_CLOSED = 4, /* not done, and the job ended */
};

/* Kinds beyond those of enum lathe_unit_kind: leased like units, not counted as units. */
enum { KIND_SPLIT = 3, KIND_MERGE = 4 };

enum statement {
    S_CREATE_JOB,
    S_INSERT_UNIT,
    S_GET_JOB,
    S_GET_JOB_ID,
    S_GET_UNIT,
    S_NEXT_OPEN,
    S_NEXT_OPEN_OF_JOB,
    S_NEXT_EXPIRED,
    S_NEXT_EXPIRED_OF_JOB,
    S_YOUNGEST_OPEN,
    S_YOUNGEST_EXPIRED,
    S_SET_STATUS,
    S_PUBLISH_UNITS,
    S_UNBLOCK,
    S_STORED,
    S_IS_UNSTORED,
    S_COUNT_UP,
    S_LEASE,
    S_RENEW,
    S_OPEN_UNIT,
    S_NOTE_ERROR,
    S_COMPLETE_UNIT,
    S_ADVANCE,
    S_CHUNK_IS_DONE,
    S_IS_INCOMPLETE,
    S_RESULTS,
    S_REOPEN_DONE,
    S_STEP_BACK,
    S_REPLAN,
    S_END_JOB,
    S_CLOSE_UNITS,
    S_RETRY_JOB,
    S_RESET_COUNTS,
    S_REOPEN_UNITS,
    S_DELETE_UNITS,
    S_DELETE_JOB,
    S_VIEW,
    S_STALE,
    S_LIST_OPEN,
    S_LIST_ALL,
    S_LIST_OPEN_BY_AGE,
    S_LIST_ENDED,
    S_UNIT_VIEWS,
    S_BEAT,
    S_IS_DRAINING,
    S_LEAVE,
    S_BURY,
    S_WORKERS,
    S_DRAIN,
    S_COUNT,
};

struct job_row {
    int64_t n;
    enum lathe_job_status status;
    int64_t priority;
    uint32_t epoch, counter;
    bool is_planned, is_replanned;
    int64_t pilots_left;  /* not done */
    int64_t chunk_prefix; /* chunks 0 … chunk_prefix-1 are done */
    int64_t first_chunk;  /* unit number of chunk 0 */
};

struct unit_row {
    int64_t job; /* n of its job */
    int64_t priority;
    uint32_t unit;
    struct lathe_unit what; /* kind may be KIND_SPLIT, KIND_MERGE */
    enum unit_state state;
    uint64_t fence;       /* of the lease, or of the result */
    uint64_t floor;       /* fences up to this one made a result that was unusable */
    bool is_unstored;     /* what it reads is not in the store yet */
    bool lease_is_live;   /* only with UNIT_LEASED */
    int64_t lease_end_us; /* since boot */
    int64_t failures, deaths;
};

static inline bool job_is_ended(enum lathe_job_status status)
{
    return status >= LATHE_JOB_COMPLETED;
}

/* --- sqlite_job.c --- */

/* 1, or 0 when there is none. */
int find_job(struct lathe_db *db, const char *job_id, struct job_row *ret, struct lathe_error *err);
int find_unit(struct lathe_db *db, int64_t job, uint32_t unit, struct unit_row *ret,
              struct lathe_error *err);
/* Columns of VIEW_COLUMNS and the result. */
int read_job_view(sqlite3_stmt *row, struct lathe_job_view *ret, struct lathe_error *err);
/* Why an attempt came to nothing, for people. */
int note_error(struct lathe_db *db, const struct unit_row *unit, const char *reason,
               struct lathe_error *err);
/* Columns of every statement that selects units, see UNIT_COLUMNS. */
void read_unit_row(sqlite3_stmt *row, struct unit_row *ret);
int set_status(struct lathe_db *db, int64_t job, enum lathe_job_status status,
               struct lathe_error *err);
/* Ends the job: `reason` or `result` may be NULL. */
int end_job(struct lathe_db *db, int64_t job, enum lathe_job_status status, const char *reason,
            const char *result, struct lathe_error *err);
/* Opens the blocked units whose needs are met now. */
int unblock_units(struct lathe_db *db, int64_t job, int64_t pilots_left, int64_t chunk_prefix,
                  struct lathe_error *err);
/* The job begins a new epoch: `keep` leaves its units and their results. */
int restart_job(struct lathe_db *db, const struct job_row *job, uint32_t epoch, bool keep,
                struct lathe_error *err);
int state_create(void *priv, const char *job_id, int priority, const char *record,
                 struct lathe_error *err);
int state_set_units(void *priv, const char *job_id, uint64_t fence, const struct lathe_unit *units,
                    uint32_t count, enum lathe_verdict *ret, struct lathe_error *err);
int state_stored(void *priv, const char *job_id, uint64_t fence, const uint32_t *units,
                 uint32_t count, enum lathe_verdict *ret, struct lathe_error *err);
int state_finish(void *priv, const char *job_id, enum lathe_job_status status, const char *reason,
                 enum lathe_verdict *ret, struct lathe_error *err);
int state_retry(void *priv, const char *job_id, uint32_t seen_epoch, bool keep_results,
                enum lathe_verdict *ret, struct lathe_error *err);
int state_get(void *priv, const char *job_id, struct lathe_job_view *ret, struct lathe_error *err);
int state_list_open(void *priv, char ***ret_ids, size_t *ret_count, struct lathe_error *err);
int state_remove(void *priv, const char *job_id, struct lathe_error *err);

/* --- sqlite_lease.c --- */

/* Ends a lease; the unit can be claimed again. */
int open_unit(struct lathe_db *db, const struct unit_row *unit, int64_t failures,
              struct lathe_error *err);

/* 1 when `fence` is the lease of the unit now, expired or not. */
int find_lease(struct lathe_db *db, const char *job_id, uint32_t number, uint64_t fence,
               struct unit_row *ret, struct lathe_error *err);

int state_claim_split(void *priv, const char *job_id, const char *owner, int ttl_ms,
                      enum lathe_verdict *ret, uint64_t *ret_fence, int *ret_wait_ms,
                      struct lathe_error *err);
int state_claim(void *priv, const char *job_id, uint32_t unit, const char *owner, int ttl_ms,
                enum lathe_verdict *ret, struct lathe_claim *ret_claim, int *ret_wait_ms,
                struct lathe_error *err);
int state_claim_next(void *priv, const struct lathe_claim_wish *wish, const char *owner, int ttl_ms,
                     enum lathe_verdict *ret, struct lathe_claim *ret_claim,
                     struct lathe_error *err);
int state_merge_claim(void *priv, const char *job_id, const char *owner, int ttl_ms,
                      enum lathe_verdict *ret, uint64_t *ret_fence, struct lathe_done **ret_done,
                      size_t *ret_count, int *ret_wait_ms, struct lathe_error *err);
int state_renew(void *priv, const char *job_id, uint32_t unit, uint64_t fence, int ttl_ms,
                enum lathe_verdict *ret, struct lathe_error *err);
int state_release(void *priv, const char *job_id, uint32_t unit, uint64_t fence,
                  struct lathe_error *err);

/* --- sqlite_result.c --- */

int read_results(struct lathe_db *db, int64_t job, uint32_t first, uint32_t end,
                 struct lathe_done **ret_done, size_t *ret_count, struct lathe_error *err);
int state_complete(void *priv, const char *job_id, uint32_t unit, uint64_t fence,
                   const char *result, enum lathe_verdict *ret, struct lathe_error *err);
int state_attempt_failed(void *priv, const char *job_id, uint32_t unit, uint64_t fence,
                         bool permanent, const char *reason, enum lathe_verdict *ret,
                         struct lathe_error *err);
int state_merge_commit(void *priv, const char *job_id, uint64_t fence, const char *result,
                       enum lathe_verdict *ret, struct lathe_error *err);
int state_results(void *priv, const char *job_id, uint32_t first, uint32_t end,
                  struct lathe_done **ret_done, size_t *ret_count, struct lathe_error *err);

/* --- sqlite_redo.c --- */

int state_reopen(void *priv, const char *job_id, uint64_t fence, const uint32_t *units,
                 uint32_t count, const char *reason, enum lathe_verdict *ret,
                 struct lathe_error *err);
int state_replan(void *priv, const char *job_id, uint64_t fence, const char *reason,
                 enum lathe_verdict *ret, struct lathe_error *err);

/* --- sqlite_views.c --- */

int state_list(void *priv, enum lathe_job_filter filter, uint64_t cursor, uint32_t limit,
               struct lathe_job_view **ret, size_t *ret_count, uint64_t *ret_cursor,
               struct lathe_error *err);
int state_units(void *priv, const char *job_id, uint32_t first, uint32_t end,
                struct lathe_unit_view **ret, size_t *ret_count, struct lathe_error *err);
int state_beat(void *priv, const char *worker, const char *host, const char *record, int ttl_ms,
               bool *ret_drain, struct lathe_error *err);
int state_leave(void *priv, const char *worker, struct lathe_error *err);
int state_workers(void *priv, struct lathe_worker_view **ret, size_t *ret_count,
                  struct lathe_error *err);
int state_drain(void *priv, const char *host, uint32_t *ret_count, struct lathe_error *err);
void state_check(void *priv, const struct lathe_check *check, struct lathe_findings *ret);

#endif
