/* SPDX-License-Identifier: MIT */
/*
 * What a free slot does next: a job that waits for its split, then the most urgent open unit of any
 * job, whoever's bell names it, then what a sweep finds. Bells decide nothing: were units taken in
 * their order, a long job would keep an urgent one waiting.
 */
#include <errno.h>

#include "parts.h"

#define SWEEP_US (5 * 1000000LL)
#define BELL_AGAIN_MS 2000
/* Of the units that a worker takes one in so many is one of the youngest job, so that a short job
 * is done soon although a long one of the same priority was there before it. */
#define YOUNGEST_EVERY 4

/* A job that the state has lost is made again from the store, if that has it. */
static int revive(struct lathe_agent *agent, const char *job_id, struct lathe_error *err)
{
    bool is_open = false;
    int r = lathe_flow_rebuild(&agent->flow, job_id, &is_open, err);
    if (r == 0 && is_open) {
        lathe_agent_notice(agent, LATHE_LOG_WARNING, "job %s was lost by the state: it goes on",
                           job_id);
        r = lathe_flow_split(&agent->flow, job_id, err);
    }
    return r;
}

static int serve_wanted(struct lathe_agent *agent, struct lathe_error *err)
{
    char job_id[LATHE_ID_MAX + 1] = "";
    pthread_mutex_lock(&agent->lock);
    if (agent->n_wanted)
        snprintf(job_id, sizeof job_id, "%s", agent->wanted[--agent->n_wanted]);
    pthread_mutex_unlock(&agent->lock);
    return job_id[0] ? revive(agent, job_id, err) : 0;
}

/* A job whose split is not to be had: it may be lost, or committed by a worker that died before it
 * was published. *ret_later: the bell is to ring again. */
static int look_after(struct lathe_agent *agent, const char *job_id, bool *ret_later,
                      struct lathe_error *err)
{
    struct lathe_job_view view = {0};
    struct lathe_error why = {0};
    int r = lathe_state_get(agent->flow.state, job_id, &view, &why);
    enum lathe_job_status status = view.status;
    lathe_job_view_clear(&view);
    if (r == -ENOENT)
        return revive(agent, job_id, err);
    if (r < 0 && err)
        *err = why;
    *ret_later = r == 0 && status == LATHE_JOB_MERGING;
    return r == 0 && status == LATHE_JOB_COMPLETED ? lathe_flow_publish(&agent->flow, job_id, err)
                                                   : r;
}

static int serve_job_bell(struct lathe_agent *agent, struct lathe_error *err)
{
    struct lathe_flow *flow = &agent->flow;
    struct lathe_message message = {0};
    lathe_patience_suspend(true);
    int r = lathe_queue_take(flow->queue, LATHE_TOPIC_JOBS, 0, &message, flow->cancel, err);
    lathe_patience_suspend(false);
    if (r <= 0)
        return r;
    char job_id[LATHE_ID_MAX + 1];
    int worked = 0;
    bool later = false;
    if (lathe_bell_read(&message, job_id, NULL)) {
        r = worked = lathe_flow_split(flow, job_id, err);
        if (r == 0 && agent->options.is_daemon)
            r = worked = look_after(agent, job_id, &later, err);
    }
    later = later || r == -EPROTONOSUPPORT;
    /* A split that is busy or failed: the state knows, and a sweep comes back to it. */
    if (r < 0 || later)
        (void)lathe_queue_release(flow->queue, &message, later ? BELL_AGAIN_MS : 0, NULL);
    else
        r = lathe_queue_done(flow->queue, &message, err);
    lathe_message_clear(&message);
    return r < 0 ? r : worked;
}

static int serve_any_unit(struct lathe_agent *agent, const char *job_id, struct lathe_error *err)
{
    struct lathe_flow *flow = &agent->flow;
    char left[LATHE_CLAIM_EXCEPT_MAX][LATHE_ID_MAX + 1];
    const char *except[LATHE_CLAIM_EXCEPT_MAX];
    const unsigned n_left = lathe_left_jobs_list(agent, left);
    for (unsigned i = 0; i < n_left; i++)
        except[i] = left[i];
    bool youngest = atomic_load(&agent->n_taken) % YOUNGEST_EVERY == YOUNGEST_EVERY - 1;
    const struct lathe_claim_wish wish = {.job_id = job_id,
                                          .order =
                                              youngest ? LATHE_YOUNGEST_FIRST : LATHE_OLDEST_FIRST,
                                          .except = except,
                                          .n_except = n_left};
    struct lathe_claim claim;
    enum lathe_verdict verdict;
    lathe_patience_suspend(true);
    int r = lathe_state_claim_next(flow->state, &wish, flow->owner, flow->lease_ttl_ms, &verdict,
                                   &claim, err);
    lathe_patience_suspend(false);
    if (r < 0 || verdict != LATHE_GRANTED)
        return r < 0 ? r : 0;
    atomic_fetch_add(&agent->n_taken, 1);
    struct lathe_error why = {0};
    r = lathe_flow_unit(flow, &claim, &why);
    if (lathe_is_for_others(agent, r))
        return lathe_left_jobs_add(agent, claim.job_id, &why);
    if (r < 0 && err)
        *err = why;
    return r;
}

/* With no job named a sweep looks at all that are open: one worker of the fleet does it, and one of
 * its threads, from time to time. */
static bool sweep_is_due(struct lathe_agent *agent)
{
    if (agent->job_id[0])
        return true;
    int64_t now_us = lathe_clock_monotonic_us();
    int_least64_t due_us = atomic_load(&agent->next_sweep_us);
    return atomic_load(&agent->is_sweeper) && now_us >= due_us &&
           atomic_compare_exchange_strong(&agent->next_sweep_us, &due_us, now_us + SWEEP_US);
}

int lathe_agent_step(struct lathe_agent *agent, struct lathe_error *err)
{
    const char *job_id = agent->job_id[0] ? agent->job_id : NULL;
    int r = serve_wanted(agent, err);
    int bell = r == 0 ? serve_job_bell(agent, err) : 0;
    /* A job that only newer workers can split keeps nobody from what there is beside it. */
    if (r == 0)
        r = bell == -EPROTONOSUPPORT ? 0 : bell;
    if (r == 0)
        r = serve_any_unit(agent, job_id, err);
    if (r == 0 && sweep_is_due(agent))
        r = lathe_flow_sweep(&agent->flow, job_id, err);
    return r > 0 ? 1 : r < 0 ? r : bell;
}
