/* SPDX-License-Identifier: MIT */
/*
 * What this process counts, for Prometheus. Like the log, the figures belong to the process: any
 * layer counts where the event is, without a handle. What can be counted is one table
 * (metrics_table.c), from which docs/metrics.md is made.
 *
 * Cardinality is bounded: a family keeps at most LATHE_METRIC_SERIES_MAX combinations of label
 * values; all further ones are counted together under the value "other". Never use a job's id or a
 * file's name as a value. Nothing here fails: without memory an event goes uncounted.
 * Threads: all calls may be made from any thread.
 */
#ifndef LATHE_METRICS_H
#define LATHE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lathe/error.h"

#define LATHE_METRIC_SERIES_MAX 200
#define LATHE_METRIC_LABELS_MAX 4

enum lathe_metric_type { LATHE_METRIC_COUNTER, LATHE_METRIC_GAUGE, LATHE_METRIC_HISTOGRAM };

enum lathe_metric {
    LATHE_METRIC_BUILD_INFO = 0,
    /* jobs */
    LATHE_METRIC_JOBS,
    LATHE_METRIC_JOBS_SUBMITTED,
    LATHE_METRIC_JOBS_FINISHED,
    LATHE_METRIC_JOBS_FAILED,
    LATHE_METRIC_JOB_DURATION,
    LATHE_METRIC_JOB_QUEUE_WAIT,
    LATHE_METRIC_JOB_LAST_SUCCESS,
    LATHE_METRIC_QUEUE_OLDEST_AGE,
    /* tasks */
    LATHE_METRIC_TASKS_STARTED,
    LATHE_METRIC_TASKS_FINISHED,
    LATHE_METRIC_TASKS_RUNNING,
    LATHE_METRIC_TASK_FAILURES,
    LATHE_METRIC_TASK_RETRIES,
    LATHE_METRIC_TASKS_REOPENED,
    LATHE_METRIC_TASK_DURATION,
    LATHE_METRIC_TASK_LAST_FINISHED,
    /* the worker */
    LATHE_METRIC_WORKER_SLOTS,
    LATHE_METRIC_WORKER_SLOTS_STUCK,
    LATHE_METRIC_WORKER_DRAINING,
    LATHE_METRIC_CONTROL_LOOP_AGE,
    LATHE_METRIC_SLOT_CPU,
    LATHE_METRIC_SCRATCH_USED,
    LATHE_METRIC_SCRATCH_LIMIT,
    /* media */
    LATHE_METRIC_PROCESSED_FRAMES,
    LATHE_METRIC_ENCODED_FRAMES,
    LATHE_METRIC_ENCODED_BYTES,
    LATHE_METRIC_OUTPUT_BYTES,
    /* devices */
    LATHE_METRIC_DEVICE_INFO,
    LATHE_METRIC_DEVICE_USABLE,
    LATHE_METRIC_DEVICE_STATE,
    LATHE_METRIC_DEVICE_TRIAL,
    LATHE_METRIC_DEVICE_TRIALS,
    LATHE_METRIC_DEVICE_PROBED,
    LATHE_METRIC_DEVICE_LANES,
    LATHE_METRIC_DEVICE_LANES_BUSY,
    LATHE_METRIC_DEVICE_ENGINE_USE,
    LATHE_METRIC_DEVICE_ENGINE_BUSY,
    LATHE_METRIC_DEVICE_MEMORY_USED,
    LATHE_METRIC_DEVICE_SESSIONS,
    LATHE_METRIC_DEVICE_FAILURES,
    LATHE_METRIC_FALLBACKS,
    /* servers */
    LATHE_METRIC_BACKEND_UP,
    LATHE_METRIC_BACKEND_REQUESTS,
    LATHE_METRIC_BACKEND_FAILURES,
    LATHE_METRIC_BACKEND_DURATION,
    LATHE_METRIC_KAFKA_LAG,
    LATHE_METRIC_KAFKA_REBALANCES,
    LATHE_METRIC_STORE_READ,
    LATHE_METRIC_STORE_WRITTEN,
    LATHE_METRIC_HTTP_REQUESTS,
    /* the process */
    LATHE_METRIC_PROCESS_CPU,
    LATHE_METRIC_PROCESS_RESIDENT,
    LATHE_METRIC_PROCESS_START,
    LATHE_METRIC_PROCESS_FDS,
    LATHE_METRIC_PROCESS_FDS_MAX,
    LATHE_METRIC_COUNT
};

struct lathe_metric_family {
    const char *name;
    enum lathe_metric_type type;
    const char *unit; /* "seconds", "bytes", …; "" = a plain number */
    const char *labels[LATHE_METRIC_LABELS_MAX + 1];
    const double *bounds; /* of a histogram, ascending, without infinity */
    unsigned n_bounds;
    const char *help;
};
extern const struct lathe_metric_family lathe_metric_families[LATHE_METRIC_COUNT];

/* Label values in the order of the table; NULL for families without labels. */
#define LATHE_LABELS(...) ((const char *const[]){__VA_ARGS__})

void lathe_metrics_add(enum lathe_metric metric, const char *const *labels, double by);
void lathe_metrics_set(enum lathe_metric metric, const char *const *labels, double value);
void lathe_metrics_observe(enum lathe_metric metric, const char *const *labels, double value);
/* Forgets all series of a family, for gauges that are filled anew before each scrape. */
void lathe_metrics_clear(enum lathe_metric metric);
/* Of one series, 0 when there is none; of a histogram the number of observations. */
double lathe_metrics_get(enum lathe_metric metric, const char *const *labels);
/* Over all series of a family. */
double lathe_metrics_sum(enum lathe_metric metric);

/* One call of a port's driver: counts it, its time, and whether the server behind it answers (a
 * fault of kind SERVER says no). `began_us`: lathe_clock_monotonic_us() before the call; `err`:
 * what it filled, or NULL. */
void lathe_metrics_request(const char *backend, const char *op, int64_t began_us, int result,
                           const struct lathe_error *err);

/* Called before each rendering, one at a time, to fill what is looked up and not counted. At most
 * 8; -ENOSPC. Must not render. */
int lathe_metrics_add_collector(void (*collect)(void *opaque), void *opaque);
void lathe_metrics_remove_collector(void (*collect)(void *opaque), void *opaque);

/* The whole exposition, malloc'd, or NULL (memory): Prometheus' text format 0.0.4, or OpenMetrics
 * 1.0. */
char *lathe_metrics_render(bool open_metrics);

/* Everything to nothing, for tests. */
void lathe_metrics_reset(void);

#endif
