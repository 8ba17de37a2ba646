/* SPDX-License-Identifier: MIT */
/*
 * The figures that every Prometheus client has about its own process.
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "lathe/base.h"
#include "lathe/metrics.h"
#include "lathe/serve.h"

/* Seconds since 1970 at which this process began; 0 = unknown. */
static double start_time(void)
{
    char text[2048] = "";
    _cleanup_fclose_ FILE *f = fopen("/proc/self/stat", "re");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = '\0';
    /* The name may hold blanks and brackets; field 22 is the 20th after it. */
    const char *at = strrchr(text, ')');
    unsigned long long ticks = 0;
    if (!at || sscanf(at + 1,
                      " %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s"
                      " %*s %llu",
                      &ticks) != 1)
        return 0;
    struct timespec boot, wall;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    clock_gettime(CLOCK_REALTIME, &wall);
    return (double)(wall.tv_sec - boot.tv_sec) + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static double resident_bytes(void)
{
    unsigned long long pages = 0;
    _cleanup_fclose_ FILE *f = fopen("/proc/self/statm", "re");
    if (!f || fscanf(f, "%*u %llu", &pages) != 1)
        return 0;
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static unsigned open_descriptors(void)
{
    unsigned n = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder && readdir(folder))
        n++;
    if (folder)
        closedir(folder);
    return n > 3 ? n - 3 : 0; /* ".", "..", and the folder itself */
}

static void collect(void *opaque)
{
    (void)opaque;
    struct rusage usage;
    struct rlimit limit;
    /* A counter that another clock keeps: it is set, and never goes back. */
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        lathe_metrics_set(LATHE_METRIC_PROCESS_CPU, NULL,
                          (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                              (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    lathe_metrics_set(LATHE_METRIC_PROCESS_RESIDENT, NULL, resident_bytes());
    lathe_metrics_set(LATHE_METRIC_PROCESS_FDS, NULL, open_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        lathe_metrics_set(LATHE_METRIC_PROCESS_FDS_MAX, NULL, (double)limit.rlim_cur);
}

int lathe_serve_process_metrics(void)
{
    lathe_metrics_set(LATHE_METRIC_BUILD_INFO, LATHE_LABELS(LATHE_VERSION), 1);
    lathe_metrics_set(LATHE_METRIC_PROCESS_START, NULL, start_time());
    return lathe_metrics_add_collector(collect, NULL);
}
