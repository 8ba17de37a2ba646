/* SPDX-License-Identifier: MIT */
/*
 * Jobs that are left to other workers of the fleet: they require a GPU that is not here, or not in
 * service, or were made by a newer version. What this worker claims next is of another job; from
 * time to time it finds out whether the reason still holds.
 */
#include <errno.h>
#include <string.h>

#include "parts.h"

#define LEFT_FIRST_US (15 * 1000000LL)
#define LEFT_DOUBLINGS 3

bool lathe_is_for_others(const struct lathe_agent *agent, int code)
{
    return agent->options.is_daemon && (code == -EPROTONOSUPPORT || code == -ENODEV);
}

/* Called with the lock held. The place of the job, a free one, or the one that was passed over last
 * the longest ago; NULL when all are still passed over. */
static struct lathe_left_job *find_place(struct lathe_agent *agent, const char *job_id,
                                         int64_t now_us)
{
    struct lathe_left_job *oldest = &agent->left[0];
    for (unsigned i = 0; i < agent->n_left; i++) {
        if (strcmp(agent->left[i].job_id, job_id) == 0)
            return &agent->left[i];
        if (agent->left[i].until_us < oldest->until_us)
            oldest = &agent->left[i];
    }
    if (agent->n_left < LATHE_CLAIM_EXCEPT_MAX)
        return &agent->left[agent->n_left++];
    return oldest->until_us <= now_us ? oldest : NULL;
}

bool lathe_left_jobs_add(struct lathe_agent *agent, const char *job_id,
                         const struct lathe_error *why)
{
    const bool may_pass = why->fault == LATHE_FAULT_RESOURCE; /* a device that is left alone */
    const int64_t now_us = lathe_clock_monotonic_us();
    pthread_mutex_lock(&agent->lock);
    struct lathe_left_job *left = find_place(agent, job_id, now_us);
    const bool is_new = left && strcmp(left->job_id, job_id) != 0;
    if (is_new) {
        *left = (struct lathe_left_job){.times = 0};
        snprintf(left->job_id, sizeof left->job_id, "%s", job_id);
    }
    if (left) {
        left->until_us = now_us + (LEFT_FIRST_US << left->times);
        if (!may_pass && left->times < LEFT_DOUBLINGS)
            left->times++;
    }
    pthread_mutex_unlock(&agent->lock);
    if (is_new)
        lathe_agent_notice(agent, LATHE_LOG_WARNING, "job %s is left to other workers: %s%s%s",
                           job_id, why->what, why->hint[0] ? "; " : "", why->hint);
    return left;
}

unsigned lathe_left_jobs_list(struct lathe_agent *agent,
                              char ret[LATHE_CLAIM_EXCEPT_MAX][LATHE_ID_MAX + 1])
{
    unsigned n = 0;
    int64_t now_us = lathe_clock_monotonic_us();
    pthread_mutex_lock(&agent->lock);
    for (unsigned i = 0; i < agent->n_left; i++)
        if (agent->left[i].until_us > now_us)
            memcpy(ret[n++], agent->left[i].job_id, sizeof ret[0]);
    pthread_mutex_unlock(&agent->lock);
    return n;
}
