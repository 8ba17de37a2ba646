/* SPDX-License-Identifier: MIT */
/*
 * Back-pressure: a worker takes work only while its scratch folder, its disk and its memory have
 * room for it. How much the next piece needs is not known before it is taken, so an eighth of what
 * the scratch may hold stays free for it.
 */
#include <ftw.h>
#include <sys/statvfs.h>

#include "lathe/metrics.h"
#include "parts.h"

#define SPARE_PART 8
#define DISK_LEAST_BYTES (64ull << 20)
#define MEMORY_LEAST_BYTES (256ull << 20)

static _Thread_local uint64_t walked_bytes;

static int add_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path;
    (void)ftw;
    if (type == FTW_F)
        walked_bytes += (uint64_t)st->st_blocks * 512;
    return 0;
}

/* NULL: there is room. */
static const char *what_is_short(uint64_t used_bytes, uint64_t limit_bytes, uint64_t free_bytes)
{
    bool is_idle = lathe_metrics_sum(LATHE_METRIC_TASKS_RUNNING) < 0.5;
    if (used_bytes + limit_bytes / SPARE_PART > limit_bytes)
        return "scratch.quota_bytes is nearly used up";
    if (free_bytes < DISK_LEAST_BYTES)
        return "the disk of the scratch folder is nearly full";
    /* One piece may always be tried: others on this host may have all the memory for good. */
    if (!is_idle && lathe_usable_memory_bytes() < MEMORY_LEAST_BYTES)
        return "memory is short";
    return NULL;
}

void lathe_room_measure(struct lathe_agent *agent)
{
    struct statvfs fs;
    walked_bytes = 0;
    if (nftw(agent->scratch_dir, add_file, 16, FTW_PHYS) < 0 ||
        statvfs(agent->scratch_dir, &fs) < 0)
        return;
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    uint64_t limit_bytes = atomic_load(&agent->quota_bytes);
    if (!limit_bytes)
        limit_bytes = walked_bytes + free_bytes / 10 * 9;
    lathe_metrics_set(LATHE_METRIC_SCRATCH_USED, NULL, (double)walked_bytes);
    lathe_metrics_set(LATHE_METRIC_SCRATCH_LIMIT, NULL, (double)limit_bytes);

    const char *lack = what_is_short(walked_bytes, limit_bytes, free_bytes);
    bool had_room = atomic_exchange(&agent->has_room, !lack);
    if (lack && had_room)
        lathe_agent_notice(agent, LATHE_LOG_WARNING,
                           "no more work is taken: %s (%llu MiB used, %llu MiB of disk free)", lack,
                           (unsigned long long)walked_bytes >> 20,
                           (unsigned long long)free_bytes >> 20);
    if (!lack && !had_room) {
        lathe_agent_notice(agent, LATHE_LOG_INFO, "there is room again: work is taken");
        lathe_agent_announce(agent);
    }
}
