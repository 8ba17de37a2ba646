/* SPDX-License-Identifier: MIT */
/*
 * What every step begins and ends with: loading the job, and counting a failed attempt.
 */
#include "flow.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "lathe/port.h"

void lathe_flow_job_finish(struct lathe_flow_job *fj)
{
    if (fj->job.parts && fj->source_path)
        unlink(fj->source_path); /* joined for this step alone */
    lathe_job_finish(&fj->job);
    lathe_plan_finish(&fj->plan);
    free(fj->replan);
    free(fj->dir);
    free(fj->source_path);
    free(fj->sound_path);
    free(fj->part_bytes);
    free(fj->plan_path);
    free(fj->index_path);
    *fj = (struct lathe_flow_job){0};
}

/* The first path in `text` that is the source, or lies in the job's folder; NULL: there is none. */
static char *find_path(const struct lathe_flow_job *fj, char *text, size_t *ret_length)
{
    char *at = fj->source_path ? strstr(text, fj->source_path) : NULL;
    *ret_length = at ? strlen(fj->source_path) : 0;
    if (!at && fj->dir && (at = strstr(text, fj->dir)))
        *ret_length = strcspn(at, " ,:;'\"\n");
    return at;
}

void lathe_flow_name_source(const struct lathe_flow_job *fj, struct lathe_error *why)
{
    const char *name = lathe_job_source(&fj->job);
    const char *end = why->what + sizeof why->what;
    size_t length;
    if (!name || fj->job.source_is_local)
        return;
    /* From behind what was put in: a name may look like a path. */
    for (char *at = why->what; (at = find_path(fj, at, &length));) {
        char rest[sizeof why->what];
        snprintf(rest, sizeof rest, "%s", at + length);
        snprintf(at, (size_t)(end - at), "%s%s", name, rest);
        at += strnlen(at, strlen(name));
    }
}

static int load_record(struct lathe_flow *flow, const char *job_id, struct lathe_flow_job *fj,
                       struct lathe_error *err)
{
    struct lathe_job_view view = {0};
    struct lathe_job *ret = &fj->job;
    int r = lathe_state_get(flow->state, job_id, &view, err);
    if (r < 0)
        return r;
    json_t *json = view.record ? json_loads(view.record, 0, NULL) : NULL;
    fj->epoch = view.epoch;
    fj->created_us = view.created_us;
    fj->replan = view.replan;
    view.replan = NULL;
    lathe_job_view_clear(&view);
    if (!json)
        return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INPUT, "job %s has no readable record",
                               job_id);
    lathe_job_finish(ret);
    r = lathe_job_from_json(json, ret, err);
    json_decref(json);
    return r;
}

static int load_plan(struct lathe_flow *flow, struct lathe_flow_job *fj, struct lathe_error *err)
{
    const char *id = fj->job.id;
    _cleanup_free_ char *plan_key = fj->replan ? lathe_key_plan_whole(id) : lathe_key_plan(id);
    _cleanup_free_ char *index_key = lathe_key_index(id);
    if (!plan_key || !index_key)
        return lathe_error_nomem(err);
    int r = lathe_flow_fetch(flow, plan_key, fj->dir, fj->replan ? "plan_whole.json" : "plan.json",
                             &fj->plan_path, err);
    if (r == 0)
        r = lathe_flow_fetch(flow, index_key, fj->dir, "index.bin", &fj->index_path, err);
    if (r < 0)
        return r;
    json_t *json = json_load_file(fj->plan_path, 0, NULL);
    if (!json)
        return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL, "%s is not JSON",
                               fj->plan_path);
    lathe_plan_finish(&fj->plan);
    r = lathe_plan_from_json(json, &fj->plan, err);
    json_decref(json);
    return r;
}

int lathe_flow_job_load(struct lathe_flow *flow, const char *job_id, uint64_t fence, bool planned,
                        struct lathe_flow_job *ret, struct lathe_error *err)
{
    struct lathe_flow_job fj = {0};
    lathe_job_init(&fj.job);
    lathe_plan_init(&fj.plan);
    int r = load_record(flow, job_id, &fj, err);
    if (r == 0 && fence && fence >> 32 != fj.epoch)
        r = lathe_error_set(err, -ESTALE, LATHE_FAULT_INTERNAL,
                            "this work on job %s was overtaken by another attempt", job_id);
    if (r == 0) {
        /* A job that begins again may have another plan, and a source that was replaced. */
        fj.dir = lathe_format("%s/%s/%u", flow->scratch_dir, job_id, fj.epoch);
        r = fj.dir ? lathe_mkdir_p(fj.dir, err) : lathe_error_nomem(err);
    }
    if (r == 0 && planned)
        r = load_plan(flow, &fj, err);
    if (r < 0) {
        lathe_flow_job_finish(&fj);
        return r;
    }
    *ret = fj;
    return 0;
}

static bool is_permanent(const struct lathe_flow *flow, const struct lathe_error *why)
{
    switch (why->fault) {
    case LATHE_FAULT_INPUT:
    case LATHE_FAULT_USAGE:
    case LATHE_FAULT_CONFIG:
        return true;
    default:
        break;
    }
    if (why->code == -EILSEQ) /* the same results give the same answer */
        return true;
    return flow->only_host && (why->code == -ENOSPC || why->code == -EDQUOT);
}

/* Whether this worker is to blame, and another one may do better: its disk is full, a server does
 * not let it in, it is older than the job, or it has no GPU that could do what the job requires. A
 * host that has no other beside it fails the job instead. */
static bool is_of_host(const struct lathe_flow *flow, const struct lathe_error *why)
{
    if (flow->only_host)
        return false;
    if (why->code == -ENODEV &&
        (why->fault == LATHE_FAULT_CONFIG || why->fault == LATHE_FAULT_RESOURCE))
        return !lathe_state_is_of_one_host(flow->state);
    return why->code == -ENOSPC || why->code == -EDQUOT || why->code == -EPROTONOSUPPORT ||
           (why->by_port && (why->fault == LATHE_FAULT_CONFIG || lathe_patience_is_for(why)));
}

static void dead_letter(struct lathe_flow *flow, const struct lathe_flow_work *work,
                        const struct lathe_error *why)
{
    json_t *json =
        json_pack("{s:i, s:s, s:I, s:s, s:I, s:I, s:s, s:s, s:s}", "v", 1, "job_id", work->job_id,
                  "unit", (json_int_t)work->unit, "kind", lathe_task_name(work->task), "index",
                  (json_int_t)work->index, "attempt", (json_int_t)work->attempt, "worker",
                  flow->owner, "fault", lathe_fault_name(why->fault), "reason", why->what);
    _cleanup_free_ char *body = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    /* The state has the verdict; this copy is for people, and its loss changes nothing. */
    if (body)
        (void)lathe_queue_publish(flow->queue, LATHE_TOPIC_DEAD, work->job_id, body, NULL);
}

void lathe_flow_tell_failure(struct lathe_flow *flow, const struct lathe_flow_work *work,
                             const struct lathe_error *why, enum lathe_verdict verdict)
{
    if (verdict == LATHE_EXHAUSTED) {
        dead_letter(flow, work, why);
        (void)lathe_flow_record_end(flow, work->job_id, NULL); /* a copy; the state has the truth */
    }
    lathe_flow_failed(flow, work, why, verdict);
}

int lathe_flow_attempt_failed(struct lathe_flow *flow, const struct lathe_flow_work *work,
                              uint64_t fence, const struct lathe_error *why,
                              struct lathe_error *err)
{
    const char *job_id = work->job_id;
    uint32_t unit = work->unit;
    bool interrupted = why->fault == LATHE_FAULT_INTERRUPTED || why->code == -ECANCELED;
    if (interrupted && flow->whole && !lathe_cancel_is_triggered(flow->whole->cancel))
        return 0; /* the job came to nothing, and its leases with it */
    if (interrupted || is_of_host(flow, why)) {
        (void)lathe_state_release(flow->state, job_id, unit, fence, NULL); /* else it runs out */
        if (err)
            *err = *why;
        return interrupted ? -ECANCELED : why->code;
    }
    enum lathe_verdict verdict;
    int r = lathe_state_attempt_failed(flow->state, job_id, unit, fence, is_permanent(flow, why),
                                       why->what, &verdict, err);
    if (r == 0)
        lathe_flow_tell_failure(flow, work, why, verdict);
    return r;
}
