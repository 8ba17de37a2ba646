/* SPDX-License-Identifier: MIT */
/*
 * What people are shown of jobs and units, and who of the workers is alive. Nothing here changes a
 * job.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lathe/base.h"
#include "sqlite_state.h"
#include "state_findings.h"

_Static_assert(LATHE_UNIT_IS_LEASED == (int)UNIT_LEASED && LATHE_UNIT_IS_CLOSED == (int)UNIT_CLOSED,
               "the states of rows are those that people are shown");

/* Room for one more element of `size` bytes, zeroed. */
static int grow(void **list, size_t count, size_t *capacity, size_t size, struct lathe_error *err)
{
    if (count == *capacity) {
        size_t wanted = *capacity ? *capacity * 2 : 16;
        void *larger = realloc(*list, wanted * size);
        if (!larger)
            return lathe_error_nomem(err);
        *list = larger;
        *capacity = wanted;
    }
    memset((char *)*list + count * size, 0, size);
    return 0;
}

static int read_list(struct lathe_db *db, int statement, uint64_t cursor, uint32_t limit,
                     struct lathe_job_view **list, size_t *count, uint64_t *ret_cursor,
                     struct lathe_error *err)
{
    size_t capacity = 0;
    sqlite3_stmt *row;
    int r = lathe_db_query(db, err, statement, &row, "ii", cursor ? (int64_t)cursor : INT64_MAX,
                           (int64_t)limit);
    for (; r == 1; r = lathe_db_next(db, err, row)) {
        int added = grow((void **)list, *count, &capacity, sizeof(**list), err);
        if (added == 0)
            added = read_job_view(row, &(*list)[(*count)++], err);
        if (added < 0)
            return added;
        *ret_cursor = *count == limit ? (uint64_t)sqlite3_column_int64(row, 16) : 0;
    }
    return r;
}

int state_list(void *priv, enum lathe_job_filter filter, uint64_t cursor, uint32_t limit,
               struct lathe_job_view **ret, size_t *ret_count, uint64_t *ret_cursor,
               struct lathe_error *err)
{
    static const int statements[] = {[LATHE_JOBS_ALL] = S_LIST_ALL,
                                     [LATHE_JOBS_OPEN] = S_LIST_OPEN_BY_AGE,
                                     [LATHE_JOBS_ENDED] = S_LIST_ENDED};
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_READ, err);
    if (r < 0)
        return r;
    r = read_list(db, statements[filter], cursor, limit, ret, ret_count, ret_cursor, err);
    return lathe_db_end(db, r, err);
}

static int read_unit_view(sqlite3_stmt *row, int64_t now_us, struct lathe_unit_view *ret,
                          struct lathe_error *err)
{
    ret->unit = (uint32_t)sqlite3_column_int64(row, 0);
    ret->what = (struct lathe_unit){.kind = (enum lathe_unit_kind)sqlite3_column_int(row, 1),
                                    .index = (uint32_t)sqlite3_column_int64(row, 2),
                                    .needs_pilots = sqlite3_column_int(row, 3) != 0,
                                    .needs_chunks = (uint32_t)sqlite3_column_int64(row, 4),
                                    .needs_object = sqlite3_column_int(row, 14) != 0};
    ret->state = (enum lathe_unit_state)sqlite3_column_int(row, 5);
    ret->failures = (uint32_t)sqlite3_column_int64(row, 6);
    ret->deaths = (uint32_t)sqlite3_column_int64(row, 7);
    int r = lathe_db_text(row, 11, &ret->error, err);
    if (r == 0)
        r = lathe_db_text(row, 12, &ret->result, err);
    if (r < 0 || ret->state != LATHE_UNIT_IS_LEASED)
        return r;
    ret->leased_us = sqlite3_column_int64(row, 9);
    bool is_live = sqlite3_column_int(row, 13) != 0; /* its holder may be known to be dead */
    ret->lease_left_ms = is_live ? (sqlite3_column_int64(row, 10) - now_us) / 1000 + 1 : 0;
    return lathe_db_text(row, 8, &ret->owner, err);
}

static int read_units(struct lathe_db *db, const char *job_id, uint32_t first, uint32_t end,
                      struct lathe_unit_view **list, size_t *count, struct lathe_error *err)
{
    struct job_row job;
    int r = find_job(db, job_id, &job, err);
    if (r == 0)
        r = lathe_error_set(err, -ENOENT, LATHE_FAULT_INPUT, "there is no job %s", job_id);
    if (r < 0)
        return r;
    /* The numbers of the split and the merge are beyond those of all units. */
    int64_t last = end == LATHE_UNITS_MAX ? (int64_t)UINT32_MAX + 1 : end;
    int64_t now_us = lathe_clock_monotonic_us();
    size_t capacity = 0;
    sqlite3_stmt *row;
    r = lathe_db_query(db, err, S_UNIT_VIEWS, &row, "siiii", db->presence.boot_id, now_us, job.n,
                       (int64_t)first, last);
    for (; r == 1; r = lathe_db_next(db, err, row)) {
        int added = grow((void **)list, *count, &capacity, sizeof(**list), err);
        if (added == 0)
            added = read_unit_view(row, now_us, &(*list)[(*count)++], err);
        if (added < 0)
            return added;
    }
    return r;
}

int state_units(void *priv, const char *job_id, uint32_t first, uint32_t end,
                struct lathe_unit_view **ret, size_t *ret_count, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_READ, err);
    if (r < 0)
        return r;
    return lathe_db_end(db, read_units(db, job_id, first, end, ret, ret_count, err), err);
}

static int beat_in(struct lathe_db *db, const char *worker, const char *host, const char *record,
                   int ttl_ms, bool *ret_drain, struct lathe_error *err)
{
    int64_t now_us = lathe_clock_monotonic_us();
    int r = lathe_db_run(db, err, S_BURY, "si", db->presence.boot_id, now_us);
    if (r >= 0)
        r = lathe_db_run(db, err, S_BEAT, "sssisii", worker, host, record, lathe_clock_wall_us(),
                         db->presence.boot_id, db->presence.token, now_us + ttl_ms * 1000LL);
    sqlite3_stmt *row;
    if (r >= 0)
        r = lathe_db_query(db, err, S_IS_DRAINING, &row, "s", worker);
    if (r == 1)
        *ret_drain = sqlite3_column_int(row, 0) != 0;
    return r < 0 ? r : 0;
}

int state_beat(void *priv, const char *worker, const char *host, const char *record, int ttl_ms,
               bool *ret_drain, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_FAST, err);
    if (r < 0)
        return r;
    return lathe_db_end(db, beat_in(db, worker, host, record, ttl_ms, ret_drain, err), err);
}

int state_leave(void *priv, const char *worker, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_FAST, err);
    if (r < 0)
        return r;
    r = lathe_db_end(db, lathe_db_run(db, err, S_LEAVE, "s", worker), err);
    return r < 0 ? r : 0;
}

static int read_workers(struct lathe_db *db, struct lathe_worker_view **list, size_t *count,
                        struct lathe_error *err)
{
    size_t capacity = 0;
    int64_t now_us = lathe_clock_monotonic_us();
    sqlite3_stmt *row;
    int r = lathe_db_query(db, err, S_WORKERS, &row, "si", db->presence.boot_id, now_us);
    for (; r == 1; r = lathe_db_next(db, err, row)) {
        int added = grow((void **)list, *count, &capacity, sizeof(**list), err);
        if (added < 0)
            return added;
        struct lathe_worker_view *view = &(*list)[(*count)++];
        view->drain = sqlite3_column_int(row, 3) != 0;
        view->seen_us = sqlite3_column_int64(row, 4);
        view->ttl_left_ms = (sqlite3_column_int64(row, 5) - now_us) / 1000 + 1;
        added = lathe_db_text(row, 0, &view->name, err);
        if (added == 0)
            added = lathe_db_text(row, 1, &view->host, err);
        if (added == 0)
            added = lathe_db_text(row, 2, &view->record, err);
        if (added < 0)
            return added;
    }
    return r;
}

int state_workers(void *priv, struct lathe_worker_view **ret, size_t *ret_count,
                  struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_READ, err);
    if (r < 0)
        return r;
    return lathe_db_end(db, read_workers(db, ret, ret_count, err), err);
}

int state_drain(void *priv, const char *host, uint32_t *ret_count, struct lathe_error *err)
{
    struct lathe_db *db = priv;
    int r = lathe_db_begin(db, LATHE_DB_FAST, err);
    if (r < 0)
        return r;
    r = lathe_db_run(db, err, S_DRAIN, "sis", db->presence.boot_id, lathe_clock_monotonic_us(),
                     host);
    if (r >= 0)
        *ret_count = (uint32_t)r;
    r = lathe_db_end(db, r, err);
    return r < 0 ? r : 0;
}

void state_check(void *priv, const struct lathe_check *check, struct lathe_findings *ret)
{
    struct lathe_db *db = priv;
    struct lathe_error err = {0};
    lathe_findings_add_one_host(ret, check, "state",
                                "set state.driver to redis, and state.location");
    lathe_findings_add_space(ret, "state.space", "the disk of the state",
                             sqlite3_db_filename(db->sql, "main"));
    int r = lathe_db_begin(db, LATHE_DB_READ, &err);
    if (r == 0) {
        sqlite3_stmt *row;
        r = lathe_db_query(db, &err, S_STALE, &row, "si", db->presence.boot_id,
                           lathe_clock_monotonic_us() - LATHE_STALE_LEASE_S * 1000000LL);
        int64_t stale = r == 1 ? sqlite3_column_int64(row, 0) : 0;
        r = lathe_db_end(db, r, &err);
        if (r >= 0)
            lathe_state_add_stale_leases(ret, stale);
    }
    if (r < 0)
        lathe_findings_add_error(ret, "state.reachable", &err);
}
