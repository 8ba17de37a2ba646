/* SPDX-License-Identifier: MIT */
/*
 * Log lines on stderr, one line an event; programs log, libraries return errors.
 *
 * Levels are defined by consequence. Nothing is logged per frame.
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

/* Called before each line is written (e.g. to clear a progress bar); NULL removes it. */
void lathe_log_set_hook(void (*hook)(void *opaque), void *opaque);

void lathe_log(enum lathe_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#define lathe_log_error(...) lathe_log(LATHE_LOG_ERROR, __VA_ARGS__)
#define lathe_log_warning(...) lathe_log(LATHE_LOG_WARNING, __VA_ARGS__)
#define lathe_log_info(...) lathe_log(LATHE_LOG_INFO, __VA_ARGS__)
#define lathe_log_debug(...) lathe_log(LATHE_LOG_DEBUG, __VA_ARGS__)

#endif
