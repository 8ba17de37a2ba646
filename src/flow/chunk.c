/* SPDX-License-Identifier: MIT */
/*
 * A chunk: one slot decodes it once and encodes every rendition, where gpu.c has it run. Its rate
 * factors follow from the pilots and from the chunks that the plan names, never from whatever else
 * is finished by then.
 */
#include <errno.h>
#include <string.h>

#include "flow.h"

static int choose_rates(struct lathe_flow *flow, const struct lathe_flow_job *fj,
                        const struct lathe_claim *claim, struct lathe_order *order,
                        struct lathe_error *err)
{
    struct lathe_samples_of s = {0};
    uint32_t n_done = claim->what.needs_chunks;
    int r = lathe_samples_get(flow, fj, n_done, &s, err);
    for (int i = 0; r == 0 && i < fj->plan.n_renditions; i++)
        if (lathe_rate_for_chunk(&fj->plan, i, claim->what.index, s.pilots[i], s.done[i], n_done,
                                 &order->rates[i]) < 0)
            r = lathe_error_nomem(err);
    lathe_samples_clear(&s);
    return r;
}

static int make_order(struct lathe_flow *flow, struct lathe_flow_job *fj,
                      const struct lathe_claim *claim, struct lathe_order *order,
                      struct lathe_error *err)
{
    order->verb = LATHE_VERB_CHUNK;
    order->index = claim->what.index;
    int r = lathe_flow_take_input(flow, fj, claim, order, err);
    if (r < 0)
        return r;
    for (int i = 0; i < fj->plan.n_renditions; i++) {
        order->out_paths[i] = lathe_format("%s/chunk-%05u.%llu.%d.mp4", fj->dir, claim->what.index,
                                           (unsigned long long)claim->fence, i);
        if (!order->out_paths[i])
            return lathe_error_nomem(err);
    }
    return choose_rates(flow, fj, claim, order, err);
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
    int r = make_order(flow, fj, claim, &order, err);
    if (r == 0) {
        lathe_fail_point("fetched");
        r = lathe_flow_run_placed(flow, fj, claim, &order, &body, err);
    }
    if (r == 0) {
        lathe_fail_point("encoded");
        if (flow->sink.encoded)
            flow->sink.encoded(flow->sink.opaque);
        r = store_chunk(flow, fj, claim, &order, body, err);
    }
    for (int i = 0; i < LATHE_RENDITIONS_MAX; i++)
        if (order.out_paths[i])
            unlink(order.out_paths[i]);
    lathe_flow_drop_input(flow, &order);
    lathe_order_finish(&order);
    if (r < 0) {
        json_decref(body);
        return r;
    }
    *ret_result = body;
    return 0;
}
