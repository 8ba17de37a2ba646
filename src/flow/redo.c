/* SPDX-License-Identifier: MIT */
/*
 * What is done and then turns out to be unusable, which only the merge can see. The state takes it
 * back and bounds how often; the bells rung here only save others a while of not looking.
 */
#include <errno.h>

#include "flow.h"

/* The split finds the reason in the state and makes the other plan from it. */
int lathe_flow_replan(struct lathe_flow *flow, const char *job_id, uint64_t merge_fence,
                      const struct lathe_error *why, struct lathe_error *err)
{
    enum lathe_verdict verdict;
    int r = lathe_state_replan(flow->state, job_id, merge_fence, why->what, &verdict, err);
    if (r < 0)
        return r;
    lathe_flow_tell_failure(flow, job_id, LATHE_UNIT_MERGE, why, verdict);
    return verdict == LATHE_RETRY ? lathe_flow_ring_job(flow, job_id, err) : 0;
}
