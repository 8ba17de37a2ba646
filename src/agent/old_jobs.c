/* SPDX-License-Identifier: MIT */
/*
 * Jobs that ended long ago leave the list, so that it stays short for years. What they made stays
 * in the store.
 */
#include "parts.h"

#define LOOK_MAX_US (3600 * 1000000LL)
#define PAGE 500

/* Of one page; the list is by age, so the old ones are at its end. */
static int forget_page(struct lathe_agent *agent, uint64_t *cursor, int64_t before_us,
                       struct lathe_error *err)
{
    struct lathe_job_view *jobs = NULL;
    size_t count = 0;
    int r = lathe_state_list(agent->flow.state, LATHE_JOBS_ENDED, *cursor, PAGE, &jobs, &count,
                             cursor, err);
    for (size_t i = 0; r == 0 && i < count; i++)
        if (jobs[i].finished_us && jobs[i].finished_us < before_us)
            r = lathe_state_remove(agent->flow.state, jobs[i].id, err);
    lathe_job_views_free(jobs, count);
    return r;
}

int lathe_old_jobs_forget(struct lathe_agent *agent, int64_t *due_us, struct lathe_error *err)
{
    int64_t keep_us = atomic_load(&agent->keep_us), now_us = lathe_clock_monotonic_us();
    if (!keep_us || now_us < *due_us || !atomic_load(&agent->is_sweeper))
        return 0;
    *due_us = now_us + (keep_us / 2 < LOOK_MAX_US ? keep_us / 2 : LOOK_MAX_US);
    uint64_t cursor = 0;
    int r;
    do
        r = forget_page(agent, &cursor, lathe_clock_wall_us() - keep_us, err);
    while (r == 0 && cursor && !lathe_cancel_is_triggered(agent->stop));
    return r;
}
