/* SPDX-License-Identifier: MIT */
/*
 * One claimed unit from its lease to its completion, whatever its kind. First complete wins, so a
 * late duplicate only removes its own objects.
 */
#include <errno.h>

#include "flow.h"

static int work(struct lathe_flow *flow, struct lathe_flow_job *fj, const struct lathe_claim *claim,
                json_t **ret_result, struct lathe_error *err)
{
    const struct lathe_plan *plan = &fj->plan;
    switch (claim->what.kind) {
    case LATHE_UNIT_PILOT:
        if (claim->what.index < plan->n_pilots)
            return lathe_flow_pilot(flow, fj, claim, ret_result, err);
        break;
    case LATHE_UNIT_AUDIO:
        return lathe_flow_audio(flow, fj, claim, ret_result, err);
    case LATHE_UNIT_CHUNK:
        if (claim->what.index < plan->n_chunks)
            return lathe_flow_chunk(flow, fj, claim, ret_result, err);
        break;
    }
    return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL, "unit %u is not in the plan",
                           claim->unit);
}

void lathe_flow_remove_objects(struct lathe_flow *flow, const json_t *result)
{
    size_t i;
    const json_t *key;
    json_array_foreach (json_object_get(result, "keys"), i, key)
        (void)lathe_store_remove(flow->store, json_string_value(key), NULL); /* swept later */
}

/* What was just stored serves the job's next life, also the retry of one that has failed; or
 * nobody.
 */
static int drop_or_revive(struct lathe_flow *flow, const struct lathe_claim *claim,
                          const json_t *result, struct lathe_error *err)
{
    enum lathe_job_status status;
    int r = lathe_flow_revive(flow, claim->job_id, &status, err);
    if (r == 0 && (status == LATHE_JOB_COMPLETED || status == LATHE_JOB_CANCELLED))
        lathe_flow_drop_result(flow, claim, result);
    return r < 0 ? r : 0;
}

static int complete(struct lathe_flow *flow, const struct lathe_claim *claim,
                    const struct lathe_flow_work *what, json_t *result, struct lathe_error *err)
{
    if (json_object_set_new(result, "attempt", json_integer(claim->attempt)) < 0)
        return lathe_error_nomem(err);
    _cleanup_free_ char *text = json_dumps(result, JSON_COMPACT);
    if (!text)
        return lathe_error_nomem(err);
    enum lathe_verdict verdict = LATHE_DONE;
    int r = lathe_state_complete(flow->state, claim->job_id, claim->unit, claim->fence, text,
                                 &verdict, err);
    if (r == -ESTALE) /* the job's next life may use what is stored; it removes all at its end */
        return 0;
    if (r == 0 && verdict == LATHE_GONE)
        return drop_or_revive(flow, claim, result, err);
    if (r == 0 && verdict == LATHE_DUPLICATE)
        lathe_flow_drop_result(flow, claim, result);
    else if (r == 0)
        lathe_flow_done(flow, what, result);
    return r;
}

/* What an earlier life of the job has made, or new. */
static int make_result(struct lathe_flow *flow, struct lathe_flow_job *fj,
                       const struct lathe_claim *claim, json_t **ret, struct lathe_error *err)
{
    int r = lathe_flow_find_result(flow, fj, claim, ret, err);
    if (r < 0 || *ret)
        return r;
    r = work(flow, fj, claim, ret, err);
    if (r < 0)
        return r;
    if (claim->what.kind == LATHE_UNIT_CHUNK)
        lathe_fail_point("stored");
    return lathe_flow_keep_result(flow, fj, claim, *ret, err);
}

static int run_unit(struct lathe_flow *flow, const struct lathe_claim *claim,
                    const struct lathe_flow_work *what, struct lathe_error *err)
{
    struct lathe_error why = {0};
    struct lathe_flow_job fj;
    json_t *result = NULL;
    int r = lathe_flow_job_load(flow, claim->job_id, claim->fence, true, &fj, &why);
    if (r == 0) {
        r = make_result(flow, &fj, claim, &result, &why);
        lathe_flow_name_source(&fj, &why);
        lathe_flow_job_finish(&fj);
    }
    if (r < 0) {
        json_decref(result);
        lathe_leases_remove(flow->leases, claim->job_id, claim->unit, claim->fence);
        r = lathe_flow_attempt_failed(flow, what, claim->fence, &why, err);
        return r < 0 ? r : LATHE_FLOW_OPEN;
    }
    if (claim->what.kind == LATHE_UNIT_CHUNK)
        lathe_fail_point("kept");
    r = complete(flow, claim, what, result, err);
    if (claim->what.kind == LATHE_UNIT_CHUNK)
        lathe_fail_point("completed");
    json_decref(result);
    return r;
}

int lathe_flow_unit(struct lathe_flow *flow, const struct lathe_claim *claim,
                    struct lathe_error *err)
{
    static const enum lathe_task tasks[] = {[LATHE_UNIT_PILOT] = LATHE_TASK_PILOT,
                                            [LATHE_UNIT_AUDIO] = LATHE_TASK_AUDIO,
                                            [LATHE_UNIT_CHUNK] = LATHE_TASK_CHUNK};
    struct lathe_flow_work what = {.job_id = claim->job_id,
                                   .unit = claim->unit,
                                   .task = tasks[claim->what.kind],
                                   .index = claim->what.index,
                                   .attempt = claim->attempt};
    struct lathe_flow own;
    int r = lathe_flow_hold(flow, claim->job_id, claim->unit, claim->fence, &own, err);
    if (r < 0)
        return r;
    lathe_flow_begin(flow, &what);
    r = run_unit(&own, claim, &what, err);
    lathe_flow_let_go(&own, claim->job_id, claim->unit, claim->fence);
    lathe_flow_leave(&what);
    if (r == 0)
        r = lathe_flow_merge(flow, claim->job_id, err);
    return r < 0 || r == LATHE_FLOW_OPEN ? r : 1;
}
