/* SPDX-License-Identifier: MIT */
/*
 * Opening and closing an agent, and what is asked of it from outside.
 */
#include "lathe/agent.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>

#include "parts.h"

#define SLOT_MEMORY_BYTES (600ull << 20) /* a 1080p ladder */
#define SLOTS_MAX 256

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

/* --- opening --- */

static int open_queue(struct lathe_agent *agent, struct lathe_error *err)
{
    const struct lathe_agent_options *o = &agent->options;
    return lathe_queue_open(o->queue_driver, o->queue_location, &agent->flow.queue, err);
}

static int open_state(struct lathe_agent *agent, struct lathe_error *err)
{
    const struct lathe_agent_options *o = &agent->options;
    return lathe_state_open(o->state_driver, o->state_location, &agent->flow.state, err);
}

static int open_store(struct lathe_agent *agent, struct lathe_error *err)
{
    const struct lathe_agent_options *o = &agent->options;
    return lathe_store_open(o->store_driver, o->store_location, &agent->flow.store, err);
}

static int open_ports(struct lathe_agent *agent, struct lathe_error *err)
{
    static int (*const open_one[])(struct lathe_agent *,
                                   struct lathe_error *) = {open_queue, open_state, open_store};
    for (unsigned port = 0; port < LATHE_COUNT(open_one); port++) {
        unsigned tries = 0;
        int r;
        struct lathe_error why;
        do {
            why = (struct lathe_error){0};
            r = open_one[port](agent, &why);
        } while (r < 0 && lathe_outage_wait_at_start(agent, port, &tries, &why));
        if (r < 0 && (lathe_cancel_is_triggered(agent->options.drain) ||
                      lathe_cancel_is_triggered(agent->options.cancel)))
            return lathe_error_set(err, -ECANCELED, LATHE_FAULT_INTERRUPTED, "interrupted");
        if (r < 0) {
            if (err)
                *err = why;
            return r;
        }
    }
    if (agent->options.is_daemon)
        lathe_outages_be_patient(agent);
    return 0;
}

static int open_slots(struct lathe_agent *agent, struct lathe_error *err)
{
    const struct lathe_agent_options *o = &agent->options;
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
    return r;
}

/* People see it in the list of workers, and beside what it works on. */
static int name_owner(struct lathe_agent *agent, struct lathe_error *err)
{
    char id[37], host[65] = "";
    int r = lathe_uuid7(id);
    if (r < 0)
        return lathe_error_set(err, r, LATHE_FAULT_INTERNAL, "no random numbers: %s", strerror(-r));
    (void)gethostname(host, sizeof host - 1); /* longer ones are cut */
    snprintf(agent->owner, sizeof agent->owner, "%s.%d.%s", host[0] ? host : "host", (int)getpid(),
             id + 28);
    return 0;
}

static int open_agent(struct lathe_agent *agent, struct lathe_error *err)
{
    const struct lathe_agent_options *o = &agent->options;
    agent->scratch_dir = strdup(o->scratch_dir);
    if (!agent->scratch_dir)
        return lathe_error_nomem(err);
    int r = lathe_mkdir_p(agent->scratch_dir, err);
    if (r == 0)
        r = name_owner(agent, err);
    if (r < 0)
        return r;
    agent->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (agent->wake_fd < 0)
        return lathe_error_set(err, -errno, LATHE_FAULT_RESOURCE, "eventfd: %s", strerror(errno));
    r = lathe_cancel_create(&agent->stop);
    if (r < 0)
        return lathe_error_set(err, r, LATHE_FAULT_RESOURCE, "cannot create a pipe: %s",
                               strerror(-r));
    if (lathe_tracker_create(&agent->tracker) < 0)
        return lathe_error_nomem(err);
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
    if (o->is_daemon) {
        lathe_agent_log_events(&agent->flow.sink);
        lathe_turns_fill_sink(agent);
    } else {
        lathe_tracker_fill_sink(agent->tracker, &agent->flow.sink);
    }
    atomic_store(&agent->is_sweeper, true); /* until it is known who else there is */
    atomic_store(&agent->has_room, true);
    lathe_agent_set_drain_seconds(agent, o->drain_seconds);
    lathe_agent_set_quota(agent, o->scratch_quota_bytes);
    lathe_agent_set_keep_hours(agent, o->keep_hours);
    r = open_slots(agent, err);
    if (r == 0)
        r = open_ports(agent, err);
    if (r == 0)
        r = lathe_samples_create(&agent->flow.samples, err);
    if (r == 0)
        r = lathe_leases_create(agent->flow.state, agent->flow.lease_ttl_ms, &agent->flow.leases,
                                err);
    return r;
}

int lathe_agent_open(const struct lathe_agent_options *options, struct lathe_agent **ret,
                     struct lathe_error *err)
{
    struct lathe_agent *agent = calloc(1, sizeof *agent);
    if (!agent)
        return lathe_error_nomem(err);
    agent->options = *options;
    agent->wake_fd = -1;
    pthread_mutex_init(&agent->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&agent->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int r = lathe_outages_init(agent, err);
    if (r == 0)
        r = open_agent(agent, err);
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
    lathe_outages_clear(agent);
    pthread_cond_destroy(&agent->changed);
    pthread_mutex_destroy(&agent->lock);
    free(agent->scratch_dir);
    free(agent);
}

/* --- shared by its files --- */

void lathe_agent_announce(struct lathe_agent *agent)
{
    pthread_mutex_lock(&agent->lock);
    agent->generation++;
    agent->changed_us = lathe_clock_monotonic_us();
    pthread_cond_broadcast(&agent->changed);
    pthread_mutex_unlock(&agent->lock);
}

void lathe_agent_end(struct lathe_agent *agent, const struct lathe_error *error)
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

void lathe_agent_notice(struct lathe_agent *agent, enum lathe_log_level level, const char *format,
                        ...)
{
    if (!agent->options.notice)
        return;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    agent->options.notice(agent->options.notice_opaque, level, text);
}

/* --- asked from outside --- */

struct lathe_flow *lathe_agent_flow(struct lathe_agent *agent)
{
    return &agent->flow;
}

unsigned lathe_agent_slots(const struct lathe_agent *agent)
{
    return agent->slots;
}

const char *lathe_agent_name(const struct lathe_agent *agent)
{
    return agent->owner;
}

void lathe_agent_set_drain_seconds(struct lathe_agent *agent, unsigned seconds)
{
    atomic_store(&agent->drain_us, (int64_t)seconds * 1000000);
}

void lathe_agent_set_quota(struct lathe_agent *agent, uint64_t bytes)
{
    atomic_store(&agent->quota_bytes, bytes);
}

void lathe_agent_set_keep_hours(struct lathe_agent *agent, double hours)
{
    atomic_store(&agent->keep_us, (int64_t)(hours * 3600e6));
}

void lathe_agent_probe_again(struct lathe_agent *agent)
{
    lathe_agent_hardware_again(agent->hardware);
}

bool lathe_agent_is_taking(struct lathe_agent *agent, char *why, size_t size)
{
    pthread_mutex_lock(&agent->lock);
    bool is_draining = agent->is_draining || agent->ended;
    pthread_mutex_unlock(&agent->lock);
    const char *text = NULL;
    if (is_draining)
        text = "it is about to end";
    else if (atomic_load(&agent->is_paused))
        text = "the host is drained";
    else if (!atomic_load(&agent->has_room))
        text = "there is no room for more work";
    for (size_t i = 0; !text && i < LATHE_COUNT(agent->outages); i++) {
        struct lathe_outage *o = &agent->outages[i];
        pthread_mutex_lock(&o->lock);
        if (o->since_us)
            text = "a server is away";
        pthread_mutex_unlock(&o->lock);
    }
    if (text)
        snprintf(why, size, "%s", text);
    return !text;
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
