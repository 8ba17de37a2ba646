/* SPDX-License-Identifier: MIT */
/*
 * Errors for people.
 *
 * Every function that can fail returns 0 (or a non-negative count) on success and a negative
 * errno on failure. A function that can say more takes a caller-owned `struct lathe_error *`,
 * which may be NULL. On success the error is left as it was.
 *
 * Threads: an error belongs to one thread at a time.
 */
#ifndef LATHE_ERROR_H
#define LATHE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

/* Who can do something about it; decides retries and exit codes. */
enum lathe_fault {
    LATHE_FAULT_INTERNAL = 0, /* unexpected: a retry may help, a report is welcome */
    LATHE_FAULT_INPUT,        /* the source or the request: a retry gives the same answer */
    LATHE_FAULT_USAGE,        /* wrong command line: exit code 2 */
    LATHE_FAULT_CONFIG,       /* wrong configuration: exit code 78 */
    LATHE_FAULT_RESOURCE,     /* disk, memory, processes: freeing some helps */
    LATHE_FAULT_SERVER,       /* a server cannot be reached: exit code 69 */
    LATHE_FAULT_INTERRUPTED,  /* the user or a drain asked to stop: exit code 130 */
};

struct lathe_error {
    int code;               /* negative errno, 0 while unset */
    enum lathe_fault fault; /* see above */
    bool retriable;         /* whether the same call may succeed later */
    char what[512];         /* one line: what failed, on which input, and why */
    char hint[256];         /* one line: what to do about it; may be empty */
    bool by_port;           /* a queue, state or store said so, not the media */
    int gpu_verdict;        /* of a failed attempt on a GPU: enum lathe_hw_verdict; 0 = none */
    int gpu_rendition;      /* of such an attempt: 1 + the rendition that failed; 0 = all of them */
};

/* Fills `err` (NULL is allowed) and returns `code`, so that callers can `return` it. `code` must
 * be negative. `retriable` is set for INTERNAL, RESOURCE and SERVER faults. */
int lathe_error_set(struct lathe_error *err, int code, enum lathe_fault fault, const char *format,
                    ...) __attribute__((format(printf, 4, 5)));

/* The same for a failed system call: the fault follows from `code` (a full disk is RESOURCE, a
 * missing or forbidden file INPUT, …) and ": " with the system's text is appended. */
int lathe_error_errno(struct lathe_error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Adds (replaces) the advice of an error that is set. */
void lathe_error_hint(struct lathe_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Puts "context: " before the text of an error that is set. */
void lathe_error_prefix(struct lathe_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* -ENOMEM with a standard text. */
int lathe_error_nomem(struct lathe_error *err);

/* The exit code of a program that ends with this error (0, 1, 2, 69, 78, 130). */
int lathe_error_exit_code(const struct lathe_error *err);

/* Stable lower-case names ("input", "resource", …) for messages between processes. */
const char *lathe_fault_name(enum lathe_fault fault);
enum lathe_fault lathe_fault_from_name(const char *name); /* unknown: INTERNAL */

#endif
