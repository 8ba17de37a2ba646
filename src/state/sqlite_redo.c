/* SPDX-License-Identifier: MIT */
/*
 * Done, and then found unusable: single results, or the plan that all of them follow. Both calls
 * are guarded by the lease of whoever found it, and both are bounded.
 */
#include <errno.h>

#include "lathe/base.h"
#include "sqlite_state.h"

static bool is_exhausted(const struct unit_row *unit)
{
    return unit->failures + 1 >= LATHE_LIMIT_SLOT_FAILURES;
}

static int fail_by_results(struct lathe_db *db, const struct unit_row *unit, const char *reason,
                           struct lathe_error *err)
{
    char name[64];
    lathe_unit_describe(unit->unit, &unit->what, name, sizeof(name));
    _cleanup_free_ char *text = lathe_format("%s failed %d times, the last time: %s", name,
                                             LATHE_LIMIT_SLOT_FAILURES, reason);
    return text ? end_job(db, unit->job, LATHE_JOB_FAILED, text, NULL, err)
                : lathe_error_nomem(err);
}

/* Blocks the unit and takes it off the job's counts; what is claimable follows from these. */
static int take_back(struct lathe_db *db, struct job_row *job, const struct unit_row *unit,
                     const char *reason, struct lathe_error *err)
{
    uint64_t floor = (uint64_t)job->epoch << 32 | job->counter;
    int r = lathe_db_run(db, err, S_REOPEN_DONE, "iiiis", job->n, (int64_t)unit->unit,
                         unit->failures + 1, (int64_t)floor, reason);
    if (r < 0)
        return r;
    bool is_chunk = unit->what.kind == LATHE_UNIT_CHUNK;
    if (unit->what.kind == LATHE_UNIT_PILOT)
        job->pilots_left++;
    if (is_chunk && (int64_t)unit->what.index < job->chunk_prefix)
        job->chunk_prefix = unit->what.index;
    return lathe_db_run(db, err, S_STEP_BACK, "iiiii", job->n, (int64_t)is_chunk, job->pilots_left,
                        job->chunk_prefix, lathe_clock_wall_us());
}

static int reopen_in(struct lathe_db *db, const char *job_id, uint64_t fence, const uint32_t *units,
                     uint32_t count, const char *reason, enum lathe_verdict *ret,
                     struct lathe_error *err)
{
    struct job_row job;
    struct unit_row merge, unit;
    *ret = LATHE_GONE;
    int r = find_job(db, job_id, &job, err);
    if (r <= 0 || job_is_ended(job.status))
        return r;
    *ret = LATHE_DUPLICATE;
    r = find_lease(db, job_id, LATHE_UNIT_MERGE, fence, &merge, err);
    if (r <= 0)
        return r;
    for (uint32_t i = 0; i < count; i++) {
        r = find_unit(db, job.n, units[i], &unit, err);
        if (r < 0)
            return r;
        if (r == 0 || unit.state != UNIT_DONE)
            return lathe_error_set(err, -EINVAL, LATHE_FAULT_INTERNAL,
                                   "job %s has no finished unit %u", job_id, units[i]);
        if (is_exhausted(&unit)) {
            *ret = LATHE_EXHAUSTED;
            return fail_by_results(db, &unit, reason, err);
        }
        r = take_back(db, &job, &unit, reason, err);
        if (r < 0)
            return r;
    }
    *ret = LATHE_RETRY;
    r = unblock_units(db, job.n, job.pilots_left, job.chunk_prefix, err);
    return r < 0 ? r : open_unit(db, &merge, merge.failures, err);
}

int state_reopen(void *priv, const char *job_id, uint64_t fence, const uint32_t *units,
                 uint32_t count, const char *reason, enum lathe_verdict *ret,
                 struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_DURABLE, err);
    if (r < 0)
        return r;
    r = lathe_db_end(db, reopen_in(db, job_id, fence, units, count, reason, ret, err), err);
    return r < 0 ? r : 0;
}

static int replan_in(struct lathe_db *db, const char *job_id, uint64_t fence, const char *reason,
                     enum lathe_verdict *ret, struct lathe_error *err)
{
    struct job_row job;
    struct unit_row holder;
    *ret = LATHE_GONE;
    int r = find_job(db, job_id, &job, err);
    if (r <= 0 || job_is_ended(job.status))
        return r;
    *ret = LATHE_DUPLICATE;
    r = find_lease(db, job_id, LATHE_UNIT_MERGE, fence, &holder, err);
    if (r == 0)
        r = find_lease(db, job_id, LATHE_UNIT_SPLIT, fence, &holder, err);
    if (r <= 0)
        return r;
    if (job.is_replanned) {
        *ret = LATHE_EXHAUSTED;
        return end_job(db, job.n, LATHE_JOB_FAILED, reason, NULL, err);
    }
    *ret = LATHE_RETRY;
    r = lathe_db_run(db, err, S_REPLAN, "is", job.n, reason);
    return r < 0 ? r : restart_job(db, &job, job.epoch + 1, false, err);
}

int state_replan(void *priv, const char *job_id, uint64_t fence, const char *reason,
                 enum lathe_verdict *ret, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_DURABLE, err);
    if (r < 0)
        return r;
    r = lathe_db_end(db, replan_in(db, job_id, fence, reason, ret, err), err);
    return r < 0 ? r : 0;
}
