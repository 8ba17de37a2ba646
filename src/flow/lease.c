/* SPDX-License-Identifier: MIT */
/*
 * Keeps leases alive from a thread of its own, so that no busy step can miss a renewal. A lease
 * that is lost is only forgotten: finishing the work is harmless, the first result wins; but where
 * its job came to nothing, the work is stopped.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "flow.h"

struct lease {
    char job_id[LATHE_ID_MAX + 1];
    uint32_t unit;
    uint64_t fence;
    struct lathe_cancel *stop;
};

struct lathe_leases {
    struct lathe_state *state;
    int ttl_ms;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop;
    struct lease *list;
    size_t count, capacity;
};

static bool same(const struct lease *l, const char *job_id, uint32_t unit, uint64_t fence)
{
    return l->unit == unit && l->fence == fence && strcmp(l->job_id, job_id) == 0;
}

/* Called with the lock held. */
static void forget(struct lathe_leases *leases, const char *job_id, uint32_t unit, uint64_t fence)
{
    for (size_t i = 0; i < leases->count; i++)
        if (same(&leases->list[i], job_id, unit, fence)) {
            leases->list[i] = leases->list[--leases->count];
            return;
        }
}

/* A lease that somebody else took over is no reason to stop: the first result wins. That of a job
 * that came to nothing is. */
static bool is_in_vain(struct lathe_state *state, const char *job_id)
{
    struct lathe_job_view view = {0};
    int r = lathe_state_get(state, job_id, &view, NULL);
    bool in_vain =
        r == -ENOENT ||
        (r == 0 && (view.status == LATHE_JOB_CANCELLED || view.status == LATHE_JOB_FAILED));
    lathe_job_view_clear(&view);
    return in_vain;
}

/* Called with the lock held: what is not in the list any more has no token any more. */
static void stop_and_forget(struct lathe_leases *leases, const struct lease *lease, bool stop)
{
    for (size_t i = 0; stop && i < leases->count; i++)
        if (same(&leases->list[i], lease->job_id, lease->unit, lease->fence))
            lathe_cancel_trigger(leases->list[i].stop);
    forget(leases, lease->job_id, lease->unit, lease->fence);
}

/* Called with the lock held; gives it up while the state is asked. */
static void renew_all(struct lathe_leases *leases)
{
    if (!leases->count)
        return;
    size_t count = leases->count;
    struct lease *copy = malloc(count * sizeof *copy);
    if (!copy)
        return; /* the next round may have memory; a lost lease is harmless */
    memcpy(copy, leases->list, count * sizeof *copy);
    pthread_mutex_unlock(&leases->lock);
    for (size_t i = 0; i < count; i++) {
        enum lathe_verdict verdict = LATHE_GRANTED;
        int r = lathe_state_renew(leases->state, copy[i].job_id, copy[i].unit, copy[i].fence,
                                  leases->ttl_ms, &verdict, NULL);
        if (r == 0 && verdict != LATHE_GRANTED) {
            bool in_vain = is_in_vain(leases->state, copy[i].job_id);
            pthread_mutex_lock(&leases->lock);
            stop_and_forget(leases, &copy[i], in_vain);
            pthread_mutex_unlock(&leases->lock);
        }
    }
    pthread_mutex_lock(&leases->lock);
    free(copy);
}

static void *keep(void *opaque)
{
    struct lathe_leases *leases = opaque;
    pthread_mutex_lock(&leases->lock);
    while (!leases->stop) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t ns = until.tv_nsec + (int64_t)leases->ttl_ms / 3 * 1000000;
        until.tv_sec += ns / 1000000000;
        until.tv_nsec = ns % 1000000000;
        int r = 0;
        while (!leases->stop && r != ETIMEDOUT)
            r = pthread_cond_timedwait(&leases->wake, &leases->lock, &until);
        if (!leases->stop)
            renew_all(leases);
    }
    pthread_mutex_unlock(&leases->lock);
    return NULL;
}

int lathe_leases_create(struct lathe_state *state, int ttl_ms, struct lathe_leases **ret,
                        struct lathe_error *err)
{
    struct lathe_leases *leases = calloc(1, sizeof *leases);
    if (!leases)
        return lathe_error_nomem(err);
    leases->state = state;
    leases->ttl_ms = ttl_ms;
    pthread_mutex_init(&leases->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&leases->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    int r = pthread_create(&leases->thread, NULL, keep, leases);
    if (r != 0) {
        pthread_cond_destroy(&leases->wake);
        pthread_mutex_destroy(&leases->lock);
        free(leases);
        return lathe_error_set(err, -r, LATHE_FAULT_RESOURCE, "cannot start a thread: %s",
                               strerror(r));
    }
    *ret = leases;
    return 0;
}

void lathe_leases_destroy(struct lathe_leases *leases)
{
    if (!leases)
        return;
    pthread_mutex_lock(&leases->lock);
    leases->stop = true;
    pthread_cond_signal(&leases->wake);
    pthread_mutex_unlock(&leases->lock);
    pthread_join(leases->thread, NULL);
    pthread_cond_destroy(&leases->wake);
    pthread_mutex_destroy(&leases->lock);
    free(leases->list);
    free(leases);
}

int lathe_leases_add(struct lathe_leases *leases, const char *job_id, uint32_t unit, uint64_t fence,
                     struct lathe_cancel *stop)
{
    int r = 0;
    pthread_mutex_lock(&leases->lock);
    if (leases->count == leases->capacity) {
        size_t capacity = leases->capacity ? leases->capacity * 2 : 16;
        struct lease *list = realloc(leases->list, capacity * sizeof *list);
        if (list) {
            leases->list = list;
            leases->capacity = capacity;
        } else {
            r = -ENOMEM;
        }
    }
    if (r == 0) {
        struct lease *l = &leases->list[leases->count++];
        snprintf(l->job_id, sizeof l->job_id, "%s", job_id);
        l->unit = unit;
        l->fence = fence;
        l->stop = stop;
    }
    pthread_mutex_unlock(&leases->lock);
    return r;
}

void lathe_leases_remove(struct lathe_leases *leases, const char *job_id, uint32_t unit,
                         uint64_t fence)
{
    pthread_mutex_lock(&leases->lock);
    forget(leases, job_id, unit, fence);
    pthread_mutex_unlock(&leases->lock);
}

json_t *lathe_leases_list(struct lathe_leases *leases)
{
    json_t *list = json_array();
    pthread_mutex_lock(&leases->lock);
    for (size_t i = 0; list && i < leases->count; i++)
        if (json_array_append_new(list, json_pack("{s:s, s:I}", "job_id", leases->list[i].job_id,
                                                  "unit", (json_int_t)leases->list[i].unit)) < 0) {
            json_decref(list);
            list = NULL;
        }
    pthread_mutex_unlock(&leases->lock);
    return list;
}

int lathe_flow_hold(const struct lathe_flow *flow, const char *job_id, uint32_t unit,
                    uint64_t fence, struct lathe_flow *ret_own, struct lathe_error *err)
{
    struct lathe_flow own = *flow;
    own.whole = flow;
    int r = lathe_cancel_create_below(flow->cancel, &own.cancel);
    if (r < 0)
        return lathe_error_errno(err, r, "cannot make a token");
    r = lathe_leases_add(flow->leases, job_id, unit, fence, own.cancel);
    if (r < 0) {
        lathe_cancel_destroy(own.cancel);
        return lathe_error_nomem(err);
    }
    *ret_own = own;
    return 0;
}

void lathe_flow_let_go(struct lathe_flow *own, const char *job_id, uint32_t unit, uint64_t fence)
{
    lathe_leases_remove(own->leases, job_id, unit, fence);
    lathe_cancel_destroy(own->cancel);
    own->cancel = NULL;
}
