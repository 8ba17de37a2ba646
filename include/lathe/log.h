/* SPDX-License-Identifier: MIT */
/*
 * Log lines on stderr, one line an event; programs log, libraries return errors.
 *
 * Levels are defined by consequence. Nothing is logged per frame. Where stderr is the journal's (a
 * unit of systemd), entries go to it natively, with priority and fields that can be asked for:
 * journalctl LATHE_JOB=…; with LATHE_LOG_FORMAT=json each line is an object instead.
 * Threads: all functions may be called from any thread; a line is written with one write(2).
 */
#ifndef LATHE_LOG_H
#define LATHE_LOG_H

enum lathe_log_level {
    LATHE_LOG_ERROR = 0, /* something the user asked for will not happen */
    LATHE_LOG_WARNING,   /* it will happen, but not as expected (a fallback, a retry) */
    LATHE_LOG_INFO,      /* a milestone of a job or of the program */
    LATHE_LOG_DEBUG,     /* for people who read the code */
};

/* Lines above `level` are dropped. Default: WARNING, or LATHE_LOG=error|warning|info|debug. */
void lathe_log_set_level(enum lathe_log_level level);

enum lathe_log_format { LATHE_LOG_TEXT = 0, LATHE_LOG_JSON };
/* Default: TEXT, or LATHE_LOG_FORMAT=text|json. */
void lathe_log_set_format(enum lathe_log_format format);

/* Called before each line is written (e.g. to clear a progress bar); NULL removes it. */
void lathe_log_set_hook(void (*hook)(void *opaque), void *opaque);

void lathe_log(enum lathe_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What an event is about; NULL and negative numbers: nothing. */
struct lathe_log_fields {
    const char *job, *task, *device;
    long long chunk; /* of the plan */
    long long attempt;
};
/* The same with fields. In text, the line begins with job, task and chunk. */
void lathe_log_event(enum lathe_log_level level, const struct lathe_log_fields *fields,
                     const char *format, ...) __attribute__((format(printf, 3, 4)));

#define lathe_log_error(...) lathe_log(LATHE_LOG_ERROR, __VA_ARGS__)
#define lathe_log_warning(...) lathe_log(LATHE_LOG_WARNING, __VA_ARGS__)
#define lathe_log_info(...) lathe_log(LATHE_LOG_INFO, __VA_ARGS__)
#define lathe_log_debug(...) lathe_log(LATHE_LOG_DEBUG, __VA_ARGS__)

#endif
