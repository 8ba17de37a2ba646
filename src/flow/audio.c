/* SPDX-License-Identifier: MIT */
/*
 * The audio: all tracks of the whole file in one unit, so that it has no seams.
 */
#include <string.h>

#include "flow.h"

static int store_audio(struct lathe_flow *flow, const struct lathe_claim *claim, const char *path,
                       json_t *body, struct lathe_error *err)
{
    uint64_t bytes;
    char sha256[65];
    int r = lathe_flow_parse_file(body, &bytes, sha256, err);
    if (r == 0)
        r = lathe_flow_check_file(path, bytes, err);
    if (r < 0)
        return r;
    _cleanup_free_ char *key = lathe_key_audio(claim->job_id, claim->fence);
    if (!key)
        return lathe_error_nomem(err);
    r = lathe_flow_put(flow, key, path, sha256, 0, false, err);
    if (r == 0 && json_object_set_new(body, "keys", json_pack("[s]", key)) < 0)
        r = lathe_error_nomem(err);
    return r;
}

int lathe_flow_audio(struct lathe_flow *flow, struct lathe_flow_job *fj,
                     const struct lathe_claim *claim, json_t **ret_result, struct lathe_error *err)
{
    struct lathe_order order;
    lathe_order_init(&order);
    order.verb = LATHE_VERB_AUDIO;
    order.out_paths[0] =
        lathe_format("%s/audio.%llu.mp4", fj->dir, (unsigned long long)claim->fence);
    json_t *body = NULL;
    struct lathe_flow_meter meter = {flow, claim->job_id, claim->unit, LATHE_TASK_AUDIO, 0};
    int r = order.out_paths[0] ? lathe_flow_take_input(flow, fj, claim, &order, err)
                               : lathe_error_nomem(err);
    if (r == 0)
        r = lathe_pool_run(flow->pool, &order, lathe_flow_meter_tick, &meter, flow->cancel, &body,
                           NULL, err);
    if (r == 0)
        r = store_audio(flow, claim, order.out_paths[0], body, err);
    if (order.out_paths[0])
        unlink(order.out_paths[0]);
    lathe_flow_drop_input(flow, &order);
    lathe_order_finish(&order);
    if (r < 0) {
        json_decref(body);
        return r;
    }
    *ret_result = body;
    return 0;
}
