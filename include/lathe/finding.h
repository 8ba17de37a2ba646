/* SPDX-License-Identifier: MIT */
/*
 * What was found when something was looked over: for people who want to know what is wrong, and
 * with which command to cure it. `lathe doctor` shows findings; drivers of the ports make those
 * about their servers, so that nobody else has to know them.
 *
 * Threads: a list belongs to one thread.
 */
#ifndef LATHE_FINDING_H
#define LATHE_FINDING_H

#include <stdbool.h>
#include <stddef.h>

#include "lathe/error.h"

enum lathe_severity {
    LATHE_FINDING_GOOD = 0, /* looked at, and as it should be */
    LATHE_FINDING_NOTE,     /* cannot be seen from here, or is a matter of taste */
    LATHE_FINDING_WARNING,  /* works, and will not when something happens */
    LATHE_FINDING_FAULT,    /* does not work */
};
const char *lathe_severity_name(enum lathe_severity severity); /* "good", "note", … */

struct lathe_finding {
    char id[40]; /* stable: "queue.partitions" */
    enum lathe_severity severity;
    char what[512]; /* one line */
    char cure[320]; /* a command or what to do; may be empty */
};

struct lathe_findings {
    struct lathe_finding *list;
    size_t count, capacity;
    bool is_cut; /* memory was short: some are missing */
};

/* `cure` NULL: nothing is to be done. */
void lathe_findings_add(struct lathe_findings *findings, const char *id,
                        enum lathe_severity severity, const char *cure, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* A fault, with the error's hint as its cure. */
void lathe_findings_add_error(struct lathe_findings *findings, const char *id,
                              const struct lathe_error *err);
void lathe_findings_clear(struct lathe_findings *findings);
/* GOOD when there are none. */
enum lathe_severity lathe_findings_worst(const struct lathe_findings *findings);

/* What a server is looked over for. */
struct lathe_check {
    unsigned workers;   /* that are to share it; 0: not known */
    bool is_production; /* also what only matters when nothing may be lost */
};

/* Clocks further apart than this are a warning, and beyond the second a fault (S3 refuses then). */
#define LATHE_SKEW_WARNING_S 5
#define LATHE_SKEW_FAULT_S 600
void lathe_findings_add_skew(struct lathe_findings *findings, const char *id, const char *server,
                             double ahead_s);
/* With is_production: a driver of one host says so. `port` is "state", `cure` names a driver of a
 * fleet. */
void lathe_findings_add_one_host(struct lathe_findings *findings, const struct lathe_check *check,
                                 const char *port, const char *cure);
/* Room on the file system of `path` (which need not exist yet). */
void lathe_findings_add_space(struct lathe_findings *findings, const char *id, const char *what,
                              const char *path);

#endif
