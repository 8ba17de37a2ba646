/* SPDX-License-Identifier: MIT */
/*
 * Leases: who works on what. A lease saves double work; it decides nothing about results. A lease
 * whose time ran out, or whose holder is known to be dead, is given to the next who asks, and that
 * is when the death is counted.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "drivers.h"
#include "lathe/base.h"
#include "sqlite_state.h"

struct lease_request {
    const char *owner;
    int ttl_ms;
};

static int64_t lease_end(int ttl_ms)
{
    return lathe_clock_monotonic_us() + ttl_ms * 1000LL;
}

static int wait_ms_of(const struct unit_row *unit)
{
    int64_t left_ms = (unit->lease_end_us - lathe_clock_monotonic_us()) / 1000 + 1;
    return left_ms < 1 ? 1 : left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

/* The last of too many deaths: the job fails instead of killing an eleventh worker. */
static int fail_by_deaths(struct lathe_db *db, const struct unit_row *unit, struct lathe_error *err)
{
    char name[64], reason[160];
    lathe_unit_describe(unit->unit, &unit->what, name, sizeof(name));
    snprintf(reason, sizeof(reason), "%s: %d workers died or hung while they worked on it", name,
             LATHE_LIMIT_WORKER_DEATHS);
    return end_job(db, unit->job, LATHE_JOB_FAILED, reason, NULL, err);
}

/*
 * GRANTED with unit->fence and unit->deaths brought up to date, BUSY, DONE, WAIT (blocked), or GONE
 * when this made the job fail.
 */
static int lease_unit(struct lathe_db *db, const struct job_row *job, struct unit_row *unit,
                      const struct lease_request *request, enum lathe_verdict *ret,
                      struct lathe_error *err)
{
    switch (unit->state) {
    case UNIT_BLOCKED:
        *ret = LATHE_WAIT;
        return 0;
    case UNIT_DONE:
        *ret = LATHE_DONE;
        return 0;
    case UNIT_CLOSED:
        *ret = LATHE_GONE;
        return 0;
    case UNIT_LEASED:
        if (unit->lease_is_live) {
            *ret = LATHE_BUSY;
            return 0;
        }
        if (++unit->deaths >= LATHE_LIMIT_WORKER_DEATHS) {
            *ret = LATHE_GONE;
            return fail_by_deaths(db, unit, err);
        }
        break;
    case UNIT_OPEN:
        break;
    }
    unit->fence = (uint64_t)job->epoch << 32 | (job->counter + 1);
    int r = lathe_db_run(db, err, S_COUNT_UP, "ii", job->n, (int64_t)job->counter + 1);
    if (r >= 0)
        r = lathe_db_run(db, err, S_LEASE, "iiissiiii", unit->job, (int64_t)unit->unit,
                         (int64_t)unit->fence, request->owner, db->presence.boot_id,
                         db->presence.token, lease_end(request->ttl_ms), unit->deaths,
                         lathe_clock_wall_us());
    *ret = LATHE_GRANTED;
    return r;
}

static void fill_claim(const char *job_id, const struct unit_row *unit, struct lathe_claim *ret)
{
    snprintf(ret->job_id, sizeof(ret->job_id), "%s", job_id);
    ret->unit = unit->unit;
    ret->fence = unit->fence;
    ret->what = unit->what;
    ret->attempt = (uint32_t)(1 + unit->failures + unit->deaths);
}

static int claim_split_in(struct lathe_db *db, const char *job_id,
                          const struct lease_request *request, enum lathe_verdict *ret,
                          uint64_t *ret_fence, int *ret_wait_ms, struct lathe_error *err)
{
    struct job_row job;
    struct unit_row split;
    *ret = LATHE_GONE;
    int r = find_job(db, job_id, &job, err);
    if (r <= 0 || job_is_ended(job.status))
        return r;
    r = find_unit(db, job.n, LATHE_UNIT_SPLIT, &split, err);
    if (r <= 0)
        return r;
    r = lease_unit(db, &job, &split, request, ret, err);
    if (r < 0)
        return r;
    if (*ret == LATHE_BUSY)
        *ret_wait_ms = wait_ms_of(&split);
    if (*ret != LATHE_GRANTED)
        return 0;
    *ret_fence = split.fence;
    return job.is_planned ? 0 : set_status(db, job.n, LATHE_JOB_SPLITTING, err);
}

int state_claim_split(void *priv, const char *job_id, const char *owner, int ttl_ms,
                      enum lathe_verdict *ret, uint64_t *ret_fence, int *ret_wait_ms,
                      struct lathe_error *err)
{
    struct lathe_db *db = priv;
    struct lease_request request = {owner, ttl_ms};
    int r = lathe_db_begin(db, LATHE_DB_FAST, err);
    if (r < 0)
        return r;
    r = lathe_db_end(db, claim_split_in(db, job_id, &request, ret, ret_fence, ret_wait_ms, err),
                     err);
    return r < 0 ? r : 0;
}

static int claim_in(struct lathe_db *db, const char *job_id, uint32_t number,
                    const struct lease_request *request, enum lathe_verdict *ret,
                    struct lathe_claim *ret_claim, int *ret_wait_ms, struct lathe_error *err)
{
    struct job_row job;
    struct unit_row unit;
    *ret = LATHE_GONE;
    int r = find_job(db, job_id, &job, err);
    if (r <= 0 || job_is_ended(job.status))
        return r;
    if (!job.is_planned) {
        *ret = LATHE_WAIT;
        return 0;
    }
    r = find_unit(db, job.n, number, &unit, err);
    if (r <= 0) /* a bell of an earlier plan may name more units than there are now */
        return r;
    r = lease_unit(db, &job, &unit, request, ret, err);
    if (r < 0)
        return r;
    if (*ret == LATHE_BUSY)
        *ret_wait_ms = wait_ms_of(&unit);
    if (*ret == LATHE_GRANTED)
        fill_claim(job_id, &unit, ret_claim);
    return 0;
}

int state_claim(void *priv, const char *job_id, uint32_t unit, const char *owner, int ttl_ms,
                enum lathe_verdict *ret, struct lathe_claim *ret_claim, int *ret_wait_ms,
                struct lathe_error *err)
{
    struct lathe_db *db = priv;
    struct lease_request request = {owner, ttl_ms};
    int r = lathe_db_begin(db, LATHE_DB_FAST, err);
    if (r < 0)
        return r;
    r = lathe_db_end(db, claim_in(db, job_id, unit, &request, ret, ret_claim, ret_wait_ms, err),
                     err);
    return r < 0 ? r : 0;
}

static bool comes_before(const struct unit_row *a, const struct unit_row *b)
{
    if (a->priority != b->priority)
        return a->priority > b->priority;
    return a->job != b->job ? a->job < b->job : a->unit < b->unit;
}

/* The first unit that is open or whose lease has expired, of this job, or of any but those in the
 * JSON list `except`; 0 when there is none. */
static int find_first(struct lathe_db *db, const struct job_row *job, const char *except,
                      struct unit_row *ret, struct lathe_error *err)
{
    int64_t now_us = lathe_clock_monotonic_us();
    struct unit_row found[2];
    bool exists[2];
    for (int i = 0; i < 2; i++) {
        sqlite3_stmt *row;
        int r;
        if (job)
            r = lathe_db_query(db, err, i ? S_NEXT_EXPIRED_OF_JOB : S_NEXT_OPEN_OF_JOB, &row,
                               "siii", db->presence.boot_id, now_us, job->priority, job->n);
        else
            r = lathe_db_query(db, err, i ? S_NEXT_EXPIRED : S_NEXT_OPEN, &row, "sis",
                               db->presence.boot_id, now_us, except);
        if (r < 0)
            return r;
        exists[i] = r == 1;
        if (exists[i])
            read_unit_row(row, &found[i]);
    }
    if (!exists[0] && !exists[1])
        return 0;
    bool take_expired = !exists[0] || (exists[1] && comes_before(&found[1], &found[0]));
    *ret = found[take_expired];
    return 1;
}

/* The first unit of the youngest job that has one, among those of the highest priority. */
static int find_of_youngest(struct lathe_db *db, const char *except, struct unit_row *ret,
                            struct lathe_error *err)
{
    struct unit_row unit;
    int r = find_first(db, NULL, except, &unit, err);
    if (r <= 0)
        return r;
    struct job_row youngest = {.n = unit.job, .priority = unit.priority};
    for (int i = 0; i < 2; i++) {
        sqlite3_stmt *row;
        r = lathe_db_query(db, err, i ? S_YOUNGEST_EXPIRED : S_YOUNGEST_OPEN, &row, "sisi",
                           db->presence.boot_id, lathe_clock_monotonic_us(), except, unit.priority);
        if (r < 0)
            return r;
        if (r == 0)
            continue;
        read_unit_row(row, &unit);
        if (unit.job > youngest.n)
            youngest.n = unit.job;
    }
    return find_first(db, &youngest, except, ret, err);
}

static int claim_next_in(struct lathe_db *db, const struct lathe_claim_wish *wish,
                         const char *except, const struct lease_request *request,
                         enum lathe_verdict *ret, struct lathe_claim *ret_claim,
                         struct lathe_error *err)
{
    *ret = LATHE_WAIT;
    struct job_row wanted;
    if (wish->job_id) {
        int r = find_job(db, wish->job_id, &wanted, err);
        if (r <= 0)
            return r;
    }
    const bool youngest = !wish->job_id && wish->order == LATHE_YOUNGEST_FIRST;
    /* Each turn but the last fails a job, so this ends. */
    for (;;) {
        struct unit_row unit;
        int r = youngest ? find_of_youngest(db, except, &unit, err)
                         : find_first(db, wish->job_id ? &wanted : NULL, except, &unit, err);
        if (r <= 0)
            return r;
        sqlite3_stmt *row;
        r = lathe_db_query(db, err, S_GET_JOB_ID, &row, "i", unit.job);
        if (r <= 0)
            return r < 0 ? r
                         : lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL,
                                           "the state has units without a job");
        char id[LATHE_ID_MAX + 1];
        snprintf(id, sizeof(id), "%s", (const char *)sqlite3_column_text(row, 0));
        struct job_row job;
        r = find_job(db, id, &job, err);
        if (r < 0)
            return r;
        enum lathe_verdict verdict;
        r = lease_unit(db, &job, &unit, request, &verdict, err);
        if (r < 0)
            return r;
        if (verdict == LATHE_GRANTED) {
            *ret = LATHE_GRANTED;
            fill_claim(id, &unit, ret_claim);
            return 0;
        }
    }
}

int state_claim_next(void *priv, const struct lathe_claim_wish *wish, const char *owner, int ttl_ms,
                     enum lathe_verdict *ret, struct lathe_claim *ret_claim,
                     struct lathe_error *err)
{
    struct lathe_db *db = priv;
    struct lease_request request = {owner, ttl_ms};
    _cleanup_free_ char *except = lathe_state_except_json(wish);
    if (!except)
        return lathe_error_nomem(err);
    /* A look without the write lock first, so that idle workers do not hold up the busy ones. */
    int r = lathe_db_begin(db, LATHE_DB_READ, err);
    if (r < 0)
        return r;
    struct unit_row unit;
    r = lathe_db_end(db, find_first(db, NULL, except, &unit, err), err);
    *ret = LATHE_WAIT;
    if (r <= 0)
        return r;
    r = lathe_db_begin(db, LATHE_DB_FAST, err);
    if (r < 0)
        return r;
    r = lathe_db_end(db, claim_next_in(db, wish, except, &request, ret, ret_claim, err), err);
    return r < 0 ? r : 0;
}

static int merge_claim_in(struct lathe_db *db, const char *job_id,
                          const struct lease_request *request, enum lathe_verdict *ret,
                          uint64_t *ret_fence, struct lathe_done **ret_done, size_t *ret_count,
                          int *ret_wait_ms, struct lathe_error *err)
{
    struct job_row job;
    struct unit_row merge;
    sqlite3_stmt *row;
    *ret = LATHE_GONE;
    int r = find_job(db, job_id, &job, err);
    if (r <= 0)
        return r;
    if (job_is_ended(job.status)) {
        *ret = job.status == LATHE_JOB_COMPLETED ? LATHE_DONE : LATHE_GONE;
        return 0;
    }
    *ret = LATHE_WAIT;
    if (!job.is_planned)
        return 0;
    r = lathe_db_query(db, err, S_IS_INCOMPLETE, &row, "i", job.n);
    if (r != 0)
        return r < 0 ? r : 0;
    r = find_unit(db, job.n, LATHE_UNIT_MERGE, &merge, err);
    if (r < 0)
        return r;
    r = lease_unit(db, &job, &merge, request, ret, err);
    if (r < 0)
        return r;
    if (*ret == LATHE_BUSY)
        *ret_wait_ms = wait_ms_of(&merge);
    if (*ret != LATHE_GRANTED)
        return 0;
    *ret_fence = merge.fence;
    r = set_status(db, job.n, LATHE_JOB_MERGING, err);
    return r < 0 ? r : read_results(db, job.n, 0, LATHE_UNITS_MAX, ret_done, ret_count, err);
}

int state_merge_claim(void *priv, const char *job_id, const char *owner, int ttl_ms,
                      enum lathe_verdict *ret, uint64_t *ret_fence, struct lathe_done **ret_done,
                      size_t *ret_count, int *ret_wait_ms, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    struct lease_request request = {owner, ttl_ms};
    int r = lathe_db_begin(db, LATHE_DB_FAST, err);
    if (r < 0)
        return r;
    r = merge_claim_in(db, job_id, &request, ret, ret_fence, ret_done, ret_count, ret_wait_ms, err);
    r = lathe_db_end(db, r, err);
    return r < 0 ? r : 0;
}

int open_unit(struct lathe_db *db, const struct unit_row *unit, int64_t failures,
              struct lathe_error *err)
{
    int r = lathe_db_run(db, err, S_OPEN_UNIT, "iii", unit->job, (int64_t)unit->unit, failures);
    if (r >= 0 && (int)unit->what.kind == KIND_SPLIT)
        r = set_status(db, unit->job, LATHE_JOB_QUEUED, err);
    if (r >= 0 && (int)unit->what.kind == KIND_MERGE)
        r = set_status(db, unit->job, LATHE_JOB_TRANSCODING, err);
    return r;
}

int find_lease(struct lathe_db *db, const char *job_id, uint32_t number, uint64_t fence,
               struct unit_row *ret, struct lathe_error *err)
{
    struct job_row job;
    int r = find_job(db, job_id, &job, err);
    if (r <= 0 || job_is_ended(job.status))
        return r < 0 ? r : 0;
    r = find_unit(db, job.n, number, ret, err);
    if (r <= 0)
        return r;
    return ret->state == UNIT_LEASED && ret->fence == fence;
}

int state_renew(void *priv, const char *job_id, uint32_t unit, uint64_t fence, int ttl_ms,
                enum lathe_verdict *ret, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_FAST, err);
    if (r < 0)
        return r;
    struct unit_row row;
    r = find_lease(db, job_id, unit, fence, &row, err);
    *ret = r == 1 ? LATHE_GRANTED : LATHE_GONE;
    if (r == 1)
        r = lathe_db_run(db, err, S_RENEW, "iisii", row.job, (int64_t)unit, db->presence.boot_id,
                         db->presence.token, lease_end(ttl_ms));
    r = lathe_db_end(db, r, err);
    return r < 0 ? r : 0;
}

int state_release(void *priv, const char *job_id, uint32_t unit, uint64_t fence,
                  struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_FAST, err);
    if (r < 0)
        return r;
    struct unit_row row;
    r = find_lease(db, job_id, unit, fence, &row, err);
    if (r == 1)
        r = open_unit(db, &row, row.failures, err);
    r = lathe_db_end(db, r, err);
    return r < 0 ? r : 0;
}
