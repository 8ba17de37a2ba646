/* SPDX-License-Identifier: MIT */
/*
 * Progress of a job as people want it: chunks are weighed by the source time they cover, and work
 * that an earlier run did counts as done but not as speed.
 */
#include "tracker.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "lathe/base.h"

#define RETRIES_MAX 100 /* lines kept; more of the same help nobody */
#define FALLBACKS_MAX 1000

struct tracked {
    struct lathe_unit what;
    uint64_t frames_expected, frames_now;
    double seconds; /* of the source */
    bool started, done;
};

struct lathe_tracker {
    pthread_mutex_t lock;
    struct tracked *units;
    uint32_t n_units;
    int64_t encoding_since_us; /* first chunk or pilot of this run; 0 = none yet */
    bool merging, ended;
    json_t *retries, *fallbacks;
    struct lathe_error failure;
};

int lathe_tracker_create(struct lathe_tracker **ret)
{
    struct lathe_tracker *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->retries = json_array();
    t->fallbacks = json_array();
    if (!t->retries || !t->fallbacks) {
        json_decref(t->retries);
        json_decref(t->fallbacks);
        free(t);
        return -ENOMEM;
    }
    pthread_mutex_init(&t->lock, NULL);
    *ret = t;
    return 0;
}

void lathe_tracker_destroy(struct lathe_tracker *t)
{
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    json_decref(t->retries);
    json_decref(t->fallbacks);
    free(t->units);
    free(t);
}

static void planned(void *opaque, const char *job_id, const struct lathe_plan *plan)
{
    (void)job_id;
    struct lathe_tracker *t = opaque;
    struct lathe_unit *units = NULL;
    uint32_t count = 0;
    if (lathe_plan_units(plan, &units, &count) < 0)
        return; /* no memory: no progress shown, no harm done */
    struct tracked *list = calloc(count ? count : 1, sizeof *list);
    for (uint32_t i = 0; list && i < count; i++) {
        list[i].what = units[i];
        if (units[i].kind != LATHE_UNIT_CHUNK)
            continue;
        const struct lathe_plan_chunk *chunk = &plan->chunks[units[i].index];
        int64_t end = units[i].index + 1 == plan->n_chunks ? plan->duration : chunk->end;
        list[i].frames_expected = chunk->frames;
        list[i].seconds = (double)(end - chunk->start) * plan->time_base.num / plan->time_base.den;
    }
    free(units);
    pthread_mutex_lock(&t->lock);
    if (list) {
        free(t->units);
        t->units = list;
        t->n_units = count;
        t->merging = false; /* a second plan comes after a merge */
    }
    pthread_mutex_unlock(&t->lock);
}

static void started(void *opaque, const char *job_id, uint32_t unit)
{
    (void)job_id;
    struct lathe_tracker *t = opaque;
    pthread_mutex_lock(&t->lock);
    if (unit == LATHE_UNIT_MERGE) {
        t->merging = true;
    } else if (unit < t->n_units) {
        t->units[unit].started = true;
        t->units[unit].frames_now = 0;
        if (!t->encoding_since_us)
            t->encoding_since_us = lathe_clock_monotonic_us();
    }
    pthread_mutex_unlock(&t->lock);
}

static void progress(void *opaque, const char *job_id, uint32_t unit,
                     const struct lathe_progress *now)
{
    (void)job_id;
    struct lathe_tracker *t = opaque;
    pthread_mutex_lock(&t->lock);
    if (unit < t->n_units && t->units[unit].what.kind == LATHE_UNIT_CHUNK) {
        struct tracked *u = &t->units[unit];
        u->frames_now = now->frames < u->frames_expected ? now->frames : u->frames_expected;
    }
    pthread_mutex_unlock(&t->lock);
}

static void done(void *opaque, const char *job_id, uint32_t unit)
{
    (void)job_id;
    struct lathe_tracker *t = opaque;
    pthread_mutex_lock(&t->lock);
    if (unit < t->n_units) {
        t->units[unit].done = true;
        t->units[unit].frames_now = t->units[unit].frames_expected;
    }
    pthread_mutex_unlock(&t->lock);
}

static void reopened(void *opaque, const char *job_id, uint32_t unit)
{
    (void)job_id;
    struct lathe_tracker *t = opaque;
    pthread_mutex_lock(&t->lock);
    if (unit < t->n_units) {
        t->units[unit].done = false;
        t->units[unit].frames_now = 0;
    }
    pthread_mutex_unlock(&t->lock);
}

static void failed(void *opaque, const char *job_id, uint32_t unit, const struct lathe_error *why,
                   enum lathe_verdict verdict)
{
    (void)job_id;
    struct lathe_tracker *t = opaque;
    pthread_mutex_lock(&t->lock);
    if (unit < t->n_units && !t->units[unit].done)
        t->units[unit].frames_now = 0;
    if (unit == LATHE_UNIT_MERGE)
        t->merging = false;
    if (verdict == LATHE_EXHAUSTED && !t->failure.code)
        t->failure = *why;
    else if (verdict == LATHE_RETRY && json_array_size(t->retries) < RETRIES_MAX)
        json_array_append_new(t->retries, json_string(why->what));
    pthread_mutex_unlock(&t->lock);
}

static void fell_back(void *opaque, const char *job_id, uint32_t unit, const json_t *fallback)
{
    (void)job_id;
    (void)unit;
    struct lathe_tracker *t = opaque;
    pthread_mutex_lock(&t->lock);
    if (json_array_size(t->fallbacks) < FALLBACKS_MAX)
        json_array_append_new(t->fallbacks, json_deep_copy(fallback));
    pthread_mutex_unlock(&t->lock);
}

void lathe_tracker_fill_sink(struct lathe_tracker *t, struct lathe_flow_sink *sink)
{
    *sink = (struct lathe_flow_sink){.opaque = t,
                                     .planned = planned,
                                     .started = started,
                                     .progress = progress,
                                     .done = done,
                                     .reopened = reopened,
                                     .failed = failed,
                                     .fell_back = fell_back};
}

void lathe_tracker_end(struct lathe_tracker *t)
{
    pthread_mutex_lock(&t->lock);
    t->ended = true;
    pthread_mutex_unlock(&t->lock);
}

/* Called with the lock held. */
static enum lathe_phase phase(const struct lathe_tracker *t, bool chunk_seen)
{
    if (t->ended)
        return LATHE_PHASE_ENDED;
    if (t->merging)
        return LATHE_PHASE_MERGING;
    if (!t->n_units)
        return LATHE_PHASE_PLANNING;
    return chunk_seen ? LATHE_PHASE_ENCODING : LATHE_PHASE_MEASURING;
}

void lathe_tracker_progress(struct lathe_tracker *t, struct lathe_agent_progress *ret)
{
    struct lathe_agent_progress p = {.eta_seconds = -1};
    double seconds_here = 0, seconds_left = 0;
    uint64_t frames_here = 0;
    bool chunk_seen = false;
    pthread_mutex_lock(&t->lock);
    for (uint32_t i = 0; i < t->n_units; i++) {
        const struct tracked *u = &t->units[i];
        if (u->what.kind != LATHE_UNIT_CHUNK)
            continue;
        double part = u->done              ? 1
                      : u->frames_expected ? (double)u->frames_now / (double)u->frames_expected
                                           : 0;
        bool resumed = u->done && !u->started;
        p.chunks_total++;
        p.chunks_done += u->done;
        p.chunks_resumed += resumed;
        p.frames_total += u->frames_expected;
        p.frames_done += u->frames_now;
        seconds_left += u->seconds * (1 - part);
        chunk_seen = chunk_seen || u->started || u->done;
        if (!resumed) {
            frames_here += u->frames_now;
            seconds_here += u->seconds * part;
        }
    }
    p.phase = phase(t, chunk_seen);
    double elapsed = t->encoding_since_us
                         ? (double)(lathe_clock_monotonic_us() - t->encoding_since_us) / 1e6
                         : 0;
    pthread_mutex_unlock(&t->lock);
    if (elapsed > 0.2 && seconds_here > 0) {
        p.fps = (double)frames_here / elapsed;
        p.speed = seconds_here / elapsed;
        p.eta_seconds = seconds_left / p.speed;
    }
    *ret = p;
}

bool lathe_tracker_is_resumed(struct lathe_tracker *t, uint32_t chunk)
{
    bool ret = false;
    pthread_mutex_lock(&t->lock);
    /* Chunks are the last units, so the last index says where they begin. */
    uint32_t n_chunks = t->n_units ? t->units[t->n_units - 1].what.index + 1 : 0;
    if (chunk < n_chunks && n_chunks <= t->n_units) {
        const struct tracked *u = &t->units[t->n_units - n_chunks + chunk];
        ret = u->what.kind == LATHE_UNIT_CHUNK && u->done && !u->started;
    }
    pthread_mutex_unlock(&t->lock);
    return ret;
}

json_t *lathe_tracker_retries(struct lathe_tracker *t)
{
    pthread_mutex_lock(&t->lock);
    json_t *ret = json_deep_copy(t->retries);
    pthread_mutex_unlock(&t->lock);
    return ret;
}

json_t *lathe_tracker_fallbacks(struct lathe_tracker *t)
{
    pthread_mutex_lock(&t->lock);
    json_t *ret = json_deep_copy(t->fallbacks);
    pthread_mutex_unlock(&t->lock);
    return ret;
}

void lathe_tracker_failure(struct lathe_tracker *t, struct lathe_error *ret)
{
    pthread_mutex_lock(&t->lock);
    *ret = t->failure;
    pthread_mutex_unlock(&t->lock);
}
