/* SPDX-License-Identifier: MIT */
/*
 * Moving files while slots encode. With a store that is no folder there are more threads than
 * slots: one whose chunk is encoded lets the next one have its turn while it stores the result, and
 * one may claim and fetch ahead shortly before a slot becomes free. Not earlier: what is claimed
 * and waits here, an idle host could begin at once.
 */
#include <string.h>

#include "parts.h"

#define AHEAD_PART 0.75  /* of what chunks took lately: then the end is near */
#define AVERAGE_PART 0.3 /* of the newest chunk in that */

static _Thread_local struct lathe_turn mine;

void lathe_turns_set_limit(struct lathe_agent *agent, unsigned limit)
{
    pthread_mutex_lock(&agent->lock);
    agent->turns.limit = limit;
    pthread_mutex_unlock(&agent->lock);
}

/* Called with the lock held. */
static bool is_end_near(const struct lathe_turns *turns, int64_t now_us)
{
    for (const struct lathe_turn *t = turns->taken; t; t = t->next)
        if (turns->average_us > 0 && now_us - t->since_us > AHEAD_PART * turns->average_us)
            return true;
    return false;
}

bool lathe_turn_take(struct lathe_agent *agent)
{
    struct lathe_turns *turns = &agent->turns;
    int64_t now_us = lathe_clock_monotonic_us();
    pthread_mutex_lock(&agent->lock);
    bool ok = turns->count < turns->limit ||
              (turns->count == turns->limit && turns->limit && is_end_near(turns, now_us));
    if (ok) {
        mine = (struct lathe_turn){.since_us = now_us, .next = turns->taken};
        turns->taken = &mine;
        turns->count++;
    }
    pthread_mutex_unlock(&agent->lock);
    return ok;
}

/* Called with the lock held; false when this thread has none. */
static bool drop(struct lathe_turns *turns)
{
    for (struct lathe_turn **t = &turns->taken; *t; t = &(*t)->next)
        if (*t == &mine) {
            *t = mine.next;
            turns->count--;
            return true;
        }
    return false;
}

void lathe_turn_give(struct lathe_agent *agent)
{
    pthread_mutex_lock(&agent->lock);
    (void)drop(&agent->turns);
    pthread_mutex_unlock(&agent->lock);
}

/* A sink's function. */
static void encoded(void *opaque)
{
    struct lathe_agent *agent = opaque;
    struct lathe_turns *turns = &agent->turns;
    double took_us = (double)(lathe_clock_monotonic_us() - mine.since_us);
    pthread_mutex_lock(&agent->lock);
    bool had = drop(turns);
    if (had)
        turns->average_us +=
            (turns->average_us > 0 ? AVERAGE_PART : 1) * (took_us - turns->average_us);
    pthread_mutex_unlock(&agent->lock);
    if (had)
        lathe_agent_announce(agent);
}

bool lathe_turns_overlap(const struct lathe_agent *agent)
{
    return agent->options.is_daemon && !lathe_store_is_local(agent->flow.store);
}

void lathe_turns_fill_sink(struct lathe_agent *agent)
{
    agent->flow.sink.opaque = agent;
    agent->flow.sink.encoded = encoded;
}
