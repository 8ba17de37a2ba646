/* SPDX-License-Identifier: MIT */
/*
 * The figures behind lathe/metrics.h, as its two files share them. Everything is under `lock`.
 */
#ifndef LATHE_BASE_METRICS_REGISTRY_H
#define LATHE_BASE_METRICS_REGISTRY_H

#include <pthread.h>
#include <stdint.h>

#include "lathe/metrics.h"

struct lathe_metric_series {
    char *labels[LATHE_METRIC_LABELS_MAX]; /* owned */
    double value;                          /* of a histogram the sum */
    uint64_t count;                        /* of a histogram */
    uint64_t *buckets;                     /* of a histogram: one a bound, not cumulative; owned */
};

struct lathe_metric_state {
    struct lathe_metric_series *series;
    unsigned n_series;
};

struct lathe_metrics_registry {
    pthread_mutex_t lock;
    struct lathe_metric_state families[LATHE_METRIC_COUNT];
};
extern struct lathe_metrics_registry lathe_metrics_registry;

/* With the lock held: the series of these label values, made when missing; NULL: no memory. */
struct lathe_metric_series *lathe_metrics_series(enum lathe_metric metric,
                                                 const char *const *labels);
/* Calls the collectors, one thread at a time. Without the lock. */
void lathe_metrics_collect(void);

#endif
