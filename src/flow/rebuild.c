/* SPDX-License-Identifier: MIT */
/*
 * The state was lost: jobs that have not ended are made again from their records in the store
 * (src/state/protocol.md, "Losing the state"). The plan is found there by the split, and finished
 * units by whoever claims them (found.c), so a rebuild costs one listing.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "flow.h"

/* The fence in "chunk_003.4294967297.mp4"; 0 when there is none. */
static uint64_t fence_of(const char *key)
{
    const char *name = strrchr(key, '/'), *dot = name ? strchr(name, '.') : NULL;
    char *end;
    uint64_t fence = dot ? strtoull(dot + 1, &end, 10) : 0;
    return dot && end > dot + 1 && *end == '.' ? fence : 0;
}

static int note_epoch(void *opaque, const char *key, uint64_t size_bytes)
{
    (void)size_bytes;
    uint32_t *epoch = opaque;
    uint32_t seen = (uint32_t)(fence_of(key) >> 32);
    if (seen > *epoch)
        *epoch = seen;
    return 0;
}

static bool has_ended(const json_t *record)
{
    const char *status = json_string_value(json_object_get(record, "status"));
    for (int s = LATHE_JOB_COMPLETED; status && s <= LATHE_JOB_CANCELLED; s++)
        if (strcmp(status, lathe_job_status_name((enum lathe_job_status)s)) == 0)
            return true;
    return false;
}

/* The job in a new epoch, so that every fence of the life that was lost is stale. */
static int create_again(struct lathe_flow *flow, const char *job_id, const json_t *record,
                        struct lathe_error *err)
{
    struct lathe_job job;
    lathe_job_init(&job);
    int r = lathe_job_from_json(record, &job, err);
    int priority = job.priority;
    bool is_it = r == 0 && strcmp(job.id, job_id) == 0;
    lathe_job_finish(&job);
    if (r == 0 && !is_it)
        r = lathe_error_set(err, -EBADMSG, LATHE_FAULT_INPUT, "the record of job %s names another",
                            job_id);
    if (r < 0)
        return r;
    _cleanup_free_ char *text = json_dumps(record, JSON_COMPACT);
    _cleanup_free_ char *prefix = lathe_key_prefix_transcoded(job_id);
    if (!text || !prefix)
        return lathe_error_nomem(err);
    uint32_t epoch = 0;
    enum lathe_verdict verdict;
    r = lathe_store_list(flow->store, prefix, note_epoch, &epoch, err);
    if (r == 0)
        r = lathe_state_create(flow->state, job_id, priority, text, err);
    if (r == 0 && epoch > 0)
        r = lathe_state_retry(flow->state, job_id, epoch, false, &verdict, err);
    return r;
}

int lathe_flow_rebuild(struct lathe_flow *flow, const char *job_id, bool *ret_is_open,
                       struct lathe_error *err)
{
    _cleanup_free_ char *key = lathe_key_job(job_id);
    if (!key)
        return lathe_error_nomem(err);
    json_t *record = NULL;
    struct lathe_error why = {0};
    int r = lathe_flow_get_json(flow, key, &record, &why);
    bool is_open = r == 0 && !has_ended(record);
    if (is_open)
        r = create_again(flow, job_id, record, &why);
    else if (r == 0) /* whoever committed it may have died before its outputs had their names */
        r = lathe_flow_publish_outputs(flow, job_id, json_object_get(record, "result"), &why);
    json_decref(record);
    if (r == -ENOENT || (r == -EBADMSG && !why.by_port)) { /* no job of ours */
        *ret_is_open = false;
        return 0;
    }
    if (r == 0)
        *ret_is_open = is_open;
    else if (err)
        *err = why;
    return r;
}

int lathe_flow_revive(struct lathe_flow *flow, const char *job_id,
                      enum lathe_job_status *ret_status, struct lathe_error *err)
{
    struct lathe_job_view view = {0};
    struct lathe_error why = {0};
    int r = lathe_state_get(flow->state, job_id, &view, &why);
    enum lathe_job_status status = view.status;
    lathe_job_view_clear(&view);
    if (r == -ENOENT) {
        bool is_open = false;
        r = lathe_flow_rebuild(flow, job_id, &is_open, err);
        if (r == 0 && is_open)
            r = lathe_flow_ring_job(flow, job_id, err);
        *ret_status = is_open ? LATHE_JOB_QUEUED : LATHE_JOB_CANCELLED;
        return r < 0 ? r : is_open;
    }
    if (r < 0 && err)
        *err = why;
    *ret_status = status;
    return r;
}

struct rebuilding {
    struct lathe_flow *flow;
    int count;
    struct lathe_error *err;
};

/* A key of the store: "jobs/{job}.json". */
static int rebuild_listed(void *opaque, const char *key, uint64_t size_bytes)
{
    (void)size_bytes;
    struct rebuilding *all = opaque;
    const char *name = key + strlen("jobs/"), *end = strstr(name, ".json");
    char job_id[LATHE_ID_MAX + 1];
    if (!end || end[strlen(".json")] || (size_t)(end - name) >= sizeof job_id)
        return 0;
    snprintf(job_id, sizeof job_id, "%.*s", (int)(end - name), name);
    if (!lathe_job_id_is_valid(job_id))
        return 0;
    enum lathe_job_status status;
    int r = lathe_flow_revive(all->flow, job_id, &status, all->err);
    all->count += r > 0;
    return r < 0 ? r : 0;
}

int lathe_flow_rebuild_all(struct lathe_flow *flow, struct lathe_error *err)
{
    struct rebuilding all = {.flow = flow, .err = err};
    int r = lathe_store_list(flow->store, "jobs/", rebuild_listed, &all, err);
    return r < 0 ? r : all.count;
}
