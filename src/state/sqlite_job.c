/* SPDX-License-Identifier: MIT */
/*
 * Transitions of a whole job: accepted, planned, ended, tried again, forgotten. The file also holds
 * the reading of rows that leases and results share.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lathe/base.h"
#include "sqlite_state.h"

int find_job(struct lathe_db *db, const char *job_id, struct job_row *ret, struct lathe_error *err)
{
    sqlite3_stmt *row;
    int r = lathe_db_query(db, err, S_GET_JOB, &row, "s", job_id);
    if (r <= 0)
        return r;
    *ret = (struct job_row){
        .n = sqlite3_column_int64(row, 0),
        .status = (enum lathe_job_status)sqlite3_column_int(row, 1),
        .priority = sqlite3_column_int64(row, 2),
        .epoch = (uint32_t)sqlite3_column_int64(row, 3),
        .counter = (uint32_t)sqlite3_column_int64(row, 4),
        .is_planned = sqlite3_column_int(row, 5) != 0,
        .pilots_left = sqlite3_column_int64(row, 6),
        .chunk_prefix = sqlite3_column_int64(row, 7),
        .first_chunk = sqlite3_column_int64(row, 8),
        .is_replanned = sqlite3_column_int(row, 9) != 0,
    };
    return 1;
}

void read_unit_row(sqlite3_stmt *row, struct unit_row *ret)
{
    *ret = (struct unit_row){
        .job = sqlite3_column_int64(row, 0),
        .priority = sqlite3_column_int64(row, 1),
        .unit = (uint32_t)sqlite3_column_int64(row, 2),
        .what = {.kind = (enum lathe_unit_kind)sqlite3_column_int(row, 3),
                 .index = (uint32_t)sqlite3_column_int64(row, 4),
                 .needs_pilots = sqlite3_column_int(row, 5) != 0,
                 .needs_chunks = (uint32_t)sqlite3_column_int64(row, 6)},
        .state = (enum unit_state)sqlite3_column_int(row, 7),
        .fence = (uint64_t)sqlite3_column_int64(row, 8),
        .lease_end_us = sqlite3_column_int64(row, 9),
        .failures = sqlite3_column_int64(row, 10),
        .deaths = sqlite3_column_int64(row, 11),
        .floor = (uint64_t)sqlite3_column_int64(row, 12),
        .is_unstored = sqlite3_column_int(row, 13) != 0,
        .lease_is_live = sqlite3_column_int(row, 14) != 0,
    };
}

int find_unit(struct lathe_db *db, int64_t job, uint32_t unit, struct unit_row *ret,
              struct lathe_error *err)
{
    sqlite3_stmt *row;
    int r = lathe_db_query(db, err, S_GET_UNIT, &row, "siii", db->presence.boot_id,
                           lathe_clock_monotonic_us(), job, (int64_t)unit);
    if (r == 1)
        read_unit_row(row, ret);
    return r;
}

int set_status(struct lathe_db *db, int64_t job, enum lathe_job_status status,
               struct lathe_error *err)
{
    return lathe_db_run(db, err, S_SET_STATUS, "iii", job, (int64_t)status, lathe_clock_wall_us());
}

int end_job(struct lathe_db *db, int64_t job, enum lathe_job_status status, const char *reason,
            const char *result, struct lathe_error *err)
{
    int r = lathe_db_run(db, err, S_END_JOB, "iissi", job, (int64_t)status, reason, result,
                         lathe_clock_wall_us());
    return r < 0 ? r : lathe_db_run(db, err, S_CLOSE_UNITS, "i", job);
}

int unblock_units(struct lathe_db *db, int64_t job, int64_t pilots_left, int64_t chunk_prefix,
                  struct lathe_error *err)
{
    int r = lathe_db_run(db, err, S_UNBLOCK, "iii", job, (int64_t)0, chunk_prefix);
    if (r >= 0 && pilots_left == 0)
        r = lathe_db_run(db, err, S_UNBLOCK, "iii", job, (int64_t)1, chunk_prefix);
    return r;
}

int note_error(struct lathe_db *db, const struct unit_row *unit, const char *reason,
               struct lathe_error *err)
{
    return lathe_db_run(db, err, S_NOTE_ERROR, "iis", unit->job, (int64_t)unit->unit, reason);
}

static int insert_unit(struct lathe_db *db, const struct job_row *job, uint32_t unit, int kind,
                       const struct lathe_unit *what, enum unit_state state,
                       struct lathe_error *err)
{
    return lathe_db_run(db, err, S_INSERT_UNIT, "iiiiiiiii", job->n, (int64_t)unit, job->priority,
                        (int64_t)kind, (int64_t)what->index, (int64_t)what->needs_pilots,
                        (int64_t)what->needs_chunks, (int64_t)what->needs_object, (int64_t)state);
}

static int insert_split_and_merge(struct lathe_db *db, const struct job_row *job,
                                  struct lathe_error *err)
{
    const struct lathe_unit none = {0};
    int r = insert_unit(db, job, LATHE_UNIT_SPLIT, KIND_SPLIT, &none, UNIT_OPEN, err);
    return r < 0 ? r : insert_unit(db, job, LATHE_UNIT_MERGE, KIND_MERGE, &none, UNIT_OPEN, err);
}

int state_create(void *priv, const char *job_id, int priority, const char *record,
                 struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_DURABLE, err);
    if (r < 0)
        return r;
    r = lathe_db_run(db, err, S_CREATE_JOB, "sisi", job_id, (int64_t)priority, record,
                     lathe_clock_wall_us());
    struct job_row job;
    if (r > 0)
        r = find_job(db, job_id, &job, err);
    if (r > 0)
        r = insert_split_and_merge(db, &job, err);
    r = lathe_db_end(db, r, err);
    return r < 0 ? r : 0;
}

static int split_is_taken_over(const char *job_id, struct lathe_error *err)
{
    return lathe_error_set(err, -ESTALE, LATHE_FAULT_INTERRUPTED,
                           "the split of job %s was taken over by another worker", job_id);
}

static int publish_units(struct lathe_db *db, const struct job_row *job,
                         const struct lathe_unit *units, uint32_t count, struct lathe_error *err)
{
    int64_t counts[3] = {0}, first_chunk = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (units[i].kind == LATHE_UNIT_CHUNK && counts[LATHE_UNIT_CHUNK] == 0)
            first_chunk = i;
        counts[units[i].kind]++;
        int r = insert_unit(db, job, i, (int)units[i].kind, &units[i], UNIT_BLOCKED, err);
        if (r < 0)
            return r;
    }
    int r = lathe_db_run(db, err, S_PUBLISH_UNITS, "iiiii", job->n, (int64_t)count,
                         counts[LATHE_UNIT_CHUNK], counts[LATHE_UNIT_PILOT], first_chunk);
    return r < 0 ? r : unblock_units(db, job->n, counts[LATHE_UNIT_PILOT], 0, err);
}

/* DONE: no unit waits for its object, and the split is done; else GRANTED. */
static int end_split_when_stored(struct lathe_db *db, const struct job_row *job, uint64_t fence,
                                 enum lathe_verdict *ret, struct lathe_error *err)
{
    sqlite3_stmt *row;
    int r = lathe_db_query(db, err, S_IS_UNSTORED, &row, "i", job->n);
    *ret = r == 1 ? LATHE_GRANTED : LATHE_DONE;
    if (r != 0)
        return r;
    return lathe_db_run(db, err, S_COMPLETE_UNIT, "iiis", job->n, (int64_t)LATHE_UNIT_SPLIT,
                        (int64_t)fence, NULL);
}

static int set_units_in(struct lathe_db *db, const char *job_id, uint64_t fence,
                        const struct lathe_unit *units, uint32_t count, enum lathe_verdict *ret,
                        struct lathe_error *err)
{
    struct job_row job;
    int r = find_job(db, job_id, &job, err);
    if (r < 0)
        return r;
    if (r == 0 || job_is_ended(job.status)) {
        *ret = LATHE_GONE;
        return 0;
    }
    if (job.is_planned) {
        *ret = LATHE_DONE;
        return 0;
    }
    struct unit_row split;
    r = find_unit(db, job.n, LATHE_UNIT_SPLIT, &split, err);
    if (r < 0)
        return r;
    if (r == 0 || split.state != UNIT_LEASED || split.fence != fence)
        return split_is_taken_over(job_id, err);
    r = publish_units(db, &job, units, count, err);
    if (r >= 0)
        r = end_split_when_stored(db, &job, fence, ret, err);
    if (r >= 0)
        r = set_status(db, job.n, LATHE_JOB_TRANSCODING, err);
    *ret = LATHE_GRANTED;
    return r;
}

int state_set_units(void *priv, const char *job_id, uint64_t fence, const struct lathe_unit *units,
                    uint32_t count, enum lathe_verdict *ret, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_DURABLE, err);
    if (r < 0)
        return r;
    r = lathe_db_end(db, set_units_in(db, job_id, fence, units, count, ret, err), err);
    return r < 0 ? r : 0;
}

static int stored_in(struct lathe_db *db, const char *job_id, uint64_t fence, const uint32_t *units,
                     uint32_t count, enum lathe_verdict *ret, struct lathe_error *err)
{
    struct job_row job;
    struct unit_row split;
    *ret = LATHE_GONE;
    int r = find_job(db, job_id, &job, err);
    if (r <= 0 || job_is_ended(job.status))
        return r;
    r = find_unit(db, job.n, LATHE_UNIT_SPLIT, &split, err);
    if (r < 0)
        return r;
    *ret = LATHE_DONE;
    if (job.is_planned && split.state == UNIT_DONE)
        return 0;
    if (split.state != UNIT_LEASED || split.fence != fence)
        return split_is_taken_over(job_id, err);
    if (!job.is_planned)
        return lathe_error_set(err, -ENOENT, LATHE_FAULT_INTERNAL, "job %s has no units yet",
                               job_id);
    for (uint32_t i = 0; i < count && r >= 0; i++)
        r = lathe_db_run(db, err, S_STORED, "ii", job.n, (int64_t)units[i]);
    if (r >= 0)
        r = unblock_units(db, job.n, job.pilots_left, job.chunk_prefix, err);
    return r < 0 ? r : end_split_when_stored(db, &job, fence, ret, err);
}

int state_stored(void *priv, const char *job_id, uint64_t fence, const uint32_t *units,
                 uint32_t count, enum lathe_verdict *ret, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_DURABLE, err);
    if (r < 0)
        return r;
    r = lathe_db_end(db, stored_in(db, job_id, fence, units, count, ret, err), err);
    return r < 0 ? r : 0;
}

int state_finish(void *priv, const char *job_id, enum lathe_job_status status, const char *reason,
                 enum lathe_verdict *ret, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_DURABLE, err);
    if (r < 0)
        return r;
    struct job_row job;
    r = find_job(db, job_id, &job, err);
    if (r == 1 && !job_is_ended(job.status)) {
        *ret = LATHE_DONE;
        r = end_job(db, job.n, status, reason, NULL, err);
    } else {
        *ret = LATHE_GONE;
    }
    r = lathe_db_end(db, r, err);
    return r < 0 ? r : 0;
}

int restart_job(struct lathe_db *db, const struct job_row *job, uint32_t epoch, bool keep,
                struct lathe_error *err)
{
    int r = lathe_db_run(db, err, S_RETRY_JOB, "iiiii", job->n, (int64_t)epoch,
                         (int64_t)(keep ? LATHE_JOB_TRANSCODING : LATHE_JOB_QUEUED), (int64_t)keep,
                         lathe_clock_wall_us());
    if (r < 0)
        return r;
    if (keep) {
        r = lathe_db_run(db, err, S_REOPEN_UNITS, "i", job->n);
        return r < 0 ? r : unblock_units(db, job->n, job->pilots_left, job->chunk_prefix, err);
    }
    r = lathe_db_run(db, err, S_RESET_COUNTS, "i", job->n);
    if (r >= 0)
        r = lathe_db_run(db, err, S_DELETE_UNITS, "i", job->n);
    return r < 0 ? r : insert_split_and_merge(db, job, err);
}

static int retry_in(struct lathe_db *db, const char *job_id, uint32_t seen_epoch, bool keep_results,
                    enum lathe_verdict *ret, struct lathe_error *err)
{
    struct job_row job;
    int r = find_job(db, job_id, &job, err);
    if (r <= 0) {
        *ret = LATHE_GONE;
        return r;
    }
    if (job.status == LATHE_JOB_COMPLETED || job.epoch > seen_epoch) {
        *ret = LATHE_DONE;
        return 0;
    }
    *ret = LATHE_GRANTED;
    return restart_job(db, &job, seen_epoch + 1, keep_results && job.is_planned, err);
}

int state_retry(void *priv, const char *job_id, uint32_t seen_epoch, bool keep_results,
                enum lathe_verdict *ret, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_DURABLE, err);
    if (r < 0)
        return r;
    r = lathe_db_end(db, retry_in(db, job_id, seen_epoch, keep_results, ret, err), err);
    return r < 0 ? r : 0;
}

int read_job_view(sqlite3_stmt *row, struct lathe_job_view *ret, struct lathe_error *err)
{
    const char *id = (const char *)sqlite3_column_text(row, 0);
    if (!id)
        return lathe_error_nomem(err);
    snprintf(ret->id, sizeof(ret->id), "%s", id);
    ret->status = (enum lathe_job_status)sqlite3_column_int(row, 1);
    ret->priority = sqlite3_column_int(row, 2);
    ret->epoch = (uint32_t)sqlite3_column_int64(row, 3);
    ret->total_chunks = (uint32_t)sqlite3_column_int64(row, 4);
    ret->completed_chunks = (uint32_t)sqlite3_column_int64(row, 5);
    ret->total_units = (uint32_t)sqlite3_column_int64(row, 6);
    ret->completed_units = (uint32_t)sqlite3_column_int64(row, 7);
    ret->created_us = sqlite3_column_int64(row, 8);
    ret->updated_us = sqlite3_column_int64(row, 9);
    ret->finished_us = sqlite3_column_int64(row, 10);
    ret->unstored_units = (uint32_t)sqlite3_column_int64(row, 14);
    char **const texts[] = {&ret->error, &ret->record, &ret->replan};
    for (int i = 0; i < (int)LATHE_COUNT(texts); i++) {
        int r = lathe_db_text(row, 11 + i, texts[i], err);
        if (r < 0)
            return r;
    }
    return lathe_db_text(row, 15, &ret->result, err);
}

int state_get(void *priv, const char *job_id, struct lathe_job_view *ret, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_READ, err);
    if (r < 0)
        return r;
    sqlite3_stmt *row;
    r = lathe_db_query(db, err, S_VIEW, &row, "s", job_id);
    if (r == 1)
        r = read_job_view(row, ret, err);
    else if (r == 0)
        r = lathe_error_set(err, -ENOENT, LATHE_FAULT_INPUT, "there is no job %s", job_id);
    return lathe_db_end(db, r, err);
}

static int read_ids(struct lathe_db *db, char ***ids, size_t *count, struct lathe_error *err)
{
    size_t capacity = 0;
    sqlite3_stmt *row;
    int r = lathe_db_query(db, err, S_LIST_OPEN, &row, "");
    for (; r == 1; r = lathe_db_next(db, err, row)) {
        if (*count == capacity) {
            capacity = capacity ? capacity * 2 : 16;
            char **larger = realloc(*ids, capacity * sizeof(*larger));
            if (!larger)
                return lathe_error_nomem(err);
            *ids = larger;
        }
        int copied = lathe_db_text(row, 0, &(*ids)[*count], err);
        if (copied < 0)
            return copied;
        (*count)++;
    }
    return r;
}

int state_list_open(void *priv, char ***ret_ids, size_t *ret_count, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_READ, err);
    if (r < 0)
        return r;
    return lathe_db_end(db, read_ids(db, ret_ids, ret_count, err), err);
}

int state_remove(void *priv, const char *job_id, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_DURABLE, err);
    if (r < 0)
        return r;
    struct job_row job;
    r = find_job(db, job_id, &job, err);
    if (r == 1) {
        r = lathe_db_run(db, err, S_DELETE_UNITS, "i", job.n);
        if (r >= 0)
            r = lathe_db_run(db, err, S_DELETE_JOB, "i", job.n);
    }
    r = lathe_db_end(db, r, err);
    return r < 0 ? r : 0;
}
