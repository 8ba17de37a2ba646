/* SPDX-License-Identifier: MIT */
/*
 * Accepting a job: the store first (so that the state can be lost), then the state, then the bell.
 */
#include "flow.h"

static int record_text(const struct lathe_job *job, json_t **ret_json, char **ret_text,
                       struct lathe_error *err)
{
    json_t *json = NULL;
    if (lathe_job_to_json(job, &json) < 0)
        return lathe_error_nomem(err);
    char *text = json_dumps(json, JSON_COMPACT);
    if (!text) {
        json_decref(json);
        return lathe_error_nomem(err);
    }
    *ret_json = json;
    *ret_text = text;
    return 0;
}

int lathe_flow_submit(struct lathe_flow *flow, const struct lathe_job *job, struct lathe_error *err)
{
    json_t *json = NULL;
    _cleanup_free_ char *text = NULL;
    int r = record_text(job, &json, &text, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *key = lathe_key_job(job->id);
    r = key ? lathe_flow_put_json(flow, key, json, err) : lathe_error_nomem(err);
    json_decref(json);
    if (r == 0)
        r = lathe_state_create(flow->state, job->id, job->priority, text, err);
    if (r == 0)
        r = lathe_queue_publish(flow->queue, LATHE_TOPIC_JOBS, job->id, text, err);
    return r;
}

int lathe_flow_ring_job(struct lathe_flow *flow, const char *job_id, struct lathe_error *err)
{
    json_t *json = json_pack("{s:i, s:s}", "v", 1, "job_id", job_id);
    _cleanup_free_ char *body = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return body ? lathe_queue_publish(flow->queue, LATHE_TOPIC_JOBS, job_id, body, err)
                : lathe_error_nomem(err);
}

int lathe_flow_record_end(struct lathe_flow *flow, const char *job_id, struct lathe_error *err)
{
    struct lathe_job_view view = {0};
    int r = lathe_state_get(flow->state, job_id, &view, err);
    if (r < 0)
        return r;
    json_t *record = view.record ? json_loads(view.record, 0, NULL) : NULL;
    json_t *result = view.result ? json_loads(view.result, 0, NULL) : NULL;
    _cleanup_free_ char *key = lathe_key_job(job_id);
    if (!key || !record ||
        json_object_set_new(record, "status", json_string(lathe_job_status_name(view.status))) <
            0 ||
        json_object_set_new(record, "error", view.error ? json_string(view.error) : json_null()) <
            0 ||
        json_object_set_new(record, "finished_us", json_integer(view.finished_us)) < 0 ||
        (result && json_object_set(record, "result", result) < 0))
        r = lathe_error_nomem(err);
    if (r == 0)
        r = lathe_flow_put_json(flow, key, record, err);
    json_decref(record);
    json_decref(result);
    lathe_job_view_clear(&view);
    return r;
}
