/* SPDX-License-Identifier: MIT */
/*
 * Puts the daemon together: scratch folder, agent, door, figures and health, service manager.
 */
#include "worker.h"

#include <errno.h>
#include <string.h>

#include "lathe/base.h"
#include "lathe/door.h"
#include "lathe/log.h"
#include "lathe/metrics.h"
#include "lathe/scratch.h"
#include "lathe/serve.h"

#define STATUS_US (5 * 1000000LL)
#define LOOP_MAX_US (30 * 1000000LL) /* a control loop that is slower is stuck */

struct parts {
    struct lathe_worker *worker;
    struct lathe_scratch scratch;
    struct lathe_observer *observer;
    struct lathe_serve *serve;
    struct lathe_door *door;
    uint64_t watchdog_us;
    int64_t petted_us, told_us;
    double told_frames;
    bool is_stopping;
};

static void notice(void *opaque, enum lathe_log_level level, const char *text)
{
    (void)opaque;
    lathe_log(level, "%s", text);
}

/* --- health --- */

static bool is_healthy(void *opaque, char *why, size_t size)
{
    struct parts *parts = opaque;
    int64_t age_us = lathe_clock_monotonic_us() - atomic_load(&parts->worker->ticked_us);
    if (age_us < LOOP_MAX_US)
        return true;
    snprintf(why, size, "the control loop has stood still for %lld s", (long long)age_us / 1000000);
    return false;
}

static bool is_ready(void *opaque, char *why, size_t size)
{
    struct parts *parts = opaque;
    return lathe_agent_is_taking(parts->worker->agent, why, size);
}

static void count_loop(void *opaque)
{
    struct lathe_worker *worker = opaque;
    lathe_metrics_set(LATHE_METRIC_WORKER_DRAINING, NULL, lathe_cancel_is_triggered(worker->drain));
    lathe_metrics_set(LATHE_METRIC_CONTROL_LOOP_AGE, NULL,
                      (double)(lathe_clock_monotonic_us() - atomic_load(&worker->ticked_us)) / 1e6);
}

/* What systemctl status shows, now and then. */
static void tell_status(struct parts *parts, int64_t now_us)
{
    int64_t since_us = now_us - parts->told_us;
    if (since_us < STATUS_US)
        return;
    double frames = lathe_metrics_sum(LATHE_METRIC_PROCESSED_FRAMES);
    double fps = (frames - parts->told_frames) * 1e6 / (double)since_us;
    bool drains = lathe_cancel_is_triggered(parts->worker->drain);
    (void)lathe_notify("STATUS=%s%.0f tasks, %.0f fps; %.0f jobs finished, %.0f failed",
                       drains ? "draining: " : "", lathe_metrics_sum(LATHE_METRIC_TASKS_RUNNING),
                       fps, lathe_metrics_sum(LATHE_METRIC_JOBS_FINISHED),
                       lathe_metrics_sum(LATHE_METRIC_JOBS_FAILED));
    parts->told_us = now_us;
    parts->told_frames = frames;
}

/* The control loop: about ten times a second. */
static void tick(void *opaque)
{
    struct parts *parts = opaque;
    struct lathe_worker *worker = parts->worker;
    int64_t now_us = lathe_clock_monotonic_us();
    atomic_store(&worker->ticked_us, now_us);
    if (atomic_exchange(&worker->reload, false))
        lathe_worker_reload(worker);
    if (parts->watchdog_us && now_us - parts->petted_us > (int64_t)parts->watchdog_us / 3) {
        parts->petted_us = now_us;
        (void)lathe_notify("WATCHDOG=1");
    }
    if (!parts->is_stopping && lathe_cancel_is_triggered(worker->drain)) {
        parts->is_stopping = true;
        parts->told_us = 0;
        (void)lathe_notify("STOPPING=1");
    }
    tell_status(parts, now_us);
}

/* --- putting together --- */

static int open_scratch(struct parts *parts, struct lathe_error *err)
{
    const struct lathe_config *c = &parts->worker->config;
    _cleanup_free_ char *base =
        *c->scratch_dir ? lathe_format("%s/lathe-%u", c->scratch_dir, (unsigned)geteuid())
                        : lathe_format("%s/scratch", c->state_dir);
    if (!base)
        return lathe_error_nomem(err);
    int r = lathe_scratch_open_worker(base, &parts->scratch, err);
    if (r < 0)
        lathe_config_blame(c, *c->scratch_dir ? "scratch.dir" : "state_dir", err);
    return r;
}

static int make_store_folder(const struct lathe_config *c, struct lathe_error *err)
{
    /* The embedded drivers make files, not the folders that they are in. */
    if (!lathe_config_is_set(c, "store.location"))
        return lathe_mkdir_p(c->store_location, err);
    return lathe_config_is_set(c, "queue.location") && lathe_config_is_set(c, "state.location")
               ? 0
               : lathe_mkdir_p(c->state_dir, err);
}

static int open_agent(struct parts *parts, struct lathe_error *err)
{
    struct lathe_worker *worker = parts->worker;
    const struct lathe_config *c = &worker->config;
    const struct lathe_agent_options options = {
        .queue_driver = c->queue_driver,
        .queue_location = c->queue_location,
        .state_driver = c->state_driver,
        .state_location = c->state_location,
        .store_driver = c->store_driver,
        .store_location = c->store_location,
        .scratch_dir = parts->scratch.dir,
        .slots = (unsigned)c->slots,
        .lease_ttl_ms = (int)c->lease_seconds * 1000,
        .gpus = c->gpu_enabled,
        .mix = LATHE_MIX_ALLOW,
        .cancel = worker->cancel,
        .is_daemon = true,
        .patience_seconds = (unsigned)c->patience_seconds,
        .drain = worker->drain,
        .drain_seconds = (unsigned)c->drain_seconds,
        .scratch_quota_bytes = c->scratch_quota_bytes,
        .keep_hours = c->keep_hours,
        .notice = notice,
    };
    int r = make_store_folder(c, err);
    return r < 0 ? r : lathe_agent_open(&options, &worker->agent, err);
}

/* On many hosts nobody submits to the worker itself: where no place was named, having none is no
 * error. */
static int open_door(struct parts *parts, struct lathe_error *err)
{
    const struct lathe_config *c = &parts->worker->config;
    const struct lathe_door_options door = {.path = *c->door ? c->door : LATHE_DOOR_PATH,
                                            .flow = lathe_agent_flow(parts->worker->agent)};
    if (strcmp(c->door, "none") == 0)
        return 0;
    struct lathe_error why = {0};
    int r = lathe_door_open(&door, &parts->door, &why);
    if (r < 0 && !*c->door) {
        lathe_log_info("no door for people of this host: %s", why.what);
        return 0;
    }
    if (r < 0 && err)
        *err = why;
    if (r < 0)
        lathe_config_blame(c, "door", err);
    return r;
}

static int open_outside(struct parts *parts, struct lathe_error *err)
{
    struct lathe_worker *worker = parts->worker;
    const struct lathe_config *c = &worker->config;
    int r = lathe_observer_start(worker->agent, &parts->observer, err);
    if (r == 0)
        r = lathe_serve_process_metrics();
    if (r == 0)
        r = lathe_metrics_add_collector(count_loop, worker);
    const struct lathe_serve_options serve = {.listen = c->metrics_listen,
                                              .is_healthy = is_healthy,
                                              .is_ready = is_ready,
                                              .opaque = parts};
    if (r == 0 && *c->metrics_listen) {
        r = lathe_serve_start(&serve, &parts->serve, err);
        if (r < 0)
            lathe_config_blame(c, "metrics.listen", err);
    }
    return r < 0 ? r : open_door(parts, err);
}

static void close_all(struct parts *parts)
{
    lathe_door_close(parts->door);
    lathe_serve_stop(parts->serve);
    lathe_metrics_remove_collector(count_loop, parts->worker);
    lathe_observer_stop(parts->observer);
    lathe_agent_close(parts->worker->agent);
    lathe_scratch_close(&parts->scratch);
}

static int run(struct parts *parts, struct lathe_error *err)
{
    struct lathe_worker *worker = parts->worker;
    (void)lathe_notify("STATUS=waiting for its servers");
    int r = open_scratch(parts, err);
    if (r == 0)
        r = open_agent(parts, err);
    if (r == 0)
        r = open_outside(parts, err);
    if (r < 0)
        return r;
    char where[64] = "";
    if (parts->serve)
        snprintf(where, sizeof where, ", figures on port %u", lathe_serve_port(parts->serve));
    lathe_log_info("lathe-worker %s is %s: %u slots, queue %s, state %s, store %s%s", LATHE_VERSION,
                   lathe_agent_name(worker->agent), lathe_agent_slots(worker->agent),
                   worker->config.queue_driver, worker->config.state_driver,
                   worker->config.store_driver, where);
    (void)lathe_notify("READY=1");
    return lathe_agent_run(worker->agent, NULL, tick, parts, err);
}

int lathe_worker_run(struct lathe_worker *worker, struct lathe_error *err)
{
    struct parts parts = {
        .worker = worker, .scratch = {.lock_fd = -1}, .watchdog_us = lathe_notify_watchdog_us()};
    atomic_store(&worker->ticked_us, lathe_clock_monotonic_us());
    int r = run(&parts, err);
    close_all(&parts);
    /* Told to stop before it had begun. */
    return r == -ECANCELED && !lathe_cancel_is_triggered(worker->cancel) ? 0 : r;
}
