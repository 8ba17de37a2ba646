/* SPDX-License-Identifier: MIT */
/*
 * What a daemon tells the outside: figures and health over HTTP, and its state to the service
 * manager.
 *
 *   GET /metrics   Prometheus' text format, or OpenMetrics where it is asked for (lathe/metrics.h)
 *   GET /healthz   200 while the control loop goes round, else 503
 *   GET /readyz    200 while it takes work, else 503; both with one line that says why not
 *
 * There is no authentication and no TLS, and nothing secret is served: bind it to loopback, or to
 * a network where everybody may read figures.
 * Threads: one of its own; the health functions are called on it.
 */
#ifndef LATHE_SERVE_H
#define LATHE_SERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lathe/error.h"

struct lathe_serve;

struct lathe_serve_options {
    const char *listen; /* "127.0.0.1:9640", "[::1]:9640", "0.0.0.0:9640"; port 0: any free one */
    /* Each says whether all is well, and else writes one line to `why`. NULL: all is well. */
    bool (*is_healthy)(void *opaque, char *why, size_t size);
    bool (*is_ready)(void *opaque, char *why, size_t size);
    void *opaque;
};

/* Fault CONFIG for an address that is not one, or is taken. */
int lathe_serve_start(const struct lathe_serve_options *options, struct lathe_serve **ret,
                      struct lathe_error *err);
void lathe_serve_stop(struct lathe_serve *serve); /* NULL is allowed */
unsigned lathe_serve_port(const struct lathe_serve *serve);

/* Fills the process_* metrics before each scrape, and the build's version. */
int lathe_serve_process_metrics(void);

/* --- the service manager (sd_notify); all do nothing when there is none --- */
/* One or several lines: "READY=1", "STATUS=…", "STOPPING=1", "RELOADING=1", "WATCHDOG=1". 1 when
 * it was sent, 0 without a manager, negative errno. */
int lathe_notify(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* How often the manager wants to hear "WATCHDOG=1" at least; 0 = it does not watch. */
uint64_t lathe_notify_watchdog_us(void);

#endif
