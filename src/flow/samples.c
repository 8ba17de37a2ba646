/* SPDX-License-Identifier: MIT */
/*
 * What chunks learn from, remembered. A chunk's rate factor follows from all results before it, and
 * reading them anew for each chunk would cost a long job the square of its chunks; here each result
 * is read once, in ranges, by a process that works on the job.
 *
 * A result that is done again (reopen) may stay in here as it was: its neighbours learned from
 * that.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "flow.h"

#define JOBS_MAX 8 /* remembered at once; the one not asked for longest gives way */

struct remembered {
    char job_id[LATHE_ID_MAX + 1];
    uint32_t epoch;
    uint64_t used;
    bool has_pilots;
    uint32_t n_done; /* chunks 0 … n_done-1 are known */
    struct lathe_samples_of samples;
};

struct lathe_samples {
    pthread_mutex_t lock;
    uint64_t uses;
    struct remembered jobs[JOBS_MAX];
};

void lathe_samples_clear(struct lathe_samples_of *s)
{
    for (int i = 0; i < LATHE_RENDITIONS_MAX; i++) {
        free(s->pilots[i]);
        free(s->done[i]);
    }
    *s = (struct lathe_samples_of){0};
}

int lathe_samples_create(struct lathe_samples **ret, struct lathe_error *err)
{
    struct lathe_samples *samples = calloc(1, sizeof *samples);
    if (!samples)
        return lathe_error_nomem(err);
    pthread_mutex_init(&samples->lock, NULL);
    *ret = samples;
    return 0;
}

void lathe_samples_destroy(struct lathe_samples *samples)
{
    if (!samples)
        return;
    for (int i = 0; i < JOBS_MAX; i++)
        lathe_samples_clear(&samples->jobs[i].samples);
    pthread_mutex_destroy(&samples->lock);
    free(samples);
}

/* Called with the lock held. */
static struct remembered *find(struct lathe_samples *samples, const struct lathe_flow_job *fj)
{
    struct remembered *oldest = &samples->jobs[0];
    for (int i = 0; i < JOBS_MAX; i++) {
        struct remembered *job = &samples->jobs[i];
        if (job->epoch == fj->epoch && strcmp(job->job_id, fj->job.id) == 0) {
            oldest = job;
            break;
        }
        if (job->used < oldest->used)
            oldest = job;
    }
    if (oldest->epoch != fj->epoch || strcmp(oldest->job_id, fj->job.id) != 0) {
        lathe_samples_clear(&oldest->samples);
        *oldest = (struct remembered){.epoch = fj->epoch};
        snprintf(oldest->job_id, sizeof oldest->job_id, "%s", fj->job.id);
    }
    oldest->used = ++samples->uses;
    return oldest;
}

static int reserve(struct lathe_rate_sample **list, uint32_t count)
{
    struct lathe_rate_sample *larger = reallocarray(*list, (size_t)count + 1, sizeof *larger);
    if (!larger)
        return -ENOMEM;
    *list = larger;
    return 0;
}

static int take(const struct lathe_done *done, int n_renditions, struct lathe_samples_of *to,
                struct lathe_error *err)
{
    json_t *body = json_loads(done->result, 0, NULL);
    if (!body)
        return lathe_error_set(err, -EBADMSG, LATHE_FAULT_INTERNAL,
                               "the result of unit %u is not JSON", done->unit);
    struct lathe_rate_sample samples[LATHE_RENDITIONS_MAX];
    struct lathe_chunk_result chunk;
    int r;
    if (done->what.kind == LATHE_UNIT_PILOT) {
        r = lathe_flow_parse_samples(body, n_renditions, samples, err);
        for (int i = 0; r == 0 && i < n_renditions; i++)
            to->pilots[i][done->what.index] = samples[i];
    } else {
        r = lathe_flow_parse_chunk(body, n_renditions, &chunk, err);
        for (int i = 0; r == 0 && i < n_renditions; i++)
            to->done[i][done->what.index] = chunk.renditions[i].rate;
    }
    json_decref(body);
    return r;
}

/* Results of the units first … end-1, which the claim promised; without them the factor would
 * depend on luck. */
static int learn(struct lathe_flow *flow, const struct lathe_flow_job *fj, uint32_t first,
                 uint32_t end, struct lathe_samples_of *to, struct lathe_error *err)
{
    struct lathe_done *list = NULL;
    size_t count = 0;
    int r = lathe_state_results(flow->state, fj->job.id, first, end, &list, &count, err);
    if (r == 0 && count != end - first)
        r = lathe_error_set(err, -ESTALE, LATHE_FAULT_INTERNAL,
                            "results that this chunk's rate depends on are missing");
    for (size_t i = 0; r == 0 && i < count; i++)
        r = take(&list[i], fj->plan.n_renditions, to, err);
    lathe_done_free(list, count);
    return r;
}

/* Called with the lock held. */
static int catch_up(struct lathe_flow *flow, const struct lathe_flow_job *fj,
                    struct remembered *job, uint32_t n_done, struct lathe_error *err)
{
    const struct lathe_plan *plan = &fj->plan;
    int r = 0;
    if (!job->has_pilots) {
        for (int i = 0; i < plan->n_renditions; i++)
            if (reserve(&job->samples.pilots[i], plan->n_pilots) < 0)
                return lathe_error_nomem(err);
        if (plan->n_pilots > 0)
            r = learn(flow, fj, 0, plan->n_pilots, &job->samples, err);
        job->has_pilots = r == 0;
    }
    if (r < 0 || n_done <= job->n_done)
        return r;
    for (int i = 0; i < plan->n_renditions; i++)
        if (reserve(&job->samples.done[i], n_done) < 0)
            return lathe_error_nomem(err);
    uint32_t first_chunk = plan->n_pilots + (plan->n_audio > 0);
    r = learn(flow, fj, first_chunk + job->n_done, first_chunk + n_done, &job->samples, err);
    if (r == 0)
        job->n_done = n_done;
    return r;
}

static struct lathe_rate_sample *copy_of(const struct lathe_rate_sample *list, uint32_t count)
{
    struct lathe_rate_sample *copy = calloc((size_t)count + 1, sizeof *copy);
    if (copy && count > 0)
        memcpy(copy, list, count * sizeof *copy);
    return copy;
}

int lathe_samples_get(struct lathe_flow *flow, const struct lathe_flow_job *fj, uint32_t n_done,
                      struct lathe_samples_of *ret, struct lathe_error *err)
{
    struct lathe_samples *samples = flow->samples;
    struct lathe_samples_of s = {0};
    pthread_mutex_lock(&samples->lock);
    struct remembered *job = find(samples, fj);
    int r = catch_up(flow, fj, job, n_done, err);
    for (int i = 0; r == 0 && i < fj->plan.n_renditions; i++) {
        s.pilots[i] = copy_of(job->samples.pilots[i], fj->plan.n_pilots);
        s.done[i] = copy_of(job->samples.done[i], n_done);
        if (!s.pilots[i] || !s.done[i])
            r = lathe_error_nomem(err);
    }
    pthread_mutex_unlock(&samples->lock);
    if (r < 0)
        lathe_samples_clear(&s);
    else
        *ret = s;
    return r;
}
