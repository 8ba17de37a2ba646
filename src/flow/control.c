/* SPDX-License-Identifier: MIT */
/*
 * What people do to a job: stop it, begin it again, forget it. The state decides first, so that
 * workers hear of it whatever becomes of the rest; the rest can be repeated.
 */
#include <errno.h>

#include "flow.h"

/* -ENOENT with words that say how a job can be unknown. */
static int find(struct lathe_flow *flow, const char *job_id, struct lathe_job_view *ret,
                struct lathe_error *err)
{
    int r = lathe_state_get(flow->state, job_id, ret, err);
    if (r == -ENOENT)
        lathe_error_hint(err, "\"lathe list\" shows the jobs that are known; those that ended are "
                              "forgotten after some time");
    return r;
}

/* `record`: what a foreign producer stored for the job stays; NULL: it goes too. */
static int remove_objects_of(struct lathe_flow *flow, const char *job_id, const char *record,
                             struct lathe_error *err)
{
    _cleanup_free_ char *transcoded = lathe_key_prefix_transcoded(job_id);
    if (!transcoded)
        return lathe_error_nomem(err);
    int r = lathe_store_remove_prefix(flow->store, transcoded, err);
    return r < 0 ? r : lathe_flow_remove_chunks(flow, job_id, record, err);
}

int lathe_flow_cancel(struct lathe_flow *flow, const char *job_id, const char *reason,
                      struct lathe_error *err)
{
    enum lathe_verdict verdict;
    int r = lathe_state_finish(flow->state, job_id, LATHE_JOB_CANCELLED, reason, &verdict, err);
    struct lathe_job_view view = {0};
    if (r == 0)
        r = find(flow, job_id, &view, err);
    enum lathe_job_status status = view.status;
    _cleanup_free_ char *record = view.record;
    view.record = NULL;
    lathe_job_view_clear(&view);
    if (r < 0)
        return r;
    if (status != LATHE_JOB_CANCELLED) /* it was too late; the repeat of a cancel cleans up again */
        return lathe_error_set(err, -EALREADY, LATHE_FAULT_INPUT, "job %s has ended already: %s",
                               job_id, lathe_job_status_name(status));
    r = lathe_flow_record_end(flow, job_id, err);
    return r < 0 ? r : remove_objects_of(flow, job_id, record, err);
}

/* The record in the store as it was accepted, so that a rebuild takes the job for open. */
static int reopen_record(struct lathe_flow *flow, const char *job_id, const char *text,
                         struct lathe_error *err)
{
    json_t *record = text ? json_loads(text, 0, NULL) : NULL;
    _cleanup_free_ char *key = lathe_key_job(job_id);
    int r = key && record ? lathe_flow_put_json(flow, key, record, err)
                          : lathe_error_set(err, -EBADMSG, LATHE_FAULT_INPUT,
                                            "job %s has no readable record", job_id);
    json_decref(record);
    return r;
}

int lathe_flow_retry(struct lathe_flow *flow, const char *job_id, bool from_start,
                     struct lathe_error *err)
{
    struct lathe_job_view view = {0};
    int r = find(flow, job_id, &view, err);
    if (r < 0)
        return r;
    enum lathe_verdict verdict;
    if (view.status == LATHE_JOB_COMPLETED) {
        r = lathe_error_set(err, -EALREADY, LATHE_FAULT_INPUT, "job %s is complete", job_id);
        lathe_error_hint(err, "lathe fetch %s -o PATH; or submit it again", job_id);
    } else if (view.status != LATHE_JOB_FAILED && view.status != LATHE_JOB_CANCELLED) {
        r = lathe_error_set(err, -EBUSY, LATHE_FAULT_INPUT, "job %s has not ended: it is %s",
                            job_id, lathe_job_status_name(view.status));
        lathe_error_hint(err, "lathe status %s", job_id);
    } else {
        r = reopen_record(flow, job_id, view.record, err);
        if (r == 0) /* a cancelled job has left no objects */
            r = lathe_state_retry(flow->state, job_id, view.epoch,
                                  !from_start && view.status == LATHE_JOB_FAILED, &verdict, err);
        if (r == 0)
            r = lathe_flow_ring_job(flow, job_id, err);
    }
    lathe_job_view_clear(&view);
    return r;
}

int lathe_flow_forget(struct lathe_flow *flow, const char *job_id, struct lathe_error *err)
{
    struct lathe_job_view view = {0};
    struct lathe_store_meta meta;
    struct lathe_error why = {0};
    int known = find(flow, job_id, &view, &why);
    bool is_open = known == 0 && view.status < LATHE_JOB_COMPLETED;
    lathe_job_view_clear(&view);
    if (is_open) {
        lathe_error_set(err, -EBUSY, LATHE_FAULT_INPUT, "job %s has not ended", job_id);
        lathe_error_hint(err, "lathe cancel %s", job_id);
        return -EBUSY;
    }
    _cleanup_free_ char *record = lathe_key_job(job_id);
    _cleanup_free_ char *source = lathe_format("raw/%s.", job_id);
    if (!record || !source)
        return lathe_error_nomem(err);
    /* The state may have forgotten it before the store has. */
    if (known == -ENOENT && lathe_store_stat(flow->store, record, &meta, NULL) == 0)
        known = 0;
    if (known < 0) {
        if (err)
            *err = why;
        return known;
    }
    /* The record goes first: what has none is never built anew from the store. */
    int r = lathe_store_remove(flow->store, record, err);
    if (r == 0)
        r = remove_objects_of(flow, job_id, NULL, err);
    if (r == 0)
        r = lathe_store_remove_prefix(flow->store, source, err);
    return r < 0 ? r : lathe_state_remove(flow->state, job_id, err);
}
