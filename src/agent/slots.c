/* SPDX-License-Identifier: MIT */
/*
 * A thread for each slot, and the one that waits for them. Threads that find nothing to do sleep
 * until another one has finished something, with a slow poll for what no thread of this process can
 * announce (leases of others that ran out). In a daemon one of the sleepers, the scout, looks more
 * often: another host may have finished what this one waits for.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "lathe/metrics.h"
#include "parts.h"

#define THREADS_MAX 512
#define IDLE_POLL_MS 1000
/* The longer nothing happens here, the longer the scout's next look may wait: an eighth of that. */
#define IDLE_POLL_MIN_MS 100
#define IDLE_POLL_PART 8
#define TURN_POLL_MS 200 /* how soon one sees that the end of another's chunk is near */
#define TICK_MS 100
#define STUCK_LIMIT_US (60 * 1000000LL) /* with no slot left that works */
#define LAST_CALL_US (2 * 1000000LL)    /* of a drain, for threads that run nothing */

struct slot_thread {
    struct lathe_agent *agent;
    unsigned number;
    pthread_t thread;
    int64_t stuck_since_us, noticed_us;
};

static bool is_terminal(enum lathe_job_status status)
{
    return status == LATHE_JOB_COMPLETED || status == LATHE_JOB_FAILED ||
           status == LATHE_JOB_CANCELLED;
}

/* Ends the run when the job that it is for has ended. */
static int look_for_end(struct lathe_agent *agent, struct lathe_error *err)
{
    if (!agent->job_id[0])
        return 0;
    struct lathe_job_view view = {0};
    int r = lathe_state_get(agent->flow.state, agent->job_id, &view, err);
    if (r < 0)
        return r;
    if (is_terminal(view.status))
        lathe_agent_end(agent, NULL);
    lathe_job_view_clear(&view);
    return 0;
}

/* Sleeps until another thread has finished something since `generation`, or a while. */
static void sleep_until_change(struct lathe_agent *agent, uint64_t generation, int ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + (int64_t)ms * 1000000;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    int r = 0;
    pthread_mutex_lock(&agent->lock);
    while (!agent->ended && !agent->is_draining && agent->generation == generation &&
           r != ETIMEDOUT)
        r = pthread_cond_timedwait(&agent->changed, &agent->lock, &until);
    pthread_mutex_unlock(&agent->lock);
}

static uint64_t current_generation(struct lathe_agent *agent, bool *ret_over)
{
    pthread_mutex_lock(&agent->lock);
    uint64_t generation = agent->generation;
    *ret_over = agent->ended || agent->is_draining;
    pthread_mutex_unlock(&agent->lock);
    return generation;
}

/* Called with the lock held. */
static int scout_ms(const struct lathe_agent *agent)
{
    int64_t ms = (lathe_clock_monotonic_us() - agent->changed_us) / 1000 / IDLE_POLL_PART;
    return ms < IDLE_POLL_MIN_MS ? IDLE_POLL_MIN_MS : ms > IDLE_POLL_MS ? IDLE_POLL_MS : (int)ms;
}

/* There was nothing to do. One scout a process: were it all threads of all hosts, a large fleet
 * that has little to do would keep its state busy. */
static void sleep_idle(struct lathe_agent *agent, uint64_t generation)
{
    pthread_mutex_lock(&agent->lock);
    const bool is_scout = agent->options.is_daemon && !agent->has_scout;
    const int ms = is_scout ? scout_ms(agent) : IDLE_POLL_MS;
    agent->has_scout = agent->has_scout || is_scout;
    pthread_mutex_unlock(&agent->lock);
    sleep_until_change(agent, generation, ms);
    if (!is_scout)
        return;
    pthread_mutex_lock(&agent->lock);
    agent->has_scout = false;
    pthread_mutex_unlock(&agent->lock);
}

/* A child that cannot be killed still holds its share of the machine; of those on a GPU the
 * placement knows. */
static bool is_stuck(struct slot_thread *me)
{
    struct lathe_agent *agent = me->agent;
    unsigned stuck = lathe_pool_stuck_on(agent->flow.pool, LATHE_ENCODER_AUTO, NULL);
    if (stuck <= me->number && stuck < agent->slots) {
        me->stuck_since_us = 0;
        return false;
    }
    int64_t now_us = lathe_clock_monotonic_us();
    if (!me->stuck_since_us)
        me->stuck_since_us = now_us;
    if (stuck >= agent->slots && now_us - me->stuck_since_us > STUCK_LIMIT_US) {
        struct lathe_error all = {0};
        lathe_error_set(&all, -EIO, LATHE_FAULT_RESOURCE,
                        "every slot is stuck in the kernel and cannot be killed");
        lathe_error_hint(&all, "look at dmesg for a failing disk, file server or driver");
        lathe_agent_end(agent, &all);
    }
    return true;
}

/* A daemon outlives the trouble of one job; what nothing but a change of its configuration, or a
 * new process, can cure ends it. */
static bool is_the_end(const struct lathe_agent *agent, const struct lathe_error *why)
{
    if (!agent->options.is_daemon)
        return agent->flow.only_host || !why->retriable;
    return why->by_port && (why->fault == LATHE_FAULT_CONFIG ||
                            (why->fault == LATHE_FAULT_SERVER && !why->retriable));
}

static void complain(struct slot_thread *me, const struct lathe_error *why)
{
    int64_t now_us = lathe_clock_monotonic_us();
    if (me->noticed_us && now_us - me->noticed_us < 60 * 1000000LL)
        return;
    me->noticed_us = now_us;
    lathe_agent_notice(me->agent, LATHE_LOG_WARNING, "%s%s%s", why->what, why->hint[0] ? "; " : "",
                       why->hint);
}

static void serve(struct slot_thread *me)
{
    struct lathe_agent *agent = me->agent;
    for (;;) {
        bool over;
        uint64_t generation = current_generation(agent, &over);
        if (over)
            return;
        if (is_stuck(me) || !atomic_load(&agent->has_room) || atomic_load(&agent->is_paused) ||
            !lathe_outages_are_over(agent)) {
            sleep_until_change(agent, generation, IDLE_POLL_MS);
            continue;
        }
        if (!lathe_turn_take(agent)) {
            sleep_until_change(agent, generation, TURN_POLL_MS);
            continue;
        }
        struct lathe_error why = {0};
        int r = lathe_agent_step(agent, &why);
        lathe_turn_give(agent);
        if (r > 0)
            lathe_agent_announce(agent);
        int looked = r < 0 ? r : look_for_end(agent, &why);
        if (lathe_cancel_is_triggered(agent->stop))
            return;
        if (looked < 0 && is_the_end(agent, &why)) {
            lathe_agent_end(agent, &why);
            return;
        }
        if (looked < 0 && looked != -ECANCELED && !lathe_patience_is_for(&why)) {
            complain(me, &why);
            lathe_backoff(6, agent->stop);
        }
        if (r == 0)
            sleep_idle(agent, generation);
    }
}

static void *serve_slot(void *opaque)
{
    struct slot_thread *me = opaque;
    struct lathe_agent *agent = me->agent;
    serve(me);
    pthread_mutex_lock(&agent->lock);
    agent->n_alive--;
    pthread_mutex_unlock(&agent->lock);
    uint64_t one = 1;
    (void)!write(agent->wake_fd, &one, sizeof one);
    return NULL;
}

/* Why the job is not completed, or 0. */
static int verdict(struct lathe_agent *agent, struct lathe_error *err)
{
    struct lathe_job_view view = {0};
    int r = lathe_state_get(agent->flow.state, agent->job_id, &view, err);
    if (r < 0)
        return r;
    struct lathe_error failure;
    lathe_tracker_failure(agent->tracker, &failure);
    if (view.status == LATHE_JOB_COMPLETED) {
        r = lathe_flow_publish(&agent->flow, agent->job_id, err);
    } else if (view.status == LATHE_JOB_FAILED && failure.code) {
        r = failure.code;
        if (err)
            *err = failure;
    } else {
        r = lathe_error_set(err, -EIO, LATHE_FAULT_INTERNAL, "the job ended as %s: %s",
                            lathe_job_status_name(view.status),
                            view.error ? view.error : "no reason is known");
    }
    lathe_job_view_clear(&view);
    return r;
}

/* As many slots as can work at once, once it is known how many lanes the GPUs have. */
static unsigned busy_slots(struct lathe_agent *agent)
{
    unsigned lanes = lathe_placement_lanes(agent->flow.placement), slots = agent->slots;
    bool both = agent->options.mix == LATHE_MIX_ALLOW;
    return both ? slots + lanes : slots > lanes ? slots : lanes;
}

/* Each slot's thread, and as many that move files meanwhile: so much is lost when this worker dies.
 */
static unsigned wanted_threads(struct lathe_agent *agent)
{
    unsigned busy = busy_slots(agent);
    unsigned stuck = lathe_pool_stuck_on(agent->flow.pool, LATHE_ENCODER_AUTO, NULL);
    bool overlap = lathe_turns_overlap(agent);
    unsigned wanted = overlap ? 2 * busy : busy;
    unsigned limit = overlap && stuck < busy ? busy - stuck : busy;
    lathe_turns_set_limit(agent, limit);
    return wanted < THREADS_MAX ? wanted : THREADS_MAX;
}

/* Starts what is missing; 0 or why not one more could be started. */
static int add_threads(struct lathe_agent *agent, struct slot_thread *threads, unsigned *n)
{
    int r = 0;
    for (unsigned wanted = wanted_threads(agent); *n < wanted && r == 0; *n += r == 0) {
        threads[*n] = (struct slot_thread){.agent = agent, .number = *n};
        pthread_mutex_lock(&agent->lock);
        r = pthread_create(&threads[*n].thread, NULL, serve_slot, &threads[*n]);
        agent->n_alive += r == 0;
        pthread_mutex_unlock(&agent->lock);
    }
    return r;
}

/* What a drain has come to. Threads that only wait for a server are not waited for. */
static bool is_drained(struct lathe_agent *agent, int64_t *since_us)
{
    int64_t now_us = lathe_clock_monotonic_us();
    pthread_mutex_lock(&agent->lock);
    bool is_first = !agent->is_draining;
    agent->is_draining = true;
    pthread_cond_broadcast(&agent->changed);
    unsigned n_alive = agent->n_alive;
    pthread_mutex_unlock(&agent->lock);
    if (is_first) {
        *since_us = now_us;
        lathe_metrics_set(LATHE_METRIC_WORKER_DRAINING, NULL, 1);
        lathe_agent_notice(agent, LATHE_LOG_INFO, "draining: %.0f tasks go on for at most %lld s",
                           lathe_metrics_sum(LATHE_METRIC_TASKS_RUNNING),
                           (long long)atomic_load(&agent->drain_us) / 1000000);
    }
    int64_t lasted_us = now_us - *since_us;
    bool is_idle = lathe_metrics_sum(LATHE_METRIC_TASKS_RUNNING) < 0.5;
    return n_alive == 0 || lasted_us >= atomic_load(&agent->drain_us) ||
           (is_idle && lasted_us >= LAST_CALL_US);
}

static void watch(struct lathe_agent *agent, struct slot_thread *threads, unsigned *n,
                  void (*tick)(void *opaque), void *opaque)
{
    struct lathe_cancel *cancel = agent->options.cancel, *drain = agent->options.drain;
    int64_t drained_since_us = 0;
    bool over = false;
    while (!over && !lathe_cancel_is_triggered(cancel)) {
        bool is_draining = lathe_cancel_is_triggered(drain);
        struct pollfd fds[3] = {
            {.fd = cancel ? lathe_cancel_fd(cancel) : -1, .events = POLLIN},
            {.fd = agent->wake_fd, .events = POLLIN},
            {.fd = drain && !is_draining ? lathe_cancel_fd(drain) : -1, .events = POLLIN}};
        poll(fds, 3, TICK_MS);
        uint64_t count;
        (void)!read(agent->wake_fd, &count, sizeof count);
        if (tick)
            tick(opaque);
        if (!is_draining)
            (void)add_threads(agent, threads, n); /* those that there are do the work, slower */
        pthread_mutex_lock(&agent->lock);
        over = agent->ended;
        pthread_mutex_unlock(&agent->lock);
        if (!over && is_draining)
            over = is_drained(agent, &drained_since_us);
    }
}

static int start_daemon(struct lathe_agent *agent, struct lathe_error *err)
{
    if (!agent->options.is_daemon)
        return 0;
    int r = lathe_upkeep_start(agent, err);
    return r < 0 ? r : lathe_bells_start(agent, err);
}

int lathe_agent_run(struct lathe_agent *agent, const char *job_id, void (*tick)(void *opaque),
                    void *opaque, struct lathe_error *err)
{
    if (job_id)
        snprintf(agent->job_id, sizeof agent->job_id, "%s", job_id);
    struct slot_thread *threads = calloc(THREADS_MAX, sizeof *threads);
    if (!threads)
        return lathe_error_nomem(err);
    agent->flow.cancel = agent->stop; /* fired by the user's below, and at the end */
    unsigned n = 0;
    struct lathe_error why = {0};
    int r = start_daemon(agent, &why);
    if (r == 0 && (r = -add_threads(agent, threads, &n)) < 0 && n == 0)
        lathe_error_set(&why, r, LATHE_FAULT_RESOURCE, "cannot start a thread: %s", strerror(-r));
    if (n > 0)
        watch(agent, threads, &n, tick, opaque);
    lathe_agent_end(agent, n > 0 ? NULL : &why);
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i].thread, NULL);
    lathe_bells_stop(agent);
    lathe_upkeep_stop(agent);
    free(threads);
    lathe_tracker_end(agent->tracker);
    agent->flow.cancel = agent->options.cancel;

    if (lathe_cancel_is_triggered(agent->options.cancel))
        return lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "interrupted");
    if (agent->error.code) {
        if (err)
            *err = agent->error;
        return agent->error.code;
    }
    return job_id ? verdict(agent, err) : 0;
}
