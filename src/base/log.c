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
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log_journal.h"

#define LINE_MAX_BYTES 2048

static const char *const level_names[] = {"error", "warning", "info", "debug"};
#define LEVEL_COUNT (int)(sizeof(level_names) / sizeof(level_names[0]))

static atomic_int threshold = -1; /* -1: the environment was not asked yet */
static atomic_int chosen_format = -1;
static pthread_mutex_t hook_mutex = PTHREAD_MUTEX_INITIALIZER;
static void (*hook_fn)(void *);
static void *hook_opaque;

/* A setting by the program meanwhile is stronger than the environment. */
static int setting(atomic_int *at, const char *variable, const char *const *names, int count,
                   int standard)
{
    int value = atomic_load(at);
    if (value >= 0)
        return value;
    value = standard;
    const char *wanted = getenv(variable);
    for (int i = 0; wanted && i < count; i++)
        if (!strcmp(wanted, names[i]))
            value = i;
    int unset = -1;
    return atomic_compare_exchange_strong(at, &unset, value) ? value : unset;
}

static int threshold_get(void)
{
    return setting(&threshold, "LATHE_LOG", level_names, LEVEL_COUNT, LATHE_LOG_WARNING);
}

static int format_get(void)
{
    static const char *const names[] = {"text", "json"};
    return setting(&chosen_format, "LATHE_LOG_FORMAT", names, 2, LATHE_LOG_TEXT);
}

void lathe_log_set_level(enum lathe_log_level level)
{
    atomic_store(&threshold, (int)level);
}

void lathe_log_set_format(enum lathe_log_format format)
{
    atomic_store(&chosen_format, (int)format);
}

void lathe_log_set_hook(void (*hook)(void *opaque), void *opaque)
{
    pthread_mutex_lock(&hook_mutex);
    hook_fn = hook;
    hook_opaque = opaque;
    pthread_mutex_unlock(&hook_mutex);
}

/* --- a line, which never grows beyond its array --- */

struct line {
    char text[LINE_MAX_BYTES];
    size_t used;
};

static void add(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct line *line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line->text + line->used, sizeof line->text - line->used, format, args);
    va_end(args);
    if (n > 0)
        line->used += (size_t)n < sizeof line->text - line->used
                          ? (size_t)n
                          : sizeof line->text - line->used - 1;
}

/* A JSON string; bytes beyond ASCII are taken for UTF-8. Leaves room to close what is open. */
static void add_string(struct line *line, const char *name, const char *text)
{
    add(line, ",\"%s\":\"", name);
    for (; *text && line->used + 16 < sizeof line->text; text++) {
        if (*text == '"' || *text == '\\')
            add(line, "\\%c", *text);
        else
            add(line, "%c", (unsigned char)*text < 0x20 ? ' ' : *text);
    }
    add(line, "\"");
}

static void make_json(struct line *line, enum lathe_log_level level,
                      const struct lathe_log_fields *fields, const char *message)
{
    struct timespec now;
    struct tm utc;
    char when[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc);
    add(line, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\"", when, now.tv_nsec / 1000000,
        level_names[level]);
    if (fields->job)
        add_string(line, "job", fields->job);
    if (fields->task)
        add_string(line, "task", fields->task);
    if (fields->chunk >= 0)
        add(line, ",\"chunk\":%lld", fields->chunk);
    if (fields->attempt >= 0)
        add(line, ",\"attempt\":%lld", fields->attempt);
    if (fields->device)
        add_string(line, "device", fields->device);
    add_string(line, "message", message);
    add(line, "}");
}

static void make_text(struct line *line, const struct lathe_log_fields *fields, const char *message)
{
    if (fields->job)
        add(line, "job %s: ", fields->job);
    if (fields->task && fields->chunk >= 0)
        add(line, "%s %lld: ", fields->task, fields->chunk);
    else if (fields->task)
        add(line, "%s: ", fields->task);
    add(line, "%s", message);
    for (size_t i = 0; i < line->used; i++)
        if ((unsigned char)line->text[i] < 0x20)
            line->text[i] = ' ';
}

static void write_line(struct line *line)
{
    if (line->used > sizeof line->text - 2)
        line->used = sizeof line->text - 2;
    line->text[line->used++] = '\n';
    pthread_mutex_lock(&hook_mutex);
    if (hook_fn)
        hook_fn(hook_opaque);
    ssize_t written;
    do
        written = write(STDERR_FILENO, line->text, line->used);
    while (written < 0 && errno == EINTR);
    pthread_mutex_unlock(&hook_mutex);
}

static void log_message(enum lathe_log_level level, const struct lathe_log_fields *fields,
                        const char *format, va_list args)
{
    if ((int)level < 0 || (int)level >= LEVEL_COUNT || (int)level > threshold_get())
        return;
    int saved_errno = errno;
    char message[LINE_MAX_BYTES - 64];
    struct line line = {.used = 0};
    if (vsnprintf(message, sizeof message, format, args) < 0)
        return;
    if (format_get() == LATHE_LOG_JSON) {
        make_json(&line, level, fields, message);
        write_line(&line);
    } else {
        struct line text = {.used = 0};
        make_text(&text, fields, message);
        if (lathe_log_to_journal(level, fields, text.text) < 0) {
            add(&line, "lathe: %s: %s", level_names[level], text.text);
            write_line(&line);
        }
    }
    errno = saved_errno;
}

void lathe_log(enum lathe_log_level level, const char *format, ...)
{
    static const struct lathe_log_fields none = {.chunk = -1, .attempt = -1};
    va_list args;
    va_start(args, format);
    log_message(level, &none, format, args);
    va_end(args);
}

void lathe_log_event(enum lathe_log_level level, const struct lathe_log_fields *fields,
                     const char *format, ...)
{
    va_list args;
    va_start(args, format);
    log_message(level, fields, format, args);
    va_end(args);
}
