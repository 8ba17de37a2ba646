/* SPDX-License-Identifier: MIT */
/*
 * Results: what is finished, for good. The first valid result of a unit stays, the first commit of
 * a merge stays; everything that comes later is told so and changes nothing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "lathe/base.h"
#include "sqlite_state.h"

static int stale(const char *job_id, struct lathe_error *err)
{
    return lathe_error_set(err, -ESTALE, LATHE_FAULT_INTERRUPTED,
                           "this work on job %s was overtaken by a retry or another worker",
                           job_id);
}

static int grow(struct lathe_done **list, size_t count, size_t *capacity, struct lathe_error *err)
{
    if (count < *capacity)
        return 0;
    size_t wanted = *capacity ? *capacity * 2 : 64;
    struct lathe_done *larger = realloc(*list, wanted * sizeof(*larger));
    if (!larger)
        return lathe_error_nomem(err);
    *list = larger;
    *capacity = wanted;
    return 0;
}

int read_results(struct lathe_db *db, int64_t job, uint32_t first, uint32_t end,
                 struct lathe_done **ret_done, size_t *ret_count, struct lathe_error *err)
{
    struct lathe_done *list = NULL;
    size_t count = 0, capacity = 0;
    sqlite3_stmt *row;
    int r = lathe_db_query(db, err, S_RESULTS, &row, "iii", job, (int64_t)first, (int64_t)end);
    while (r == 1) {
        r = grow(&list, count, &capacity, err);
        if (r < 0)
            break;
        list[count] = (struct lathe_done){
            .unit = (uint32_t)sqlite3_column_int64(row, 0),
            .what = {.kind = (enum lathe_unit_kind)sqlite3_column_int(row, 1),
                     .index = (uint32_t)sqlite3_column_int64(row, 2),
                     .needs_pilots = sqlite3_column_int(row, 3) != 0,
                     .needs_chunks = (uint32_t)sqlite3_column_int64(row, 4)},
            .fence = (uint64_t)sqlite3_column_int64(row, 5),
        };
        r = lathe_db_text(row, 6, &list[count].result, err);
        if (r < 0)
            break;
        count++;
        r = lathe_db_next(db, err, row);
    }
    if (r < 0) {
        lathe_done_free(list, count);
        return r;
    }
    *ret_done = list;
    *ret_count = count;
    return 0;
}

int state_results(void *priv, const char *job_id, uint32_t first, uint32_t end,
                  struct lathe_done **ret_done, size_t *ret_count, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_READ, err);
    if (r < 0)
        return r;
    struct job_row job;
    r = find_job(db, job_id, &job, err);
    if (r == 1)
        r = read_results(db, job.n, first, end, ret_done, ret_count, err);
    else if (r == 0)
        r = lathe_error_set(err, -ENOENT, LATHE_FAULT_INPUT, "there is no job %s", job_id);
    return lathe_db_end(db, r, err);
}

/* Chunks are contiguous in unit numbers, so each one is looked at once in the life of a job. */
static int extend_prefix(struct lathe_db *db, struct job_row *job, struct lathe_error *err)
{
    for (;;) {
        sqlite3_stmt *row;
        int r = lathe_db_query(db, err, S_CHUNK_IS_DONE, &row, "ii", job->n,
                               job->first_chunk + job->chunk_prefix);
        if (r <= 0)
            return r;
        job->chunk_prefix++;
    }
}

static int store_result(struct lathe_db *db, struct job_row *job, const struct unit_row *unit,
                        uint64_t fence, const char *result, struct lathe_error *err)
{
    int r = lathe_db_run(db, err, S_COMPLETE_UNIT, "iiis", job->n, (int64_t)unit->unit,
                         (int64_t)fence, result);
    if (r < 0)
        return r;
    bool is_chunk = unit->what.kind == LATHE_UNIT_CHUNK;
    if (unit->what.kind == LATHE_UNIT_PILOT)
        job->pilots_left--;
    if (is_chunk) {
        r = extend_prefix(db, job, err);
        if (r < 0)
            return r;
    }
    r = lathe_db_run(db, err, S_ADVANCE, "iiiii", job->n, (int64_t)is_chunk, job->pilots_left,
                     job->chunk_prefix, lathe_clock_wall_us());
    return r < 0 ? r : unblock_units(db, job->n, job->pilots_left, job->chunk_prefix, err);
}

static bool was_granted(const struct job_row *job, uint64_t fence)
{
    uint32_t counter = (uint32_t)fence;
    return fence >> 32 == job->epoch && counter > 0 && counter <= job->counter;
}

static int complete_in(struct lathe_db *db, const char *job_id, uint32_t number, uint64_t fence,
                       const char *result, enum lathe_verdict *ret, struct lathe_error *err)
{
    struct job_row job;
    struct unit_row unit;
    *ret = LATHE_GONE;
    int r = find_job(db, job_id, &job, err);
    if (r <= 0)
        return r;
    int exists = find_unit(db, job.n, number, &unit, err);
    if (exists < 0)
        return exists;
    /* Asked before anything else: the winner must never take its own result for garbage. */
    if (exists && unit.state == UNIT_DONE && unit.fence == fence) {
        *ret = LATHE_DONE;
        return 0;
    }
    if (job_is_ended(job.status))
        return 0;
    if (!was_granted(&job, fence))
        return stale(job_id, err);
    if (!exists)
        return lathe_error_set(err, -ENOENT, LATHE_FAULT_INPUT, "job %s has no unit %u", job_id,
                               number);
    if (unit.state == UNIT_DONE) {
        *ret = LATHE_DUPLICATE;
        return 0;
    }
    /* The merge has refused the result that it brings back, or nobody was given the unit yet. */
    if (fence <= unit.floor || unit.is_unstored)
        return stale(job_id, err);
    *ret = LATHE_DONE;
    return store_result(db, &job, &unit, fence, result, err);
}

int state_complete(void *priv, const char *job_id, uint32_t unit, uint64_t fence,
                   const char *result, enum lathe_verdict *ret, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_DURABLE, err);
    if (r < 0)
        return r;
    r = lathe_db_end(db, complete_in(db, job_id, unit, fence, result, ret, err), err);
    return r < 0 ? r : 0;
}

static int attempt_failed_in(struct lathe_db *db, const char *job_id, uint32_t number,
                             uint64_t fence, bool permanent, const char *reason,
                             enum lathe_verdict *ret, struct lathe_error *err)
{
    struct job_row job;
    struct unit_row unit;
    *ret = LATHE_GONE;
    int r = find_job(db, job_id, &job, err);
    if (r <= 0 || job_is_ended(job.status))
        return r;
    *ret = LATHE_DUPLICATE;
    r = find_unit(db, job.n, number, &unit, err);
    if (r <= 0 || unit.state != UNIT_LEASED || unit.fence != fence)
        return r;
    r = note_error(db, &unit, reason, err);
    if (r < 0)
        return r;
    if (!permanent && unit.failures + 1 < LATHE_LIMIT_SLOT_FAILURES) {
        *ret = LATHE_RETRY;
        return open_unit(db, &unit, unit.failures + 1, err);
    }
    *ret = LATHE_EXHAUSTED;
    char name[64];
    lathe_unit_describe(unit.unit, &unit.what, name, sizeof(name));
    _cleanup_free_ char *text = permanent ? lathe_format("%s: %s", name, reason)
                                          : lathe_format("%s failed %d times, the last time: %s",
                                                         name, LATHE_LIMIT_SLOT_FAILURES, reason);
    if (!text)
        return lathe_error_nomem(err);
    return end_job(db, job.n, LATHE_JOB_FAILED, text, NULL, err);
}

int state_attempt_failed(void *priv, const char *job_id, uint32_t unit, uint64_t fence,
                         bool permanent, const char *reason, enum lathe_verdict *ret,
                         struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_DURABLE, err);
    if (r < 0)
        return r;
    r = attempt_failed_in(db, job_id, unit, fence, permanent, reason, ret, err);
    r = lathe_db_end(db, r, err);
    return r < 0 ? r : 0;
}

static int merge_commit_in(struct lathe_db *db, const char *job_id, uint64_t fence,
                           const char *result, enum lathe_verdict *ret, struct lathe_error *err)
{
    struct job_row job;
    struct unit_row merge;
    *ret = LATHE_GONE;
    int r = find_job(db, job_id, &job, err);
    if (r <= 0)
        return r;
    if (job_is_ended(job.status) && job.status != LATHE_JOB_COMPLETED)
        return 0;
    r = find_unit(db, job.n, LATHE_UNIT_MERGE, &merge, err);
    if (r < 0)
        return r;
    if (job.status == LATHE_JOB_COMPLETED) {
        *ret = r == 1 && merge.fence == fence ? LATHE_DONE : LATHE_DUPLICATE;
        return 0;
    }
    if (r == 0 || merge.state != UNIT_LEASED || merge.fence != fence)
        return stale(job_id, err);
    *ret = LATHE_DONE;
    r = lathe_db_run(db, err, S_COMPLETE_UNIT, "iiis", job.n, (int64_t)LATHE_UNIT_MERGE,
                     (int64_t)fence, NULL);
    return r < 0 ? r : end_job(db, job.n, LATHE_JOB_COMPLETED, NULL, result, err);
}

int state_merge_commit(void *priv, const char *job_id, uint64_t fence, const char *result,
                       enum lathe_verdict *ret, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_DURABLE, err);
    if (r < 0)
        return r;
    r = lathe_db_end(db, merge_commit_in(db, job_id, fence, result, ret, err), err);
    return r < 0 ? r : 0;
}
