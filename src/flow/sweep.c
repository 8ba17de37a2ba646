/* SPDX-License-Identifier: MIT */
/*
 * Looks after open jobs when nothing else brings work: a split or a merge that failed or whose
 * worker died. Units need no sweep: claim_next() finds them when their lease has run out.
 */
#include <errno.h>

#include "flow.h"

static int sweep_job(struct lathe_flow *flow, const char *job_id, struct lathe_error *err)
{
    struct lathe_job_view view = {0};
    struct lathe_error why = {0};
    int r = lathe_state_get(flow->state, job_id, &view, &why);
    if (r == -ENOENT)
        return 0;
    if (r < 0) {
        if (err)
            *err = why;
        return r;
    }
    enum lathe_job_status status = view.status;
    const bool is_cutting = view.unstored_units > 0;
    lathe_job_view_clear(&view);
    switch (status) {
    case LATHE_JOB_QUEUED:
    case LATHE_JOB_SPLITTING:
        return lathe_flow_split(flow, job_id, err);
    case LATHE_JOB_TRANSCODING:
        r = is_cutting ? lathe_flow_split(flow, job_id, err) : 0;
        return r != 0 ? r : lathe_flow_merge(flow, job_id, err);
    case LATHE_JOB_MERGING:
        return lathe_flow_merge(flow, job_id, err);
    default:
        return 0;
    }
}

int lathe_flow_sweep(struct lathe_flow *flow, const char *job_id, struct lathe_error *err)
{
    if (job_id)
        return sweep_job(flow, job_id, err);
    char **ids = NULL;
    size_t count = 0;
    int r = lathe_state_list_open(flow->state, &ids, &count, err);
    int worked = 0, failed = 0;
    for (size_t i = 0; i < count; i++) {
        /* One job's trouble is not the others'. */
        struct lathe_error why = {0};
        r = failed == -ECANCELED ? 0 : sweep_job(flow, ids[i], &why);
        if (r > 0)
            worked = 1;
        if (r < 0) {
            failed = r;
            if (err)
                *err = why;
        }
        free(ids[i]);
    }
    free(ids);
    return failed < 0 ? failed : r < 0 ? r : worked;
}
