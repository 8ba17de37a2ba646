/* SPDX-License-Identifier: MIT */
/*
 * Servers that are away: said at once, then once a minute, and again when they are back. Whoever
 * needs them waits in the front of the port.
 */
#include <string.h>

#include "parts.h"

#define SAY_US (60 * 1000000LL)
#define DELIVERY_US (6 * 1000000LL) /* the longest pause of a patient call, and a little */

static const char *const names[] = {"queue", "state", "store"};

/* `why` NULL: it answers. */
static void waiting(void *opaque, const struct lathe_error *why)
{
    struct lathe_outage *o = opaque;
    int64_t now_us = lathe_clock_monotonic_us();
    pthread_mutex_lock(&o->lock);
    int64_t since_us = o->since_us;
    bool say = why ? !since_us || now_us - o->said_us >= SAY_US : since_us != 0;
    if (why && !since_us)
        o->since_us = now_us;
    if (why && say)
        o->said_us = now_us;
    if (!why && since_us) {
        o->since_us = 0;
        o->ended_us = now_us;
    }
    pthread_mutex_unlock(&o->lock);
    if (!say)
        return;
    long long seconds = since_us ? (long long)((now_us - since_us) / 1000000) : 0;
    if (!why)
        lathe_agent_notice(o->agent, LATHE_LOG_WARNING, "the %s answers again after %lld s",
                           o->name, seconds);
    else
        lathe_agent_notice(o->agent, LATHE_LOG_WARNING, "waiting for the %s since %lld s: %s%s%s",
                           o->name, seconds, why->what, why->hint[0] ? "; " : "", why->hint);
}

bool lathe_outages_are_over(struct lathe_agent *agent)
{
    int64_t now_us = lathe_clock_monotonic_us();
    bool over = true;
    for (size_t i = 0; i < LATHE_COUNT(names); i++) {
        struct lathe_outage *o = &agent->outages[i];
        pthread_mutex_lock(&o->lock);
        over = over && !o->since_us && (!o->ended_us || now_us - o->ended_us >= DELIVERY_US);
        pthread_mutex_unlock(&o->lock);
    }
    return over;
}

int lathe_outages_init(struct lathe_agent *agent, struct lathe_error *err)
{
    for (size_t i = 0; i < LATHE_COUNT(names); i++) {
        agent->outages[i].agent = agent;
        agent->outages[i].name = names[i];
        int r = -pthread_mutex_init(&agent->outages[i].lock, NULL);
        if (r < 0)
            return lathe_error_errno(err, r, "cannot make a mutex");
    }
    return 0;
}

void lathe_outages_clear(struct lathe_agent *agent)
{
    for (size_t i = 0; i < LATHE_COUNT(names); i++)
        pthread_mutex_destroy(&agent->outages[i].lock);
}

void lathe_outages_be_patient(struct lathe_agent *agent)
{
    struct lathe_patience patience[LATHE_COUNT(names)];
    for (size_t i = 0; i < LATHE_COUNT(names); i++)
        patience[i] = (struct lathe_patience){
            .cancel = agent->stop, .waiting = waiting, .opaque = &agent->outages[i]};
    lathe_queue_set_patience(agent->flow.queue, &patience[0]);
    lathe_state_set_patience(agent->flow.state, &patience[1]);
    lathe_store_set_patience(agent->flow.store, &patience[2]);
}

bool lathe_outage_wait_at_start(struct lathe_agent *agent, unsigned port, unsigned *tries,
                                const struct lathe_error *why)
{
    const struct lathe_agent_options *o = &agent->options;
    struct lathe_outage *outage = &agent->outages[port];
    if (!o->is_daemon || !lathe_patience_is_for(why))
        return false;
    waiting(outage, why);
    int64_t waited_us = lathe_clock_monotonic_us() - outage->since_us;
    if (o->patience_seconds && waited_us > (int64_t)o->patience_seconds * 1000000)
        return false;
    lathe_backoff((*tries)++, o->drain);
    return !lathe_cancel_is_triggered(o->drain) && !lathe_cancel_is_triggered(o->cancel);
}
