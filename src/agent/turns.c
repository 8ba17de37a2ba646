/* SPDX-License-Identifier: MIT */
/*
 * Moving files while slots encode. With a store that is no folder there are more threads than
 * slots: one whose chunk is encoded lets the next one have its turn while it stores the result, and
 * one may claim and fetch ahead shortly before a slot becomes free. Not earlier: what is claimed
 * and waits here, an idle host could begin at once.
 */
#include <string.h>

#include "parts.h"

/* Of the time from a claim to the first picture, lately: so long before the end the next is
 * claimed. */
#define AHEAD_PART 1.5
#define AHEAD_MIN_US 500000.0
#define AHEAD_MAX_US 10000000.0
#define AVERAGE_PART 0.3 /* of the newest chunk in what is known of them */

static _Thread_local struct lathe_turn mine;

void lathe_turns_set_limit(struct lathe_agent *agent, unsigned limit)
{
    pthread_mutex_lock(&agent->lock);
    agent->turns.limit = limit;
    pthread_mutex_unlock(&agent->lock);
}

static void learn(double *average, double value)
{
    *average += (*average > 0 ? AVERAGE_PART : 1) * (value - *average);
}

/* By its own speed, since chunks that are encoded at once slow each other down, and one that was
 * claimed ahead has waited for its slot. */
static bool is_turn_near_its_end(const struct lathe_turns *turns, const struct lathe_turn *t,
                                 int64_t now_us)
{
    if (turns->average_frames <= 0 || t->frames <= t->first_frames || t->seen_us <= t->first_us)
        return false;
    double frames_per_us =
        (double)(t->frames - t->first_frames) / (double)(t->seen_us - t->first_us);
    double left = turns->average_frames - (double)t->frames;
    double ahead_us = AHEAD_PART * turns->average_begin_us;
    ahead_us = ahead_us < AHEAD_MIN_US   ? AHEAD_MIN_US
               : ahead_us > AHEAD_MAX_US ? AHEAD_MAX_US
                                         : ahead_us;
    return left <= frames_per_us * ((double)(now_us - t->seen_us) + ahead_us);
}

/* Called with the lock held. */
static bool is_end_near(const struct lathe_turns *turns, int64_t now_us)
{
    for (const struct lathe_turn *t = turns->taken; t; t = t->next)
        if (is_turn_near_its_end(turns, t, now_us))
            return true;
    return false;
}

bool lathe_turn_take(struct lathe_agent *agent)
{
    struct lathe_turns *turns = &agent->turns;
    int64_t now_us = lathe_clock_monotonic_us();
    pthread_mutex_lock(&agent->lock);
    bool is_free = turns->count < turns->limit;
    bool ok =
        is_free || (turns->count == turns->limit && turns->limit && is_end_near(turns, now_us));
    if (ok) {
        mine = (struct lathe_turn){.since_us = now_us, .waits = !is_free, .next = turns->taken};
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

/* Functions of a sink. */
static void progressed(void *opaque, const char *job_id, uint32_t unit,
                       const struct lathe_progress *progress)
{
    (void)job_id;
    (void)unit;
    struct lathe_agent *agent = opaque;
    if (!progress->frames)
        return;
    pthread_mutex_lock(&agent->lock);
    mine.seen_us = lathe_clock_monotonic_us();
    if (!mine.first_us || progress->frames < mine.frames) { /* a second attempt begins anew */
        mine.first_us = mine.seen_us;
        mine.first_frames = progress->frames;
    }
    mine.frames = progress->frames;
    pthread_mutex_unlock(&agent->lock);
}

static void encoded(void *opaque)
{
    struct lathe_agent *agent = opaque;
    struct lathe_turns *turns = &agent->turns;
    pthread_mutex_lock(&agent->lock);
    bool had = drop(turns);
    if (had && mine.frames) {
        learn(&turns->average_frames, (double)mine.frames);
        if (!mine.waits)
            learn(&turns->average_begin_us, (double)(mine.first_us - mine.since_us));
    }
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
    agent->flow.sink.progress = progressed;
    agent->flow.sink.encoded = encoded;
}
