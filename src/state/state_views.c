/* SPDX-License-Identifier: MIT */
/*
 * The front of what people are shown and of the registry of workers: arguments are checked once,
 * and half-made lists never reach the caller. The rest of the front is in state.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lathe/base.h"
#include "state_findings.h"
#include "state_front.h"

#define RECORD_MAX_BYTES (64u << 10) /* of a worker */

const char *lathe_unit_state_name(enum lathe_unit_state state)
{
    static const char *const names[] = {"blocked", "open", "leased", "done", "closed"};
    return (unsigned)state < LATHE_COUNT(names) ? names[state] : "unknown";
}

void lathe_unit_describe(uint32_t unit, const struct lathe_unit *what, char *ret, size_t size)
{
    if (unit == LATHE_UNIT_SPLIT || unit == LATHE_UNIT_MERGE)
        snprintf(ret, size, "the %s", unit == LATHE_UNIT_SPLIT ? "split" : "merge");
    else
        snprintf(ret, size, "%s %u", lathe_unit_kind_name(what->kind), what->index);
}

void lathe_job_views_free(struct lathe_job_view *list, size_t count)
{
    for (size_t i = 0; list && i < count; i++)
        lathe_job_view_clear(&list[i]);
    free(list);
}

void lathe_unit_views_free(struct lathe_unit_view *list, size_t count)
{
    for (size_t i = 0; list && i < count; i++) {
        free(list[i].owner);
        free(list[i].error);
        free(list[i].result);
    }
    free(list);
}

void lathe_worker_views_free(struct lathe_worker_view *list, size_t count)
{
    for (size_t i = 0; list && i < count; i++) {
        free(list[i].name);
        free(list[i].host);
        free(list[i].record);
    }
    free(list);
}

int lathe_state_list(struct lathe_state *st, enum lathe_job_filter filter, uint64_t cursor,
                     uint32_t limit, struct lathe_job_view **ret, size_t *ret_count,
                     uint64_t *ret_cursor, struct lathe_error *err)
{
    if (limit == 0 || limit > LATHE_LIST_MAX || cursor > INT64_MAX ||
        (unsigned)filter > LATHE_JOBS_ENDED)
        return lathe_state_bad_argument(err, "a list has 1 to 1000 jobs");
    struct lathe_job_view *list = NULL;
    size_t count = 0;
    uint64_t next = 0;
    int r = CALL(list, filter, cursor, limit, &list, &count, &next, err);
    if (r < 0) {
        lathe_job_views_free(list, count);
        return r;
    }
    *ret = list;
    *ret_count = count;
    *ret_cursor = next;
    return 0;
}

int lathe_state_units(struct lathe_state *st, const char *job_id, uint32_t first, uint32_t end,
                      struct lathe_unit_view **ret, size_t *ret_count, struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0)
        return -EINVAL;
    if (first > end || end > LATHE_UNITS_MAX)
        return lathe_state_bad_argument(err, "no such range of units");
    struct lathe_unit_view *list = NULL;
    size_t count = 0;
    int r = CALL(units, job_id, first, end, &list, &count, err);
    if (r < 0) {
        lathe_unit_views_free(list, count);
        return r;
    }
    *ret = list;
    *ret_count = count;
    return 0;
}

static int check_worker(const char *name, struct lathe_error *err)
{
    if (name && *name && strlen(name) <= LATHE_OWNER_MAX)
        return 0;
    return lathe_state_bad_argument(err, "a worker and its host have names of 1 to 256 bytes");
}

int lathe_state_beat(struct lathe_state *st, const char *worker, const char *host,
                     const char *record, int ttl_ms, bool *ret_drain, struct lathe_error *err)
{
    if (check_worker(worker, err) < 0 || check_worker(host, err) < 0)
        return -EINVAL;
    if (!record || strlen(record) > RECORD_MAX_BYTES || ttl_ms <= 0)
        return lathe_state_bad_argument(err, "a beat needs a record of at most 64 KiB and a time");
    bool drain = false;
    int r = CALL(beat, worker, host, record, ttl_ms, &drain, err);
    if (r == 0)
        *ret_drain = drain;
    return r;
}

int lathe_state_leave(struct lathe_state *st, const char *worker, struct lathe_error *err)
{
    if (check_worker(worker, err) < 0)
        return -EINVAL;
    return CALL(leave, worker, err);
}

int lathe_state_workers(struct lathe_state *st, struct lathe_worker_view **ret, size_t *ret_count,
                        struct lathe_error *err)
{
    struct lathe_worker_view *list = NULL;
    size_t count = 0;
    int r = CALL(workers, &list, &count, err);
    if (r < 0) {
        lathe_worker_views_free(list, count);
        return r;
    }
    *ret = list;
    *ret_count = count;
    return 0;
}

int lathe_state_drain(struct lathe_state *st, const char *host, uint32_t *ret_count,
                      struct lathe_error *err)
{
    if (check_worker(host, err) < 0)
        return -EINVAL;
    uint32_t count = 0;
    int r = CALL(drain, host, &count, err);
    if (r == 0)
        *ret_count = count;
    return r;
}

void lathe_state_add_stale_leases(struct lathe_findings *findings, int64_t count)
{
    if (count == 0)
        lathe_findings_add(findings, "state.leases", LATHE_FINDING_GOOD, NULL,
                           "no unit waits for a worker that is gone");
    else
        lathe_findings_add(findings, "state.leases", LATHE_FINDING_FAULT,
                           "systemctl start lathe-worker    (on any host: a worker that lives "
                           "takes them over)",
                           "%lld units belong to workers that have been silent for over %d s, and "
                           "no other has taken them over",
                           (long long)count, LATHE_STALE_LEASE_S);
}

void lathe_state_check(const char *driver, const char *location, const struct lathe_check *check,
                       struct lathe_findings *ret)
{
    struct lathe_state *st = NULL;
    struct lathe_error err = {0};
    if (lathe_state_open(driver, location, &st, &err) < 0) {
        lathe_findings_add_error(ret, "state.reachable", &err);
        return;
    }
    lathe_findings_add(ret, "state.reachable", LATHE_FINDING_GOOD, NULL, "the state answers (%s)",
                       driver);
    st->driver->check(st->priv, check, ret);
    lathe_state_close(st);
}
