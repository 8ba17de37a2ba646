/* SPDX-License-Identifier: MIT */
/*
 * The split: one slot reads the source once and writes the plan; from then on units can be claimed,
 * or, where packets are cut for them, one after the other.
 * A plan that is already stored is taken as it is: it is written once and never changed. Only a
 * source that turned out not to be cuttable gets a second one, in one chunk.
 */
#include <errno.h>
#include <string.h>

#include "flow.h"

static int is_stored(struct lathe_flow *flow, const char *key, bool *ret, struct lathe_error *err)
{
    struct lathe_store_meta meta;
    struct lathe_error why = {0};
    int r = lathe_store_stat(flow->store, key, &meta, &why);
    *ret = r == 0;
    if (r == -ENOENT)
        return 0;
    if (r < 0 && err)
        *err = why;
    return r;
}

/* What is particular to a source that is joined: where its parts begin, and where its sound is. */
static int add_parts(struct lathe_flow *flow, struct lathe_flow_job *fj, struct lathe_order *order,
                     struct lathe_error *err)
{
    order->part_bytes = calloc(fj->job.parts, sizeof *order->part_bytes);
    if (!order->part_bytes)
        return lathe_error_nomem(err);
    memcpy(order->part_bytes, fj->part_bytes, fj->job.parts * sizeof *order->part_bytes);
    order->n_parts = fj->job.parts;
    if (!lathe_flow_sound_is_apart(&fj->job))
        return 0;
    int r = lathe_flow_sound(flow, fj, err);
    order->audio_path = r == 0 ? strdup(fj->sound_path) : NULL;
    return r == 0 && !order->audio_path ? lathe_error_nomem(err) : r;
}

/* Lets a slot make plan and index, and stores both, the plan last: it announces the index. */
static int make_plan(struct lathe_flow *flow, struct lathe_flow_job *fj, uint64_t fence,
                     const char *plan_key, const char *index_key, struct lathe_error *err)
{
    struct lathe_order order;
    lathe_order_init(&order);
    order.verb = LATHE_VERB_SPLIT;
    order.plan_path = lathe_format("%s/plan.%llu", fj->dir, (unsigned long long)fence);
    order.index_path = lathe_format("%s/index.%llu", fj->dir, (unsigned long long)fence);
    order.job = calloc(1, sizeof *order.job);
    json_t *body = NULL, *job_json = NULL;
    int r = lathe_flow_source(flow, fj, err);
    order.source_path = r == 0 ? strdup(fj->source_path) : NULL;
    if (r == 0 && fj->job.parts)
        r = add_parts(flow, fj, &order, err);
    if (r == 0 && (!order.source_path || !order.plan_path || !order.index_path || !order.job ||
                   lathe_job_to_json(&fj->job, &job_json) < 0))
        r = lathe_error_nomem(err);
    if (r == 0) {
        lathe_job_init(order.job);
        r = lathe_job_from_json(job_json, order.job, err);
    }
    struct lathe_flow_meter meter = {flow, fj->job.id, LATHE_UNIT_SPLIT, LATHE_TASK_SPLIT, 0};
    if (r == 0)
        r = lathe_pool_run(flow->pool, &order, lathe_flow_meter_tick, &meter, flow->cancel, &body,
                           NULL, err);
    if (r == 0)
        r = lathe_flow_put(flow, index_key, order.index_path, NULL, 0, false, err);
    if (r == 0)
        r = lathe_flow_put(flow, plan_key, order.plan_path, NULL, 0, false, err);
    if (order.plan_path)
        unlink(order.plan_path);
    if (order.index_path)
        unlink(order.index_path);
    json_decref(job_json);
    json_decref(body);
    lathe_order_finish(&order);
    return r;
}

static char *unit_message(const struct lathe_job *job, const struct lathe_unit *unit,
                          uint32_t number)
{
    json_t *renditions = json_array();
    for (int i = 0; renditions && i < job->n_renditions; i++)
        json_array_append_new(renditions, json_string(job->renditions[i].name));
    json_t *json = json_pack(
        "{s:i, s:s, s:I, s:s, s:I, s:s, s:o, s:s, s:s}", "v", 1, "job_id", job->id, "unit",
        (json_int_t)number, "kind", lathe_unit_kind_name(unit->kind), "chunk_index",
        (json_int_t)unit->index, "source_key", job->source_key, "renditions", renditions, "codec",
        lathe_codec_name(job->codec), "preset", lathe_preset_name(job->preset));
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return text;
}

int lathe_flow_ring_unit(struct lathe_flow *flow, const struct lathe_job *job,
                         const struct lathe_unit *unit, uint32_t number, struct lathe_error *err)
{
    char key[LATHE_ID_MAX + 32];
    snprintf(key, sizeof key, "%s/%u", job->id, number);
    _cleanup_free_ char *body = unit_message(job, unit, number);
    return body ? lathe_queue_publish(flow->queue, LATHE_TOPIC_CHUNKS, key, body, err)
                : lathe_error_nomem(err);
}

/* Those that wait for an object get theirs when it is there. */
static int ring_bells(struct lathe_flow *flow, const struct lathe_job *job,
                      const struct lathe_unit *units, uint32_t count, struct lathe_error *err)
{
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < count; i++)
        if (!units[i].needs_object)
            r = lathe_flow_ring_unit(flow, job, &units[i], i, err);
    return r;
}

/* A plan that does not hold together must not become units that nobody can finish. */
static int check_plan(const struct lathe_flow_job *fj, struct lathe_error *err)
{
    const struct lathe_plan *plan = &fj->plan;
    if (strcmp(plan->job_id, fj->job.id) != 0 || plan->n_chunks < 1 || plan->n_renditions < 1 ||
        plan->n_renditions > LATHE_RENDITIONS_MAX || plan->time_base.den <= 0)
        return lathe_error_set(err, -EPROTO, LATHE_FAULT_INTERNAL,
                               "lathe-slot made a plan that does not fit the job");
    return 0;
}

/* One host: if it cannot do what the job requires, nobody can. */
static int check_hardware(struct lathe_flow *flow, const struct lathe_flow_job *fj,
                          struct lathe_error *err)
{
    struct lathe_ladder_request request;
    struct lathe_ladder_choice choice;
    if (!flow->only_host || fj->job.hw != LATHE_HW_REQUIRE)
        return 0;
    lathe_flow_ladder_request(&fj->plan, &fj->job, &request);
    return lathe_placement_check(flow->placement, &request, flow->cancel, &choice, NULL, err);
}

/* The plan that the index allows, with all its cuts. */
static int ensure_plan(struct lathe_flow *flow, struct lathe_flow_job *fj, uint64_t fence,
                       struct lathe_error *err)
{
    _cleanup_free_ char *plan_key = lathe_key_plan(fj->job.id);
    _cleanup_free_ char *index_key = lathe_key_index(fj->job.id);
    if (!plan_key || !index_key)
        return lathe_error_nomem(err);
    bool plan_stored = false, index_stored = false;
    int r = is_stored(flow, index_key, &index_stored, err);
    if (r == 0)
        r = is_stored(flow, plan_key, &plan_stored, err);
    if (r == 0 && !(plan_stored && index_stored))
        r = make_plan(flow, fj, fence, plan_key, index_key, err);
    return r;
}

/* The same plan in one chunk, under a name of its own: workers that still follow the first one must
 * not find this one in its place, or the other way round. */
static int store_whole_plan(struct lathe_flow *flow, struct lathe_flow_job *fj, const char *key,
                            struct lathe_error *err)
{
    _cleanup_free_ char *plan_key = lathe_key_plan(fj->job.id);
    _cleanup_free_ char *path = NULL;
    if (!plan_key)
        return lathe_error_nomem(err);
    int r = lathe_flow_fetch(flow, plan_key, fj->dir, "plan.json", &path, err);
    if (r < 0)
        return r;
    struct lathe_plan plan;
    lathe_plan_init(&plan);
    json_t *json = json_load_file(path, 0, NULL);
    r = json ? lathe_plan_from_json(json, &plan, err)
             : lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL, "%s is not JSON", path);
    json_decref(json);
    if (r < 0)
        return r;
    json = NULL;
    if (lathe_plan_make_whole(&plan, fj->replan) < 0 || lathe_plan_to_json(&plan, &json) < 0)
        r = lathe_error_nomem(err);
    if (r == 0)
        r = lathe_flow_put_json(flow, key, json, err);
    json_decref(json);
    lathe_plan_finish(&plan);
    return r;
}

#define SPLIT_AGAIN 1

/* Plan and index are stored after this. SPLIT_AGAIN: the store knows better than a new state that
 * the source cannot be cut. */
static int prepare_plan(struct lathe_flow *flow, struct lathe_flow_job *fj, uint64_t fence,
                        struct lathe_error *err)
{
    _cleanup_free_ char *whole_key = lathe_key_plan_whole(fj->job.id);
    bool whole_stored = false;
    int r = whole_key ? is_stored(flow, whole_key, &whole_stored, err) : lathe_error_nomem(err);
    if (r == 0 && whole_stored && !fj->replan) {
        enum lathe_verdict verdict;
        r = lathe_state_replan(flow->state, fj->job.id, fence, "found by an earlier run", &verdict,
                               err);
        return r < 0 ? r : SPLIT_AGAIN;
    }
    if (r == 0)
        r = ensure_plan(flow, fj, fence, err);
    if (r == 0 && fj->replan && !whole_stored)
        r = store_whole_plan(flow, fj, whole_key, err);
    return r;
}

static int split(struct lathe_flow *flow, const char *job_id, uint64_t fence,
                 struct lathe_error *err)
{
    struct lathe_flow_job fj;
    int r = lathe_flow_job_load(flow, job_id, fence, false, &fj, err);
    if (r < 0)
        return r;
    if (!fj.replan)
        lathe_flow_count_wait(&fj);
    r = prepare_plan(flow, &fj, fence, err);
    char *source_path = r == 0 ? fj.source_path : NULL; /* it is cut next */
    if (r == 0)
        fj.source_path = NULL;
    else if (r < 0 && err)
        lathe_flow_name_source(&fj, err);
    lathe_flow_job_finish(&fj);
    if (r == 0)
        r = lathe_flow_job_load(flow, job_id, fence, true, &fj, err);
    if (r != 0) {
        free(source_path);
        return r;
    }
    fj.source_path = source_path;

    struct lathe_unit *units = NULL;
    uint32_t count = 0;
    enum lathe_verdict verdict = LATHE_GRANTED;
    r = check_plan(&fj, err);
    if (r == 0)
        r = check_hardware(flow, &fj, err);
    if (r == 0 && lathe_plan_units(&fj.plan, &units, &count) < 0)
        r = lathe_error_nomem(err);
    const bool is_cut = lathe_flow_is_cut(flow, &fj);
    for (uint32_t i = 0; r == 0 && i < count; i++)
        units[i].needs_object = is_cut && lathe_flow_needs_object(&fj.plan, &units[i]);
    if (r == 0 && flow->sink.planned)
        flow->sink.planned(flow->sink.opaque, job_id, &fj.plan);
    lathe_fail_point("planned");
    if (r == 0)
        r = lathe_state_set_units(flow->state, job_id, fence, units, count, &verdict, err);
    lathe_fail_point("announced");
    if (r == 0 && verdict == LATHE_GRANTED)
        r = ring_bells(flow, &fj.job, units, count, err);
    if (r == 0 && is_cut && verdict != LATHE_GONE)
        r = lathe_flow_cut(flow, &fj, fence, units, count, err);
    free(units);
    if (r < 0 && err)
        lathe_flow_name_source(&fj, err);
    lathe_flow_job_finish(&fj);
    return r;
}

/* 1 when something was done, 0 when not, SPLIT_AGAIN through `ret_again`. */
static int claim_and_split(struct lathe_flow *flow, const char *job_id, bool *ret_again,
                           struct lathe_error *err)
{
    enum lathe_verdict verdict;
    uint64_t fence = 0;
    int wait_ms = 0;
    int r = lathe_state_claim_split(flow->state, job_id, flow->owner, flow->lease_ttl_ms, &verdict,
                                    &fence, &wait_ms, err);
    if (r < 0)
        return r;
    if (verdict != LATHE_GRANTED)
        return 0;
    struct lathe_flow own;
    r = lathe_flow_hold(flow, job_id, LATHE_UNIT_SPLIT, fence, &own, err);
    if (r < 0)
        return r;
    struct lathe_flow_work work = {
        .job_id = job_id, .unit = LATHE_UNIT_SPLIT, .task = LATHE_TASK_SPLIT};
    lathe_flow_begin(flow, &work);
    struct lathe_error why = {0};
    r = split(&own, job_id, fence, &why);
    lathe_leases_remove(flow->leases, job_id, LATHE_UNIT_SPLIT, fence);
    *ret_again = r == SPLIT_AGAIN;
    if (r == 0)
        lathe_flow_done(flow, &work, NULL);
    else if (r < 0 && r != -ESTALE) /* that: somebody else holds the split now */
        r = lathe_flow_attempt_failed(&own, &work, fence, &why, err);
    else
        r = 0;
    lathe_flow_let_go(&own, job_id, LATHE_UNIT_SPLIT, fence);
    lathe_flow_leave(&work);
    return r < 0 ? r : 1;
}

int lathe_flow_split(struct lathe_flow *flow, const char *job_id, struct lathe_error *err)
{
    bool again = false;
    int r = claim_and_split(flow, job_id, &again, err);
    if (r > 0 && again)
        r = claim_and_split(flow, job_id, &again, err);
    return r;
}
