/* SPDX-License-Identifier: MIT */
/*
 * What libav and the drivers say while something is tried. Return codes are not enough: copies to
 * and from CUDA fail with success (all FFmpeg versions up to 9.0), and many different refusals
 * share one code. libav writes one message in pieces, so lines are put together per thread.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "lathe/hwaccel.h"

#define COLLECTED_BYTES 2048

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char collected[COLLECTED_BYTES];
static unsigned failed_calls;
static _Thread_local char line[512];

/* The middle piece of what libavutil's cuda_check.h writes about a failed call of the driver. */
static const char cuda_check_piece[] = " -> %s: %s";

/* What is said whenever something else has gone wrong, or nothing has. */
static bool is_noise(const char *text)
{
    static const char *const noise[] = {
        "Driver does not support some wanted packed headers",
        "Driver does not support packed sequence headers",
        "No global header will be written",
        "Provided device doesn't support required NVENC features",
        "Failed to configure output pad",
    };
    for (size_t i = 0; i < sizeof(noise) / sizeof(noise[0]); i++)
        if (strncmp(text, noise[i], strlen(noise[i])) == 0)
            return true;
    return false;
}

static void collect(const char *text)
{
    if (is_noise(text))
        return;
    size_t have = strlen(collected), more = strlen(text) + 2;
    size_t last = strlen(text);
    if (have >= last && strcmp(collected + have - last, text) == 0)
        return;
    if (have + more >= sizeof(collected)) {
        size_t drop = have + more + 1 - sizeof(collected);
        const char *next = strstr(collected + drop, "; ");
        next = next ? next + 2 : collected + have;
        memmove(collected, next, strlen(next) + 1);
        have = strlen(collected);
    }
    snprintf(collected + have, sizeof(collected) - have, "%s%s", have ? "; " : "", text);
}

void lathe_hwaccel_log(void *avcl, int level, const char *format, va_list args)
{
    (void)avcl;
    if (level > AV_LOG_WARNING)
        return;
    if (strncmp(format, cuda_check_piece, sizeof(cuda_check_piece) - 1) == 0) {
        pthread_mutex_lock(&lock);
        failed_calls++;
        pthread_mutex_unlock(&lock);
    }
    size_t n = strlen(line);
    va_list copy;
    va_copy(copy, args);
    vsnprintf(line + n, sizeof(line) - n, format, copy);
    va_end(copy);
    size_t size = strlen(line);
    if (size == 0 || (line[size - 1] != '\n' && size + 1 < sizeof(line)))
        return;
    line[strcspn(line, "\r\n")] = '\0';
    if (line[0]) {
        pthread_mutex_lock(&lock);
        collect(line);
        pthread_mutex_unlock(&lock);
    }
    line[0] = '\0';
}

void lathe_hwaccel_log_start(void)
{
    pthread_mutex_lock(&lock);
    collected[0] = '\0';
    failed_calls = 0;
    pthread_mutex_unlock(&lock);
    line[0] = '\0';
}

void lathe_hwaccel_log_read(char *ret, size_t size)
{
    pthread_mutex_lock(&lock);
    size_t have = strlen(collected);
    /* The end of it is nearest to the failure. */
    const char *from = collected;
    if (have >= size) {
        from = collected + (have + 1 - size);
        const char *next = strstr(from, "; ");
        from = next ? next + 2 : from;
    }
    snprintf(ret, size, "%s", from);
    pthread_mutex_unlock(&lock);
}

unsigned lathe_hwaccel_failed_calls(void)
{
    pthread_mutex_lock(&lock);
    unsigned ret = failed_calls;
    pthread_mutex_unlock(&lock);
    return ret;
}
