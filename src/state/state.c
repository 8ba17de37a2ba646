/* SPDX-License-Identifier: MIT */
/*
 * The front of the state port: chooses the driver, checks every argument once, and hands outputs to
 * the caller only when the call succeeded, so that drivers hold nothing but transitions. Adding a
 * driver: its file, and a line in `drivers`.
 */
#include "lathe/state.h"

#include <errno.h>
#include <string.h>

#include "drivers.h"
#include "lathe/base.h"
#include "state_front.h"

#define TEXT_MAX_BYTES (16u << 20) /* of a record or result */
#define REASON_WHEN_NONE "no reason was given"

static const struct lathe_state_driver *const drivers[] = {
    &lathe_state_sqlite,
    &lathe_state_redis,
};

const char *lathe_job_status_name(enum lathe_job_status status)
{
    static const char *const names[] = {"queued",    "splitting", "transcoding", "merging",
                                        "completed", "failed",    "cancelled"};
    return (unsigned)status < LATHE_COUNT(names) ? names[status] : "unknown";
}

void lathe_job_view_clear(struct lathe_job_view *view)
{
    if (!view)
        return;
    free(view->error);
    free(view->record);
    free(view->result);
    free(view->replan);
    *view = (struct lathe_job_view){0};
}

void lathe_done_free(struct lathe_done *list, size_t count)
{
    for (size_t i = 0; list && i < count; i++)
        free(list[i].result);
    free(list);
}

int lathe_state_open(const char *driver, const char *location, struct lathe_state **ret,
                     struct lathe_error *err)
{
    if (!driver || !location || !*location)
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG,
                               "the state needs a driver and a location");
    for (size_t i = 0; i < LATHE_COUNT(drivers); i++) {
        if (strcmp(drivers[i]->name, driver))
            continue;
        struct lathe_state *st = calloc(1, sizeof(*st) + drivers[i]->priv_size);
        if (!st)
            return lathe_error_nomem(err);
        st->driver = drivers[i];
        int r = st->driver->open(st->priv, location, err);
        if (r < 0) {
            lathe_state_close(st);
            lathe_error_prefix(err, "state");
            return r;
        }
        *ret = st;
        return 0;
    }
    return lathe_error_set(err, -ENOENT, LATHE_FAULT_CONFIG,
                           "this build has no state driver named \"%s\"", driver);
}

void lathe_state_close(struct lathe_state *state)
{
    if (!state)
        return;
    state->driver->close(state->priv);
    free(state);
}

void lathe_state_set_patience(struct lathe_state *st, const struct lathe_patience *patience)
{
    st->patience = *patience;
}

int lathe_state_bad_argument(struct lathe_error *err, const char *what)
{
    return lathe_error_set(err, -EINVAL, LATHE_FAULT_INPUT, "state: %s", what);
}

int lathe_state_check_id(const char *job_id, struct lathe_error *err)
{
    if (job_id && lathe_job_id_is_valid(job_id))
        return 0;
    return lathe_state_bad_argument(err, "a job id has 1 to 64 characters of 0-9, a-z and -");
}

static int check_text(const char *text, struct lathe_error *err)
{
    if (text && strlen(text) <= TEXT_MAX_BYTES)
        return 0;
    return lathe_state_bad_argument(err, "a record or result is missing or too long");
}

static int check_lease(const char *job_id, const char *owner, int ttl_ms, struct lathe_error *err)
{
    if (job_id && lathe_state_check_id(job_id, err) < 0)
        return -EINVAL;
    if (!owner || !*owner || strlen(owner) > LATHE_OWNER_MAX)
        return lathe_state_bad_argument(err, "a lease needs the name of its owner");
    if (ttl_ms <= 0)
        return lathe_state_bad_argument(err, "a lease needs a length");
    return 0;
}

static bool is_unit(uint32_t unit)
{
    return unit < LATHE_UNITS_MAX;
}

static bool is_leasable(uint32_t unit)
{
    return is_unit(unit) || unit == LATHE_UNIT_SPLIT || unit == LATHE_UNIT_MERGE;
}

int lathe_state_create(struct lathe_state *st, const char *job_id, int priority, const char *record,
                       struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0 || check_text(record, err) < 0)
        return -EINVAL;
    return CALL(create, job_id, priority, record, err);
}

int lathe_state_announced(struct lathe_state *st, const char *job_id, uint32_t *ret,
                          struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0)
        return -EINVAL;
    if (!st->driver->announced)
        return lathe_error_set(err, -ENOENT, LATHE_FAULT_INPUT,
                               "nobody but Lathe can make jobs in this state");
    uint32_t chunks = 0;
    int r = CALL(announced, job_id, &chunks, err);
    if (r == 0)
        *ret = chunks;
    return r;
}

int lathe_state_claim_split(struct lathe_state *st, const char *job_id, const char *owner,
                            int ttl_ms, enum lathe_verdict *ret, uint64_t *ret_fence,
                            int *ret_wait_ms, struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0 || check_lease(job_id, owner, ttl_ms, err) < 0)
        return -EINVAL;
    enum lathe_verdict verdict = LATHE_GONE;
    uint64_t fence = 0;
    int wait_ms = 0;
    int r = CALL(claim_split, job_id, owner, ttl_ms, &verdict, &fence, &wait_ms, err);
    if (r < 0)
        return r;
    *ret = verdict;
    *ret_fence = fence;
    if (ret_wait_ms)
        *ret_wait_ms = wait_ms;
    return 0;
}

/* Needs that can never be met would leave a job waiting for ever, so they are refused here. */
static int check_units(const struct lathe_unit *units, uint32_t count, struct lathe_error *err)
{
    if (!units || count == 0 || count > LATHE_UNITS_MAX)
        return lathe_state_bad_argument(err, "a job needs between one and a million units");
    uint32_t seen[3] = {0}, chunks = 0;
    for (uint32_t i = 0; i < count; i++)
        chunks += units[i].kind == LATHE_UNIT_CHUNK;
    for (uint32_t i = 0; i < count; i++) {
        const struct lathe_unit *u = &units[i];
        if ((unsigned)u->kind > LATHE_UNIT_CHUNK || (i && u->kind < units[i - 1].kind) ||
            u->index != seen[u->kind]++)
            return lathe_state_bad_argument(
                err, "units come as pilots, audio, chunks, each from index 0 on");
        if (u->kind == LATHE_UNIT_PILOT && (u->needs_pilots || u->needs_chunks))
            return lathe_state_bad_argument(err, "a pilot cannot wait for other units");
        if (u->needs_chunks > (u->kind == LATHE_UNIT_CHUNK ? u->index : chunks))
            return lathe_state_bad_argument(
                err, "a unit waits for a chunk that cannot be done before it");
    }
    return 0;
}

int lathe_state_set_units(struct lathe_state *st, const char *job_id, uint64_t fence,
                          const struct lathe_unit *units, uint32_t count, enum lathe_verdict *ret,
                          struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0 || check_units(units, count, err) < 0)
        return -EINVAL;
    enum lathe_verdict verdict = LATHE_GONE;
    int r = CALL(set_units, job_id, fence, units, count, &verdict, err);
    if (r == 0)
        *ret = verdict;
    return r;
}

static int check_list(const uint32_t *units, uint32_t count, struct lathe_error *err)
{
    for (uint32_t i = 0; i < count; i++)
        if (!units || !is_unit(units[i]) || (i && units[i] <= units[i - 1]))
            return lathe_state_bad_argument(err, "several units are named in order, each once");
    return count ? 0 : lathe_state_bad_argument(err, "no unit is named");
}

int lathe_state_stored(struct lathe_state *st, const char *job_id, uint64_t fence,
                       const uint32_t *units, uint32_t count, enum lathe_verdict *ret,
                       struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0 || check_list(units, count, err) < 0)
        return -EINVAL;
    enum lathe_verdict verdict = LATHE_GONE;
    int r = st->driver->stored(st->priv, job_id, fence, units, count, &verdict, err);
    if (r == 0)
        *ret = verdict;
    return r;
}

int lathe_state_claim(struct lathe_state *st, const char *job_id, uint32_t unit, const char *owner,
                      int ttl_ms, enum lathe_verdict *ret, struct lathe_claim *ret_claim,
                      int *ret_wait_ms, struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0 || check_lease(job_id, owner, ttl_ms, err) < 0)
        return -EINVAL;
    if (!is_unit(unit))
        return lathe_state_bad_argument(err, "no such unit");
    enum lathe_verdict verdict = LATHE_GONE;
    struct lathe_claim claim = {0};
    int wait_ms = 0;
    int r = CALL(claim, job_id, unit, owner, ttl_ms, &verdict, &claim, &wait_ms, err);
    if (r < 0)
        return r;
    *ret = verdict;
    if (verdict == LATHE_GRANTED)
        *ret_claim = claim;
    if (ret_wait_ms)
        *ret_wait_ms = wait_ms;
    return 0;
}

bool lathe_state_is_of_one_host(const struct lathe_state *st)
{
    return st->driver->is_of_one_host;
}

int lathe_state_claim_next(struct lathe_state *st, const struct lathe_claim_wish *wish,
                           const char *owner, int ttl_ms, enum lathe_verdict *ret,
                           struct lathe_claim *ret_claim, struct lathe_error *err)
{
    if (check_lease(wish->job_id, owner, ttl_ms, err) < 0)
        return -EINVAL;
    if (wish->n_except > LATHE_CLAIM_EXCEPT_MAX)
        return lathe_state_bad_argument(err, "too many jobs are excepted");
    for (size_t i = 0; i < wish->n_except; i++)
        if (lathe_state_check_id(wish->except[i], err) < 0)
            return -EINVAL;
    enum lathe_verdict verdict = LATHE_WAIT;
    struct lathe_claim claim = {0};
    int r = CALL(claim_next, wish, owner, ttl_ms, &verdict, &claim, err);
    if (r < 0)
        return r;
    *ret = verdict;
    if (verdict == LATHE_GRANTED)
        *ret_claim = claim;
    return 0;
}

char *lathe_state_except_json(const struct lathe_claim_wish *wish)
{
    json_t *ids = json_array();
    for (size_t i = 0; ids && !wish->job_id && i < wish->n_except; i++)
        if (json_array_append_new(ids, json_string(wish->except[i])) < 0) {
            json_decref(ids);
            ids = NULL;
        }
    char *text = ids ? json_dumps(ids, JSON_COMPACT) : NULL;
    json_decref(ids);
    return text;
}

int lathe_state_renew(struct lathe_state *st, const char *job_id, uint32_t unit, uint64_t fence,
                      int ttl_ms, enum lathe_verdict *ret, struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0)
        return -EINVAL;
    if (!is_leasable(unit) || ttl_ms <= 0)
        return lathe_state_bad_argument(err, "no such lease");
    enum lathe_verdict verdict = LATHE_GONE;
    int r = CALL(renew, job_id, unit, fence, ttl_ms, &verdict, err);
    if (r == 0)
        *ret = verdict;
    return r;
}

int lathe_state_complete(struct lathe_state *st, const char *job_id, uint32_t unit, uint64_t fence,
                         const char *result, enum lathe_verdict *ret, struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0 || check_text(result, err) < 0)
        return -EINVAL;
    if (!is_unit(unit))
        return lathe_state_bad_argument(err, "no such unit");
    enum lathe_verdict verdict = LATHE_GONE;
    int r = CALL(complete, job_id, unit, fence, result, &verdict, err);
    if (r == 0)
        *ret = verdict;
    return r;
}

int lathe_state_attempt_failed(struct lathe_state *st, const char *job_id, uint32_t unit,
                               uint64_t fence, bool permanent, const char *reason,
                               enum lathe_verdict *ret, struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0)
        return -EINVAL;
    if (!is_leasable(unit))
        return lathe_state_bad_argument(err, "no such unit");
    enum lathe_verdict verdict = LATHE_GONE;
    int r = CALL(attempt_failed, job_id, unit, fence, permanent,
                 reason && *reason ? reason : REASON_WHEN_NONE, &verdict, err);
    if (r == 0)
        *ret = verdict;
    return r;
}

int lathe_state_release(struct lathe_state *st, const char *job_id, uint32_t unit, uint64_t fence,
                        struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0)
        return -EINVAL;
    if (!is_leasable(unit))
        return lathe_state_bad_argument(err, "no such lease");
    return st->driver->release(st->priv, job_id, unit, fence, err);
}

int lathe_state_merge_claim(struct lathe_state *st, const char *job_id, const char *owner,
                            int ttl_ms, enum lathe_verdict *ret, uint64_t *ret_fence,
                            struct lathe_done **ret_done, size_t *ret_count, int *ret_wait_ms,
                            struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0 || check_lease(job_id, owner, ttl_ms, err) < 0)
        return -EINVAL;
    enum lathe_verdict verdict = LATHE_GONE;
    uint64_t fence = 0;
    struct lathe_done *done = NULL;
    size_t count = 0;
    int wait_ms = 0;
    int r =
        CALL(merge_claim, job_id, owner, ttl_ms, &verdict, &fence, &done, &count, &wait_ms, err);
    if (r < 0) {
        lathe_done_free(done, count);
        return r;
    }
    *ret = verdict;
    *ret_fence = fence;
    *ret_done = done;
    *ret_count = count;
    if (ret_wait_ms)
        *ret_wait_ms = wait_ms;
    return 0;
}

int lathe_state_merge_commit(struct lathe_state *st, const char *job_id, uint64_t fence,
                             const char *result, enum lathe_verdict *ret, struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0 || check_text(result, err) < 0)
        return -EINVAL;
    enum lathe_verdict verdict = LATHE_GONE;
    int r = CALL(merge_commit, job_id, fence, result, &verdict, err);
    if (r == 0)
        *ret = verdict;
    return r;
}

int lathe_state_reopen(struct lathe_state *st, const char *job_id, uint64_t fence,
                       const uint32_t *units, uint32_t count, const char *reason,
                       enum lathe_verdict *ret, struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0 || check_list(units, count, err) < 0)
        return -EINVAL;
    enum lathe_verdict verdict = LATHE_GONE;
    int r = CALL(reopen, job_id, fence, units, count, reason && *reason ? reason : REASON_WHEN_NONE,
                 &verdict, err);
    if (r == 0)
        *ret = verdict;
    return r;
}

int lathe_state_replan(struct lathe_state *st, const char *job_id, uint64_t fence,
                       const char *reason, enum lathe_verdict *ret, struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0)
        return -EINVAL;
    enum lathe_verdict verdict = LATHE_GONE;
    int r =
        CALL(replan, job_id, fence, reason && *reason ? reason : REASON_WHEN_NONE, &verdict, err);
    if (r == 0)
        *ret = verdict;
    return r;
}

int lathe_state_finish(struct lathe_state *st, const char *job_id, enum lathe_job_status status,
                       const char *reason, enum lathe_verdict *ret, struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0)
        return -EINVAL;
    if (status != LATHE_JOB_FAILED && status != LATHE_JOB_CANCELLED)
        return lathe_state_bad_argument(err, "a job is finished as failed or cancelled");
    enum lathe_verdict verdict = LATHE_GONE;
    int r =
        CALL(finish, job_id, status, reason && *reason ? reason : REASON_WHEN_NONE, &verdict, err);
    if (r == 0)
        *ret = verdict;
    return r;
}

int lathe_state_retry(struct lathe_state *st, const char *job_id, uint32_t seen_epoch,
                      bool keep_results, enum lathe_verdict *ret, struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0)
        return -EINVAL;
    if (seen_epoch >= INT32_MAX) /* a fence fits a signed 64-bit column */
        return lathe_state_bad_argument(err, "no such epoch");
    enum lathe_verdict verdict = LATHE_GONE;
    int r = CALL(retry, job_id, seen_epoch, keep_results, &verdict, err);
    if (r == 0)
        *ret = verdict;
    return r;
}

int lathe_state_results(struct lathe_state *st, const char *job_id, uint32_t first, uint32_t end,
                        struct lathe_done **ret_done, size_t *ret_count, struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0)
        return -EINVAL;
    if (first > end || end > LATHE_UNITS_MAX)
        return lathe_state_bad_argument(err, "no such range of units");
    struct lathe_done *done = NULL;
    size_t count = 0;
    int r = CALL(results, job_id, first, end, &done, &count, err);
    if (r < 0) {
        lathe_done_free(done, count);
        return r;
    }
    *ret_done = done;
    *ret_count = count;
    return 0;
}

int lathe_state_get(struct lathe_state *st, const char *job_id, struct lathe_job_view *ret,
                    struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0)
        return -EINVAL;
    struct lathe_job_view view = {0};
    int r = CALL(get, job_id, &view, err);
    if (r < 0)
        lathe_job_view_clear(&view);
    else
        *ret = view;
    return r < 0 ? r : 0;
}

int lathe_state_list_open(struct lathe_state *st, char ***ret_ids, size_t *ret_count,
                          struct lathe_error *err)
{
    char **ids = NULL;
    size_t count = 0;
    int r = CALL(list_open, &ids, &count, err);
    if (r < 0) {
        for (size_t i = 0; i < count; i++)
            free(ids[i]);
        free(ids);
        return r;
    }
    *ret_ids = ids;
    *ret_count = count;
    return 0;
}

int lathe_state_remove(struct lathe_state *st, const char *job_id, struct lathe_error *err)
{
    if (lathe_state_check_id(job_id, err) < 0)
        return -EINVAL;
    return CALL(remove, job_id, err);
}
