/* SPDX-License-Identifier: MIT */
/*
 * How much of the machine this process may use. A container sees all processors and all memory of
 * its host but is throttled or killed beyond its cgroup's limits, so both are asked.
 */
#include "lathe/base.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#define CGROUP_ROOT "/sys/fs/cgroup"
#define AFFINITY_MAX_CPUS 65536

static unsigned affinity_cpus(void)
{
    /* The kernel refuses a mask smaller than its own, whose size it does not tell. */
    for (int cpus = 1024; cpus <= AFFINITY_MAX_CPUS; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (!set)
            break;
        size_t size = CPU_ALLOC_SIZE(cpus);
        int r = sched_getaffinity(0, size, set);
        int saved_errno = errno;
        int count = r == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (r == 0)
            return count > 0 ? (unsigned)count : 1;
        if (saved_errno != EINVAL)
            break;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}

static int read_small(const char *dir, const char *name, char **ret)
{
    _cleanup_free_ char *path = lathe_format("%s/%s", dir, name);
    if (!path)
        return -ENOMEM;
    return lathe_read_file(path, 65536, ret, NULL, NULL);
}

/* Quota of one cgroup in processors, rounded up; 0 = none. */
static uint64_t quota_of(const char *dir)
{
    long long quota = -1, period = 0;
    _cleanup_free_ char *v2 = NULL, *v1_quota = NULL, *v1_period = NULL;
    if (read_small(dir, "cpu.max", &v2) == 0) {
        if (sscanf(v2, "%lld %lld", &quota, &period) != 2)
            return 0;
    } else if (read_small(dir, "cpu.cfs_quota_us", &v1_quota) == 0 &&
               read_small(dir, "cpu.cfs_period_us", &v1_period) == 0) {
        if (sscanf(v1_quota, "%lld", &quota) != 1 || sscanf(v1_period, "%lld", &period) != 1)
            return 0;
    }
    if (quota <= 0 || period <= 0)
        return 0;
    return ((uint64_t)quota + (uint64_t)period - 1) / (uint64_t)period;
}

static uint64_t memory_limit_of(const char *dir)
{
    _cleanup_free_ char *text = NULL;
    unsigned long long limit = 0;
    if (read_small(dir, "memory.max", &text) < 0 &&
        read_small(dir, "memory.limit_in_bytes", &text) < 0)
        return 0;
    return sscanf(text, "%llu", &limit) == 1 ? limit : 0;
}

/* The least non-zero limit from `dir` up to the root of the hierarchy. */
static uint64_t least_upwards(char *dir, size_t root_length, uint64_t (*limit_of)(const char *dir))
{
    uint64_t least = 0;
    for (;;) {
        uint64_t limit = limit_of(dir);
        if (limit && (!least || limit < least))
            least = limit;
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < root_length)
            return least;
        *slash = '\0';
    }
}

/* The limit of this process for `controller`, in cgroup v2 or v1; 0 = none. */
static uint64_t cgroup_limit(const char *controller, uint64_t (*limit_of)(const char *dir))
{
    _cleanup_free_ char *table = NULL;
    if (lathe_read_file("/proc/self/cgroup", 65536, &table, NULL, NULL) < 0)
        return 0;
    uint64_t least = 0;
    char *save = NULL;
    for (char *line = strtok_r(table, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *names = strchr(line, ':');
        char *path = names ? strchr(names + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        names++;
        bool v2 = names[0] == '\0';
        bool ours = v2;
        _cleanup_free_ char *root =
            v2 ? strdup(CGROUP_ROOT) : lathe_format("%s/%s", CGROUP_ROOT, names);
        char *name_save = NULL;
        for (char *n = strtok_r(names, ",", &name_save); n; n = strtok_r(NULL, ",", &name_save))
            ours = ours || !strcmp(n, controller);
        if (!root || !ours)
            continue;
        /* Inside a container the path may name a place outside of the visible hierarchy; its root
         * is then the container's own group. */
        _cleanup_free_ char *dir =
            lathe_format("%s%s", root, strcmp(path, "/") && !strstr(path, "..") ? path : "");
        if (!dir)
            continue;
        uint64_t limit = least_upwards(dir, strlen(root), limit_of);
        if (limit && (!least || limit < least))
            least = limit;
    }
    return least;
}

unsigned lathe_usable_cpus(void)
{
    unsigned cpus = affinity_cpus();
    uint64_t quota = cgroup_limit("cpu", quota_of);
    return quota && quota < cpus ? (unsigned)quota : cpus;
}

uint64_t lathe_usable_memory_bytes(void)
{
    uint64_t available = 0;
    _cleanup_free_ char *info = NULL;
    if (lathe_read_file("/proc/meminfo", 65536, &info, NULL, NULL) == 0) {
        const char *line = strstr(info, "MemAvailable:");
        unsigned long long kib = 0;
        if (line && sscanf(line, "MemAvailable: %llu", &kib) == 1)
            available = kib * 1024;
    }
    if (!available) {
        long pages = sysconf(_SC_AVPHYS_PAGES), page = sysconf(_SC_PAGESIZE);
        available = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
    }
    uint64_t limit = cgroup_limit("memory", memory_limit_of);
    return limit && limit < available ? limit : available;
}
