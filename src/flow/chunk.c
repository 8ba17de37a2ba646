/* SPDX-License-Identifier: MIT */
/*
 * A chunk: one slot decodes it once and encodes every rendition. Its rate factors follow from the
 * pilots and from the chunks that the plan names, never from whatever else is finished by then.
 */
#include <errno.h>
#include <string.h>

#include "flow.h"

/* Samples of pilots and of chunks 0 … n_done-1, for all renditions: [rendition][number]. */
struct samples {
    struct lathe_rate_sample *pilots[LATHE_RENDITIONS_MAX];
    struct lathe_rate_sample *done[LATHE_RENDITIONS_MAX];
};

static void samples_free(struct samples *s)
{
    for (int i = 0; i < LATHE_RENDITIONS_MAX; i++) {
        free(s->pilots[i]);
        free(s->done[i]);
    }
}

static int read_sample(const struct lathe_plan *plan, const struct lathe_done *done,
                       struct samples *s, struct lathe_error *err)
{
    json_t *body = json_loads(done->result, 0, NULL);
    if (!body)
        return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL,
                               "the result of unit %u is not JSON", done->unit);
    struct lathe_rate_sample samples[LATHE_RENDITIONS_MAX];
    struct lathe_chunk_result chunk;
    int r;
    if (done->what.kind == LATHE_UNIT_PILOT) {
        r = lathe_flow_parse_samples(body, plan->n_renditions, samples, err);
        for (int i = 0; r == 0 && i < plan->n_renditions; i++)
            s->pilots[i][done->what.index] = samples[i];
    } else {
        r = lathe_flow_parse_chunk(body, plan->n_renditions, &chunk, err);
        for (int i = 0; r == 0 && i < plan->n_renditions; i++)
            s->done[i][done->what.index] = chunk.renditions[i].rate;
    }
    json_decref(body);
    return r;
}

static int read_samples(struct lathe_flow *flow, const struct lathe_plan *plan, const char *job_id,
                        uint32_t n_done, struct samples *s, struct lathe_error *err)
{
    for (int i = 0; i < plan->n_renditions; i++) {
        s->pilots[i] = calloc(plan->n_pilots + 1, sizeof *s->pilots[i]);
        s->done[i] = calloc(n_done + 1, sizeof *s->done[i]);
        if (!s->pilots[i] || !s->done[i])
            return lathe_error_nomem(err);
    }
    if (plan->n_pilots + n_done == 0)
        return 0;
    struct lathe_done *list = NULL;
    size_t count = 0;
    int r = lathe_state_results(flow->state, job_id, 0, LATHE_UNITS_MAX, &list, &count, err);
    uint32_t seen = 0;
    for (size_t i = 0; r == 0 && i < count; i++) {
        const struct lathe_unit *what = &list[i].what;
        if ((what->kind == LATHE_UNIT_PILOT && what->index < plan->n_pilots) ||
            (what->kind == LATHE_UNIT_CHUNK && what->index < n_done)) {
            r = read_sample(plan, &list[i], s, err);
            seen++;
        }
    }
    lathe_done_free(list, count);
    /* The claim promised them; without, the factor would depend on luck. */
    if (r == 0 && seen != plan->n_pilots + n_done)
        r = lathe_error_set(err, -ESTALE, LATHE_FAULT_INTERNAL,
                            "results that this chunk's rate depends on are missing");
    return r;
}

static int choose_rates(struct lathe_flow *flow, const struct lathe_plan *plan,
                        const struct lathe_claim *claim, struct lathe_order *order,
                        struct lathe_error *err)
{
    struct samples s = {0};
    uint32_t n_done = claim->what.needs_chunks;
    int r = read_samples(flow, plan, claim->job_id, n_done, &s, err);
    for (int i = 0; r == 0 && i < plan->n_renditions; i++)
        if (lathe_rate_for_chunk(plan, i, claim->what.index, s.pilots[i], s.done[i], n_done,
                                 &order->rates[i]) < 0)
            r = lathe_error_nomem(err);
    samples_free(&s);
    return r;
}

static int make_order(struct lathe_flow *flow, struct lathe_flow_job *fj,
                      const struct lathe_claim *claim, struct lathe_order *order,
                      struct lathe_error *err)
{
    order->verb = LATHE_VERB_CHUNK;
    order->index = claim->what.index;
    order->source_path = strdup(fj->source_path);
    order->plan_path = strdup(fj->plan_path);
    order->index_path = strdup(fj->index_path);
    if (!order->source_path || !order->plan_path || !order->index_path)
        return lathe_error_nomem(err);
    for (int i = 0; i < fj->plan.n_renditions; i++) {
        order->out_paths[i] = lathe_format("%s/chunk-%05u.%llu.%d.mp4", fj->dir, claim->what.index,
                                           (unsigned long long)claim->fence, i);
        if (!order->out_paths[i])
            return lathe_error_nomem(err);
    }
    return choose_rates(flow, &fj->plan, claim, order, err);
}

static int store_chunk(struct lathe_flow *flow, const struct lathe_flow_job *fj,
                       const struct lathe_claim *claim, const struct lathe_order *order,
                       json_t *body, struct lathe_error *err)
{
    struct lathe_chunk_result chunk;
    int r = lathe_flow_parse_chunk(body, fj->plan.n_renditions, &chunk, err);
    json_t *keys = json_array();
    if (r == 0 && !keys)
        r = lathe_error_nomem(err);
    for (int i = 0; r == 0 && i < fj->plan.n_renditions; i++) {
        _cleanup_free_ char *key = lathe_key_chunk(claim->job_id, fj->plan.renditions[i].name,
                                                   claim->what.index, claim->fence);
        r = key ? lathe_flow_check_file(order->out_paths[i], chunk.renditions[i].bytes, err)
                : lathe_error_nomem(err);
        if (r == 0)
            r = lathe_flow_put(flow, key, order->out_paths[i], chunk.renditions[i].sha256,
                               chunk.frames, false, err);
        if (r == 0 && json_array_append_new(keys, json_string(key)) < 0)
            r = lathe_error_nomem(err);
    }
    if (r == 0 && (json_object_set(body, "keys", keys) < 0 ||
                   json_object_set_new(body, "plan_chunks", json_integer(fj->plan.n_chunks)) < 0))
        r = lathe_error_nomem(err);
    json_decref(keys);
    return r;
}

int lathe_flow_chunk(struct lathe_flow *flow, struct lathe_flow_job *fj,
                     const struct lathe_claim *claim, json_t **ret_result, struct lathe_error *err)
{
    struct lathe_order order;
    lathe_order_init(&order);
    json_t *body = NULL;
    struct lathe_flow_meter meter = {flow, claim->job_id, claim->unit};
    int r = make_order(flow, fj, claim, &order, err);
    if (r == 0)
        r = lathe_pool_run(flow->pool, &order, lathe_flow_meter_tick, &meter, flow->cancel, &body,
                           NULL, err);
    if (r == 0)
        r = store_chunk(flow, fj, claim, &order, body, err);
    for (int i = 0; i < LATHE_RENDITIONS_MAX; i++)
        if (order.out_paths[i])
            unlink(order.out_paths[i]);
    lathe_order_finish(&order);
    if (r < 0) {
        json_decref(body);
        return r;
    }
    *ret_result = body;
    return 0;
}
