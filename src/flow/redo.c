/* SPDX-License-Identifier: MIT */
/*
 * What is done and then turns out to be unusable, which only the merge can see. The state takes it
 * back and bounds how often; the bells rung here only save others a while of not looking.
 */
#include <errno.h>
#include <string.h>

#include "flow.h"
#include "lathe/metrics.h"

/* Whether the error names one of the result's objects. Their names hold the fence, so that nothing
 * else is called like them, and are the same for every rendition of a chunk. */
static bool is_named(const json_t *body, const struct lathe_error *why)
{
    size_t i;
    const json_t *one;
    json_array_foreach (json_object_get(body, "keys"), i, one) {
        const char *key = json_string_value(one);
        const char *slash = key ? strrchr(key, '/') : NULL;
        if (slash && slash[1] && strstr(why->what, slash + 1))
            return true;
    }
    return false;
}

/* Moves the results that are to blame to the front of `list`; returns how many. Only what is known
 * to be wrong counts: a store that does not answer says nothing about its objects. */
static size_t find_unusable(struct lathe_flow *flow, const struct lathe_plan *plan,
                            const struct lathe_done *done, size_t count,
                            const struct lathe_error *why, const struct lathe_done **list)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (done[i].what.kind == LATHE_UNIT_PILOT)
            continue;
        json_t *body = json_loads(done[i].result, 0, NULL);
        if (body && (is_named(body, why) ||
                     lathe_flow_result_is_whole(flow, plan, &done[i].what, body) == 0))
            list[n++] = &done[i];
        json_decref(body);
    }
    return n;
}

int lathe_flow_reopen(struct lathe_flow *flow, const struct lathe_job *job,
                      const struct lathe_flow_work *work, uint64_t merge_fence,
                      const struct lathe_done **list, size_t count, const struct lathe_error *why,
                      struct lathe_error *err)
{
    uint32_t *units = calloc(count, sizeof *units);
    if (!units)
        return lathe_error_nomem(err);
    for (size_t i = 0; i < count; i++)
        units[i] = list[i]->unit;
    enum lathe_verdict verdict;
    int r = lathe_state_reopen(flow->state, job->id, merge_fence, units, (uint32_t)count, why->what,
                               &verdict, err);
    free(units);
    if (r < 0)
        return r;
    lathe_flow_tell_failure(flow, work, why, verdict);
    for (size_t i = 0; r == 0 && verdict == LATHE_RETRY && i < count; i++) {
        json_t *body = json_loads(list[i]->result, 0, NULL);
        lathe_flow_remove_objects(flow, body);
        json_decref(body);
        lathe_metrics_add(LATHE_METRIC_TASKS_REOPENED, NULL, 1);
        if (flow->sink.reopened)
            flow->sink.reopened(flow->sink.opaque, job->id, list[i]->unit);
        r = lathe_flow_ring_unit(flow, job, &list[i]->what, list[i]->unit, err);
    }
    return r;
}

int lathe_flow_merge_failed(struct lathe_flow *flow, const struct lathe_flow_job *fj,
                            const struct lathe_flow_work *work, uint64_t merge_fence,
                            const struct lathe_done *done, size_t count,
                            const struct lathe_error *why, struct lathe_error *err)
{
    size_t n = 0;
    const struct lathe_done **list = NULL;
    if (why->fault != LATHE_FAULT_INTERRUPTED && why->code != -ECANCELED && count > 0) {
        list = calloc(count, sizeof *list);
        if (list)
            n = find_unusable(flow, &fj->plan, done, count, why, list);
    }
    int r = n > 0 ? lathe_flow_reopen(flow, &fj->job, work, merge_fence, list, n, why, err)
                  : lathe_flow_attempt_failed(flow, work, merge_fence, why, err);
    free(list);
    return r;
}

/* The split finds the reason in the state and makes the other plan from it. */
int lathe_flow_replan(struct lathe_flow *flow, const struct lathe_flow_work *work,
                      uint64_t merge_fence, const struct lathe_error *why, struct lathe_error *err)
{
    enum lathe_verdict verdict;
    int r = lathe_state_replan(flow->state, work->job_id, merge_fence, why->what, &verdict, err);
    if (r < 0)
        return r;
    if (verdict != LATHE_RETRY) /* else the plan's own warning says it */
        lathe_flow_tell_failure(flow, work, why, verdict);
    return verdict == LATHE_RETRY ? lathe_flow_ring_job(flow, work->job_id, err) : 0;
}
