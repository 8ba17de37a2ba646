/* SPDX-License-Identifier: MIT */
/*
 * A thread for each slot, and one that waits. Threads that find nothing to do sleep until another
 * one has finished something, with a slow poll for what no thread of this process can announce
 * (leases of others that ran out).
 */
#include "lathe/agent.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "hardware.h"
#include "lathe/base.h"
#include "step.h"
#include "tracker.h"

#define SLOT_MEMORY_BYTES (600ull << 20) /* a 1080p ladder */
#define SLOTS_MAX 256
#define THREADS_MAX 512
#define IDLE_POLL_MS 1000
#define TICK_MS 100
#define STUCK_LIMIT_US (60 * 1000000LL) /* with no slot left that works */

struct lathe_agent {
    struct lathe_flow flow;
    struct lathe_tracker *tracker;
    struct lathe_agent_hardware *hardware; /* NULL: no GPUs are used */
    enum lathe_mix mix;
    struct lathe_cancel *stop; /* what running slots obey */
    char *scratch_dir;
    char owner[37];
    unsigned slots;
    char job_id[LATHE_ID_MAX + 1]; /* "" = any job */
    int wake_fd;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t generation; /* counts finished work, so that a sleeper misses none */
    bool ended;
    struct lathe_error error; /* a port failed */
};

struct slot_thread {
    struct lathe_agent *agent;
    unsigned number;
    pthread_t thread;
};

const char *lathe_phase_name(enum lathe_phase phase)
{
    static const char *const names[] = {"planning", "measuring", "encoding", "merging", "ended"};
    return (size_t)phase < LATHE_COUNT(names) ? names[phase] : "unknown";
}

unsigned lathe_agent_default_slots(void)
{
    uint64_t by_memory = lathe_usable_memory_bytes() / SLOT_MEMORY_BYTES;
    uint64_t slots = lathe_usable_cpus();
    if (slots > by_memory)
        slots = by_memory;
    if (slots > SLOTS_MAX)
        slots = SLOTS_MAX;
    return slots ? (unsigned)slots : 1;
}

static int open_ports(struct lathe_agent *agent, const struct lathe_agent_options *o,
                      struct lathe_error *err)
{
    struct lathe_flow *flow = &agent->flow;
    const struct lathe_pool_options pool = {.slot_path = o->slot_path, .many_orders = true};
    const struct lathe_placement_options placement = {.slots = agent->slots};
    int r = lathe_pool_create(&pool, &flow->pool, err);
    if (r == 0)
        r = lathe_placement_create(&placement, flow->pool, &flow->placement, err);
    if (r == 0 && o->gpus)
        r = lathe_agent_hardware_start(flow->placement, o->slot_path, &agent->hardware, err);
    else if (r == 0)
        lathe_placement_set_hardware(flow->placement, NULL, "");
    if (r == 0)
        r = lathe_store_open(o->store_driver, o->store_location, &flow->store, err);
    if (r == 0)
        r = lathe_state_open(o->state_driver, o->state_location, &flow->state, err);
    if (r == 0)
        r = lathe_queue_open(o->queue_driver, o->queue_location, &flow->queue, err);
    if (r == 0)
        r = lathe_samples_create(&flow->samples, err);
    if (r == 0)
        r = lathe_leases_create(flow->state, flow->lease_ttl_ms, &flow->leases, err);
    return r;
}

static int open_agent(struct lathe_agent *agent, const struct lathe_agent_options *o,
                      struct lathe_error *err)
{
    agent->scratch_dir = strdup(o->scratch_dir);
    if (!agent->scratch_dir)
        return lathe_error_nomem(err);
    int r = lathe_mkdir_p(agent->scratch_dir, err);
    if (r < 0)
        return r;
    r = lathe_uuid7(agent->owner);
    if (r < 0)
        return lathe_error_set(err, r, LATHE_FAULT_INTERNAL, "no random numbers: %s", strerror(-r));
    agent->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (agent->wake_fd < 0)
        return lathe_error_set(err, -errno, LATHE_FAULT_RESOURCE, "eventfd: %s", strerror(errno));
    r = lathe_cancel_create(&agent->stop);
    if (r < 0)
        return lathe_error_set(err, r, LATHE_FAULT_RESOURCE, "cannot create a pipe: %s",
                               strerror(-r));
    if (lathe_tracker_create(&agent->tracker) < 0)
        return lathe_error_nomem(err);
    agent->mix = o->mix;
    agent->slots = o->slots ? o->slots : lathe_agent_default_slots();
    agent->flow = (struct lathe_flow){
        .scratch_dir = agent->scratch_dir,
        .owner = agent->owner,
        .cancel = o->cancel,
        .lease_ttl_ms = o->lease_ttl_ms ? o->lease_ttl_ms : LATHE_LEASE_TTL_MS,
        .merge_parallel = (int)agent->slots,
        .chunks = o->chunks,
        .keep_intermediates = o->keep_intermediates,
        .only_host = o->only_host,
    };
    if (o->chunks == LATHE_CHUNKS_AUTO &&
        lathe_chunks_from_name(getenv("LATHE_CHUNKS"), &agent->flow.chunks) < 0)
        return lathe_error_set(err, -EINVAL, LATHE_FAULT_CONFIG,
                               "LATHE_CHUNKS is neither auto, virtual nor objects");
    lathe_tracker_fill_sink(agent->tracker, &agent->flow.sink);
    return open_ports(agent, o, err);
}

int lathe_agent_open(const struct lathe_agent_options *options, struct lathe_agent **ret,
                     struct lathe_error *err)
{
    struct lathe_agent *agent = calloc(1, sizeof *agent);
    if (!agent)
        return lathe_error_nomem(err);
    agent->wake_fd = -1;
    pthread_mutex_init(&agent->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&agent->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int r = open_agent(agent, options, err);
    if (r < 0) {
        lathe_agent_close(agent);
        return r;
    }
    *ret = agent;
    return 0;
}

void lathe_agent_close(struct lathe_agent *agent)
{
    if (!agent)
        return;
    lathe_agent_hardware_stop(agent->hardware);
    lathe_leases_destroy(agent->flow.leases);
    lathe_samples_destroy(agent->flow.samples);
    lathe_queue_close(agent->flow.queue);
    lathe_state_close(agent->flow.state);
    lathe_store_close(agent->flow.store);
    lathe_placement_destroy(agent->flow.placement);
    lathe_pool_destroy(agent->flow.pool);
    lathe_tracker_destroy(agent->tracker);
    lathe_cancel_destroy(agent->stop);
    if (agent->wake_fd >= 0)
        close(agent->wake_fd);
    pthread_cond_destroy(&agent->changed);
    pthread_mutex_destroy(&agent->lock);
    free(agent->scratch_dir);
    free(agent);
}

struct lathe_flow *lathe_agent_flow(struct lathe_agent *agent)
{
    return &agent->flow;
}

unsigned lathe_agent_slots(const struct lathe_agent *agent)
{
    return agent->slots;
}

/* Ends the run for all threads; `error` NULL: in peace. */
static void end(struct lathe_agent *agent, const struct lathe_error *error)
{
    pthread_mutex_lock(&agent->lock);
    if (error && !agent->error.code)
        agent->error = *error;
    agent->ended = true;
    pthread_cond_broadcast(&agent->changed);
    pthread_mutex_unlock(&agent->lock);
    lathe_cancel_trigger(agent->stop);
    uint64_t one = 1;
    (void)!write(agent->wake_fd, &one, sizeof one); /* full means: already awake */
}

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
        end(agent, NULL);
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
    while (!agent->ended && agent->generation == generation && r != ETIMEDOUT)
        r = pthread_cond_timedwait(&agent->changed, &agent->lock, &until);
    pthread_mutex_unlock(&agent->lock);
}

static uint64_t current_generation(struct lathe_agent *agent, bool *ret_ended)
{
    pthread_mutex_lock(&agent->lock);
    uint64_t generation = agent->generation;
    *ret_ended = agent->ended;
    pthread_mutex_unlock(&agent->lock);
    return generation;
}

static void announce_change(struct lathe_agent *agent)
{
    pthread_mutex_lock(&agent->lock);
    agent->generation++;
    pthread_cond_broadcast(&agent->changed);
    pthread_mutex_unlock(&agent->lock);
}

static void *serve_slot(void *opaque)
{
    struct slot_thread *me = opaque;
    struct lathe_agent *agent = me->agent;
    int64_t stuck_since_us = 0;
    for (;;) {
        bool ended;
        uint64_t generation = current_generation(agent, &ended);
        if (ended)
            return NULL;
        /* A child that cannot be killed still holds its share of the machine; of those on a GPU
         * the placement knows. */
        unsigned stuck = lathe_pool_stuck_on(agent->flow.pool, LATHE_ENCODER_AUTO, NULL);
        if (stuck > me->number) {
            int64_t now_us = lathe_clock_monotonic_us();
            if (!stuck_since_us)
                stuck_since_us = now_us;
            if (stuck >= agent->slots && now_us - stuck_since_us > STUCK_LIMIT_US) {
                struct lathe_error all = {0};
                lathe_error_set(&all, -EIO, LATHE_FAULT_RESOURCE,
                                "every slot is stuck in the kernel and cannot be killed");
                lathe_error_hint(&all, "look at dmesg for a failing disk, file server or driver");
                end(agent, &all);
                return NULL;
            }
            sleep_until_change(agent, generation, IDLE_POLL_MS);
            continue;
        }
        stuck_since_us = 0;
        struct lathe_error why = {0};
        int r = lathe_agent_step(&agent->flow, agent->job_id[0] ? agent->job_id : NULL, &why);
        if (r > 0)
            announce_change(agent);
        int looked = r < 0 ? r : look_for_end(agent, &why);
        if (lathe_cancel_is_triggered(agent->stop))
            return NULL;
        if (looked < 0 && (agent->flow.only_host || !why.retriable)) {
            end(agent, &why);
            return NULL;
        }
        if (r <= 0)
            sleep_until_change(agent, generation, IDLE_POLL_MS);
    }
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

/* As many as can work at once, once it is known how many lanes the GPUs have. */
static unsigned wanted_threads(struct lathe_agent *agent)
{
    unsigned lanes = lathe_placement_lanes(agent->flow.placement), slots = agent->slots;
    unsigned wanted = agent->mix == LATHE_MIX_ALLOW ? slots + lanes : slots > lanes ? slots : lanes;
    return wanted < THREADS_MAX ? wanted : THREADS_MAX;
}

/* Starts what is missing; 0 or why not one more could be started. */
static int add_threads(struct lathe_agent *agent, struct slot_thread *threads, unsigned *n)
{
    int r = 0;
    for (unsigned wanted = wanted_threads(agent); *n < wanted && r == 0; *n += r == 0) {
        threads[*n] = (struct slot_thread){.agent = agent, .number = *n};
        r = pthread_create(&threads[*n].thread, NULL, serve_slot, &threads[*n]);
    }
    return r;
}

int lathe_agent_run(struct lathe_agent *agent, const char *job_id, void (*tick)(void *opaque),
                    void *opaque, struct lathe_error *err)
{
    struct lathe_cancel *cancel = agent->flow.cancel;
    if (job_id)
        snprintf(agent->job_id, sizeof agent->job_id, "%s", job_id);
    struct slot_thread *threads = calloc(THREADS_MAX, sizeof *threads);
    if (!threads)
        return lathe_error_nomem(err);
    agent->flow.cancel = agent->stop; /* fired by the user's below, and at the end */
    unsigned n = 0;
    int r = add_threads(agent, threads, &n);
    if (r != 0 && n == 0)
        lathe_error_set(&agent->error, -r, LATHE_FAULT_RESOURCE, "cannot start a thread: %s",
                        strerror(r));
    bool ended = n == 0;
    while (!ended && !lathe_cancel_is_triggered(cancel)) {
        struct pollfd fds[2] = {{.fd = cancel ? lathe_cancel_fd(cancel) : -1, .events = POLLIN},
                                {.fd = agent->wake_fd, .events = POLLIN}};
        poll(fds, 2, TICK_MS);
        if (tick)
            tick(opaque);
        (void)add_threads(agent, threads, &n); /* those that there are do the work, slower */
        current_generation(agent, &ended);
    }
    end(agent, NULL);
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i].thread, NULL);
    free(threads);
    lathe_tracker_end(agent->tracker);
    agent->flow.cancel = cancel;

    if (lathe_cancel_is_triggered(cancel))
        return lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "interrupted");
    if (agent->error.code) {
        if (err)
            *err = agent->error;
        return agent->error.code;
    }
    return job_id ? verdict(agent, err) : 0;
}

void lathe_agent_get_progress(struct lathe_agent *agent, struct lathe_agent_progress *ret)
{
    lathe_tracker_progress(agent->tracker, ret);
}

bool lathe_agent_is_resumed(struct lathe_agent *agent, uint32_t index)
{
    return lathe_tracker_is_resumed(agent->tracker, index);
}

json_t *lathe_agent_retries(struct lathe_agent *agent)
{
    return lathe_tracker_retries(agent->tracker);
}

json_t *lathe_agent_fallbacks(struct lathe_agent *agent)
{
    return lathe_tracker_fallbacks(agent->tracker);
}
