/* SPDX-License-Identifier: MIT */
/*
 * Figures that nobody counts and somebody has to look up: the jobs that wait, the devices, the
 * scratch folder. What takes a server or a walk is looked up by a thread of its own, so that a
 * scrape never waits.
 */
#include <poll.h>
#include <pthread.h>

#include "lathe/agent.h"
#include "lathe/base.h"
#include "lathe/metrics.h"
#include "parts.h"

#define LOOK_MS 15000
#define PAGES_LOOKED_AT 20 /* of open jobs, a thousand each */

struct lathe_observer {
    struct lathe_agent *agent;
    struct lathe_cancel *stop;
    pthread_t thread;
};

static void count_jobs(const struct lathe_flow *flow)
{
    unsigned by_status[LATHE_JOB_CANCELLED + 1] = {0};
    int64_t oldest_us = 0;
    uint64_t cursor = 0;
    for (int page = 0; page == 0 || (cursor && page < PAGES_LOOKED_AT); page++) {
        struct lathe_job_view *views = NULL;
        size_t count = 0;
        if (lathe_state_list(flow->state, LATHE_JOBS_OPEN, cursor, LATHE_LIST_MAX, &views, &count,
                             &cursor, NULL) < 0)
            return; /* the old figures stay; lathe_backend_up says why */
        for (size_t i = 0; i < count; i++) {
            by_status[views[i].status]++;
            if (views[i].status == LATHE_JOB_QUEUED) /* the youngest come first */
                oldest_us = views[i].created_us;
        }
        lathe_job_views_free(views, count);
    }
    for (int s = LATHE_JOB_QUEUED; s <= LATHE_JOB_MERGING; s++)
        lathe_metrics_set(LATHE_METRIC_JOBS,
                          LATHE_LABELS(lathe_job_status_name((enum lathe_job_status)s)),
                          by_status[s]);
    double age = oldest_us ? (double)(lathe_clock_wall_us() - oldest_us) / 1e6 : 0;
    lathe_metrics_set(LATHE_METRIC_QUEUE_OLDEST_AGE, NULL, age > 0 ? age : 0);
}

static void *look_around(void *opaque)
{
    struct lathe_observer *me = opaque;
    struct pollfd stop = {.fd = lathe_cancel_fd(me->stop), .events = POLLIN};
    do {
        count_jobs(lathe_agent_flow(me->agent));
        lathe_room_measure(me->agent);
    } while (poll(&stop, 1, LOOK_MS) == 0);
    return NULL;
}

/* A collector: what costs nothing. */
static void collect(void *opaque)
{
    struct lathe_agent *agent = opaque;
    const struct lathe_flow *flow = lathe_agent_flow(agent);
    struct lathe_usage usage;
    lathe_pool_usage(flow->pool, &usage);
    lathe_metrics_set(LATHE_METRIC_SLOT_CPU, NULL, (double)(usage.user_us + usage.system_us) / 1e6);
    unsigned stuck = 0;
    for (int family = LATHE_ENCODER_AUTO; family < LATHE_ENCODER_SOFTWARE; family++)
        stuck += lathe_pool_stuck_on(flow->pool, (enum lathe_encoder)family, NULL);
    lathe_metrics_set(LATHE_METRIC_WORKER_SLOTS, NULL, lathe_agent_slots(agent));
    lathe_metrics_set(LATHE_METRIC_WORKER_SLOTS_STUCK, NULL, stuck);
    lathe_placement_collect(flow->placement);
}

int lathe_observer_start(struct lathe_agent *agent, struct lathe_observer **ret,
                         struct lathe_error *err)
{
    struct lathe_observer *me = calloc(1, sizeof *me);
    if (!me)
        return lathe_error_nomem(err);
    me->agent = agent;
    int r = lathe_cancel_create(&me->stop);
    if (r == 0)
        r = lathe_metrics_add_collector(collect, agent);
    if (r == 0 && (r = -pthread_create(&me->thread, NULL, look_around, me)) < 0)
        lathe_metrics_remove_collector(collect, agent);
    if (r < 0) {
        lathe_cancel_destroy(me->stop);
        free(me);
        return lathe_error_set(err, r, LATHE_FAULT_RESOURCE, "figures cannot be looked up");
    }
    *ret = me;
    return 0;
}

void lathe_observer_stop(struct lathe_observer *me)
{
    if (!me)
        return;
    lathe_metrics_remove_collector(collect, me->agent);
    lathe_cancel_trigger(me->stop);
    pthread_join(me->thread, NULL);
    lathe_cancel_destroy(me->stop);
    free(me);
}
