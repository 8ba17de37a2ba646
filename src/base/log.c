/* SPDX-License-Identifier: MIT */
/*
 * Log lines for programs. A line is built in memory and written with one write(2), so that the
 * lines of several threads and processes on one terminal or journal never mix.
 */
#include "lathe/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048

static const char *const level_names[] = {"error", "warning", "info", "debug"};
#define LEVEL_COUNT (int)(sizeof(level_names) / sizeof(level_names[0]))

static atomic_int threshold = -1; /* -1: the environment was not asked yet */
static pthread_mutex_t hook_mutex = PTHREAD_MUTEX_INITIALIZER;
static void (*hook_fn)(void *);
static void *hook_opaque;

static int threshold_get(void)
{
    int level = atomic_load(&threshold);
    if (level >= 0)
        return level;
    level = LATHE_LOG_WARNING;
    const char *wanted = getenv("LATHE_LOG");
    for (int i = 0; wanted && i < LEVEL_COUNT; i++)
        if (!strcmp(wanted, level_names[i]))
            level = i;
    int unset = -1;
    /* A level set by the program meanwhile is stronger than the environment. */
    return atomic_compare_exchange_strong(&threshold, &unset, level) ? level : unset;
}

void lathe_log_set_level(enum lathe_log_level level)
{
    atomic_store(&threshold, (int)level);
}

void lathe_log_set_hook(void (*hook)(void *opaque), void *opaque)
{
    pthread_mutex_lock(&hook_mutex);
    hook_fn = hook;
    hook_opaque = opaque;
    pthread_mutex_unlock(&hook_mutex);
}

void lathe_log(enum lathe_log_level level, const char *format, ...)
{
    if ((int)level < 0 || (int)level >= LEVEL_COUNT || (int)level > threshold_get())
        return;
    int saved_errno = errno;
    char line[LINE_MAX_BYTES];
    size_t used = (size_t)snprintf(line, sizeof(line), "lathe: %s: ", level_names[level]);
    size_t head = used;

    va_list args;
    va_start(args, format);
    int n = vsnprintf(line + used, sizeof(line) - used - 1, format, args);
    va_end(args);
    if (n < 0)
        return;
    used += (size_t)n < sizeof(line) - used - 1 ? (size_t)n : sizeof(line) - used - 2;
    for (size_t i = head; i < used; i++)
        if ((unsigned char)line[i] < 0x20)
            line[i] = ' ';
    line[used++] = '\n';

    pthread_mutex_lock(&hook_mutex);
    if (hook_fn)
        hook_fn(hook_opaque);
    ssize_t written;
    do
        written = write(STDERR_FILENO, line, used);
    while (written < 0 && errno == EINTR);
    pthread_mutex_unlock(&hook_mutex);
    errno = saved_errno;
}
