/* SPDX-License-Identifier: MIT */
/*
 * What a daemon does from time to time: says that it lives, hears whether it is to be drained,
 * finds out whether it is the one that sweeps and whether the state has lost everything,
 * measures the room for work, and removes what jobs that have ended left in it.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "parts.h"

#define BEAT_US (5 * 1000000LL)
#define BEAT_TTL_MS 20000
#define ROOM_MS 2000

struct upkeep {
    struct lathe_agent *agent;
    int64_t beaten_us; /* monotonic; 0 = not yet */
    int64_t started_us;
    bool is_lost; /* the state was found empty */
    int64_t forget_due_us;
    char host[65];
};

static json_t *make_record(const struct upkeep *u)
{
    struct lathe_agent *agent = u->agent;
    json_t *work = lathe_leases_list(agent->flow.leases);
    json_t *hardware = lathe_placement_to_json(agent->flow.placement);
    json_t *record =
        json_pack("{s:i, s:s, s:I, s:i, s:O*, s:o*}", "pid", (int)getpid(), "version",
                  LATHE_VERSION, "started_us", (json_int_t)u->started_us, "slots",
                  (int)agent->slots, "devices", json_object_get(hardware, "devices"), "work", work);
    json_decref(hardware);
    return record;
}

/* Who sweeps; and whether this worker is still in the list: if not, the state was emptied since its
 * last beat. */
static int look_at_workers(struct upkeep *u, bool *ret_lost, struct lathe_error *err)
{
    struct lathe_agent *agent = u->agent;
    struct lathe_worker_view *workers = NULL;
    size_t count = 0;
    int r = lathe_state_workers(agent->flow.state, &workers, &count, err);
    if (r < 0)
        return r;
    bool is_listed = false;
    for (size_t i = 0; i < count; i++)
        is_listed = is_listed || strcmp(workers[i].name, agent->owner) == 0;
    atomic_store(&agent->is_sweeper, lathe_sweeper_is(workers, count, agent->owner, LATHE_VERSION));
    lathe_worker_views_free(workers, count);
    int64_t silent_us = lathe_clock_monotonic_us() - u->beaten_us;
    *ret_lost = u->beaten_us && !is_listed && silent_us < BEAT_TTL_MS * 1000LL / 2;
    return 0;
}

static int beat(struct upkeep *u, struct lathe_error *err)
{
    struct lathe_agent *agent = u->agent;
    json_t *record = make_record(u);
    _cleanup_free_ char *text = record ? json_dumps(record, JSON_COMPACT) : NULL;
    json_decref(record);
    if (!text)
        return lathe_error_nomem(err);
    bool drain = false;
    int r =
        lathe_state_beat(agent->flow.state, agent->owner, u->host, text, BEAT_TTL_MS, &drain, err);
    if (r < 0)
        return r;
    u->beaten_us = lathe_clock_monotonic_us();
    if (drain && !atomic_exchange(&agent->is_paused, true))
        lathe_agent_notice(
            agent, LATHE_LOG_INFO,
            "the fleet asked to drain this host: nothing new is taken until restart");
    return 0;
}

/* A state without any job, open or ended, is new, or was emptied. */
static int state_is_empty(struct upkeep *u, bool *ret, struct lathe_error *err)
{
    struct lathe_job_view *jobs = NULL;
    size_t count = 0;
    uint64_t cursor = 0;
    int r =
        lathe_state_list(u->agent->flow.state, LATHE_JOBS_ALL, 0, 1, &jobs, &count, &cursor, err);
    if (r == 0)
        *ret = count == 0;
    lathe_job_views_free(jobs, count);
    return r;
}

/* Lost jobs are made again by one worker, which is known a round later: by then all have said that
 * they live. */
static int rebuild_if_due(struct upkeep *u, struct lathe_error *err)
{
    struct lathe_agent *agent = u->agent;
    bool is_due = u->is_lost && atomic_load(&agent->is_sweeper);
    u->is_lost = false;
    int n = is_due ? lathe_flow_rebuild_all(&agent->flow, err) : 0;
    if (n > 0)
        lathe_agent_notice(agent, LATHE_LOG_WARNING,
                           "the state was empty: %d open jobs were made again from the store", n);
    return n < 0 ? n : 0;
}

static int go_round(struct upkeep *u, struct lathe_error *err)
{
    bool is_lost = false, is_first = !u->beaten_us;
    int r = look_at_workers(u, &is_lost, err);
    if (r == 0 && is_first)
        r = state_is_empty(u, &is_lost, err);
    if (r == 0)
        r = beat(u, err);
    if (r == 0 && !is_lost)
        r = rebuild_if_due(u, err);
    u->is_lost = u->is_lost || is_lost;
    return r < 0 ? r : lathe_old_jobs_forget(u->agent, &u->forget_due_us, err);
}

static void *keep_up(void *opaque)
{
    struct lathe_agent *agent = opaque;
    struct upkeep u = {.agent = agent, .started_us = lathe_clock_wall_us()};
    (void)gethostname(u.host, sizeof u.host - 1);
    struct pollfd stop = {.fd = lathe_cancel_fd(agent->stop), .events = POLLIN};
    int64_t due_us = 0, noticed_us = 0;
    do {
        lathe_room_measure(agent);
        int64_t now_us = lathe_clock_monotonic_us();
        if (now_us < due_us)
            continue;
        due_us = now_us + BEAT_US;
        lathe_leftovers_remove(agent);
        struct lathe_error why = {0};
        if (go_round(&u, &why) < 0 && !lathe_cancel_is_triggered(agent->stop) &&
            (!noticed_us || now_us - noticed_us > 60 * 1000000LL)) {
            noticed_us = now_us;
            lathe_agent_notice(agent, LATHE_LOG_WARNING, "upkeep: %s", why.what);
        }
    } while (poll(&stop, 1, ROOM_MS) == 0);
    if (u.beaten_us)
        (void)lathe_state_leave(agent->flow.state, agent->owner, NULL); /* else its time runs out */
    return NULL;
}

int lathe_upkeep_start(struct lathe_agent *agent, struct lathe_error *err)
{
    int r = pthread_create(&agent->upkeep, NULL, keep_up, agent);
    agent->has_upkeep = r == 0;
    return r == 0 ? 0 : lathe_error_errno(err, -r, "cannot start a thread");
}

void lathe_upkeep_stop(struct lathe_agent *agent)
{
    if (agent->has_upkeep)
        pthread_join(agent->upkeep, NULL);
    agent->has_upkeep = false;
}
