/* SPDX-License-Identifier: MIT */
/*
 * A pilot: a short stretch encoded only to learn how large the job's frames come out. Its bytes are
 * thrown away, its sizes are kept.
 */
#include <string.h>

#include "flow.h"

int lathe_flow_pilot(struct lathe_flow *flow, struct lathe_flow_job *fj,
                     const struct lathe_claim *claim, json_t **ret_result, struct lathe_error *err)
{
    struct lathe_order order;
    lathe_order_init(&order);
    order.verb = LATHE_VERB_PILOT;
    order.index = claim->what.index;
    for (int i = 0; i < fj->plan.n_renditions; i++)
        order.rates[i].quality = fj->plan.renditions[i].pilot_quality;
    json_t *body = NULL;
    struct lathe_flow_meter meter = {flow, claim->job_id, claim->unit, LATHE_TASK_PILOT, 0};
    int r = lathe_flow_take_input(flow, fj, claim, &order, err);
    if (r == 0)
        r = lathe_pool_run(flow->pool, &order, lathe_flow_meter_tick, &meter, flow->cancel, &body,
                           NULL, err);
    struct lathe_rate_sample samples[LATHE_RENDITIONS_MAX];
    if (r == 0)
        r = lathe_flow_parse_samples(body, fj->plan.n_renditions, samples, err);
    lathe_flow_drop_input(flow, &order);
    lathe_order_finish(&order);
    if (r < 0) {
        json_decref(body);
        return r;
    }
    *ret_result = body;
    return 0;
}
