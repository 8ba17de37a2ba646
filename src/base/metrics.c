/* SPDX-License-Identifier: MIT */
/*
 * Counting. One mutex for all: events are chunks and requests, a few hundred a second at most.
 */
#include "lathe/metrics.h"

#include <errno.h>
#include <string.h>

#include "lathe/base.h"
#include "metrics_registry.h"

#define COLLECTORS_MAX 8

struct lathe_metrics_registry lathe_metrics_registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

static pthread_mutex_t collectors_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    void (*collect)(void *opaque);
    void *opaque;
} collectors[COLLECTORS_MAX];

static unsigned count_labels(enum lathe_metric metric)
{
    unsigned n = 0;
    while (lathe_metric_families[metric].labels[n])
        n++;
    return n;
}

static void clear_series(struct lathe_metric_series *series)
{
    for (unsigned i = 0; i < LATHE_METRIC_LABELS_MAX; i++)
        free(series->labels[i]);
    free(series->buckets);
}

static struct lathe_metric_series *find(enum lathe_metric metric, unsigned n_labels,
                                        const char *const *labels)
{
    struct lathe_metric_state *state = &lathe_metrics_registry.families[metric];
    for (unsigned i = 0; i < state->n_series; i++) {
        unsigned same = 0;
        while (same < n_labels && strcmp(state->series[i].labels[same], labels[same]) == 0)
            same++;
        if (same == n_labels)
            return &state->series[i];
    }
    return NULL;
}

static struct lathe_metric_series *make(enum lathe_metric metric, unsigned n_labels,
                                        const char *const *labels)
{
    struct lathe_metric_state *state = &lathe_metrics_registry.families[metric];
    struct lathe_metric_series *list =
        realloc(state->series, (state->n_series + 1) * sizeof *state->series);
    if (!list)
        return NULL;
    state->series = list;
    struct lathe_metric_series made = {0};
    bool ok = true;
    for (unsigned i = 0; i < n_labels; i++)
        ok = (made.labels[i] = strdup(labels[i])) && ok;
    if (lathe_metric_families[metric].n_bounds)
        ok =
            (made.buckets = calloc(lathe_metric_families[metric].n_bounds, sizeof(uint64_t))) && ok;
    if (!ok) {
        clear_series(&made);
        return NULL;
    }
    list[state->n_series] = made;
    return &list[state->n_series++];
}

struct lathe_metric_series *lathe_metrics_series(enum lathe_metric metric,
                                                 const char *const *labels)
{
    static const char *const other[LATHE_METRIC_LABELS_MAX] = {"other", "other", "other", "other"};
    unsigned n = count_labels(metric);
    if (n && !labels)
        labels = other;
    struct lathe_metric_series *series = find(metric, n, labels);
    if (!series && lathe_metrics_registry.families[metric].n_series >= LATHE_METRIC_SERIES_MAX) {
        labels = other;
        series = find(metric, n, labels);
    }
    return series ? series : make(metric, n, labels);
}

void lathe_metrics_add(enum lathe_metric metric, const char *const *labels, double by)
{
    pthread_mutex_lock(&lathe_metrics_registry.lock);
    struct lathe_metric_series *series = lathe_metrics_series(metric, labels);
    if (series)
        series->value += by;
    pthread_mutex_unlock(&lathe_metrics_registry.lock);
}

void lathe_metrics_set(enum lathe_metric metric, const char *const *labels, double value)
{
    pthread_mutex_lock(&lathe_metrics_registry.lock);
    struct lathe_metric_series *series = lathe_metrics_series(metric, labels);
    if (series)
        series->value = value;
    pthread_mutex_unlock(&lathe_metrics_registry.lock);
}

void lathe_metrics_observe(enum lathe_metric metric, const char *const *labels, double value)
{
    const struct lathe_metric_family *family = &lathe_metric_families[metric];
    pthread_mutex_lock(&lathe_metrics_registry.lock);
    struct lathe_metric_series *series = lathe_metrics_series(metric, labels);
    if (series) {
        unsigned i = 0;
        while (i < family->n_bounds && value > family->bounds[i])
            i++;
        if (i < family->n_bounds)
            series->buckets[i]++;
        series->count++;
        series->value += value;
    }
    pthread_mutex_unlock(&lathe_metrics_registry.lock);
}

static void clear(enum lathe_metric metric)
{
    struct lathe_metric_state *state = &lathe_metrics_registry.families[metric];
    for (unsigned i = 0; i < state->n_series; i++)
        clear_series(&state->series[i]);
    free(state->series);
    *state = (struct lathe_metric_state){0};
}

void lathe_metrics_clear(enum lathe_metric metric)
{
    pthread_mutex_lock(&lathe_metrics_registry.lock);
    clear(metric);
    pthread_mutex_unlock(&lathe_metrics_registry.lock);
}

static double figure(enum lathe_metric metric, const struct lathe_metric_series *series)
{
    return lathe_metric_families[metric].type == LATHE_METRIC_HISTOGRAM ? (double)series->count
                                                                        : series->value;
}

double lathe_metrics_get(enum lathe_metric metric, const char *const *labels)
{
    pthread_mutex_lock(&lathe_metrics_registry.lock);
    const struct lathe_metric_series *series = find(metric, count_labels(metric), labels);
    double ret = series ? figure(metric, series) : 0;
    pthread_mutex_unlock(&lathe_metrics_registry.lock);
    return ret;
}

double lathe_metrics_sum(enum lathe_metric metric)
{
    double ret = 0;
    pthread_mutex_lock(&lathe_metrics_registry.lock);
    const struct lathe_metric_state *state = &lathe_metrics_registry.families[metric];
    for (unsigned i = 0; i < state->n_series; i++)
        ret += figure(metric, &state->series[i]);
    pthread_mutex_unlock(&lathe_metrics_registry.lock);
    return ret;
}

/* What is not there, or was not wanted any more, is an answer and no failure. */
static bool is_failure(int result)
{
    return result < 0 && result != -ENOENT && result != -EEXIST && result != -ESTALE &&
           result != -ECANCELED;
}

void lathe_metrics_request(const char *backend, const char *op, int64_t began_us, int result,
                           const struct lathe_error *err)
{
    const char *const labels[] = {backend, op};
    lathe_metrics_add(LATHE_METRIC_BACKEND_REQUESTS, labels, 1);
    /* Failures are there as 0 from the first call on, so that the first one makes a rate. */
    lathe_metrics_add(LATHE_METRIC_BACKEND_FAILURES, labels, is_failure(result));
    lathe_metrics_observe(LATHE_METRIC_BACKEND_DURATION, labels,
                          (double)(lathe_clock_monotonic_us() - began_us) / 1e6);
    if (result >= 0 || err)
        lathe_metrics_set(LATHE_METRIC_BACKEND_UP, labels,
                          result >= 0 || err->fault != LATHE_FAULT_SERVER);
}

int lathe_metrics_add_collector(void (*collect)(void *opaque), void *opaque)
{
    int r = -ENOSPC;
    pthread_mutex_lock(&collectors_lock);
    for (unsigned i = 0; r < 0 && i < COLLECTORS_MAX; i++) {
        if (collectors[i].collect)
            continue;
        collectors[i].collect = collect;
        collectors[i].opaque = opaque;
        r = 0;
    }
    pthread_mutex_unlock(&collectors_lock);
    return r;
}

void lathe_metrics_remove_collector(void (*collect)(void *opaque), void *opaque)
{
    pthread_mutex_lock(&collectors_lock);
    for (unsigned i = 0; i < COLLECTORS_MAX; i++)
        if (collectors[i].collect == collect && collectors[i].opaque == opaque)
            collectors[i].collect = NULL;
    pthread_mutex_unlock(&collectors_lock);
}

void lathe_metrics_collect(void)
{
    pthread_mutex_lock(&collectors_lock);
    for (unsigned i = 0; i < COLLECTORS_MAX; i++)
        if (collectors[i].collect)
            collectors[i].collect(collectors[i].opaque);
    pthread_mutex_unlock(&collectors_lock);
}

void lathe_metrics_reset(void)
{
    pthread_mutex_lock(&lathe_metrics_registry.lock);
    for (int metric = 0; metric < LATHE_METRIC_COUNT; metric++)
        clear((enum lathe_metric)metric);
    pthread_mutex_unlock(&lathe_metrics_registry.lock);
}
